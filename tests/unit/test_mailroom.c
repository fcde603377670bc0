/* The store's rules: every transition, and the schedule replayed over a message's lifetime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/mailroom.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW (1000 * CLOCK_DAY_US)
#define LIFE (90 * CLOCK_DAY_US)
#define MIDDLE (MAILROOM_JITTER / 2) /* no deviation */

static struct mailroom_delivery fresh(void)
{
	struct mailroom_delivery d;

	mailroom_begin(&d, false, 0, NOW);
	return d;
}

static struct mailroom_delivery in_status(enum wire_notification_status status)
{
	struct mailroom_delivery d = fresh();

	d.notification = status;
	d.notified = status == WIRE_NOTIFICATION_NOTIFYING || status == WIRE_NOTIFICATION_SILENCED;
	if (status == WIRE_NOTIFICATION_WITHDRAWN)
		d.withdrawn = true;
	return d;
}

static void test_begin(void **state)
{
	struct mailroom_delivery d;

	(void)state;
	mailroom_begin(&d, false, 0, NOW);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_UNPROCESSED);
	assert_int_equal(d.read, WIRE_READ_UNREAD);
	assert_true(d.pinned);
	assert_int_equal(d.next_us, NOW);
	assert_int_equal(d.changed_us, NOW);
	mailroom_begin(&d, false, NOW + 5, NOW);
	assert_int_equal(d.next_us, NOW + 5);
	mailroom_begin(&d, false, NOW - 5, NOW);
	assert_int_equal(d.next_us, NOW);

	mailroom_begin(&d, true, NOW + 5, NOW);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_HELD);
	assert_int_equal(d.next_us, 0);
	assert_true(mailroom_released(&d, NOW + 9, NOW + 1));
	assert_int_equal(d.notification, WIRE_NOTIFICATION_UNPROCESSED);
	assert_int_equal(d.next_us, NOW + 9);
	assert_int_equal(d.changed_us, NOW + 1);
	assert_false(mailroom_released(&d, 0, NOW + 2));
}

/* ---- one attempt ------------------------------------------------------------------------ */

static void test_first_attempt(void **state)
{
	static const struct {
		enum mailroom_outcome outcome;
		enum wire_notification_status status;
		uint64_t wait;
	} cases[] = {
		{ MAILROOM_ACCEPTED, WIRE_NOTIFICATION_NOTIFYING, CLOCK_DAY_US },
		{ MAILROOM_NO_DOMAIN, WIRE_NOTIFICATION_BAD_DOMAIN, CLOCK_HOUR_US },
		{ MAILROOM_NO_SERVICE, WIRE_NOTIFICATION_NO_SERVICE, CLOCK_HOUR_US },
		{ MAILROOM_NO_SERVER, WIRE_NOTIFICATION_NO_SERVER, CLOCK_MINUTE_US },
		{ MAILROOM_PROTOCOL_ERROR, WIRE_NOTIFICATION_PROTOCOL_ERROR, CLOCK_MINUTE_US },
		{ MAILROOM_NO_USER, WIRE_NOTIFICATION_NO_USER, CLOCK_HOUR_US },
		{ MAILROOM_REFUSED, WIRE_NOTIFICATION_REFUSED, CLOCK_HOUR_US },
		{ MAILROOM_FULL, WIRE_NOTIFICATION_FULL, CLOCK_MINUTE_US },
		{ MAILROOM_TRY_LATER, WIRE_NOTIFICATION_UNPROCESSED, CLOCK_MINUTE_US },
	};

	(void)state;
	assert_int_equal(COUNT(cases), MAILROOM_OUTCOMES);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mailroom_delivery d = fresh();

		assert_true(mailroom_notified(&d, cases[i].outcome, NOW + 7, NOW + LIFE, MIDDLE));
		assert_int_equal(d.notification, cases[i].status);
		assert_int_equal(d.next_us, NOW + 7 + cases[i].wait);
		assert_int_equal(d.changed_us, NOW + 7);
		assert_int_equal(d.attempts, 1);
		assert_int_equal(d.failures, 1);
		assert_int_equal(d.notified, cases[i].outcome == MAILROOM_ACCEPTED);
		assert_true(d.pinned);
		assert_true(mailroom_may_read(&d));
	}
}

