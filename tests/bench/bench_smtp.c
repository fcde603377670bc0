/*
 * The peer of bench_submit: the same load on an SMTP server (RFC 5321, 6409) with TLS from the
 * first octet (RFC 8314), AUTH PLAIN (RFC 4954) and pipelining (RFC 2920), or on an LMTP server
 * (RFC 2033) in the clear. Prints one JSON object.
 *
 * Each connection sends one message that is not counted; the clock starts when all have.
 *
 * --new: a connection for each message. --resume: with the tickets of earlier ones.
 * --lmtp: no TLS, no AUTH. --recipients N: N of them a message; --to then has a '#'.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"

struct bench {
	struct address address;
	const char *domain, *ca, *account, *password, *to;
	uint64_t at_once, count, size, seconds, recipients;
	bool fresh, resume, lmtp;
	struct load *load;
	struct target *target;
	struct buf login, envelope, body;
	uint64_t warm, begun, done, start_us, end_us;
	struct tool_times times;
};

enum phase { GREETING, HELLO, LOGIN, ENVELOPE, BODY };

struct lane {
	struct bench *bench;
	struct lane *all;
	struct conn *conn;
	enum phase phase;
	uint64_t replies; /* that the phase still waits for */
	uint64_t started_us;
	bool warm;
};

static const struct conn_handler handler;

static void say(struct lane *l, enum phase phase, uint64_t replies, struct span octets)
{
	l->phase = phase;
	l->replies = replies;
	conn_write(l->conn, octets.p, octets.n);
}

static void send_envelope(struct lane *l)
{
	struct bench *b = l->bench;

	say(l, ENVELOPE, 2 + b->recipients, buf_view(&b->envelope));
}

static void lane_next(struct lane *l)
{
	struct bench *b = l->bench;

	if (l->warm)
		b->begun++;
	l->started_us = clock_mono_us();
	if (l->conn != NULL) {
		send_envelope(l);
		return;
	}
	l->conn = conn_open(b->target, &handler, l);
	l->phase = GREETING;
	l->replies = 1;
}

static bool is_over(struct bench *b)
{
	return b->begun == b->count || (b->seconds > 0 && clock_mono_us() >= b->end_us);
}

static void on_stored(struct lane *l)
{
	struct bench *b = l->bench;

	if (b->fresh) {
		conn_write(l->conn, "QUIT\r\n", 6);
		conn_finish(l->conn);
		l->conn = NULL;
	}
	if (!l->warm) {
		l->warm = true;
		if (++b->warm < b->at_once)
			return;
		b->start_us = clock_mono_us();
		b->end_us = b->start_us + b->seconds * CLOCK_SECOND_US;
		for (uint64_t i = 0; i < b->at_once && !is_over(b); i++)
			lane_next(&l->all[i]);
		return;
	}
	tool_times_add(&b->times, clock_mono_us() - l->started_us);
	b->done++;
	if (!is_over(b))
		lane_next(l);
	else if (b->done == b->begun)
		load_stop(b->load);
}

static void on_phase_done(struct lane *l)
{
	struct bench *b = l->bench;

	switch (l->phase) {
	case GREETING:
		say(l, HELLO, 1, span_str(b->lmtp ? "LHLO bench.example\r\n" : "EHLO bench.example\r\n"));
		break;
	case HELLO:
		if (b->lmtp)
			send_envelope(l);
		else
			say(l, LOGIN, 1, buf_view(&b->login));
		break;
	case LOGIN:
		send_envelope(l);
		break;
	case ENVELOPE:
		say(l, BODY, b->lmtp ? b->recipients : 1, buf_view(&b->body));
		break;
	case BODY:
		on_stored(l);
		break;
	}
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct lane *l = ctx;
	size_t all = 0;

	while (l->conn == c) {
		struct span rest = span_after(octets, all);
		const uint8_t *end = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
		size_t n;

		if (end == NULL)
			break;
		n = (size_t)(end - rest.p) + 1;
		all += n;
		if (n < 5 || (rest.p[0] != '2' && rest.p[0] != '3'))
			tool_fatal("the server says: %.*s", (int)n, (const char *)rest.p);
		if (rest.p[3] != '-' && --l->replies == 0)
			on_phase_done(l);
	}
	return all;
}

