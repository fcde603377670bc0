/*
 * The peer of bench_pull: whole messages from an IMAP server (RFC 9051) with TLS from the first
 * octet, one FETCH each. Prints one JSON object. Reads `INBOX`, messages 1 to --messages in turn.
 *
 * --seen: BODY[], which sets the flag \Seen; else BODY.PEEK[].
 * --depth N: commands that wait at once. --new: a connection for each, with LOGIN and SELECT.
 * --flight: LOGIN, SELECT and FETCH without waiting for answers.
 * Each connection fetches once before the clock starts.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/bench/load.h"
#include "tests/bench/tool.h"

struct bench {
	struct address address;
	const char *domain, *ca, *account, *password;
	uint64_t count, depth, messages;
	bool fresh, resume, seen, flight;
	struct load *load;
	struct target *target;
	struct conn *conn;
	unsigned step;        /* answers so far on this connection: greeting, LOGIN, SELECT */
	uint64_t begun, done;
	uint64_t start_us, opened_us;
	uint64_t literal;     /* octets of a literal that are to come */
	uint64_t octets;
	uint64_t *began_us;
	struct tool_times times;
};

static const struct conn_handler handler;

static void say(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct bench *b, const char *format, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof text)
		tool_fatal("a command is too long");
	conn_write(b->conn, text, (size_t)n);
}

static void fetch(struct bench *b)
{
	b->began_us[b->begun % b->depth] = b->fresh ? b->opened_us : clock_mono_us();
	say(b, "f FETCH %llu %s\r\n", (unsigned long long)(b->begun % b->messages + 1),
	    b->seen ? "BODY[]" : "BODY.PEEK[]");
	b->begun++;
}

static void login(struct bench *b)
{
	say(b, "l LOGIN %s %s\r\n", b->account, b->password);
}

static void connect_again(struct bench *b)
{
	b->opened_us = clock_mono_us();
	b->step = 0;
	b->conn = conn_open(b->target, &handler, b);
	if (b->flight) {
		login(b);
		say(b, "s SELECT INBOX\r\n");
		fetch(b);
	}
}

static void on_fetched(struct bench *b)
{
	if (b->done > 0)
		tool_times_add(&b->times, clock_mono_us() - b->began_us[b->done % b->depth]);
	b->done++;
	if (b->done == 1) {
		b->start_us = clock_mono_us();
		b->octets = 0;
	}
	if (b->done == b->count + 1) {
		load_stop(b->load);
		return;
	}
	if (b->fresh) {
		conn_write(b->conn, "o LOGOUT\r\n", 10);
		conn_finish(b->conn);
		connect_again(b);
		return;
	}
	while (b->begun < b->count + 1 && b->begun < b->done + b->depth)
		fetch(b);
}

static void on_line(struct bench *b, struct span line)
{
	const uint8_t *mark;

	if (line.p[0] == '*' && b->step > 0) {
		/* A literal begins: its octets follow the line. */
		mark = line.n > 3 && line.p[line.n - 3] == '}' ? memrchr(line.p, '{', line.n) : NULL;
		if (mark != NULL)
			b->literal = strtoull((const char *)mark + 1, NULL, 10);
		return;
	}
	if (line.p[0] == ')' || line.p[0] == ' ')
		return; /* the end of a FETCH after its literal */
	if (line.n < 5 || (memcmp(line.p + 2, "OK", 2) != 0))
		tool_fatal("the server says: %.*s", (int)line.n, (const char *)line.p);
	b->step++;
	if (b->step == 1 && !b->flight)
		login(b);
	else if (b->step == 2 && !b->flight)
		say(b, "s SELECT INBOX\r\n");
	else if (b->step == 3 && !b->flight)
		fetch(b);
	else if (b->step > 3)
		on_fetched(b);
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct bench *b = ctx;
	size_t all = 0;

	while (b->conn == c && all < octets.n) {
		struct span rest = span_after(octets, all);
		const uint8_t *end;
		size_t n;

		if (b->literal > 0) {
			n = rest.n < b->literal ? rest.n : (size_t)b->literal;
			b->literal -= n;
			b->octets += n;
			all += n;
			continue;
		}
		end = memchr(rest.p, '\n', rest.n);
		if (end == NULL)
			break;
		n = (size_t)(end - rest.p) + 1;
		all += n;
		on_line(b, span_of(rest.p, n));
	}
	return all;
}

static const struct conn_handler handler = { .received = on_received };

int main(int argc, char **argv)
{
	struct bench b = { .count = 1000, .depth = 1, .messages = 1 };
	const struct tool_option options[] = {
		{ "address", TOOL_ADDRESS, &b.address, true },
		{ "domain", TOOL_TEXT, &b.domain, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "account", TOOL_TEXT, &b.account, true },
		{ "password", TOOL_TEXT, &b.password, true },
		{ "messages", TOOL_NUMBER, &b.messages, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "depth", TOOL_NUMBER, &b.depth, false },
		{ "new", TOOL_FLAG, &b.fresh, false },
		{ "resume", TOOL_FLAG, &b.resume, false },
		{ "seen", TOOL_FLAG, &b.seen, false },
		{ "flight", TOOL_FLAG, &b.flight, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options target = { .quick_ack = true };

	tool_options(argc, argv, options);
	if (b.count == 0 || b.depth == 0 || b.messages == 0 || (b.fresh && b.depth > 1))
		tool_fatal("--count, --depth and --messages are at least 1, --depth with --new 1");
	target.address = b.address;
	target.domain = b.domain;
	target.ca_file = b.ca;
	target.resume = b.resume;
	b.began_us = tool_zero(b.depth * sizeof *b.began_us);
	b.load = load_create();
	b.target = target_create(b.load, &target);
	connect_again(&b);
	load_run(b.load, 0);
	tool_report(b.done - 1, clock_mono_us() - b.start_us, &b.times);
	tool_report_number("octets", b.octets);
	tool_report_number("resumed", target_resumed(b.target));
	tool_report_end();
	target_free(b.target);
	load_free(b.load);
	free(b.began_us);
	return 0;
}
