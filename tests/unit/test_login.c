/* Logins: answers, limits, the memory of right answers, the queue, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "session/login.h"

#define CHECKS_MAX 32

/* One loop and what came of the checks on it. */
struct fixture {
	struct loop *loop;
	struct login *login;
	unsigned wanted, came;
	enum login_answer answer[CHECKS_MAX];
};

struct slot {
	struct fixture *f;
	unsigned i;
};

static struct password_hash alice_hash, other_hash, token_hash;
static char token[PASSWORD_TOKEN_TEXT + 1], wrong_token[PASSWORD_TOKEN_TEXT + 1];
static atomic_ullong fake_us;

static uint64_t fake_clock(void)
{
	return atomic_load(&fake_us);
}

/* The clock stands still unless a test moves it; set once, before there are threads. */
static int setup_group(void **state)
{
	struct password_hash none;

	(void)state;
	atomic_store(&fake_us, 1000000000ULL);
	clock_set_source(fake_clock, fake_clock);
	if (password_hash_make(span_str("secret"), &alice_hash) < 0
	    || password_hash_make(span_str("changed"), &other_hash) < 0)
		return -1;
	password_token_make(token, &token_hash);
	password_token_make(wrong_token, &none);
	return 0;
}

/* Real time, whatever the clock of the program says. */
static uint64_t real_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void setup(struct fixture *f, const struct login_options *options)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(login_create(options, &f->login), 0);
}

static void teardown(struct fixture *f)
{
	login_free(f->login);
	loop_free(f->loop);
}

static void came(struct fixture *f, unsigned i, enum login_answer answer)
{
	assert_in_range(i, 0, CHECKS_MAX - 1);
	f->answer[i] = answer;
	if (++f->came == f->wanted)
		loop_stop(f->loop);
}

static void on_done(void *ctx, enum login_answer answer)
{
	struct slot *s = ctx;

	came(s->f, s->i, answer);
}

static void run(struct fixture *f)
{
	if (f->came < f->wanted)
		loop_run(f->loop);
	assert_int_equal(f->came, f->wanted);
}

static struct login_check *start(struct fixture *f, struct slot *slot, const char *account,
                                 const char *secret, const struct password_hash *hash,
                                 const char *peer)
{
	struct address a;
	struct login_check *k;
	unsigned before = f->came;

	if (peer != NULL)
		assert_int_equal(address_parse(peer, &a), 0);
	*slot = (struct slot){ .f = f, .i = f->wanted++ };
	k = login_start(f->login, f->loop, span_str(account), span_str(secret), hash,
	                peer != NULL ? &a : NULL, on_done, slot);
	assert_non_null(k);
	assert_int_equal(f->came, before); /* never from inside */
	return k;
}

/* One check, to its end. */
static enum login_answer ask(struct fixture *f, const char *account, const char *secret,
                             const struct password_hash *hash, const char *peer)
{
	struct slot slot;

	f->wanted = f->came = 0;
	start(f, &slot, account, secret, hash, peer);
	run(f);
	return f->answer[0];
}

/* The quickest of three, so that a busy machine says nothing. */
static uint64_t quickest(struct fixture *f, const char *account, const char *secret,
                         const struct password_hash *hash, enum login_answer answer)
{
	uint64_t best = UINT64_MAX;
	int i;

	for (i = 0; i < 3; i++) {
		uint64_t began = real_us();
		uint64_t took;

		assert_int_equal(ask(f, account, secret, hash, NULL), answer);
		took = real_us() - began;
		if (took < best)
			best = took;
	}
	return best;
}

