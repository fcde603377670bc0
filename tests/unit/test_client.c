/* The client's side of a session: order, tails, long answers, failures, time, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "caller.h"

/* --- requests and responses -------------------------------------------------------------- */

static void test_queued_before_open(void **state)
{
	static struct fixture f;
	char text[16];
	unsigned i;

	(void)state;
	caller_setup(&f, false);
	caller_connect(&f);
	assert_false(client_is_open(f.client));
	assert_null(client_stream(f.client));
	for (i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "%u", i);
		caller_ask(&f, i % 50 == 7 ? 'l' : 'e', text);
	}
	assert_int_equal(client_pending(f.client), 200);
	caller_run_until(&f, caller_all_ended);
	for (i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "%u", i);
		caller_assert_answer(&f.requests[i], i % 50 == 7 ? 'l' : 'e', text);
		assert_int_equal(f.requests[i].order, i + 1);
	}
	assert_int_equal(client_pending(f.client), 0);
	assert_true(client_is_open(f.client));
	assert_non_null(client_stream(f.client));
	caller_ask(&f, 'e', "later");
	caller_run_until(&f, caller_all_ended);
	caller_assert_answer(&f.requests[200], 'e', "later");
	assert_int_equal(f.closed, 0);
	caller_teardown(&f);
}

static void test_tails(void **state)
{
	static struct fixture f;
	struct request *shy;

	(void)state;
	caller_setup(&f, false);
	caller_connect(&f);
	caller_ask_with(&f, 's', "", 3 << 20, 0);
	caller_ask(&f, 'e', "between");
	caller_ask_with(&f, 's', "", 100, 0);
	shy = caller_ask_with(&f, 's', "", 1 << 20, 0);
	shy->shy = true;
	caller_ask_with(&f, 's', "", 100, 0);
	f.until = NULL;
	while (f.requests[2].end == NONE)
		caller_run_until(&f, caller_after_turns);
	caller_run_until(&f, caller_after_turns);
	/* It writes by itself when it has something, and is called again when there is room. */
	assert_int_equal(shy->tail_at, 0);
	shy->shy = false;
	caller_write_tail(shy);
	assert_true(shy->tail_at > 0);
	caller_run_until(&f, caller_all_ended);
	caller_assert_sum(&f.requests[0], 's', 3 << 20);
	caller_assert_answer(&f.requests[1], 'e', "between");
	caller_assert_sum(&f.requests[2], 's', 100);
	caller_assert_sum(&f.requests[3], 's', 1 << 20);
	caller_assert_sum(&f.requests[4], 's', 100);
	caller_teardown(&f);
}

static void test_streamed_responses(void **state)
{
	/* Octets of the answer, which has two more; RESPONSE_OCTETS is 10,000. */
	static const uint32_t sizes[] = { 3 << 20, 9998, 9999, 10000, 4094, 70000, 0 };
	static struct fixture f;
	unsigned i, k;

	(void)state;
	caller_setup(&f, false);
	f.options.response_octets = 10000;
	caller_connect(&f);
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		caller_ask_long(&f, sizes[i]);
		caller_ask(&f, 'e', "next");
	}
	caller_run_until(&f, caller_all_ended);
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		const struct request *r = &f.requests[2 * i];
		bool streamed = sizes[i] + 2 > 10000;

		assert_int_equal(r->end, RESPONSE);
		assert_int_equal(r->total, sizes[i] + 2);
		assert_int_equal(r->body.n, sizes[i] + 2);
		assert_int_equal(r->last, streamed);
		assert_true(streamed ? r->head >= 4096 && r->pieces > 0 : r->pieces == 0);
		for (k = 0; k < sizes[i]; k++)
			if (buf_view(&r->body).p[2 + k] != toy_octet(k))
				fail_msg("octet %u of answer %u is wrong", k, i);
		caller_assert_answer(&f.requests[2 * i + 1], 'e', "next");
	}
	caller_teardown(&f);
}

/* A response limit under the head's least: all of it may be the head. */
static void test_a_small_response_may_be_streamed(void **state)
{
	static struct fixture f;
	struct request *r;

	(void)state;
	caller_setup(&f, false);
	f.options.response_octets = 4;
	caller_connect(&f);
	r = caller_ask(&f, 'e', "123456789");
	caller_run_until(&f, caller_all_ended);
	assert_int_equal(r->head, 11);
	assert_int_equal(r->pieces, 1);
	assert_true(r->last);
	caller_teardown(&f);
}

