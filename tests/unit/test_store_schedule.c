/*
 * Ninety days of a store, in the time that its clock is given: what is told when, to agents that
 * take it, do not, are down, come back; the recipient who has it, the sender who takes it back,
 * and the end of the lifetime. Everything goes through the database, which adds up at each step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storejobs.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/sweep.h"

#define START (20000 * CLOCK_DAY_US)
#define LIFE (90 * CLOCK_DAY_US)
#define TRIES 800

static atomic_uint_least64_t now;

/* Of the message at hand: what was tried when, for each recipient. */
static struct {
	size_t n;
	uint64_t at[TRIES];
	enum db_job_kind kind[TRIES];
} tried[16];
static size_t steps;

static uint64_t clock_now(void)
{
	return atomic_load(&now);
}

static int setup(void **state)
{
	atomic_store(&now, START);
	clock_set_source(clock_now, NULL);
	memset(tried, 0, sizeof(tried));
	steps = 0;
	return storejobs_setup(state);
}

static int teardown(void **state)
{
	storejobs_teardown(state);
	clock_set_source(NULL, NULL);
	return 0;
}

/* What the agent answers for recipient INDEX; 0: it cannot be reached. */
typedef char answer_for(uint32_t index, enum db_job_kind kind, uint64_t since_us);

/* One batch of J by way of the agent. */
static void tell(struct round_job *j, answer_for *says)
{
	enum batch_form form = j->job.kind == DB_JOB_WITHDRAW ? BATCH_WITHDRAW
	                       : steps++ % 2 == 0             ? BATCH_NOTIFY
	                                                      : BATCH_NOTIFY_MANY;
	struct batch *b = load_as(j, form, true, 0);
	char letters[17] = "";

	for (size_t i = 0; i < b->n; i++) {
		uint32_t index = b->items[i].index;

		assert_true(tried[index].n < TRIES);
		tried[index].at[tried[index].n] = clock_now() - START;
		tried[index].kind[tried[index].n++] = j->job.kind;
		letters[i] = says(index, j->job.kind, clock_now() - START);
	}
	if (b->n > 0 && letters[0] == 0)
		batch_outcome(b, MAILROOM_NO_SERVER, span_str("down"));
	else if (b->n > 0 && form == BATCH_WITHDRAW)
		batch_outcome(b, MAILROOM_ACCEPTED, span_str(""));
	else if (b->n > 0)
		answer(b, letters, 0);
	apply(b);
}

/* Does what is due, until nothing is before UNTIL_US from the start; then it is that time. */
static void live(uint64_t until_us, answer_for *says)
{
	for (;;) {
		while (collect(0) > 0)
			for (size_t i = 0; i < n_jobs; i++)
				tell(job[i], says);
		rig_check(&r);
		if (next_us == 0 || next_us >= START + until_us)
			break;
		assert_true(next_us > clock_now());
		atomic_store(&now, next_us);
	}
	atomic_store(&now, START + until_us);
}

/* The times of recipient INDEX are WANT, in hours, give or take PER_MILLE. */
static void expect_hours(uint32_t index, const double *want, size_t n, unsigned per_mille)
{
	assert_int_equal(tried[index].n, n);
	for (size_t i = 0; i < n; i++) {
		double hours = (double)tried[index].at[i] / (double)CLOCK_HOUR_US;
		double slack = want[i] * per_mille / 1000 + 0.01;

		if (hours < want[i] - slack || hours > want[i] + slack)
			fail_msg("recipient %u, attempt %zu: after %f hours, not %f", index, i,
			         hours, want[i]);
	}
}

/* After a minute, doubling up to four hours, a fifth more or less; from attempt FIRST on. */
static void expect_backing_off(uint32_t index, size_t first, size_t n)
{
	uint64_t wait = CLOCK_MINUTE_US;

	for (size_t i = first; i + 1 < first + n; i++) {
		assert_in_range(tried[index].at[i + 1] - tried[index].at[i], wait * 79 / 100,
		                wait * 121 / 100);
		wait = wait * 2 < 4 * CLOCK_HOUR_US ? wait * 2 : 4 * CLOCK_HOUR_US;
	}
}

