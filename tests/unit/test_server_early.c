/* Server sessions that begin by TLS early data: what is done before the handshake is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "session/server.h"
#include "tls_wire.h"
#include "wire/early.h"
#include "wire/frame.h"
#include "wire/msoap.h"
#include "wire/msrap.h"
#include "wire/rnaqp.h"

static const uint8_t some_id[WIRE_ID_SIZE] = { 1, 2, 3 };

static size_t add_msoap(struct buf *out, enum msoap_kind kind, bool with_id)
{
	struct msoap_command c = { .kind = kind };
	uint8_t room[1024];
	struct span frame;

	if (kind == MSOAP_AUTHENTICATE) {
		c.u.authenticate.account = span_str("alice");
		c.u.authenticate.password = span_str("x");
	} else if (kind == MSOAP_SUBMIT_ENVELOPE) {
		c.u.submit_envelope.has_submission_id = with_id;
	} else if (kind == MSOAP_SUBMIT_CHUNK) {
		c.u.submit_chunk.is_last = true;
		c.u.submit_chunk.data.size = 5;
		c.u.submit_chunk.data.here = span_str("hello");
	} else {
		memcpy(c.u.track.id, some_id, sizeof some_id);
	}
	assert_int_equal(msoap_command_encode(&c, room, sizeof room, &frame), 0);
	assert_int_equal(buf_add(out, frame.p, frame.n), 0);
	return frame.n;
}

/* Which commands may be early, and that half of one may not. */
static void test_harmless_commands(void **state)
{
	static const struct {
		enum msoap_kind kind;
		bool with_id, allowed;
	} cases[] = {
		{ MSOAP_AUTHENTICATE, false, true },     { MSOAP_SUBMIT_ENVELOPE, true, true },
		{ MSOAP_SUBMIT_ENVELOPE, false, false }, { MSOAP_SUBMIT_CHUNK, false, true },
		{ MSOAP_TRACK, false, false },           { MSOAP_CANCEL, false, false },
		{ MSOAP_RELEASE, false, false },         { MSOAP_FORGET, false, false },
	};
	static const bool msrap[MSRAP_KIND_COUNT] = {
		[MSRAP_SCAN_LIST] = true, [MSRAP_SILENCE] = true,  [MSRAP_UNPIN] = true,
		[MSRAP_QUERY_SIZE] = true, [MSRAP_RETRIEVE] = true, [MSRAP_REFUSE] = true,
		[MSRAP_LIST_INFO] = true,
	};
	uint8_t room[1024];
	struct span frame, body;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b;

		buf_init(&b, 0);
		add_msoap(&b, cases[i].kind, cases[i].with_id);
		body = span_after(buf_view(&b), FRAME_PREFIX);
		if (early_allowed("im2000-msoap/1", body, body.n) != cases[i].allowed)
			fail_msg("%s", msoap_kind_name(cases[i].kind));
		assert_false(early_allowed("im2000-rnasp/1", body, body.n));
		assert_false(early_allowed("", body, body.n));
		if (cases[i].kind != MSOAP_SUBMIT_CHUNK) /* of which the head is enough */
			assert_false(early_allowed("im2000-msoap/1", span_of(body.p, body.n - 1), body.n));
		buf_free(&b);
	}
	for (enum msrap_kind kind = MSRAP_SCAN_LIST; kind < MSRAP_KIND_COUNT; kind++) {
		const struct msrap_command c = { .kind = kind };

		if (msrap_command_encode(&c, room, sizeof room, &frame) != 0)
			continue; /* it wants a name, say */
		body = span_after(frame, FRAME_PREFIX);
		if (early_allowed("im2000-msrap/1", body, body.n) != msrap[kind])
			fail_msg("%s", msrap_kind_name(kind));
	}
	for (enum rnaqp_kind kind = RNAQP_AUTHENTICATE; kind < RNAQP_KIND_COUNT; kind++) {
		const struct rnaqp_command c = { .kind = kind };

		if (rnaqp_command_encode(&c, room, sizeof room, &frame) != 0)
			continue;
		body = span_after(frame, FRAME_PREFIX);
		if (early_allowed("im2000-rnaqp/1", body, body.n)
		    != (kind == RNAQP_AUTHENTICATE || kind == RNAQP_RETRIEVE))
			fail_msg("%s", rnaqp_kind_name(kind));
	}
}