/* From each status that goes on being tried, each outcome. */
static void test_later_attempt(void **state)
{
	static const struct {
		enum wire_notification_status before;
		enum mailroom_outcome outcome;
		enum wire_notification_status after;
		uint16_t failures; /* with 3 before */
	} cases[] = {
		{ WIRE_NOTIFICATION_NO_SERVER, MAILROOM_NO_SERVER, WIRE_NOTIFICATION_NO_SERVER, 4 },
		{ WIRE_NOTIFICATION_NO_SERVER, MAILROOM_FULL, WIRE_NOTIFICATION_FULL, 4 },
		{ WIRE_NOTIFICATION_NO_SERVER, MAILROOM_TRY_LATER, WIRE_NOTIFICATION_NO_SERVER, 4 },
		{ WIRE_NOTIFICATION_NO_SERVER, MAILROOM_NO_USER, WIRE_NOTIFICATION_NO_USER, 1 },
		{ WIRE_NOTIFICATION_NO_SERVER, MAILROOM_ACCEPTED, WIRE_NOTIFICATION_NOTIFYING, 1 },
		{ WIRE_NOTIFICATION_UNPROCESSED, MAILROOM_TRY_LATER,
		  WIRE_NOTIFICATION_UNPROCESSED, 4 },
		{ WIRE_NOTIFICATION_UNPROCESSED, MAILROOM_NO_SERVER, WIRE_NOTIFICATION_NO_SERVER, 4 },
		{ WIRE_NOTIFICATION_NO_USER, MAILROOM_NO_USER, WIRE_NOTIFICATION_NO_USER, 4 },
		{ WIRE_NOTIFICATION_NO_USER, MAILROOM_REFUSED, WIRE_NOTIFICATION_REFUSED, 4 },
		{ WIRE_NOTIFICATION_REFUSED, MAILROOM_ACCEPTED, WIRE_NOTIFICATION_NOTIFYING, 1 },
		{ WIRE_NOTIFICATION_NO_USER, MAILROOM_NO_SERVER, WIRE_NOTIFICATION_NO_SERVER, 1 },
		{ WIRE_NOTIFICATION_NO_USER, MAILROOM_TRY_LATER, WIRE_NOTIFICATION_UNPROCESSED, 1 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_ACCEPTED, WIRE_NOTIFICATION_NOTIFYING, 4 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_NO_USER, WIRE_NOTIFICATION_NO_USER, 1 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_NO_SERVER, WIRE_NOTIFICATION_NOTIFYING, 3 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_FULL, WIRE_NOTIFICATION_NOTIFYING, 3 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_TRY_LATER, WIRE_NOTIFICATION_NOTIFYING, 3 },
		{ WIRE_NOTIFICATION_NOTIFYING, MAILROOM_PROTOCOL_ERROR,
		  WIRE_NOTIFICATION_NOTIFYING, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mailroom_delivery d = in_status(cases[i].before);

		d.failures = 3;
		d.attempts = 8;
		mailroom_notified(&d, cases[i].outcome, NOW, NOW + LIFE, MIDDLE);
		if (d.notification != cases[i].after || d.failures != cases[i].failures)
			fail_msg("case %zu: status %d, failures %u", i, d.notification, d.failures);
		assert_int_equal(d.attempts, 9);
	}
}

/* An answer on its way while the recipient or the originator has spoken. */
static void test_settled(void **state)
{
	static const enum wire_notification_status settled[] = {
		WIRE_NOTIFICATION_SILENCED, WIRE_NOTIFICATION_EXPIRED, WIRE_NOTIFICATION_HELD,
	};
	struct mailroom_delivery d;

	(void)state;
	for (size_t i = 0; i < COUNT(settled); i++)
		for (unsigned o = 0; o < MAILROOM_OUTCOMES; o++) {
			d = in_status(settled[i]);
			d.next_us = 0;
			mailroom_notified(&d, (enum mailroom_outcome)o, NOW + 1, NOW + LIFE, MIDDLE);
			assert_int_equal(d.notification, settled[i]);
			assert_int_equal(d.next_us, 0);
			assert_int_equal(d.attempts, 1);
		}
	d = fresh();
	assert_true(mailroom_refused(&d, NOW));
	mailroom_notified(&d, MAILROOM_ACCEPTED, NOW + 1, NOW + LIFE, MIDDLE);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_REFUSED);
	assert_int_equal(d.next_us, 0);

	/* Cancelled before the agent's answer came: now it is to be told. */
	d = fresh();
	assert_true(mailroom_cancelled(&d, NOW));
	assert_int_equal(d.next_us, 0);
	mailroom_notified(&d, MAILROOM_NO_SERVER, NOW + 1, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, 0);
	mailroom_notified(&d, MAILROOM_ACCEPTED, NOW + 2, NOW + LIFE, MIDDLE);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_WITHDRAWN);
	assert_int_equal(d.next_us, NOW + 2);
	assert_true(d.notified);
}

