#include "store/notice.h"

#include <string.h>

#include "wire/frame.h"

/* A mailbox text of the database, which was canonical when it was put there. */
static int read_mailbox(struct span text, struct mailbox *out)
{
	const uint8_t *at = text.n > 0 ? memrchr(text.p, '@', text.n) : NULL;

	if (at == NULL || span_copy(text, out->text, sizeof(out->text)) != 0)
		return ERR_MALFORMED;
	out->local_n = (size_t)(at - text.p);
	return 0;
}

int notice_addressee(const struct ids *ids, const struct db_message *m, uint32_t index,
                     struct span mailbox, struct notice *n, struct wire_mailbox *recipient,
                     uint8_t id[WIRE_ID_SIZE])
{
	struct ids_name name = {
		.message = m->number,
		.index = index,
		.kind = IDS_RECIPIENT,
		.key = m->key,
	};
	int err = read_mailbox(mailbox, &n->mailbox);

	if (err != 0)
		return err;
	wire_mailbox_from_name(&n->mailbox, n->recipient, recipient);
	return ids_make(ids, &name, id);
}

int notice_make(const struct settings *s, const struct ids *ids, const struct db_message *m,
                uint32_t index, struct span mailbox, struct notice *n,
                struct wire_notification *out)
{
	struct mailbox sender;
	int err;

	memset(out, 0, sizeof(*out));
	err = notice_addressee(ids, m, index, mailbox, n, &out->recipient, out->id);
	if (err == 0)
		err = read_mailbox(m->sender, &sender);
	if (err == 0)
		err = wire_location_from_name(settings_domain_for(s, mailbox_domain(&sender)),
		                              n->store, &out->store_tls);
	if (err != 0)
		return err;
	out->has_store_tls = true;
	out->sender = span_str(name_format_mailbox(&sender, n->sender, sizeof(n->sender)));
	out->has_size = out->has_digest = out->has_expires = out->has_submitted = true;
	out->size = m->size_octets;
	memcpy(out->digest, m->digest, sizeof(out->digest));
	out->expires = m->expires_us;
	out->submitted = m->submitted_us;
	out->has_header = m->excerpt.n > 0;
	out->header = m->excerpt;
	out->has_structure = m->structure.n > 0 && m->structure.n <= LIMIT_STRUCTURE_OCTETS;
	if (out->has_structure)
		out->structure = m->structure;
	return 0;
}