/* A server that answers before it had all: a little goes on, a lot does not. */
static void test_early_answers(void **state)
{
	static const struct {
		uint64_t tail;
		bool goes_on;
	} cases[] = { { 200000, true }, { 64 << 20, false } };
	static struct fixture f;
	struct request *first, *second;
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		caller_setup(&f, false);
		caller_connect(&f);
		first = caller_ask_with(&f, 'r', "", cases[i].tail, 0);
		second = caller_ask(&f, 'e', "next");
		/* The first tail never gets on by itself: all that is sent after is filler. */
		first->shy = cases[i].goes_on;
		caller_run_until(&f, caller_all_ended);
		assert_int_equal(first->end, RESPONSE);
		if (cases[i].goes_on) {
			caller_assert_answer(second, 'e', "next");
			assert_int_equal(f.toy.commands, 2);
		} else {
			caller_assert_failed(second, ERR_CLOSED, "b.example msrap");
			assert_int_equal(f.closed, 1);
		}
		caller_teardown(&f);
	}
}

/* --- failures ---------------------------------------------------------------------------- */

static void test_dialling_fails(void **state)
{
	static struct fixture f;
	unsigned i;

	(void)state;
	caller_setup(&f, true);
	unlink(f.address.sun_path);
	caller_connect(&f);
	for (i = 0; i < 3; i++)
		caller_ask(&f, 'e', "");
	caller_run_until(&f, caller_is_closed);
	for (i = 0; i < 3; i++) {
		assert_int_equal(f.requests[i].end, FAILED);
		assert_int_equal(f.requests[i].order, i + 1);
		assert_int_equal(f.requests[i].error, f.closed_error);
		assert_string_equal(f.requests[i].why.text, f.closed_why);
	}
	assert_true(f.closed_error < 0);
	assert_non_null(strstr(f.closed_why, f.address.sun_path));
	assert_int_equal(f.closed, 1);
	assert_int_equal(client_send(f.client, &(struct client_call){ .tail_octets = 0 }, NULL),
	                 ERR_CLOSED);
	caller_teardown(&f);
}

/* What a bare peer says to two requests, and how the first that is not answered fails. */
static void test_bad_servers(void **state)
{
	static const struct {
		const char *what;
		const uint8_t words[12];
		size_t n;
		bool hangs_up, no_data;
		int error;
		const char *why;
		unsigned answered;
	} cases[] = {
		{ "closes", { 0 }, 0, true, false, ERR_CLOSED, "closed the connection", 0 },
		{ "closes after one", { 0, 0, 0, 2, 0xa2, 'e' }, 6, true, false, ERR_CLOSED,
		  "closed the connection", 1 },
		{ "closes inside", { 0, 0, 0, 9, 0xa2, 'e' }, 6, true, false, ERR_CLOSED,
		  "closed the connection", 0 },
		{ "closes inside a long one", { 0, 0x20, 0, 0, 0xa2, 'e' }, 6, true, false, ERR_CLOSED,
		  "closed the connection", 0 },
		{ "empty frame", { 0, 0, 0, 0 }, 4, false, false, ERR_PROTOCOL, "empty frame", 0 },
		{ "too big", { 0, 0x10, 0, 1, 0xa2 }, 5, false, true, ERR_TOO_BIG, "1048577 octets", 0 },
	};
	static struct fixture f;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		caller_setup(&f, true);
		assert_int_equal(buf_add(&f.words, cases[i].words, cases[i].n), 0);
		f.hangs_up = cases[i].hangs_up;
		caller_connect(&f);
		f.no_data = cases[i].no_data;
		caller_ask(&f, 'e', "");
		caller_ask(&f, 'e', "");
		caller_run_until(&f, caller_is_closed);
		for (k = 0; k < 2; k++) {
			if (k < cases[i].answered)
				caller_assert_answer(&f.requests[k], 'e', "");
			else
				caller_assert_failed(&f.requests[k], cases[i].error, cases[i].why);
		}
		assert_int_equal(f.closed_error, cases[i].error);
		caller_teardown(&f);
	}
}

/* What a server says unasked is that it is closing. */
static void test_an_unasked_response(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, false);
	f.limits.idle_us = 20 * MS; /* commandTimeout comes */
	caller_connect(&f);
	caller_ask(&f, 'e', "");
	caller_run_until(&f, caller_is_closed);
	caller_assert_answer(&f.requests[0], 'e', "");
	assert_int_equal(f.closed_error, ERR_CLOSED);
	assert_non_null(strstr(f.closed_why, "b.example msrap: the server ended the session"));
	caller_teardown(&f);
}

