#include "notify/policy.h"

#include "wire/frame.h"

int policy_source(const struct wire_notification *n, struct policy_source *out)
{
	if (name_parse_mailbox(n->sender, &out->sender) != 0 ||
	    wire_notification_store(n, out->store) != 0) {
		return ERR_MALFORMED;
	}
	return 0;
}

bool policy_fits_count(const struct policy_settings *s, size_t n)
{
	return n <= (s->max_notifications != 0 ? s->max_notifications : LIMIT_NOTIFICATIONS);
}

bool policy_fits(const struct policy_settings *s, const struct wire_notification *n,
                 size_t der_octets)
{
	return der_octets <= (s->max_octets != 0 ? s->max_octets : LIMIT_NOTIFICATION_OCTETS) &&
	       (!n->has_header || n->header.n <= LIMIT_HEADER_OCTETS) &&
	       (!n->has_structure || n->structure.n <= LIMIT_STRUCTURE_OCTETS);
}

/* What OF says of the sender, by whether it is one. */
static enum rule_verdict heard(enum rule_verdict of, bool verified)
{
	return of == RULE_ADMIT && !verified ? RULE_SILENT : of;
}

bool policy_refuses(const struct policy_facts *f)
{
	return f->operators == RULE_REFUSE;
}

static bool admitted(const struct policy_settings *s, const struct policy_facts *f)
{
	enum rule_verdict word = heard(f->operators, f->verified);

	if (word == RULE_SILENT) {
		word = heard(f->users, f->verified);
	}
	return word == RULE_SILENT ? !s->refuse_strangers && !f->strangers : word == RULE_ADMIT;
}

enum wire_notify_result policy_decide(const struct policy_settings *s, const struct policy_facts *f)
{
	if (!f->verified && !s->keep_unverified) {
		return WIRE_NOTIFY_UNVERIFIED;
	}
	if (f->later) {
		return WIRE_NOTIFY_TRY_LATER;
	}
	if (policy_refuses(f)) {
		return WIRE_NOTIFY_REFUSED;
	}
	if (!f->served) {
		return WIRE_NOTIFY_NO_USER;
	}
	if (!admitted(s, f)) {
		return WIRE_NOTIFY_REFUSED;
	}
	if (f->repeated) {
		return WIRE_NOTIFY_ACCEPTED;
	}
	if (f->over) {
		return WIRE_NOTIFY_REFUSED;
	}
	if (f->kept >= s->mailbox_notices || f->kept_origin >= s->origin_notices) {
		return WIRE_NOTIFY_FULL;
	}
	return WIRE_NOTIFY_ACCEPTED;
}

uint64_t policy_drop_us(const struct policy_settings *s, const struct wire_notification *n,
                        uint64_t now_us)
{
	uint64_t last = now_us + s->retention_us;

	return n->has_expires && n->expires < last ? n->expires : last;
}
