#include "wire/common.h"

#include <string.h>

#include "base/err.h"
#include "wire/frame.h"
#include "wire/schema.h"

/* ---- the tables of IM2000-Common ---- */

const struct schema schema_nothing = { 0 };

const struct schema_field schema_text_element = { .type = SCHEMA_TEXT };
const struct schema_field schema_cursor_element = { .type = SCHEMA_UINT };
const struct schema_field schema_digest_element = { .type = SCHEMA_FIXED, .n = WIRE_DIGEST_SIZE };

static const struct schema_field mailbox_fields[] = {
	TEXT_M(0, struct wire_mailbox, local),
	LIST_M(1, struct wire_mailbox, domain, schema_text_element),
};
const struct schema schema_mailbox = SCHEMA_OF(mailbox_fields, struct wire_mailbox);
const struct schema_field schema_mailbox_element = {
	.type = SCHEMA_SEQUENCE, .sub = &schema_mailbox,
};

static const struct schema_field address_fields[] = {
	SCHEMA_ELEMENT(0, SCHEMA_FIXED, struct wire_address, u.v4, uint8_t *,
	               .n = 4, .kind = WIRE_ADDRESS_V4),
	SCHEMA_ELEMENT(1, SCHEMA_FIXED, struct wire_address, u.v6, uint8_t *,
	               .n = 16, .kind = WIRE_ADDRESS_V6),
};
static const struct schema address_choice = {
	SCHEMA_FIELDS(address_fields),
	.kind_at = SCHEMA_AT(struct wire_address, kind, uint32_t),
	.size = sizeof(struct wire_address),
};

static const struct schema_field endpoint_fields[] = {
	CHOICE_M(0, struct wire_endpoint, address, struct wire_address, address_choice),
	SCHEMA_ELEMENT(1, SCHEMA_PORT, struct wire_endpoint, port, uint16_t, .n = 0),
};
const struct schema schema_endpoint = SCHEMA_OF(endpoint_fields, struct wire_endpoint);
const struct schema_field schema_endpoint_element = {
	.type = SCHEMA_SEQUENCE, .sub = &schema_endpoint,
};

static const struct schema_field location_fields[] = {
	SCHEMA_ELEMENT(0, SCHEMA_LIST, struct wire_location, u.literals, struct wire_list,
	               .kind = WIRE_LOCATION_LITERALS, .element = &schema_endpoint_element),
	SCHEMA_ELEMENT(1, SCHEMA_LIST, struct wire_location, u.domain, struct wire_list,
	               .kind = WIRE_LOCATION_DOMAIN, .element = &schema_text_element),
};
const struct schema schema_location = {
	SCHEMA_FIELDS(location_fields),
	.kind_at = SCHEMA_AT(struct wire_location, kind, uint32_t),
	.size = sizeof(struct wire_location),
};

static const struct schema_field notification_fields[] = {
	CHOICE_M(0, struct wire_notification, store_clear, struct wire_location, schema_location),
	CHOICE_O(1, struct wire_notification, store_tls, struct wire_location, schema_location),
	SEQUENCE_M(2, struct wire_notification, recipient, struct wire_mailbox, schema_mailbox),
	FIXED_M(3, struct wire_notification, id),
	TEXT_M(4, struct wire_notification, sender),
	UINT_O(5, struct wire_notification, size),
	FIXED_O(6, struct wire_notification, digest),
	UINT_O(7, struct wire_notification, expires),
	UINT_O(8, struct wire_notification, submitted),
	OCTETS_O(9, struct wire_notification, header),
	TEXT_O(10, struct wire_notification, structure),
	TEXT_O(11, struct wire_notification, list),
};
const struct schema schema_notification =
	SCHEMA_OF(notification_fields, struct wire_notification);
const struct schema_field schema_notification_element = {
	.type = SCHEMA_SEQUENCE, .sub = &schema_notification,
};

/* ---- lists ---- */