static const struct conn_handler handler = { .received = on_received };

static void make_login(struct bench *b)
{
	size_t account = strlen(b->account), password = strlen(b->password);
	size_t n = account + password + 2;
	unsigned char *plain = tool_zero(n), *text = tool_zero(2 * n + 4);

	memcpy(plain + 1, b->account, account);
	memcpy(plain + account + 2, b->password, password);
	EVP_EncodeBlock(text, plain, (int)n);
	buf_addf(&b->login, "AUTH PLAIN %s\r\n", (const char *)text);
	free(plain);
	free(text);
}

static void make_commands(struct bench *b)
{
	char *message = tool_message(b->size, "alice@a.example", b->to);

	if (!b->lmtp)
		make_login(b);
	buf_add_str(&b->envelope, "MAIL FROM:<alice@a.example>\r\n");
	for (uint64_t i = 0; i < b->recipients; i++) {
		struct mailbox m;

		ours_mailbox(b->to, i, &m);
		buf_addf(&b->envelope, "RCPT TO:<%s>\r\n", m.text);
	}
	buf_add_str(&b->envelope, "DATA\r\n");
	if (buf_add_str(&b->body, message) != 0 || buf_add_str(&b->body, ".\r\n") != 0)
		tool_fatal("memory is out");
	free(message);
}

static void run(struct bench *b)
{
	struct lane *lanes = tool_zero(b->at_once * sizeof *lanes);

	make_commands(b);
	for (uint64_t i = 0; i < b->at_once; i++) {
		lanes[i].bench = b;
		lanes[i].all = lanes;
		lane_next(&lanes[i]);
	}
	load_run(b->load, 0);
	tool_report(b->done, clock_mono_us() - b->start_us, &b->times);
	tool_report_number("handshakes", target_handshakes(b->target));
	tool_report_number("resumed", target_resumed(b->target));
	tool_report_end();
	target_free(b->target);
	load_free(b->load);
	buf_free(&b->login);
	buf_free(&b->envelope);
	buf_free(&b->body);
	free(lanes);
}

int main(int argc, char **argv)
{
	struct bench b = { .at_once = 1, .count = 1000, .size = 4096, .recipients = 1 };
	const struct tool_option options[] = {
		{ "address", TOOL_ADDRESS, &b.address, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "domain", TOOL_TEXT, &b.domain, false },
		{ "ca", TOOL_TEXT, &b.ca, false },
		{ "account", TOOL_TEXT, &b.account, false },
		{ "password", TOOL_TEXT, &b.password, false },
		{ "recipients", TOOL_NUMBER, &b.recipients, false },
		{ "at-once", TOOL_NUMBER, &b.at_once, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "seconds", TOOL_NUMBER, &b.seconds, false },
		{ "size", TOOL_SIZE, &b.size, false },
		{ "new", TOOL_FLAG, &b.fresh, false },
		{ "resume", TOOL_FLAG, &b.resume, false },
		{ "lmtp", TOOL_FLAG, &b.lmtp, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options target = { .quick_ack = true };

	tool_options(argc, argv, options);
	if (b.at_once == 0 || b.count == 0)
		tool_fatal("nothing to do");
	if (!b.lmtp && (b.domain == NULL || b.ca == NULL || b.account == NULL || b.password == NULL))
		tool_fatal("wanted are --domain, --ca, --account and --password, or --lmtp");
	target.address = b.address;
	target.domain = b.domain;
	target.ca_file = b.lmtp ? NULL : b.ca;
	target.resume = b.resume;
	b.load = load_create();
	b.target = target_create(b.load, &target);
	run(&b);
	return 0;
}
