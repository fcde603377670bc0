/* builds: plain asan tsan */

/*
 * Quota is reserved at the envelope: two submissions at once are never promised more than it has,
 * and what was promised comes free again when a submission is over, however that was.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/originator.h"
#include "store/quota.h"
#include "store/sweep.h"

#define QUOTA 1000000

static const char *const bob[] = { "bob@b.example", NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
static uint8_t *message;

static int setup(void **state)
{
	(void)state;
	rig_start(&r, QUOTA);
	buf_init(&b, 0);
	message = rig_message(QUOTA);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(quota_promised(r.service.quota), 0);
	rig_check(&r);
	free(message);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

/* An envelope for SIZE octets (0: not said), with submissionId ID (0: none), answered STATUS. */
static void say(int fd, uint64_t size, uint8_t id, enum wire_status status)
{
	struct msoap_submit_envelope e = { .has_size = size != 0, .size = size,
		                           .has_submission_id = id != 0 };

	memset(e.submission_id, id, sizeof(e.submission_id));
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	rig_answer(&r, fd, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
}

/* Octets from AT to END. */
static void give(int fd, size_t at, size_t end, bool last, enum wire_status status)
{
	rig_chunk(&b, at, span_of(message + at, end - at), last);
	rig_flush(fd, &b);
	rig_answer(&r, fd, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
}

static void wait_promised(uint64_t n)
{
	for (int i = 0; i < 4000 && quota_promised(r.service.quota) != n; i++)
		usleep(5000);
	assert_int_equal(quota_promised(r.service.quota), n);
}

#define OK WIRE_STATUS_OK
#define NO_ROOM WIRE_STATUS_WOULD_EXCEED_QUOTA

/* Said ahead: the second is refused at its envelope, and has room when the first is given up. */
static void two_at_once(void **state)
{
	int one = rig_login(&r), two = rig_login(&r);

	(void)state;
	say(one, 600000, 0, OK);
	say(two, 400001, 0, NO_ROOM);
	say(two, 400000, 0, OK);
	/* Their own promises are not in their way, nor is the other's when it has landed. */
	give(two, 0, 400000, true, OK);
	say(two, 1, 0, NO_ROOM);
	/* Another envelope gives the first one up. */
	say(one, 100000, 0, OK);
	say(two, 500000, 0, OK);
	give(two, 0, 500000, true, OK);
	give(one, 0, 100000, true, OK);
	assert_int_equal(rig_used(&r), QUOTA);
	say(one, 1, 0, NO_ROOM);
	assert_int_equal(quota_promised(r.service.quota), 0);
	close(one);
	close(two);
}

/* Sizes that were not said: by what comes. */
static void not_said(void **state)
{
	int one = rig_login(&r), two = rig_login(&r);

	(void)state;
	say(one, 0, 0, OK);
	say(two, 0, 0, OK);
	give(one, 0, 300000, false, OK);
	give(two, 0, 600000, false, OK);
	assert_int_equal(quota_promised(r.service.quota), 900000);
	give(two, 600000, 800000, true, NO_ROOM);
	/* That submission is over; there is room again as soon as it has been taken back. */
	wait_promised(300000);
	give(one, 300000, QUOTA, true, OK);
	wait_promised(0);
	rig_wait_used(&r, QUOTA);
	close(one);
	close(two);
}

/* A session's end gives back what had no submissionId. */
static void session_ends(void **state)
{
	int one = rig_login(&r), two = rig_login(&r);

	(void)state;
	say(one, 700000, 0, OK);
	give(one, 0, 500000, false, OK);
	say(two, 400000, 0, NO_ROOM);
	close(one);
	wait_promised(0);
	rig_wait_used(&r, 0);
	say(two, QUOTA, 0, OK);
	close(two);
	wait_promised(0);
}

/* What had one keeps its reservation, until it is resumed, or its time is over. */
static void kept(void **state)
{
	int one = rig_login(&r), two = rig_login(&r);
	struct db_reserved *reserved;
	uint64_t now_us = clock_now_us(), id;
	struct kv_txn *t;
	uint32_t next;

	(void)state;
	say(one, 700000, 7, OK);
	give(one, 0, 500000, false, OK);
	close(one);
	wait_promised(0);
	rig_wait_used(&r, 700000);
	assert_int_equal(db_reserved(r.service.db, now_us + 2 * CLOCK_DAY_US, &reserved), 1);
	assert_int_equal(reserved[0].account, 1);
	assert_in_range(reserved[0].octets, 200000, 200000 + DB_BLOCK);
	free(reserved);
	say(two, 300001, 0, NO_ROOM);
	one = rig_login(&r);
	say(one, 700000, 7, OK);
	say(two, 300001, 0, NO_ROOM);
	say(two, 300000, 0, OK);
	close(one);
	close(two);
	wait_promised(0);

	/* The sweep takes it. */
	t = db_read_begin(r.service.db);
	assert_int_equal(db_submission_find(r.service.db, t, 1,
	                                    (const uint8_t *)"\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7",
	                                    &id),
	                 0);
	db_read_end(t);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(sweep_message(r.service.db, t, id, now_us + 2 * CLOCK_DAY_US, 0, 0, &next),
	                 0);
	assert_int_equal(kv_write_commit(t), 0);
	one = rig_login(&r);
	say(one, QUOTA, 0, OK);
	close(one);
	wait_promised(0);
}

/* The session of before may still be there: one of both can land, so they count as one. */
static void same_id(void **state)
{
	int one = rig_login(&r), two = rig_login(&r), three = rig_login(&r);

	(void)state;
	say(one, 700000, 7, OK);
	say(two, 700000, 7, OK);
	say(three, 300001, 0, NO_ROOM);
	say(three, 300000, 8, OK);
	say(two, 700001, 7, NO_ROOM);
	say(two, 700000, 7, OK);
	give(two, 0, 700000, true, OK);
	give(three, 0, 300000, true, OK);
	assert_int_equal(rig_used(&r), QUOTA);
	/* The late one finds that it was done. */
	say(one, 700000, 7, OK);
	assert_true(a.u.submit_envelope.complete);
	close(one);
	close(two);
	close(three);
	wait_promised(0);
}

/* --- the module, by many threads ---------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 300

static atomic_uint taken, refused, over;
static bool ids; /* some have a submissionId: they count as one, but not in the sum of all */

/* Takes and grows what the others leave; nobody lands, so all of it is promised. */
static void *taker(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg + 77;

	for (int i = 0; i < ROUNDS; i++) {
		struct quota_want want = { .account = 1 };
		struct quota_share *share;
		uint8_t id[16] = { 0 };

		seed = seed * 1664525u + 1013904223u;
		want.octets = 1 + (seed >> 8) % (QUOTA / 2);
		id[0] = (uint8_t)(seed >> 28);
		if (ids && i % 3 != 0)
			want.submission_id = id;
		if (quota_take(r.service.quota, r.service.db, &want, &share) != 0) {
			atomic_fetch_add(&refused, 1);
			continue;
		}
		atomic_fetch_add(&taken, 1);
		(void)quota_grow(share, want.octets + 100000);
		if (!ids && quota_promised(r.service.quota) > QUOTA)
			atomic_fetch_add(&over, 1);
		usleep(100);
		quota_drop(share);
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	for (int k = 0; k < 2; k++) {
		ids = k == 1;
		atomic_store(&taken, 0);
		atomic_store(&refused, 0);
		for (uintptr_t i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, taker, (void *)i), 0);
		for (size_t i = 0; i < THREADS; i++)
			pthread_join(thread[i], NULL);
		assert_int_equal(atomic_load(&over), 0);
		assert_true(atomic_load(&taken) > 0);
		assert_int_equal(atomic_load(&taken) + atomic_load(&refused), THREADS * ROUNDS);
		assert_int_equal(quota_promised(r.service.quota), 0);
	}
}

/* Accounts that are not limited, and those that are not there. */
static void others(void **state)
{
	static const char senders[] = "carol@a.example";
	struct db_account carol = { .name = span_str("carol"),
		                    .senders = span_of(senders, sizeof(senders)) };
	struct quota_want want = { .account = 99, .octets = 5 };
	struct quota_share *share;
	struct kv_txn *t;

	(void)state;
	assert_int_equal(quota_take(r.service.quota, r.service.db, &want, &share), ERR_NOT_FOUND);
	assert_null(share);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(db_account_put(r.service.db, t, &carol), 0);
	assert_int_equal(kv_write_commit(t), 0);
	want.account = carol.number;
	want.octets = UINT64_MAX;
	assert_int_equal(quota_take(r.service.quota, r.service.db, &want, &share), 0);
	assert_null(share);
	assert_int_equal(quota_grow(share, 5), 0);
	quota_number(share, 5);
	quota_drop(share);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(two_at_once), TEST(not_said), TEST(session_ends), TEST(kept),
		TEST(same_id),     TEST(threads),  TEST(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
