/* builds: plain asan tsan */

/* MSOAP watch: changes are told once, to all who wait, and none is missed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/sweep.h"
#include "wire/frame.h"

#define MANY 2500
#define HOUR 3600

static const char *const two[] = { "anna@b.example", "bob@b.example", NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
static uint8_t id[16];
static uint64_t number; /* of the message */
static int out;
static atomic_uint_least64_t ahead_us; /* that the clock is */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * CLOCK_SECOND_US + (uint64_t)t.tv_nsec / 1000 +
	       atomic_load(&ahead_us);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&ahead_us, 0);
	clock_set_source(now, NULL);
	rig_start(&r, 0);
	rig_limit(&r, 1 << 20, 10000);
	buf_init(&b, 0);
	out = rig_login(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(out);
	buf_free(&b);
	rig_stop(&r);
	clock_set_source(NULL, NULL);
	return 0;
}

static void expect(int fd, enum msoap_kind kind)
{
	rig_answer(&r, fd, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(WIRE_STATUS_OK));
	assert_int_equal(a.kind, kind);
}

static void submit(const char *const *to, bool hold)
{
	struct msoap_submit_envelope e = { .has_hold = hold, .hold = hold };
	struct ids_name name;

	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_str("From: alice@a.example\r\n\r\nHello.\r\n"), true);
	rig_flush(out, &b);
	expect(out, MSOAP_SUBMIT_ENVELOPE);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect(out, MSOAP_SUBMIT_CHUNK);
	assert_int_equal(ids_open(r.service.ids, id, &name), 0);
	number = name.message;
}

static void ask(int fd, uint64_t after, uint64_t wait)
{
	struct msoap_command c = { .kind = MSOAP_WATCH };

	c.u.watch.after = after;
	c.u.watch.wait = wait;
	rig_msoap(&b, &c);
	rig_flush(fd, &b);
}

/* The watch's answer has N changes; where the next one begins. */
static uint64_t answered(int fd, size_t n)
{
	expect(fd, MSOAP_WATCH);
	assert_int_equal(a.u.watch.changes.count, n);
	return a.u.watch.next;
}

/* What recipient INDEX does by MSRAP. */
static void recipient(int in, enum msrap_kind kind, uint32_t index)
{
	struct msrap_command c = { .kind = kind };
	struct msrap_response p;

	rig_recipient_id(&r, id, index, c.u.silence.id);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_int_equal(p.status, WIRE_STATUS_OK);
}

static void expect_change(const char *local, enum wire_notification_status status, bool pinned)
{
	struct wire_list rest = a.u.watch.changes;
	struct msoap_change change;

	assert_true(msoap_change_next(&rest, &change));
	assert_memory_equal(change.id, id, 16);
	assert_true(span_eq_str(change.delivery.recipient.local, local));
	assert_string_equal(wire_notification_status_name(change.delivery.notification),
	                    wire_notification_status_name(status));
	assert_int_equal(change.delivery.pinned, pinned);
}

/* --- waiting -------------------------------------------------------------------------------- */

/* What comes while it waits ends it, long before its hour is over. */
static void woken(void **state)
{
	int first = rig_login(&r), second = rig_login(&r);
	int in = rig_connect(&r, &recipient_protocol);
	uint64_t next;

	(void)state;
	submit(two, false);
	ask(out, 0, 0);
	assert_int_equal(answered(out, 0), 0);
	ask(first, 0, HOUR);
	ask(second, 0, HOUR);
	recipient(in, MSRAP_SILENCE, 1);
	next = answered(first, 1);
	expect_change("bob", WIRE_NOTIFICATION_SILENCED, true);
	assert_int_equal(answered(second, 1), next);
	assert_true(next > 0);

	/* From there on: only what is new. */
	ask(first, next, HOUR);
	recipient(in, MSRAP_UNPIN, 0);
	assert_true(answered(first, 1) > next);
	expect_change("anna", WIRE_NOTIFICATION_SILENCED, false);
	next = a.u.watch.next;
	/* Who was away meanwhile is told at once. */
	ask(second, 0, HOUR);
	assert_int_equal(answered(second, 2), next);
	/* A change of nothing wakes nobody. */
	ask(first, next, HOUR);
	recipient(in, MSRAP_SILENCE, 1);
	recipient(in, MSRAP_UNPIN, 1);
	answered(first, 1);
	expect_change("bob", WIRE_NOTIFICATION_SILENCED, false);
	close(first);
	close(second);
	close(in);
}

