#include "mua-agent/delivery.h"

#include <stdio.h>

#include "mua-agent/show.h"

static const char *mailbox_text(const struct wire_mailbox *m, struct mailbox *name, char *safe,
                                size_t cap)
{
	return wire_mailbox_to_name(m, name) == 0 ? show_safe(span_str(name->text), safe, cap)
	                                          : show_safe(m->local, safe, cap);
}

static int print_json(const struct delivery_of *of, const struct msoap_delivery *d,
                      const char *recipient)
{
	struct show_json j;

	show_json_begin(&j);
	if (of != NULL) {
		show_json_text(&j, "url", span_str(of->url));
	}
	if (of != NULL && of->number > 0) {
		show_json_number(&j, "number", of->number);
	}
	show_json_text(&j, "recipient", span_str(recipient));
	show_json_text(&j, "notification",
	               span_str(wire_notification_status_name(d->notification)));
	show_json_text(&j, "read", span_str(wire_read_status_name(d->read)));
	show_json_bool(&j, "pinned", d->pinned);
	show_json_number(&j, "attempts", d->attempts);
	show_json_time(&j, "changed", d->changed);
	show_json_time(&j, "next", d->next_attempt);
	show_json_text(&j, "text", d->text);
	return show_json_end(&j);
}

int delivery_print(const struct app *app, const struct delivery_of *of,
                   const struct msoap_delivery *d)
{
	char safe[800], text[1024], changed[SHOW_TIME], next[SHOW_TIME];
	struct mailbox name;
	const char *recipient = mailbox_text(&d->recipient, &name, safe, sizeof safe);

	if (app->json) {
		return print_json(of, d, recipient);
	}
	if (of != NULL && of->number > 0) {
		printf("%4u  ", of->number);
	} else if (of != NULL) {
		printf("%s  ", of->url);
	}
	show_safe(d->text, text, sizeof text);
	show_format(stdout, "%-32s  %-13s  %-11s  %s  %s%s%s%s%s\n", recipient,
	            wire_notification_status_name(d->notification), wire_read_status_name(d->read),
	            d->pinned ? "pinned  " : "unpinned", show_time(d->changed, changed),
	            d->has_next_attempt ? "  next " : "",
	            d->has_next_attempt ? show_time(d->next_attempt, next) : "",
	            text[0] != '\0' ? "  " : "", text);
	return 0;
}
