/*
 * Load on a message store: submissions over kept or new connections, so many at
 * once, durable before each answer. Prints one JSON object.
 *
 *   bench_submit --address 127.0.0.1:4401 --domain a.example --ca ca.pem
 *       --account alice --password secret [--at-once 50] [--count 10000]
 *       [--size 4096] [--recipient bob@b.example] [--new] [--flight]
 *
 * --new: a connection for each message. --flight: envelope and octets in one flight (else the
 * octets wait for the envelope's answer).
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "session/client.h"
#include "wire/frame.h"
#include "wire/msoap.h"

struct bench {
	struct address address;
	const char *domain, *account, *password, *recipient;
	uint64_t at_once, count, size;
	bool fresh, flight;
	struct loop *loop;
	struct locator *locator;
	struct tls_config *tls;
	uint8_t *chunk; /* frame of the one submitChunk */
	struct span chunk_frame;
	uint64_t begun, done;
	uint64_t *latency_us;
};

/* One connection: a message at a time. */
struct lane {
	struct bench *bench;
	struct client *client;
	uint64_t started_us;
	bool ended;
};

static void lane_next(struct lane *l);

static void fatal(const char *what)
{
	fprintf(stderr, "bench_submit: %s\n", what);
	exit(1);
}

static void on_failed(void *ctx, int error, const char *why)
{
	(void)ctx, (void)error;
	fatal(why);
}

static void check_ok(struct span body, uint64_t total)
{
	struct msoap_response r;

	if (msoap_response_decode(body, total, &r) != 0) {
		fatal("a response that is none");
	}
	if (r.status != WIRE_STATUS_OK) {
		fatal(wire_status_name(r.status));
	}
}

static void send_frame(struct lane *l, struct span frame,
                       void (*response)(void *ctx, struct span body, uint64_t total))
{
	const struct client_call call = {
		.frame = frame, .response = response, .failed = on_failed, .ctx = l
	};
	struct client_request *request;

	if (client_send(l->client, &call, &request) != 0) {
		fatal("a request could not be queued");
	}
}

static void on_authenticated(void *ctx, struct span body, uint64_t total)
{
	(void)ctx;
	check_ok(body, total);
}

static void on_stored(void *ctx, struct span body, uint64_t total)
{
	struct lane *l = ctx;
	struct bench *b = l->bench;

	check_ok(body, total);
	b->latency_us[b->done++] = clock_mono_us() - l->started_us;
	if (b->done == b->count) {
		loop_stop(b->loop);
	}
	l->ended = true; /* goes on at the end of the turn: a client is not freed in its callback */
}

static void on_envelope(void *ctx, struct span body, uint64_t total)
{
	struct lane *l = ctx;

	check_ok(body, total);
	if (!l->bench->flight) {
		send_frame(l, l->bench->chunk_frame, on_stored);
	}
}

static void send_authenticate(struct lane *l)
{
	struct msoap_command c = { .kind = MSOAP_AUTHENTICATE };
	struct span frame;
	uint8_t buf[512];

	c.u.authenticate.account = span_str(l->bench->account);
	c.u.authenticate.password = span_str(l->bench->password);
	if (msoap_command_encode(&c, buf, sizeof buf, &frame) != 0) {
		fatal("authenticate cannot be encoded");
	}
	send_frame(l, frame, on_authenticated);
}

static void send_envelope(struct lane *l)
{
	struct msoap_command c = { .kind = MSOAP_SUBMIT_ENVELOPE };
	uint8_t buf[1024], list[512], labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;
	struct wire_mailbox to;
	struct mailbox name;
	struct span frame;

	if (name_parse_mailbox(span_str(l->bench->recipient), &name) != 0) {
		fatal("--recipient is no mailbox");
	}
	wire_mailbox_from_name(&name, labels, &to);
	wire_list_writer_init(&w, list, sizeof list);
	if (wire_mailbox_append(&w, &to) != 0) {
		fatal("the envelope cannot be encoded");
	}
	c.u.submit_envelope.has_recipients = true;
	c.u.submit_envelope.recipients = wire_list_view(&w);
	c.u.submit_envelope.has_size = true;
	c.u.submit_envelope.size = l->bench->size;
	if (msoap_command_encode(&c, buf, sizeof buf, &frame) != 0) {
		fatal("the envelope cannot be encoded");
	}
	send_frame(l, frame, on_envelope);
}

static void lane_connect(struct lane *l)
{
	struct bench *b = l->bench;
	const struct client_options options = {
		.domain = b->domain,
		.service = LOCATE_MSOAP,
		.dial = { .locator = b->locator,
		          .tls = b->tls,
		          .allow_private = true,
		          .literals = &b->address,
		          .n_literals = 1 },
	};

	client_free(l->client);
	if (client_create(b->loop, &options, &l->client) != 0) {
		fatal("no client");
	}
	send_authenticate(l);
}

static void lane_next(struct lane *l)
{
	struct bench *b = l->bench;

	if (b->begun == b->count) {
		return;
	}
	b->begun++;
	l->started_us = clock_mono_us();
	if (l->client == NULL || b->fresh) {
		lane_connect(l);
	}
	send_envelope(l);
	if (b->flight) {
		send_frame(l, b->chunk_frame, on_stored);
	}
}

/* At the end of each turn, those that are done go on. */
struct turn {
	struct loop_hook hook; /* first */
	struct bench *bench;
	struct lane *lanes;
};