static void test_a_tail_that_fails(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, false);
	caller_connect(&f);
	caller_ask_with(&f, 's', "", 1000, 0)->tail_error = ERR_IO;
	caller_ask(&f, 'e', "");
	caller_run_until(&f, caller_is_closed);
	caller_assert_failed(&f.requests[0], ERR_IO, "cannot be read");
	caller_assert_failed(&f.requests[1], ERR_IO, "cannot be read");
	caller_teardown(&f);
}

/* --- time -------------------------------------------------------------------------------- */

static void test_time_outs(void **state)
{
	static struct fixture f;
	uint64_t began = clock_mono_us();

	(void)state;
	caller_setup(&f, true);
	caller_connect(&f);
	caller_ask_with(&f, 'e', "", 0, 50 * MS);
	caller_ask(&f, 'e', "");
	caller_run_until(&f, caller_is_closed);
	assert_true(clock_mono_us() - began >= 50 * MS);
	caller_assert_failed(&f.requests[0], ERR_TIMEOUT, "b.example msrap: no answer");
	caller_assert_failed(&f.requests[1], ERR_TIMEOUT, "b.example msrap: no answer");
	caller_teardown(&f);
}

static bool second_ended(struct fixture *f)
{
	return f->requests[1].end != NONE;
}

/* One behind a patient one fails alone; what comes for it later is thrown away. */
static void test_a_time_out_in_the_queue(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, true);
	caller_connect(&f);
	caller_ask(&f, 'w', "");
	caller_ask_with(&f, 'e', "", 0, 30 * MS);
	caller_ask(&f, 'e', "");
	caller_run_until(&f, second_ended);
	caller_assert_failed(&f.requests[1], ERR_TIMEOUT, "no answer");
	assert_int_equal(f.closed, 0);
	toy_add_response(&f.words, 'w', "1", 1);
	toy_add_response(&f.words, 'e', "2", 1);
	toy_add_response(&f.words, 'e', "3", 1);
	caller_run_until(&f, caller_all_ended);
	caller_assert_answer(&f.requests[0], 'w', "1");
	caller_assert_answer(&f.requests[2], 'e', "3");
	caller_teardown(&f);
}

/* A slow answer is not a missing one. */
static void test_progress_counts(void **state)
{
	static struct fixture f;
	char text[200];

	(void)state;
	caller_setup(&f, true);
	memset(text, 't', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	toy_add_response(&f.words, 'e', text, strlen(text));
	f.pace = 1; /* a turn, which is 1 ms: 205 ms in all */
	caller_connect(&f);
	caller_ask_with(&f, 'e', "", 0, 60 * MS);
	caller_run_until(&f, caller_all_ended);
	caller_assert_answer(&f.requests[0], 'e', text);
	caller_teardown(&f);
}

static void test_a_server_that_takes_nothing(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, true);
	f.deaf = true;
	caller_connect(&f);
	caller_ask_with(&f, 's', "", 64 << 20, 50 * MS);
	caller_run_until(&f, caller_is_closed);
	caller_assert_failed(&f.requests[0], ERR_TIMEOUT, "no answer");
	assert_in_range(f.requests[0].tail_at, 1, 4 << 20);
	caller_teardown(&f);
}

/* --- cancelling and freeing -------------------------------------------------------------- */

static void test_cancel(void **state)
{
	static struct fixture f;

	(void)state;
	client_cancel(NULL);
	caller_setup(&f, false);
	caller_connect(&f);
	caller_ask(&f, 'e', "queued");
	caller_ask(&f, 'e', "stays");
	caller_cancel(&f.requests[0]);
	assert_int_equal(client_pending(f.client), 1);
	caller_run_until(&f, caller_all_ended);
	assert_int_equal(f.toy.commands, 1); /* the first was never sent */
	caller_ask(&f, 'l', "under way");
	caller_ask_long(&f, 3 << 20);
	caller_ask(&f, 'e', "next");
	caller_ask(&f, 'e', "cancelled by the one before");
	caller_ask(&f, 'e', "last");
	f.requests[4].cancels = &f.requests[5];
	caller_run_until(&f, caller_after_turns);
	caller_cancel(&f.requests[2]);
	caller_cancel(&f.requests[3]);
	caller_run_until(&f, caller_all_ended);
	caller_assert_answer(&f.requests[4], 'e', "next");
	caller_assert_answer(&f.requests[6], 'e', "last");
	assert_int_equal(f.requests[5].end, NONE);
	assert_int_equal(f.closed, 0);
	caller_teardown(&f);
}

