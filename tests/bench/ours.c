#include "tests/bench/ours.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/bench/tool.h"
#include "wire/frame.h"

/* All frames but chunks and large envelopes fit in it. */
#define FRAME_ROOM ((size_t)LIMIT_ENVELOPE_OCTETS + 1024)

static uint8_t *frame_room(void)
{
	static uint8_t room[FRAME_ROOM];

	return room;
}

static void add_frame(struct buf *out, int err, struct span frame)
{
	if (err == 0)
		err = buf_add(out, frame.p, frame.n);
	if (err != 0)
		tool_fatal("a command cannot be encoded: %s", err_phrase(err));
}

void ours_msoap(struct buf *out, const struct msoap_command *c)
{
	struct span frame = { 0 };
	int err = msoap_command_encode(c, frame_room(), FRAME_ROOM, &frame);

	add_frame(out, err, frame);
}

void ours_msrap(struct buf *out, const struct msrap_command *c)
{
	struct span frame = { 0 };
	int err = msrap_command_encode(c, frame_room(), FRAME_ROOM, &frame);

	add_frame(out, err, frame);
}

void ours_rnasp(struct buf *out, const struct rnasp_command *c)
{
	struct span frame = { 0 };
	int err = rnasp_command_encode(c, frame_room(), FRAME_ROOM, &frame);

	add_frame(out, err, frame);
}

void ours_rnaqp(struct buf *out, const struct rnaqp_command *c)
{
	struct span frame = { 0 };
	int err = rnaqp_command_encode(c, frame_room(), FRAME_ROOM, &frame);

	add_frame(out, err, frame);
}

void ours_msoap_login(struct buf *out, const char *account, const char *password)
{
	struct msoap_command c = { .kind = MSOAP_AUTHENTICATE };

	c.u.authenticate.account = span_str(account);
	c.u.authenticate.password = span_str(password);
	ours_msoap(out, &c);
}

void ours_rnaqp_login(struct buf *out, const char *account, const char *password)
{
	struct rnaqp_command c = { .kind = RNAQP_AUTHENTICATE };

	c.u.authenticate.account = span_str(account);
	c.u.authenticate.password = span_str(password);
	ours_rnaqp(out, &c);
}

void ours_mailbox(const char *pattern, uint64_t number, struct mailbox *out)
{
	char text[NAME_MAILBOX_MAX + 64];
	size_t n = 0;

	for (const char *p = pattern; *p != '\0' && n < NAME_MAILBOX_MAX; p++) {
		uint64_t shown = *p == '%' ? number % OURS_DOMAINS : number;

		if (*p == '#' || *p == '%')
			n += (size_t)snprintf(text + n, sizeof text - n, "%llu",
			                      (unsigned long long)shown);
		else
			text[n++] = *p;
	}
	if (name_parse_mailbox(span_of(text, n), out) != 0)
		tool_fatal("%s with %llu is no mailbox", pattern, (unsigned long long)number);
}

void ours_notification(struct wire_notification *n, const char *sender, const struct mailbox *to,
                       const uint8_t id[WIRE_ID_SIZE])
{
	static uint8_t domain[WIRE_LABELS_MAX], labels[WIRE_LABELS_MAX];
	static const char header[] = "From: Alice <alice@a.example>\r\nTo: <bob@b.example>\r\n"
				     "Subject: a message of the benchmark\r\n"
				     "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
				     "Message-ID: <1@bench.example>\r\n\r\n";
	static const char structure[] = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
					"\"7bit\" 3900 50)";

	*n = (struct wire_notification) {
		.has_store_tls = true,
		.sender = span_str(sender),
		.has_size = true,
		.size = 4096,
		.has_digest = true,
		.has_expires = true,
		.expires = clock_now_us() + 30 * CLOCK_DAY_US,
		.has_submitted = true,
		.submitted = clock_now_us(),
		.has_header = true,
		.header = span_of(header, sizeof header - 1),
		.has_structure = true,
		.structure = span_of(structure, sizeof structure - 1),
	};
	memcpy(n->id, id, WIRE_ID_SIZE);
	wire_mailbox_from_name(to, labels, &n->recipient);
	if (wire_location_from_name(strchr(sender, '@') + 1, domain, &n->store_tls) != 0)
		tool_fatal("%s has no domain", sender);
}

void ours_envelope(struct buf *out, const struct ours_envelope *e)
{
	struct msoap_command c = { .kind = MSOAP_SUBMIT_ENVELOPE };
	struct msoap_submit_envelope *s = &c.u.submit_envelope;
	size_t cap = 512 * (e->count > 0 ? e->count : 1);
	uint8_t *list = tool_zero(cap);
	uint8_t labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;

	wire_list_writer_init(&w, list, cap);
	for (uint64_t i = 0; i < e->count; i++) {
		struct wire_mailbox to;
		struct mailbox name;

		ours_mailbox(e->recipient, e->first + i, &name);
		wire_mailbox_from_name(&name, labels, &to);
		if (wire_mailbox_append(&w, &to) != 0)
			tool_fatal("the envelope cannot be encoded");
	}
	s->has_recipients = true;
	s->recipients = wire_list_view(&w);
	s->has_size = true;
	s->size = e->size;
	s->has_release_at = e->later;
	s->release_at = clock_now_us() + CLOCK_HOUR_US;
	s->has_submission_id = e->id != NULL;
	if (e->id != NULL)
		memcpy(s->submission_id, e->id, WIRE_ID_SIZE);
	ours_msoap(out, &c);
	free(list);
}

void ours_chunk(struct buf *out, struct span message)
{
	struct msoap_command c = { .kind = MSOAP_SUBMIT_CHUNK };

	c.u.submit_chunk.is_last = true;
	c.u.submit_chunk.data.size = message.n;
	c.u.submit_chunk.data.here = span_of(message.p, 0);
	/* Only the head; the octets come right after it. */
	ours_msoap(out, &c);
	if (buf_add(out, message.p, message.n) != 0)
		tool_fatal("memory is out");
}

size_t ours_frame(struct span octets, struct span *body)
{
	size_t n;

	if (octets.n < FRAME_PREFIX)
		return 0;
	n = frame_length(octets.p);
	if (octets.n - FRAME_PREFIX < n)
		return 0;
	*body = span_of(octets.p + FRAME_PREFIX, n);
	return FRAME_PREFIX + n;
}

static void check(int err, enum wire_status status, struct span text)
{
	if (err != 0)
		tool_fatal("a response that is none: %s", err_phrase(err));
	if (status != WIRE_STATUS_OK)
		tool_fatal("%s: %.*s", wire_status_name(status), (int)text.n,
		           text.n > 0 ? (const char *)text.p : "");
}

void ours_msoap_ok(struct span body, enum msoap_kind kind, struct msoap_response *r)
{
	int err = msoap_response_decode(body, body.n, r);

	check(err, r->status, r->text);
	if (r->kind != kind)
		tool_fatal("the response is to %s, not to %s", msoap_kind_name(r->kind),
		           msoap_kind_name(kind));
}

void ours_rnasp_ok(struct span body, struct rnasp_response *r)
{
	int err = rnasp_response_decode(body, body.n, r);

	check(err, r->status, r->text);
}

void ours_rnaqp_ok(struct span body, struct rnaqp_response *r)
{
	int err = rnaqp_response_decode(body, body.n, r);

	check(err, r->status, r->text);
}