static void silence(uint32_t index)
{
	struct msrap_command c = { .kind = MSRAP_SILENCE };
	int in = rig_connect(&r, &recipient_protocol);
	struct msrap_response a;
	struct buf b;

	buf_init(&b, 0);
	rig_recipient_id(&r, id, index, c.u.silence.id);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	buf_free(&b);
	rig_answer_msrap(&r, in, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	close(in);
}

/* The sweep at the end of the lifetime. */
static void expire(void)
{
	uint32_t index = 0;
	int err = ERR_AGAIN;

	while (err == ERR_AGAIN) {
		struct kv_txn *t;

		assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
		err = sweep_message(r.service.db, t, number, clock_now(), CLOCK_DAY_US, index,
		                    &index);
		assert_int_equal(kv_write_commit(t), 0);
	}
	assert_int_equal(err, 0);
}

/* --- one agent, every kind of answer ---------------------------------------------------------- */

static char by_index(uint32_t index, enum db_job_kind kind, uint64_t since_us)
{
	assert_int_equal(kind, DB_JOB_NOTIFY);
	switch (index) {
	case 2:
		return 'n';
	case 3:
		return since_us < 30 * CLOCK_MINUTE_US ? 'n' : 'a'; /* the name is mended */
	case 4:
		return since_us < 3 * CLOCK_DAY_US ? 'f' : 'a';
	case 5:
		return 'l';
	case 6:
		return 'r';
	case 7:
		/* Known, then full when it is told again, then known. */
		return since_us > 20 * CLOCK_HOUR_US && since_us < 30 * CLOCK_HOUR_US ? 'f' : 'a';
	default:
		return 'a';
	}
}

static void answers(void **state)
{
	static const double repeats[] = { 0, 24, 96, 264, 600 };
	static const double once_more[] = { 0, 24 };
	static const double denied[] = { 0, 1, 25 };
	static const double mended[] = { 0, 1, 25, 97, 265, 601 };

	(void)state;
	submit_many(8, "b.example");
	live(CLOCK_DAY_US + CLOCK_MINUTE_US, by_index);
	silence(1);
	live(LIFE, by_index);
	expect_hours(0, repeats, 5, 1);
	expect_hours(1, once_more, 2, 1);
	expect_hours(2, denied, 3, 1);
	expect_hours(3, mended, 6, 1);
	expect_hours(6, denied, 3, 1);
	/* Full: backing off for three days and the last wait, then as any that is known. */
	expect_backing_off(4, 0, tried[4].n - 4);
	assert_in_range(tried[4].at[tried[4].n - 5], 3 * CLOCK_DAY_US,
	                3 * CLOCK_DAY_US + 5 * CLOCK_HOUR_US);
	assert_in_range(tried[4].at[tried[4].n - 4] - tried[4].at[tried[4].n - 5], CLOCK_DAY_US,
	                CLOCK_DAY_US + CLOCK_MINUTE_US);
	/* Later, for as long as it lives: every four hours at last. */
	expect_backing_off(5, 0, tried[5].n);
	assert_in_range(tried[5].n, 90 * 24 / 5, 90 * 24 / 3);
	assert_true(tried[5].at[tried[5].n - 1] + 5 * CLOCK_HOUR_US > LIFE);
	/* A repeat that fails for now is made up for, after an hour, and counts no more. */
	assert_in_range(tried[7].n, 10, 13);
	expect_status(0, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(1, WIRE_NOTIFICATION_SILENCED);
	expect_status(2, WIRE_NOTIFICATION_NO_USER);
	expect_status(3, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(4, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(5, WIRE_NOTIFICATION_UNPROCESSED);
	expect_status(6, WIRE_NOTIFICATION_REFUSED);
	expect_status(7, WIRE_NOTIFICATION_NOTIFYING);
	/* The end: what was denied or settled stays so, the rest is over, and nothing is left to do. */
	expire();
	expect_status(0, WIRE_NOTIFICATION_EXPIRED);
	expect_status(1, WIRE_NOTIFICATION_SILENCED);
	expect_status(2, WIRE_NOTIFICATION_NO_USER);
	expect_status(5, WIRE_NOTIFICATION_EXPIRED);
	expect_status(6, WIRE_NOTIFICATION_REFUSED);
	rig_check(&r);
	live(LIFE + CLOCK_DAY_US, by_index);
	assert_int_equal(next_us, 0);
	assert_int_equal(round_count(round_), 0);
}

/* --- an agent that is down -------------------------------------------------------------------- */

/* For ten days from the start, and for two days from the twentieth on. */
static char down(uint32_t index, enum db_job_kind kind, uint64_t since_us)
{
	(void)index;
	(void)kind;
	return since_us < 10 * CLOCK_DAY_US ||
	               (since_us >= 20 * CLOCK_DAY_US && since_us < 22 * CLOCK_DAY_US)
	           ? 0
	           : 'a';
}

static void cancel(void)
{
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	struct msoap_response a;
	struct buf b;

	buf_init(&b, 0);
	memcpy(c.u.cancel.id, id, sizeof(id));
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	buf_free(&b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
}

static void agent_down(void **state)
{
	size_t first, told;

	(void)state;
	submit_many(12, "b.example");
	live(20 * CLOCK_DAY_US, down);
	for (first = 0; tried[0].at[first] < 10 * CLOCK_DAY_US; first++)
		;
	expect_backing_off(0, 0, first + 1);
	assert_in_range(first, 10 * 24 / 5, 10 * 24 / 3 + 8);
	/* All of a job stay together: one attempt for all of them, not one for each. */
	for (uint32_t i = 1; i < 12; i++) {
		assert_int_equal(tried[i].n, tried[0].n);
		assert_memory_equal(tried[i].at, tried[0].at, tried[0].n * sizeof(uint64_t));
	}
	/* Known since, told again after one day and three more. */
	assert_int_equal(tried[0].n, first + 3);
	expect_status(11, WIRE_NOTIFICATION_NOTIFYING);

	/* Taken back while it is down again: it is told so when it has come back. */
	told = tried[0].n;
	cancel();
	live(LIFE, down);
	for (size_t i = told; i < tried[0].n; i++)
		assert_int_equal(tried[0].kind[i], DB_JOB_WITHDRAW);
	assert_true(tried[0].n > told + 5);
	expect_backing_off(0, told, tried[0].n - told);
	assert_in_range(tried[0].at[tried[0].n - 1], 22 * CLOCK_DAY_US,
	                22 * CLOCK_DAY_US + 5 * CLOCK_HOUR_US);
	assert_int_equal(next_us, 0);
	expect_status(0, WIRE_NOTIFICATION_WITHDRAWN);
	expire();
	rig_check(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers, setup, teardown),
		cmocka_unit_test_setup_teardown(agent_down, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