static void test_answers(void **state)
{
	static char long_secret[PASSWORD_MAX + 2];
	const struct {
		const char *what;
		const char *secret;
		const struct password_hash *hash;
		enum login_answer answer;
	} cases[] = {
		{ "right password", "secret", &alice_hash, LOGIN_RIGHT },
		{ "wrong password", "Secret", &alice_hash, LOGIN_WRONG },
		{ "another's password", "changed", &alice_hash, LOGIN_WRONG },
		{ "unknown account", "secret", NULL, LOGIN_WRONG },
		{ "right token", token, &token_hash, LOGIN_RIGHT },
		{ "wrong token", wrong_token, &token_hash, LOGIN_WRONG },
		{ "token, unknown account", token, NULL, LOGIN_WRONG },
		{ "token for a password", token, &alice_hash, LOGIN_WRONG },
		{ "password for a token", "secret", &token_hash, LOGIN_WRONG },
		{ "empty", "", &alice_hash, LOGIN_WRONG },
		{ "too long", long_secret, &alice_hash, LOGIN_WRONG },
	};
	const struct login_options options = { .failures_minute = 1000 };
	struct login_counts counts;
	struct fixture f;
	size_t i;

	(void)state;
	memset(long_secret, 's', sizeof long_secret - 1);
	setup(&f, &options);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		assert_int_equal(ask(&f, "alice", cases[i].secret, cases[i].hash, "192.0.2.1:1"),
		                 cases[i].answer);
	}
	login_counts(f.login, &counts);
	assert_int_equal(counts.right, 2);
	assert_int_equal(counts.wrong, i - 2);
	assert_int_equal(counts.later + counts.busy + counts.waiting, 0);
	teardown(&f);
}

/* Nobody learns from the time whether an account exists, or what it is opened with. */
static void test_unknown_takes_as_long_as_wrong(void **state)
{
	const struct login_options options = { .failures_minute = 1000 };
	struct fixture f;
	uint64_t wrong, unknown, has_token;

	(void)state;
	setup(&f, &options);
	wrong = quickest(&f, "alice", "guess", &alice_hash, LOGIN_WRONG);
	unknown = quickest(&f, "nobody", "guess", NULL, LOGIN_WRONG);
	has_token = quickest(&f, "robot", "guess", &token_hash, LOGIN_WRONG);
	assert_in_range(unknown * 100 / wrong, 50, 200);
	assert_in_range(has_token * 100 / wrong, 50, 200);
	teardown(&f);
}

static void test_right_answers_are_remembered(void **state)
{
	struct fixture f;
	uint64_t began, first, again;

	(void)state;
	setup(&f, NULL);
	began = real_us();
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	first = real_us() - began;
	again = quickest(&f, "alice", "secret", &alice_hash, LOGIN_RIGHT);
	assert_true(again * 5 < first);
	/* Only for this account, this secret, and as long as the password is not changed. */
	assert_int_equal(ask(&f, "alice", "secret", &other_hash, NULL), LOGIN_WRONG);
	assert_int_equal(ask(&f, "alice", "changed", &alice_hash, NULL), LOGIN_WRONG);
	assert_int_equal(ask(&f, "alic", "esecret", &alice_hash, NULL), LOGIN_WRONG);
	/* And not for ever. */
	atomic_fetch_add(&fake_us, 10 * CLOCK_MINUTE_US);
	began = real_us();
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	assert_true(again * 5 < real_us() - began);
	teardown(&f);
}

/* Many connections of one program at once: one of them pays. */
static void test_equal_checks_share_their_cost(void **state)
{
	struct fixture f;
	struct slot slots[CHECKS_MAX];
	uint64_t one, all;
	unsigned i;

	(void)state;
	setup(&f, NULL);
	one = quickest(&f, "nobody", "guess", NULL, LOGIN_WRONG);
	f.wanted = f.came = 0;
	all = real_us();
	for (i = 0; i < CHECKS_MAX; i++)
		start(&f, &slots[i], "alice", "secret", &alice_hash, NULL);
	run(&f);
	all = real_us() - all;
	for (i = 0; i < CHECKS_MAX; i++)
		assert_int_equal(f.answer[i], LOGIN_RIGHT);
	assert_true(all < one * CHECKS_MAX / 4);
	teardown(&f);
}