/* A protocol that keeps its commands' kinds, and answers each at once. */
struct heard {
	struct server_session *session;
	enum msoap_kind kinds[8];
	int n;
};

static int heard_open(struct server_session *s, void *app, void **state)
{
	struct heard *h = app;

	h->session = s;
	*state = h;
	return 0;
}

static enum server_frame heard_classify(void *state, struct span head, uint64_t total)
{
	(void)state, (void)head, (void)total;
	return SERVER_TOO_BIG;
}

static void heard_command(void *state, struct span body, uint64_t total)
{
	struct heard *h = state;

	assert_true(h->n < 8);
	assert_int_equal(msoap_command_peek(body, total, &h->kinds[h->n++]), 0);
	server_reply_error(h->session, WIRE_STATUS_TRY_LATER, false, NULL, -1, false);
}

static void heard_nothing(void *state)
{
	(void)state;
}

static void heard_close(void *state)
{
	struct heard *h = state;

	h->session = NULL;
}

/* Accepts as the listener does: a session as soon as the stream is open. */
struct guest {
	struct stream *s;
	struct heard heard;
	struct server_limits limits;
	struct server_session *session;
};

static const struct server_protocol heard_protocol = {
	.alpn = "im2000-msoap/1",
	.open = heard_open,
	.classify = heard_classify,
	.command = heard_command,
	.wake = heard_nothing,
	.writable = heard_nothing,
	.close = heard_close,
};

static void guest_opened(void *ctx)
{
	struct guest *g = ctx;

	assert_int_equal(server_start(l, g->s, &heard_protocol, &g->limits, &g->heard, NULL, NULL,
	                              &g->session), 0);
}

/* What is not harmless, and all after it, waits for the flight that proves the client alive. */
static void test_session_waits(void **state)
{
	static const struct stream_handler guest_handler = { .opened = guest_opened };
	static const struct {
		enum msoap_kind said[4];
		bool with_id;
		int early, all;
	} cases[] = {
		{ { MSOAP_AUTHENTICATE, MSOAP_SUBMIT_ENVELOPE, MSOAP_SUBMIT_CHUNK }, true, 3, 3 },
		{ { MSOAP_AUTHENTICATE, MSOAP_SUBMIT_ENVELOPE, MSOAP_SUBMIT_CHUNK }, false, 1, 3 },
		{ { MSOAP_AUTHENTICATE, MSOAP_TRACK, MSOAP_AUTHENTICATE, MSOAP_CANCEL }, true, 1, 4 },
		{ { MSOAP_FORGET, MSOAP_AUTHENTICATE }, true, 0, 2 },
	};
	struct tls_config *server = wire_server_config(), *client = wire_client_config();

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int cut = 0; cut < 2; cut++) { /* CUT: the client never comes back */
			struct pair p = { 0 };
			struct guest g = { 0 };
			struct buf said;
			struct wire w;
			int ends[2];

			server_limits_default(&g.limits);
			buf_init(&said, 0);
			for (int k = 0; k < cases[i].all; k++)
				add_msoap(&said, cases[i].said[k], cases[i].with_id);
			wire_get_tickets(server, client);
			wire_ends(&w, ends);
			wire_connect_early(&p, NULL, client, ends, buf_view(&said));
			assert_int_equal(tls_accept(l, ends[1], server, pair_protocols, &g.s), 0);
			stream_set_handler(g.s, &guest_handler, &g);
			assert_true(wire_collect(&w));
			wire_pass(&w, 0, w.server);
			if (g.heard.n != cases[i].early)
				fail_msg("case %zu: %d were done early", i, g.heard.n);
			if (cut) {
				shutdown(w.server, SHUT_RDWR);
				run_for(10);
				assert_int_equal(g.heard.n, cases[i].early);
				assert_null(g.heard.session);
			} else {
				wire_answer(&w);
				assert_true(wire_collect(&w));
				wire_pass(&w, 1, w.server);
				assert_int_equal(g.heard.n, cases[i].all);
				for (int k = 0; k < cases[i].all; k++)
					assert_int_equal(g.heard.kinds[k], cases[i].said[k]);
				server_kill(g.session);
			}
			wire_close(&w);
			buf_free(&said);
			pair_free(&p);
		}
	tls_config_drop(server);
	tls_config_drop(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_harmless_commands),
		CASE(test_session_waits),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