static void on_turn(struct loop_hook *hook)
{
	struct turn *t = (struct turn *)hook;

	for (uint64_t i = 0; i < t->bench->at_once; i++) {
		if (t->lanes[i].ended) {
			t->lanes[i].ended = false;
			lane_next(&t->lanes[i]);
		}
	}
}

static void make_chunk(struct bench *b)
{
	static const char head[] = "From: alice@a.example\r\nTo: bob@b.example\r\n"
				   "Subject: a message of the benchmark\r\n\r\n";
	struct msoap_command c = { .kind = MSOAP_SUBMIT_CHUNK };
	uint8_t *message = malloc(b->size);
	size_t cap = b->size + 256;

	b->chunk = malloc(cap);
	if (message == NULL || b->chunk == NULL || b->size < sizeof head) {
		fatal("--size is too small, or memory is out");
	}
	memset(message, 'x', b->size);
	memcpy(message, head, sizeof head - 1);
	for (size_t i = sizeof head + 76; i + 2 < b->size; i += 78) {
		memcpy(message + i, "\r\n", 2);
	}
	c.u.submit_chunk.is_last = true;
	c.u.submit_chunk.data.size = b->size;
	c.u.submit_chunk.data.here = span_of(message, b->size);
	if (msoap_command_encode(&c, b->chunk, cap, &b->chunk_frame) != 0) {
		fatal("the chunk cannot be encoded");
	}
	free(message);
}

static int compare(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

static void report(struct bench *b, uint64_t took_us)
{
	qsort(b->latency_us, b->done, sizeof b->latency_us[0], compare);
	printf("{\"messages\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%llu,"
	       "\"p99_us\":%llu}\n",
	       (unsigned long long)b->done, (double)took_us / 1e6,
	       (double)b->done * 1e6 / (double)took_us,
	       (unsigned long long)b->latency_us[b->done / 2],
	       (unsigned long long)b->latency_us[b->done * 99 / 100]);
}

static void run(struct bench *b)
{
	struct lane *lanes = calloc(b->at_once, sizeof *lanes);
	struct turn turn = { .hook = { .run = on_turn }, .bench = b, .lanes = lanes };
	uint64_t start_us = clock_mono_us();

	b->latency_us = calloc(b->count, sizeof *b->latency_us);
	if (lanes == NULL || b->latency_us == NULL) {
		fatal("memory is out");
	}
	loop_hook_add(b->loop, &turn.hook);
	for (uint64_t i = 0; i < b->at_once; i++) {
		lanes[i].bench = b;
		lane_next(&lanes[i]);
	}
	loop_run(b->loop);
	report(b, clock_mono_us() - start_us);
	loop_hook_remove(b->loop, &turn.hook);
	for (uint64_t i = 0; i < b->at_once; i++) {
		client_free(lanes[i].client);
	}
	free(lanes);
	free(b->latency_us);
}

static void parse(int argc, char **argv, struct bench *b, const char **ca)
{
	static const struct option options[] = {
		{ "address", required_argument, NULL, 'a' },
		{ "domain", required_argument, NULL, 'd' },
		{ "ca", required_argument, NULL, 'c' },
		{ "account", required_argument, NULL, 'u' },
		{ "password", required_argument, NULL, 'p' },
		{ "at-once", required_argument, NULL, 'n' },
		{ "count", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 's' },
		{ "recipient", required_argument, NULL, 'r' },
		{ "new", no_argument, NULL, 'N' },
		{ "flight", no_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	bool good = true, addressed = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			addressed = address_parse(optarg, &b->address) == 0;
			break;
		case 'd':
			b->domain = optarg;
			break;
		case 'c':
			*ca = optarg;
			break;
		case 'u':
			b->account = optarg;
			break;
		case 'p':
			b->password = optarg;
			break;
		case 'r':
			b->recipient = optarg;
			break;
		case 'n':
			good = good && text_parse_number(optarg, 10000, &b->at_once) == 0;
			break;
		case 'm':
			good = good && text_parse_number(optarg, 100000000, &b->count) == 0;
			break;
		case 's':
			good = good && text_parse_size(optarg, &b->size) == 0;
			break;
		case 'N':
			b->fresh = true;
			break;
		case 'f':
			b->flight = true;
			break;
		default:
			good = false;
		}
	}
	if (!good || !addressed || b->domain == NULL || b->account == NULL || b->password == NULL ||
	    *ca == NULL || b->at_once == 0 || b->count == 0) {
		fatal("wants --address, --domain, --ca, --account, --password; see the source");
	}
}

int main(int argc, char **argv)
{
	struct bench b = {
		.at_once = 1, .count = 1000, .size = 4096, .recipient = "bob@b.example"
	};
	struct locate_options locate = { 0 };
	struct tls_options tls = { 0 };
	struct err_text e;

	parse(argc, argv, &b, &tls.ca_file);
	make_chunk(&b);
	if (loop_create(&b.loop) != 0 || tls_config_create(&tls, &b.tls, &e) != 0 ||
	    locator_create(b.loop, &locate, &b.locator, &e) != 0) {
		fatal("cannot start");
	}
	run(&b);
	locator_free(b.locator);
	tls_config_drop(b.tls);
	loop_free(b.loop);
	free(b.chunk);
	return 0;
}