void wire_list_writer_init(struct wire_list_writer *w, uint8_t *buf, size_t cap)
{
	*w = (struct wire_list_writer){ .p = buf, .cap = cap };
}

SCHEMA_LIST_FUNCTIONS(wire_mailbox, struct wire_mailbox, schema_mailbox_element)
SCHEMA_LIST_FUNCTIONS(wire_endpoint, struct wire_endpoint, schema_endpoint_element)
SCHEMA_LIST_FUNCTIONS(wire_notification, struct wire_notification, schema_notification_element)

bool wire_text_next(struct wire_list *rest, struct span *out)
{
	return schema_next(&schema_text_element, rest, out);
}

int wire_text_append(struct wire_list_writer *w, struct span text)
{
	return schema_append(&schema_text_element, w, &text);
}

bool wire_cursor_next(struct wire_list *rest, uint64_t *out)
{
	return schema_next(&schema_cursor_element, rest, out);
}

int wire_cursor_append(struct wire_list_writer *w, uint64_t cursor)
{
	return schema_append(&schema_cursor_element, w, &cursor);
}

bool wire_digest_next(struct wire_list *rest, uint8_t out[WIRE_DIGEST_SIZE])
{
	return schema_next(&schema_digest_element, rest, out);
}

int wire_digest_append(struct wire_list_writer *w, const uint8_t digest[WIRE_DIGEST_SIZE])
{
	return schema_append(&schema_digest_element, w, digest);
}

/* ---- names ---- */

/* A label as A-labels are: not empty, ASCII, no dot that would make it two. */
static bool is_label(struct span label)
{
	for (size_t i = 0; i < label.n; i++)
		if (label.p[i] >= 0x80 || label.p[i] == '.')
			return false;
	return label.n > 0;
}

int wire_domain_to_name(const struct wire_list *labels, char out[NAME_DOMAIN_MAX + 1])
{
	struct wire_list rest = *labels;
	struct span label;
	char text[NAME_DOMAIN_MAX];
	size_t n = 0;

	out[0] = '\0';
	while (wire_text_next(&rest, &label)) {
		if (!is_label(label))
			return ERR_MALFORMED;
		if (label.n + (n > 0) > sizeof(text) - n)
			return ERR_TOO_BIG;
		if (n > 0)
			text[n++] = '.';
		memcpy(text + n, label.p, label.n);
		n += label.n;
	}
	return n == 0 ? ERR_MALFORMED : name_parse_domain(span_of(text, n), out);
}

int wire_domain_from_name(const char *domain, uint8_t scratch[WIRE_LABELS_MAX],
                          struct wire_list *out)
{
	struct wire_list_writer w;
	const char *dot;

	*out = (struct wire_list){ 0 };
	wire_list_writer_init(&w, scratch, WIRE_LABELS_MAX);
	for (; domain != NULL; domain = dot != NULL ? dot + 1 : NULL) {
		struct span label = span_str(domain);

		dot = strchr(domain, '.');
		if (dot != NULL)
			label.n = (size_t)(dot - domain);
		if (!is_label(label) || wire_text_append(&w, label) != 0)
			return ERR_MALFORMED;
	}
	*out = wire_list_view(&w);
	return 0;
}

int wire_mailbox_to_name(const struct wire_mailbox *m, struct mailbox *out)
{
	char domain[NAME_DOMAIN_MAX + 1];
	int err = wire_domain_to_name(&m->domain, domain);

	return err != 0 ? err : name_make_mailbox(m->local, span_str(domain), out);
}

void wire_mailbox_from_name(const struct mailbox *m, uint8_t scratch[WIRE_LABELS_MAX],
                            struct wire_mailbox *out)
{
	out->local = mailbox_local(m);
	wire_domain_from_name(mailbox_domain(m), scratch, &out->domain);
}