/* Five failures of one kind, then: who else is over the limit, who is not. */
static void test_limits(void **state)
{
	static const struct {
		const char *what;
		const char *account, *peer; /* fail, %u is replaced by a number */
		const char *then_account, *then_peer;
		enum login_answer then;
	} cases[] = {
		{ "account, any address", "alice", "192.0.2.%u:1", "alice", "198.51.100.1:1", LOGIN_LATER },
		{ "account, local", "alice", "192.0.2.%u:1", "alice", NULL, LOGIN_LATER },
		{ "others are free", "alice", "192.0.2.%u:1", "bob", "198.51.100.1:1", LOGIN_WRONG },
		{ "address, any account", "a%u", "192.0.2.9:1", "bob", "192.0.2.9:77", LOGIN_LATER },
		{ "another address", "a%u", "192.0.2.9:1", "bob", "192.0.2.10:1", LOGIN_WRONG },
		{ "a network of IPv6", "a%u", "[2001:db8:1:2::%u]:1", "bob", "[2001:db8:1:2:ffff::1]:1",
		  LOGIN_LATER },
		{ "another network", "a%u", "[2001:db8:1:2::%u]:1", "bob", "[2001:db8:1:3::1]:1",
		  LOGIN_WRONG },
		{ "mapped is IPv4", "a%u", "192.0.2.9:1", "bob", "[::ffff:192.0.2.9]:1", LOGIN_LATER },
		{ "local has no address", "a%u", NULL, "bob", NULL, LOGIN_WRONG },
	};
	struct login_counts counts;
	struct fixture f;
	char account[32], peer[64];
	unsigned n;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		setup(&f, NULL);
		for (n = 0; n < 5; n++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(account, sizeof account, cases[i].account, n);
			snprintf(peer, sizeof peer, cases[i].peer != NULL ? cases[i].peer : "", n);
#pragma GCC diagnostic pop
			assert_int_equal(ask(&f, account, wrong_token, &token_hash,
			                     cases[i].peer != NULL ? peer : NULL), LOGIN_WRONG);
		}
		assert_int_equal(ask(&f, cases[i].then_account, wrong_token, &token_hash,
		                     cases[i].then_peer), cases[i].then);
		login_counts(f.login, &counts);
		assert_int_equal(counts.later, cases[i].then == LOGIN_LATER);
		assert_int_equal(counts.busy, 0);
		teardown(&f);
	}
}

static void test_limits_forgive(void **state)
{
	struct fixture f;
	unsigned i;

	(void)state;
	setup(&f, NULL);
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	for (i = 0; i < 5; i++)
		assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_WRONG);
	assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_LATER);
	assert_int_equal(ask(&f, "alice", "guess", &alice_hash, NULL), LOGIN_LATER);
	assert_int_equal(ask(&f, "alice", "changed", &other_hash, NULL), LOGIN_LATER);
	/* Who shows what cannot be guessed is not locked out by guessers. */
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	assert_int_equal(ask(&f, "alice", token, &token_hash, NULL), LOGIN_RIGHT);
	/* One more each twelve seconds. */
	atomic_fetch_add(&fake_us, 11900000);
	assert_int_equal(ask(&f, "alice", "changed", &other_hash, NULL), LOGIN_LATER);
	atomic_fetch_add(&fake_us, 200000);
	assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_WRONG);
	assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_LATER);
	atomic_fetch_add(&fake_us, CLOCK_MINUTE_US);
	for (i = 0; i < 5; i++)
		assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_WRONG);
	assert_int_equal(ask(&f, "alice", wrong_token, &token_hash, NULL), LOGIN_LATER);
	teardown(&f);
}

/* Guesses that were queued before the first failed do not all get their turn. */
static void test_limits_hold_in_the_queue(void **state)
{
	const struct login_options options = { .failures_minute = 2 };
	struct fixture f;
	struct slot slots[8];
	char guess[16];
	unsigned i, wrong = 0;

	(void)state;
	setup(&f, &options);
	for (i = 0; i < 8; i++) {
		snprintf(guess, sizeof guess, "guess%u", i);
		start(&f, &slots[i], "alice", guess, &alice_hash, "192.0.2.1:1");
	}
	run(&f);
	for (i = 0; i < 8; i++)
		wrong += f.answer[i] == LOGIN_WRONG;
	assert_int_equal(wrong, 2);
	assert_int_equal(f.answer[7], LOGIN_LATER);
	teardown(&f);
}

