/* Users of this machine who need no password: what a configuration may say, and who is meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/local_user.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_values(void **state)
{
	static const struct {
		char *value;
		int err;
		unsigned uid;
		const char *account; /* or what stands in the error */
	} cases[] = {
		{ (char *)"root alice", 0, 0, "alice" },
		{ (char *)"0 alice", 0, 0, "alice" },
		{ (char *)"1234  bob@b.example", 0, 1234, "bob@b.example" },
		{ (char *)"1234\t \tan account with blanks", 0, 1234, "an account with blanks" },
		{ (char *)"4294967294 x", 0, 4294967294U, "x" },
		{ (char *)"4294967295 x", ERR_CONFIG, 0, "there is no user \"4294967295\"" },
		{ (char *)"root", ERR_CONFIG, 0, "\"root\" is no user and account" },
		{ (char *)"1234 ", ERR_CONFIG, 0, "is no user and account" },
		{ (char *)"no-such-user-here alice", ERR_CONFIG, 0, "no-such-user-here" },
		{ (char *)"-1 alice", ERR_CONFIG, 0, "there is no user \"-1\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *item[1] = { cases[i].value };
		unsigned line[1] = { 7 };
		const struct conf_list list = { .item = item, .line = line, .n = 1 };
		struct local_users u;
		struct err_text e = { "" };

		assert_int_equal(local_users_read("a.conf", &list, &u, &e), cases[i].err);
		if (cases[i].err == 0) {
			assert_int_equal(u.n, 1);
			assert_int_equal(u.item[0].uid, cases[i].uid);
			assert_string_equal(u.item[0].account, cases[i].account);
		} else {
			assert_non_null(strstr(e.text, "a.conf:7: local-user: "));
			assert_non_null(strstr(e.text, cases[i].account));
		}
		local_users_free(&u);
		assert_int_equal(u.n, 0);
	}
}

static void test_none(void **state)
{
	const struct conf_list list = { .n = 0 };
	struct local_users u;

	(void)state;
	assert_int_equal(local_users_read("a.conf", &list, &u, NULL), 0);
	assert_int_equal(u.n, 0);
	local_users_free(&u);
}

/* A stream on one end of PAIR. */
static struct stream *stream_on(struct loop *l, int fd)
{
	struct stream *s;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(stream_plain_create(l, fd, &s), 0);
	return s;
}

static void test_who_may(void **state)
{
	char own[64], other[64];
	char *item[] = { own, other, (char *)"4000000000 carol" };
	unsigned line[] = { 1, 2, 3 };
	const struct conf_list list = { .item = item, .line = line, .n = 3 };
	struct local_users u, none = { 0 };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	struct stream *local, *remote;
	struct loop *l;
	int pair[2], listener, client, server;

	(void)state;
	snprintf(own, sizeof own, "%u alice", (unsigned)geteuid());
	snprintf(other, sizeof other, "%u bob", (unsigned)geteuid());
	assert_int_equal(local_users_read("a.conf", &list, &u, NULL), 0);
	assert_int_equal(loop_create(&l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	local = stream_on(l, pair[0]);
	assert_true(local_users_allow(&u, local, span_str("alice")));
	assert_true(local_users_allow(&u, local, span_str("bob")));
	assert_false(local_users_allow(&u, local, span_str("carol")));
	assert_false(local_users_allow(&u, local, span_str("alic")));
	assert_false(local_users_allow(&u, local, span_str("")));
	assert_false(local_users_allow(&none, local, span_str("alice")));
	stream_free(local);
	close(pair[1]);

	/* By TCP the kernel vouches for nobody. */
	listener = socket(AF_INET, SOCK_STREAM, 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof a), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	remote = stream_on(l, server);
	assert_false(local_users_allow(&u, remote, span_str("alice")));
	stream_free(remote);
	close(listener);
	close(client);
	loop_free(l);
	local_users_free(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_who_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