/* Another command ends it, and so do the end of its time and of the session. */
static void ended(void **state)
{
	struct msoap_command c = { .kind = MSOAP_TRACK };
	int fd = rig_login(&r);

	(void)state;
	submit(two, false);
	memcpy(c.u.track.id, id, 16);
	ask(fd, 7, HOUR);
	rig_msoap(&b, &c);
	rig_flush(fd, &b);
	assert_int_equal(answered(fd, 0), 7);
	expect(fd, MSOAP_TRACK);
	assert_int_equal(a.u.track.deliveries.count, 2);
	/* Both in one flight. */
	ask(fd, 7, HOUR);
	ask(fd, 8, 1);
	assert_int_equal(answered(fd, 0), 7);
	assert_int_equal(answered(fd, 0), 8);
	ask(fd, UINT64_MAX, 1);
	assert_int_equal(answered(fd, 0), UINT64_MAX);
	ask(fd, 0, UINT64_MAX);
	close(fd);
}

/* The server's limit of time holds. */
static void limited(void **state)
{
	int fd;

	(void)state;
	r.limits.wait_us = 50000;
	fd = rig_login(&r);
	ask(fd, 0, UINT64_MAX);
	answered(fd, 0);
	close(fd);
}

/* --- what is told --------------------------------------------------------------------------- */

/* More than fits into one answer. */
static void pages(void **state)
{
	static char text[MANY][40], seen[MANY];
	static const char *to[MANY + 1];
	struct msoap_command c = { .kind = MSOAP_RELEASE };
	struct msoap_change change;
	struct wire_list rest;
	uint64_t next = 0;
	unsigned n = 0, answers = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof(text[i]), "r%04u@a-long-name-of-a-domain.example", i);
		to[i] = text[i];
	}
	submit(to, true);
	memcpy(c.u.release.id, id, 16);
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(out, MSOAP_RELEASE);
	while (n < MANY) {
		ask(out, next, HOUR);
		expect(out, MSOAP_WATCH);
		assert_true(a.u.watch.next > next);
		next = a.u.watch.next;
		for (rest = a.u.watch.changes; msoap_change_next(&rest, &change); n++) {
			unsigned i = (unsigned)strtoul(
			    (const char *)change.delivery.recipient.local.p + 1, NULL, 10);

			assert_true(i < MANY && seen[i] == 0);
			seen[i] = 1;
		}
		answers++;
	}
	assert_int_equal(n, MANY);
	assert_true(answers > 1);
	ask(out, next, 0);
	answered(out, 0);
}

/* What hangs on a message that is gone is not told, and not in the way. */
static void gone(void **state)
{
	int in = rig_connect(&r, &recipient_protocol);
	uint64_t next;
	struct kv_txn *t;

	(void)state;
	submit(two, false);
	recipient(in, MSRAP_SILENCE, 0);
	recipient(in, MSRAP_SILENCE, 1);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(db_message_remove(r.service.db, t, number, 10), 0);
	assert_int_equal(kv_write_commit(t), 0);
	ask(out, 0, 0);
	next = answered(out, 0);
	assert_true(next > 0);
	submit(two, false);
	recipient(in, MSRAP_SILENCE, 0);
	ask(out, 0, HOUR);
	assert_true(answered(out, 1) > next);
	expect_change("anna", WIRE_NOTIFICATION_SILENCED, true);
	close(in);
}