static void test_a_full_queue_says_later(void **state)
{
	const struct login_options options = { .queue = 2, .failures_minute = 1000 };
	struct fixture f;
	struct slot slots[10];
	struct login_counts counts;
	char account[16];
	unsigned i, later = 0;

	(void)state;
	setup(&f, &options);
	for (i = 0; i < 10; i++) {
		snprintf(account, sizeof account, "a%u", i);
		start(&f, &slots[i], account, "guess", NULL, NULL);
	}
	run(&f);
	for (i = 0; i < 10; i++)
		later += f.answer[i] == LOGIN_LATER;
	/* Two wait, one more may be in hand already. */
	assert_in_range(later, 7, 8);
	login_counts(f.login, &counts);
	assert_int_equal(counts.busy, later);
	assert_int_equal(counts.later, later);
	/* Then there is room again, and tokens never needed it. */
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	teardown(&f);
}

static void test_cancel(void **state)
{
	const struct login_options options = { .failures_minute = 1000 };
	struct fixture f;
	struct slot slots[4];
	struct login_check *k[4];
	const struct timespec a_little = { .tv_nsec = 20000000 };
	unsigned i;

	(void)state;
	login_cancel(NULL);
	setup(&f, &options);
	k[0] = start(&f, &slots[0], "a", "guess", NULL, NULL);
	nanosleep(&a_little, NULL); /* now most likely in hand */
	k[1] = start(&f, &slots[1], "b", "guess", NULL, NULL);
	k[2] = start(&f, &slots[2], "c", "guess", NULL, NULL);
	k[3] = start(&f, &slots[3], "d", token, &token_hash, NULL); /* posted */
	for (i = 0; i < 4; i++)
		login_cancel(k[i]);
	/* The last in the queue was cancelled: it still works. */
	f.wanted = f.came = 0;
	assert_int_equal(ask(&f, "alice", "secret", &alice_hash, NULL), LOGIN_RIGHT);
	assert_int_equal(f.came, 1);
	/* A loop may go while a thread still has a check that was cancelled. */
	k[0] = start(&f, &slots[0], "a", "guess", NULL, NULL);
	nanosleep(&a_little, NULL);
	login_cancel(k[0]);
	loop_free(f.loop);
	assert_int_equal(loop_create(&f.loop), 0);
	teardown(&f);
}

/* Checks from several loops at once. */
static void *ask_from_another_loop(void *ctx)
{
	struct fixture mine = { .login = ctx };
	struct slot slot;
	unsigned i;

	if (loop_create(&mine.loop) < 0)
		return NULL;
	for (i = 0; i < 20; i++) {
		struct address peer;

		address_parse("192.0.2.1:1", &peer);
		mine.wanted = 1;
		mine.came = 0;
		slot = (struct slot){ .f = &mine };
		login_start(mine.login, mine.loop, span_str("alice"),
		            span_str(i % 2 != 0 ? token : "secret"),
		            i % 2 != 0 ? &token_hash : &alice_hash, &peer, on_done, &slot);
		loop_run(mine.loop);
		if (mine.came != 1 || mine.answer[0] != LOGIN_RIGHT)
			break;
	}
	loop_free(mine.loop);
	return i == 20 ? ctx : NULL;
}

static void test_threads(void **state)
{
	const struct login_options options = { .threads = 2 };
	struct login *login;
	pthread_t thread[3];
	void *result;
	unsigned i;

	(void)state;
	assert_int_equal(login_create(&options, &login), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, ask_from_another_loop, login), 0);
	for (i = 0; i < 3; i++) {
		pthread_join(thread[i], &result);
		assert_ptr_equal(result, login);
	}
	login_free(login);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_unknown_takes_as_long_as_wrong),
		cmocka_unit_test(test_right_answers_are_remembered),
		cmocka_unit_test(test_equal_checks_share_their_cost),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limits_forgive),
		cmocka_unit_test(test_limits_hold_in_the_queue),
		cmocka_unit_test(test_a_full_queue_says_later),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup_group, NULL);
}