/* ---- the schedule ----------------------------------------------------------------------- */

/* Attempts of DELIVERY, each answered with OUTCOME, until there is none; the times go to AT. */
static size_t replay(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint32_t jitter,
                     uint64_t *at, size_t cap)
{
	size_t n = 0;

	while (d->next_us != 0 && n < cap) {
		at[n++] = d->next_us;
		mailroom_notified(d, outcome, d->next_us, NOW + LIFE, jitter);
	}
	return n;
}

static void test_repeats(void **state)
{
	const unsigned days[] = { 0, 1, 4, 11, 25 };
	struct mailroom_delivery d = fresh();
	uint64_t at[100];
	size_t n = replay(&d, MAILROOM_ACCEPTED, MIDDLE, at, COUNT(at));

	(void)state;
	assert_int_equal(n, COUNT(days));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(at[i], NOW + days[i] * CLOCK_DAY_US);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_NOTIFYING);
	assert_int_equal(d.attempts, 5);
}

static void test_denied(void **state)
{
	static const enum mailroom_outcome denied[] = { MAILROOM_NO_DOMAIN, MAILROOM_NO_SERVICE,
		                                        MAILROOM_NO_USER, MAILROOM_REFUSED };
	uint64_t at[100];

	(void)state;
	for (size_t i = 0; i < COUNT(denied); i++) {
		struct mailroom_delivery d = fresh();

		assert_int_equal(replay(&d, denied[i], 0, at, COUNT(at)), 3);
		assert_false(mailroom_may_read(&d)); /* final */
		assert_int_equal(at[1], NOW + CLOCK_HOUR_US);
		assert_int_equal(at[2], NOW + CLOCK_HOUR_US + CLOCK_DAY_US);
	}
}

/* Ninety days of no answer: 1, 2, 4, ... minutes, then every four hours, ± 20 %. */
static void test_retries(void **state)
{
	static const enum mailroom_outcome failing[] = { MAILROOM_NO_SERVER,
		                                         MAILROOM_PROTOCOL_ERROR, MAILROOM_FULL,
		                                         MAILROOM_TRY_LATER };
	static const uint32_t jitters[] = { 0, MIDDLE, MAILROOM_JITTER - 1 };
	static const unsigned per_mille[] = { 800, 1000, 1200 };
	static uint64_t at[1000];

	(void)state;
	for (size_t i = 0; i < COUNT(failing); i++)
		for (size_t j = 0; j < COUNT(jitters); j++) {
			struct mailroom_delivery d = fresh();
			size_t n = replay(&d, failing[i], jitters[j], at, COUNT(at));
			uint64_t plain = CLOCK_MINUTE_US;

			for (size_t k = 1; k < n; k++) {
				uint64_t wait = at[k] - at[k - 1];
				uint64_t wanted = plain / 1000 * per_mille[j];

				/* The highest jitter falls short of 20 % by a millionth. */
				assert_in_range(wait, wanted - wanted / 100000, wanted);
				plain = plain * 2 < 4 * CLOCK_HOUR_US ? plain * 2
				                                      : 4 * CLOCK_HOUR_US;
			}
			assert_true(at[n - 1] < NOW + LIFE);
			assert_true(at[n - 1] + 5 * CLOCK_HOUR_US > NOW + LIFE);
			assert_int_equal(d.attempts, n);
			assert_true(mailroom_expired(&d, NOW + LIFE));
			assert_int_equal(d.notification, WIRE_NOTIFICATION_EXPIRED);
		}
}