/* Who was away for longer than the log goes back is told so. */
static void trimmed(void **state)
{
	int in = rig_connect(&r, &recipient_protocol);
	uint64_t first, second, third;
	struct kv_txn *t;
	bool more;

	(void)state;
	submit(two, false);
	recipient(in, MSRAP_SILENCE, 0);
	ask(out, 0, HOUR);
	first = answered(out, 1);
	recipient(in, MSRAP_SILENCE, 1);
	ask(out, first, HOUR);
	second = answered(out, 1);
	atomic_store(&ahead_us, SWEEP_CHANGES_KEPT_US + CLOCK_DAY_US);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(
	    db_change_trim(r.service.db, t, now() - SWEEP_CHANGES_KEPT_US, 100, &more), 1);
	assert_int_equal(kv_write_commit(t), 0);
	assert_false(more);

	/* The account's last one is there still, so nothing was missed. */
	ask(out, second, 0);
	answered(out, 0);
	assert_false(a.has_text);
	recipient(in, MSRAP_UNPIN, 1);
	ask(out, second, HOUR);
	third = answered(out, 1);
	assert_false(a.has_text);
	ask(out, 0, HOUR);
	assert_int_equal(answered(out, 2), third);
	assert_false(a.has_text);
	ask(out, first, HOUR);
	answered(out, 2);
	assert_true(a.has_text);
	assert_non_null(memmem(a.text.p, a.text.n, "30 days", 7));
	close(in);
}

/* --- nothing is missed ---------------------------------------------------------------------- */

#define READERS 200

/* Two changes of each delivery, one after another. Has room of its own: it runs beside the test. */
static void *read_all(void *ctx)
{
	int in = *(const int *)ctx;

	for (uint32_t i = 0; i < 2 * READERS; i++) {
		struct msrap_command c = { .kind = i < READERS ? MSRAP_SILENCE : MSRAP_UNPIN };
		uint8_t octets[128];
		struct span frame;
		uint32_t n;

		rig_recipient_id(&r, id, i % READERS, c.u.silence.id);
		assert_int_equal(msrap_command_encode(&c, octets, sizeof(octets), &frame), 0);
		rig_send(in, frame);
		/* Answered before the next one: a frame of few octets. */
		assert_int_equal(recv(in, octets, FRAME_PREFIX, MSG_WAITALL), FRAME_PREFIX);
		n = frame_length(octets);
		assert_true(n <= sizeof(octets));
		assert_int_equal(recv(in, octets, n, MSG_WAITALL), n);
	}
	return NULL;
}

/* Changes that come while a client asks, answer by answer, over many connections. */
static void none_missed(void **state)
{
	static char text[READERS][32];
	static const char *to[READERS + 1];
	struct msoap_change change;
	struct wire_list rest;
	pthread_t thread;
	uint64_t next = 0;
	unsigned n = 0, left = READERS;
	int in = rig_connect(&r, &recipient_protocol);

	(void)state;
	for (unsigned i = 0; i < READERS; i++) {
		snprintf(text[i], sizeof(text[i]), "r%03u@b.example", i);
		to[i] = text[i];
	}
	submit(to, false);
	assert_int_equal(pthread_create(&thread, NULL, read_all, &in), 0);
	while (n < 2 * READERS) {
		int fd = rig_login(&r);

		ask(fd, next, HOUR);
		expect(fd, MSOAP_WATCH);
		assert_true(a.u.watch.next > next);
		next = a.u.watch.next;
		for (rest = a.u.watch.changes; msoap_change_next(&rest, &change); n++)
			left -= n >= READERS && !change.delivery.pinned;
		close(fd);
	}
	assert_int_equal(n, 2 * READERS);
	assert_int_equal(left, 0);
	pthread_join(thread, NULL);
	close(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(woken, setup, teardown),
		cmocka_unit_test_setup_teardown(ended, setup, teardown),
		cmocka_unit_test_setup_teardown(limited, setup, teardown),
		cmocka_unit_test_setup_teardown(pages, setup, teardown),
		cmocka_unit_test_setup_teardown(gone, setup, teardown),
		cmocka_unit_test_setup_teardown(trimmed, setup, teardown),
		cmocka_unit_test_setup_teardown(none_missed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