int wire_location_from_name(const char *domain, uint8_t scratch[WIRE_LABELS_MAX],
                            struct wire_location *out)
{
	*out = (struct wire_location){ .kind = WIRE_LOCATION_DOMAIN };
	return wire_domain_from_name(domain, scratch, &out->u.domain);
}

int wire_location_to_name(const struct wire_location *l, char out[NAME_DOMAIN_MAX + 1])
{
	out[0] = '\0';
	if (l->kind != WIRE_LOCATION_DOMAIN)
		return ERR_NOT_FOUND;
	return wire_domain_to_name(&l->u.domain, out);
}

/* ---- notifications by themselves ---- */

int wire_notification_decode(struct span der, struct wire_notification *out)
{
	struct wire_list one = { .der = der, .count = 1 };

	if (!wire_notification_next(&one, out) || one.der.n != 0) {
		memset(out, 0, sizeof(*out));
		return ERR_MALFORMED;
	}
	return 0;
}

int wire_notification_encode(const struct wire_notification *n, uint8_t *buf, size_t cap,
                             struct span *out)
{
	return schema_encode_element(&schema_notification_element, n, buf, cap, out);
}

int wire_notification_store(const struct wire_notification *n, char out[NAME_DOMAIN_MAX + 1])
{
	out[0] = '\0';
	return n->has_store_tls ? wire_location_to_name(&n->store_tls, out) : ERR_NOT_FOUND;
}

/* ---- PDUs ---- */

int wire_pdu_kind(struct span body, uint64_t total, enum wire_pdu *out)
{
	*out = 0;
	if (total == 0)
		return ERR_MALFORMED;
	if (body.n == 0)
		return ERR_AGAIN;
	if (body.p[0] != DER_CONTEXT_WRAP(WIRE_PDU_COMMAND) &&
	    body.p[0] != DER_CONTEXT_WRAP(WIRE_PDU_RESPONSE))
		return ERR_MALFORMED;
	*out = body.p[0] & 0x1f;
	return 0;
}

int wire_response_status(struct span body, uint64_t total, enum wire_status *out)
{
	struct der_reader r;
	struct der_header h;

	*out = WIRE_STATUS_OK;
	der_reader_init(&r, body, total);
	if (der_next(&r, &h) && h.first == DER_CONTEXT_WRAP(WIRE_PDU_RESPONSE))
		der_enter(&r, &h);
	else
		der_fail(&r, ERR_MALFORMED);
	if (der_next(&r, &h) && h.first == DER_CONTEXT(0))
		der_take_bool(&r, &h);
	else
		der_fail(&r, ERR_MALFORMED);
	if (der_next(&r, &h) && h.first == DER_CONTEXT(1))
		*out = (enum wire_status)der_take_enum(&r, &h);
	else
		der_fail(&r, ERR_MALFORMED);
	return r.err;
}

int wire_error_response(enum wire_status status, bool abort, struct span text, bool has_retry_after,
                        uint64_t retry_after, uint8_t *buf, size_t cap, struct span *out)
{
	struct der_writer w;
	uint8_t prefix[FRAME_PREFIX];
	uint64_t mark;

	der_writer_init(&w, buf, cap);
	if (has_retry_after)
		der_put_uint(&w, DER_CONTEXT(4), retry_after);
	if (text.n > 0)
		der_put_text(&w, DER_CONTEXT(3), text);
	mark = der_mark(&w);
	der_wrap(&w, DER_CONTEXT_WRAP(0), mark); /* none */
	der_wrap(&w, DER_CONTEXT_WRAP(2), mark);
	der_put_uint(&w, DER_CONTEXT(1), status);
	der_put_bool(&w, DER_CONTEXT(0), abort);
	der_wrap(&w, DER_CONTEXT_WRAP(WIRE_PDU_RESPONSE), 0);
	frame_put_length(prefix, (uint32_t)der_mark(&w));
	der_put_raw(&w, span_of(prefix, sizeof(prefix)));
	*out = der_written(&w);
	return w.err;
}