/* A server that is down for three days, then up; a repeat that fails does not undo it. */
static void test_down_for_a_while(void **state)
{
	struct mailroom_delivery d = fresh();
	uint64_t now = NOW;

	(void)state;
	while (now < NOW + 3 * CLOCK_DAY_US) {
		mailroom_notified(&d, MAILROOM_NO_SERVER, now, NOW + LIFE, 123456);
		assert_true(d.next_us > now);
		now = d.next_us;
	}
	assert_true(now < NOW + 3 * CLOCK_DAY_US + 5 * CLOCK_HOUR_US);
	mailroom_notified(&d, MAILROOM_ACCEPTED, now, NOW + LIFE, 0);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_NOTIFYING);
	assert_int_equal(d.next_us, now + CLOCK_DAY_US);
	now = d.next_us;
	mailroom_notified(&d, MAILROOM_NO_SERVER, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_NOTIFYING);
	assert_int_equal(d.next_us, now + CLOCK_HOUR_US);
	now = d.next_us;
	mailroom_notified(&d, MAILROOM_ACCEPTED, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, now + 3 * CLOCK_DAY_US);
}

/* What is denied in the end has no reader; not so what an agent once had. */
static void test_denied_for_good(void **state)
{
	uint64_t at[100];
	struct mailroom_delivery d = fresh();

	(void)state;
	mailroom_notified(&d, MAILROOM_NO_USER, NOW, NOW + LIFE, MIDDLE);
	mailroom_notified(&d, MAILROOM_NO_USER, d.next_us, NOW + LIFE, MIDDLE);
	assert_true(d.next_us != 0 && mailroom_may_read(&d));
	d = fresh();
	mailroom_notified(&d, MAILROOM_ACCEPTED, NOW, NOW + LIFE, MIDDLE);
	assert_int_equal(replay(&d, MAILROOM_NO_USER, MIDDLE, at, COUNT(at)), 3);
	assert_true(mailroom_may_read(&d));
	/* Given up for the end of the lifetime, which may be moved. */
	d = fresh();
	mailroom_notified(&d, MAILROOM_NO_USER, NOW, NOW + 5, MIDDLE);
	assert_true(d.next_us == 0 && mailroom_may_read(&d));
}

