#include "notify/rule.h"

#include <stdio.h>
#include <string.h>

static const char *const names[RULE_TABLES] = {
	[RULE_BLACKLIST] = "blacklist",
	[RULE_WHITELIST] = "whitelist",
	[RULE_STRANGERS] = "strangers",
};

const char *rule_table_name(enum rule_table table)
{
	return names[table];
}

int rule_table_parse(struct span name, enum rule_table *out)
{
	for (unsigned i = RULE_BLACKLIST; i < RULE_TABLES; i++) {
		if (span_eq_str(name, names[i])) {
			*out = (enum rule_table)i;
			return 0;
		}
	}
	return ERR_NOT_FOUND;
}

/* `@domain` or `@.domain`. No mailbox begins so: a local part with such an octet is quoted. */
static int parse_domain(struct span text, char out[RULE_VALUE_CAP])
{
	bool below = text.n > 1 && text.p[1] == '.';
	char domain[NAME_DOMAIN_MAX + 1];

	if (name_parse_domain(span_after(text, below ? 2 : 1), domain) != 0) {
		return ERR_MALFORMED;
	}
	snprintf(out, RULE_VALUE_CAP, below ? "@.%s" : "@%s", domain);
	return 0;
}

int rule_value_parse(enum rule_table table, struct span text, char out[RULE_VALUE_CAP])
{
	struct mailbox m;

	if (table == RULE_STRANGERS) {
		snprintf(out, RULE_VALUE_CAP, "refuse");
		return span_eq_str(text, "refuse") ? 0 : ERR_MALFORMED;
	}
	if (text.n > 0 && text.p[0] == '@') {
		return parse_domain(text, out);
	}
	if (name_parse_mailbox(text, &m) != 0) {
		return ERR_MALFORMED;
	}
	name_format_mailbox(&m, out, RULE_VALUE_CAP);
	return 0;
}

const char *rule_value_help(enum rule_table table)
{
	return table == RULE_STRANGERS ? "refuse"
	                               : "eve@a.example, @a.example, @.a.example (and all below it)";
}

void rule_walk_begin(struct rule_walk *w, const struct mailbox *sender)
{
	w->sender = sender;
	w->domain = mailbox_domain(sender);
	w->step = 0;
}

bool rule_walk_next(struct rule_walk *w)
{
	if (w->step == 0) {
		name_format_mailbox(w->sender, w->value, sizeof w->value);
	} else if (w->step == 1) {
		snprintf(w->value, sizeof w->value, "@%s", w->domain);
	} else if (w->domain == NULL) {
		return false;
	} else {
		snprintf(w->value, sizeof w->value, "@.%s", w->domain);
		w->domain = strchr(w->domain, '.');
		w->domain = w->domain == NULL ? NULL : w->domain + 1;
	}
	w->step++;
	return true;
}