static void test_cancel_in_a_tail(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, false);
	caller_connect(&f);
	caller_ask(&f, 'n', "");
	caller_ask_with(&f, 's', "", 64 << 20, 0);
	caller_ask(&f, 'e', "");
	caller_run_until(&f, caller_is_open);
	caller_run_until(&f, caller_after_turns);
	assert_true(f.requests[1].tail_at > 0);
	caller_cancel(&f.requests[1]);
	assert_int_equal(f.ended, 0);
	assert_int_equal(client_send(f.client, &(struct client_call){ .tail_octets = 0 }, NULL),
	                 ERR_CLOSED);
	caller_run_until(&f, caller_is_closed);
	caller_assert_failed(&f.requests[0], ERR_CLOSED, "in the middle of a request");
	caller_assert_failed(&f.requests[2], ERR_CLOSED, "in the middle of a request");
	caller_teardown(&f);
}

static void test_cancel_from_its_own_callbacks(void **state)
{
	static struct fixture f;

	(void)state;
	caller_setup(&f, false);
	f.options.response_octets = 5000;
	caller_connect(&f);
	caller_ask_long(&f, 1 << 20);
	f.requests[0].cancels = &f.requests[0]; /* at its response's head */
	caller_ask(&f, 'e', "next");
	caller_run_until(&f, caller_all_ended);
	assert_int_equal(f.requests[0].end, NONE);
	assert_int_equal(f.requests[0].pieces, 0);
	caller_assert_answer(&f.requests[1], 'e', "next");
	caller_ask_with(&f, 's', "", 8 << 20, 0);
	f.requests[2].cancels = &f.requests[2]; /* in its tail */
	caller_ask(&f, 'e', "never");
	caller_run_until(&f, caller_is_closed);
	assert_int_equal(f.requests[2].end, NONE);
	caller_assert_failed(&f.requests[3], ERR_CLOSED, "in the middle");
	caller_teardown(&f);
}

/* The client is freed in each callback; nothing follows. */
static void test_free_in_callbacks(void **state)
{
	static const struct {
		const char *what;
		char letter;
		bool at_data, in_closed;
	} cases[] = {
		{ "response", 'e', false, false },
		{ "head", 'g', false, false },
		{ "data", 'g', true, false },
		{ "tail", 's', false, false },
		{ "failed", 'a', false, false },
		{ "closed", 'a', false, true },
	};
	static struct fixture f;
	struct request *r;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		caller_setup(&f, false);
		f.options.response_octets = 5000;
		f.free_in_closed = cases[i].in_closed;
		caller_connect(&f);
		if (cases[i].letter == 'g')
			r = caller_ask_long(&f, 1 << 20);
		else
			r = caller_ask_with(&f, cases[i].letter, "", cases[i].letter == 's' ? 8 << 20 : 0, 0);
		caller_ask(&f, 'e', "never");
		r->free_at_data = cases[i].at_data;
		r->free_client = !cases[i].at_data && !cases[i].in_closed;
		caller_run_until(&f, caller_is_freed);
		caller_run_until(&f, caller_after_turns);
		assert_int_equal(f.requests[1].end, cases[i].in_closed ? FAILED : NONE);
		assert_int_equal(f.closed, cases[i].in_closed);
		caller_teardown(&f);
	}
}

static void test_free_at_any_time(void **state)
{
	static struct fixture f;
	unsigned turns;

	(void)state;
	for (turns = 0; turns < 12; turns++) {
		caller_setup(&f, false);
		caller_connect(&f);
		caller_ask(&f, 'l', "");
		caller_ask_long(&f, 3 << 20);
		caller_ask_with(&f, 's', "", 3 << 20, 0);
		caller_ask(&f, 'n', "");
		for (unsigned k = 0; k < turns; k++)
			caller_run_until(&f, caller_after_turns);
		client_free(f.client);
		f.client = NULL;
		caller_run_until(&f, caller_after_turns);
		caller_teardown(&f);
	}
	client_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queued_before_open),
		cmocka_unit_test(test_tails),
		cmocka_unit_test(test_streamed_responses),
		cmocka_unit_test(test_a_small_response_may_be_streamed),
		cmocka_unit_test(test_early_answers),
		cmocka_unit_test(test_dialling_fails),
		cmocka_unit_test(test_bad_servers),
		cmocka_unit_test(test_an_unasked_response),
		cmocka_unit_test(test_a_tail_that_fails),
		cmocka_unit_test(test_time_outs),
		cmocka_unit_test(test_a_time_out_in_the_queue),
		cmocka_unit_test(test_progress_counts),
		cmocka_unit_test(test_a_server_that_takes_nothing),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_in_a_tail),
		cmocka_unit_test(test_cancel_from_its_own_callbacks),
		cmocka_unit_test(test_free_in_callbacks),
		cmocka_unit_test(test_free_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