/* A longer lifetime brings back what was given up for its end, and nothing else. */
static void test_extended(void **state)
{
	static const struct {
		enum wire_notification_status status;
		uint16_t failures;
		uint64_t next_us;
	} cases[] = {
		{ WIRE_NOTIFICATION_UNPROCESSED, 3, NOW + 1 },
		{ WIRE_NOTIFICATION_NO_SERVER, 300, NOW + 1 },
		{ WIRE_NOTIFICATION_PROTOCOL_ERROR, 1, NOW + 1 },
		{ WIRE_NOTIFICATION_FULL, 1, NOW + 1 },
		{ WIRE_NOTIFICATION_NO_USER, 2, NOW + 1 },
		{ WIRE_NOTIFICATION_NO_USER, 3, 0 },
		{ WIRE_NOTIFICATION_BAD_DOMAIN, 3, 0 },
		{ WIRE_NOTIFICATION_NOTIFYING, 1, NOW + CLOCK_HOUR_US },
		{ WIRE_NOTIFICATION_NOTIFYING, 5, NOW + CLOCK_HOUR_US },
		{ WIRE_NOTIFICATION_SILENCED, 0, 0 },
		{ WIRE_NOTIFICATION_WITHDRAWN, 0, 0 },
		{ WIRE_NOTIFICATION_EXPIRED, 0, 0 },
		{ WIRE_NOTIFICATION_HELD, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mailroom_delivery d = in_status(cases[i].status);

		d.failures = cases[i].failures;
		d.next_us = 0;
		assert_int_equal(mailroom_extended(&d, NOW + CLOCK_HOUR_US, NOW + 1),
		                 cases[i].next_us != 0);
		assert_int_equal(d.next_us, cases[i].next_us);
		assert_int_equal(d.notification, cases[i].status);
		assert_int_equal(d.changed_us, cases[i].next_us != 0 ? NOW + 1 : NOW);
		/* What is due anyway stays due then. */
		d.next_us = NOW + 77;
		assert_false(mailroom_extended(&d, NOW, NOW + 2));
		assert_int_equal(d.next_us, NOW + 77);
	}
}

/* Nothing is tried at or after the end of the lifetime. */
static void test_end_of_life(void **state)
{
	struct mailroom_delivery d;

	(void)state;
	d = fresh();
	mailroom_notified(&d, MAILROOM_ACCEPTED, NOW, NOW + CLOCK_DAY_US, 0);
	assert_int_equal(d.next_us, 0);
	d = fresh();
	mailroom_notified(&d, MAILROOM_ACCEPTED, NOW, NOW + CLOCK_DAY_US + 1, 0);
	assert_int_equal(d.next_us, NOW + CLOCK_DAY_US);
	d = fresh();
	mailroom_notified(&d, MAILROOM_NO_SERVER, NOW, NOW - 1, 0);
	assert_int_equal(d.next_us, 0);
}

static void test_counts_stop(void **state)
{
	struct mailroom_delivery d = fresh();

	(void)state;
	d.attempts = d.failures = UINT16_MAX;
	d.notification = WIRE_NOTIFICATION_NO_SERVER;
	mailroom_notified(&d, MAILROOM_NO_SERVER, NOW, NOW + LIFE, MIDDLE);
	assert_int_equal(d.attempts, UINT16_MAX);
	assert_int_equal(d.failures, UINT16_MAX);
	assert_int_equal(d.next_us, NOW + 4 * CLOCK_HOUR_US);
}

/* ---- the recipient and the originator ------------------------------------------------------ */

enum act { SILENCE, REFUSE, UNPIN, READ, CANCEL, EXPIRE, ACTS };

static bool act(enum act a, struct mailroom_delivery *d)
{
	switch (a) {
	case SILENCE:
		return mailroom_silenced(d, NOW + 1);
	case REFUSE:
		return mailroom_refused(d, NOW + 1);
	case UNPIN:
		return mailroom_unpinned(d, NOW + 1);
	case READ:
		return mailroom_read(d, WIRE_RETRIEVAL_ALL, NOW + 1);
	case CANCEL:
		return mailroom_cancelled(d, NOW + 1);
	default:
		return mailroom_expired(d, NOW + 1);
	}
}

/* Every status and everything that may be done. S: its own status stays. */
#define S WIRE_NOTIFICATION_COUNT
static const struct {
	enum wire_notification_status before, after[ACTS];
} table[] = {
#define SIL WIRE_NOTIFICATION_SILENCED
#define REF WIRE_NOTIFICATION_REFUSED
#define WIT WIRE_NOTIFICATION_WITHDRAWN
#define EXP WIRE_NOTIFICATION_EXPIRED
	/*                                   silence refuse unpin read cancel expire */
	{ WIRE_NOTIFICATION_UNPROCESSED,    { SIL, REF, SIL, S, WIT, EXP } },
	{ WIRE_NOTIFICATION_BAD_DOMAIN,     { SIL, REF, SIL, S, WIT, S } },
	{ WIRE_NOTIFICATION_NO_SERVICE,     { SIL, REF, SIL, S, WIT, S } },
	{ WIRE_NOTIFICATION_NO_SERVER,      { SIL, REF, SIL, S, WIT, EXP } },
	{ WIRE_NOTIFICATION_PROTOCOL_ERROR, { SIL, REF, SIL, S, WIT, EXP } },
	{ WIRE_NOTIFICATION_NO_USER,        { SIL, REF, SIL, S, WIT, S } },
	{ WIRE_NOTIFICATION_NOTIFYING,      { SIL, REF, SIL, S, WIT, EXP } },
	{ WIRE_NOTIFICATION_SILENCED,       { S, REF, S, S, WIT, S } },
	{ WIRE_NOTIFICATION_REFUSED,        { SIL, REF, SIL, S, WIT, S } }, /* by the agent */
	{ WIRE_NOTIFICATION_FULL,           { SIL, REF, SIL, S, WIT, EXP } },
	{ WIRE_NOTIFICATION_WITHDRAWN,      { S, S, S, S, S, S } },
	{ WIRE_NOTIFICATION_EXPIRED,        { S, S, S, S, S, S } },
	{ WIRE_NOTIFICATION_HELD,           { S, REF, S, S, WIT, EXP } },
};

static void test_acts(void **state)
{
	(void)state;
	assert_int_equal(COUNT(table), WIRE_NOTIFICATION_COUNT);
	for (size_t i = 0; i < COUNT(table); i++)
		for (unsigned a = 0; a < ACTS; a++) {
			struct mailroom_delivery d = in_status(table[i].before), before = d;
			enum wire_notification_status after = table[i].after[a];
			bool changed = act((enum act)a, &d);

			if (after == S)
				after = table[i].before;
			if (d.notification != after)
				fail_msg("status %d, act %u: %d", table[i].before, a, d.notification);
			/* What changed says so, with its time; what did not is as it was. */
			if (changed)
				assert_int_equal(d.changed_us, NOW + 1);
			else
				assert_memory_equal(&d, &before, sizeof d);
			if (a == REFUSE || a == UNPIN || a == CANCEL || a == EXPIRE)
				assert_true(!changed || !mailroom_may_read(&d));
			/* Done twice is done once. */
			before = d;
			assert_false(act((enum act)a, &d));
			assert_memory_equal(&d, &before, sizeof d);
		}
}

static void test_read_rises(void **state)
{
	static const struct {
		enum wire_retrieval type;
		enum wire_read_status reached;
	} cases[] = {
		{ WIRE_RETRIEVAL_NOTHING, WIRE_READ_UNREAD },
		{ WIRE_RETRIEVAL_SUMMARY, WIRE_READ_SUMMARISED },
		{ WIRE_RETRIEVAL_STRUCTURE, WIRE_READ_SUMMARISED },
		{ WIRE_RETRIEVAL_HEADERS, WIRE_READ_HEADERS },
		{ WIRE_RETRIEVAL_PART, WIRE_READ_HEADERS },
		{ WIRE_RETRIEVAL_ALL, WIRE_READ_ALL },
		{ (enum wire_retrieval)99, WIRE_READ_UNREAD },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (unsigned before = 0; before < WIRE_READ_COUNT; before++) {
			struct mailroom_delivery d = fresh();
			bool rises = cases[i].reached > before;

			d.read = (enum wire_read_status)before;
			assert_int_equal(mailroom_read(&d, cases[i].type, NOW + 1), rises);
			assert_int_equal(d.read, rises ? cases[i].reached : before);
			assert_int_equal(d.changed_us, rises ? NOW + 1 : NOW);
		}
}

/* A cancelled delivery: its agent is told if it had the notification. */
static void test_withdrawal(void **state)
{
	struct mailroom_delivery d = in_status(WIRE_NOTIFICATION_NOTIFYING);
	uint64_t now = NOW + 1;

	(void)state;
	d.failures = 2;
	assert_true(mailroom_cancelled(&d, now));
	assert_true(d.withdrawn);
	assert_int_equal(d.next_us, now);
	assert_int_equal(d.failures, 0);
	mailroom_told(&d, MAILROOM_NO_SERVER, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, now + CLOCK_MINUTE_US);
	assert_false(d.told_withdrawn);
	mailroom_told(&d, MAILROOM_TRY_LATER, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, now + 2 * CLOCK_MINUTE_US);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_WITHDRAWN);
	mailroom_told(&d, MAILROOM_ACCEPTED, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, 0);
	assert_true(d.told_withdrawn);
	mailroom_told(&d, MAILROOM_NO_SERVER, now, NOW + LIFE, MIDDLE);
	assert_int_equal(d.next_us, 0);

	for (unsigned o = 0; o < MAILROOM_OUTCOMES; o++) {
		bool knows = o == MAILROOM_ACCEPTED || o == MAILROOM_NO_USER || o == MAILROOM_REFUSED;

		d = in_status(WIRE_NOTIFICATION_SILENCED);
		mailroom_cancelled(&d, now);
		mailroom_told(&d, (enum mailroom_outcome)o, now, NOW + LIFE, 0);
		assert_int_equal(d.told_withdrawn, knows);
		assert_int_equal(d.next_us == 0, knows);
		d = in_status(WIRE_NOTIFICATION_SILENCED);
		mailroom_cancelled(&d, now);
		mailroom_told(&d, (enum mailroom_outcome)o, now, now + 1, 0);
		assert_int_equal(d.next_us, 0);
	}
}

/* ---- who may ---------------------------------------------------------------------------- */

static void test_senders(void **state)
{
	static const char senders[] = "alice@a.example\0@lists.a.example\0Bob Q@a.example";
	static const struct {
		const char *local, *domain;
		bool may;
	} cases[] = {
		{ "alice", "a.example", true },
		{ "alice", "A.Example", true },
		{ "Alice", "a.example", false },
		{ "alic", "a.example", false },
		{ "alicee", "a.example", false },
		{ "alice", "b.example", false },
		{ "alice", "x.a.example", false },
		{ "anybody", "lists.a.example", true },
		{ "anybody", "x.lists.a.example", false },
		{ "@lists.a.example", "a.example", false },
		{ "Bob Q", "a.example", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mailbox m;

		assert_int_equal(name_make_mailbox(span_str(cases[i].local),
		                                   span_str(cases[i].domain), &m),
		                 0);
		if (mailroom_may_send_as(span_of(senders, sizeof senders), &m) != cases[i].may)
			fail_msg("%s", m.text);
		/* The last one without its NUL. */
		assert_int_equal(mailroom_may_send_as(span_of(senders, sizeof senders - 1), &m),
		                 cases[i].may);
		assert_false(mailroom_may_send_as(span_of(NULL, 0), &m));
	}
}

static void test_lifetime(void **state)
{
	static const struct {
		uint64_t wanted, initial, most, is;
	} cases[] = {
		{ 0, 90, 365, 90 },     { 1, 90, 365, 1 },     { 365, 90, 365, 365 },
		{ 366, 90, 365, 365 },  { 0, 400, 365, 365 },  { UINT64_MAX, 90, 365, 365 },
		{ 1000, 90, 0, 1000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(mailroom_lifetime_s(cases[i].wanted, cases[i].initial,
		                                     cases[i].most),
		                 cases[i].is);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_first_attempt),
		cmocka_unit_test(test_later_attempt),
		cmocka_unit_test(test_settled),
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_denied_for_good),
		cmocka_unit_test(test_extended),
		cmocka_unit_test(test_retries),
		cmocka_unit_test(test_down_for_a_while),
		cmocka_unit_test(test_end_of_life),
		cmocka_unit_test(test_counts_stop),
		cmocka_unit_test(test_acts),
		cmocka_unit_test(test_read_rises),
		cmocka_unit_test(test_withdrawal),
		cmocka_unit_test(test_senders),
		cmocka_unit_test(test_lifetime),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
