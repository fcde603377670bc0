/* Locating without DNS: routes, the order of SRV records, reading answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/random.h"
#include "net/locate.h"
#include "net/locate_srv.h"
#include "tls_pair.h"

/* --- routes ------------------------------------------------------------------------------- */

static void test_parse_route(void **state)
{
	static const struct {
		const char *text;
		const char *say; /* NULL: good */
		struct locate_route route;
	} cases[] = {
		{ "b.example rnasp 127.0.0.1:4403", NULL,
		  { "b.example", LOCATE_RNASP, "127.0.0.1", 4403 } },
		{ "  B.Example.\trnaqp  [::1]:65535 ", NULL,
		  { "b.example", LOCATE_RNAQP, "::1", 65535 } },
		{ "b.example msoap store.b.example:1", NULL,
		  { "b.example", LOCATE_MSOAP, "store.b.example", 1 } },
		{ "b\303\274cher.example msrap x:2", NULL,
		  { "xn--bcher-kva.example", LOCATE_MSRAP, "x", 2 } },
		{ "", "not three words", { "", 0, "", 0 } },
		{ "b.example rnasp", "not three words", { "", 0, "", 0 } },
		{ "b.example rnasp x:1 y", "not three words", { "", 0, "", 0 } },
		{ "b..example rnasp x:1", "\"b..example\" is no domain", { "", 0, "", 0 } },
		{ "b.example smtp x:1", "\"smtp\" is no service (msoap, msrap, rnasp, rnaqp)",
		  { "", 0, "", 0 } },
		{ "b.example RNASP x:1", "is no service", { "", 0, "", 0 } },
		{ "b.example rnasp x", "\"x\" is no host and port", { "", 0, "", 0 } },
		{ "b.example rnasp x:0", "is no host and port", { "", 0, "", 0 } },
		{ "b.example rnasp x:65536", "is no host and port", { "", 0, "", 0 } },
		{ "b.example rnasp ::1:4403", "is no host and port", { "", 0, "", 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct locate_route route;
		struct err_text e = { "" };
		int rc = locate_parse_route(cases[i].text, &route, &e);

		assert_int_equal(rc, cases[i].say == NULL ? 0 : ERR_MALFORMED);
		if (rc < 0) {
			if (strstr(e.text, cases[i].say) == NULL)
				fail_msg("%s: %s", cases[i].text, e.text);
			continue;
		}
		assert_string_equal(route.domain, cases[i].route.domain);
		assert_int_equal(route.service, cases[i].route.service);
		assert_string_equal(route.host, cases[i].route.host);
		assert_int_equal(route.port, cases[i].route.port);
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(locate_service_name(LOCATE_MSOAP), "msoap");
	assert_string_equal(locate_service_name(LOCATE_RNAQP), "rnaqp");
	assert_string_equal(locate_alpn(LOCATE_MSRAP), "im2000-msrap/1");
	assert_string_equal(locate_alpn(LOCATE_RNASP), "im2000-rnasp/1");
}

struct found {
	int calls, error;
	size_t n;
	struct located list[4];
};

static void on_found(void *ctx, int error, const struct located *list, size_t n, const char *why)
{
	struct found *f = ctx;

	(void)why;
	f->calls++;
	f->error = error;
	f->n = n;
	assert_true(n <= 4);
	if (n > 0)
		memcpy(f->list, list, n * sizeof *list);
	loop_stop(l);
}

/* Addresses in routes need no DNS; several routes are tried in their order. */
static void test_lookup_by_route(void **state)
{
	static const char *const lines[] = {
		"a.example rnasp 10.0.0.9:4403", "a.example rnasp [::1]:4404",
		"a.example msoap 10.0.0.8:1",    "b.example rnasp 10.0.0.7:2",
	};
	struct locate_route routes[4];
	/* Nobody is there: a question would fail the test by its error. */
	static const char *const servers[] = { "127.0.0.1:1" };
	struct locate_options o = { .servers = servers, .n_servers = 1, .routes = routes,
		                    .n_routes = 4 };
	struct locator *r;
	char text[64];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(locate_parse_route(lines[i], &routes[i], NULL), 0);
	assert_int_equal(locator_create(l, &o, &r, NULL), 0);
	for (int i = 0; i < 3; i++) {
		struct found f = { 0 };

		assert_non_null(locate_start(r, "a.example", LOCATE_RNASP, on_found, &f));
		assert_int_equal(f.calls, 0);
		loop_run(l);
		assert_int_equal(f.calls, 1);
		assert_int_equal(f.error, 0);
		assert_int_equal(f.n, 2);
		assert_string_equal(address_format(&f.list[0].address, text, sizeof text),
		                    "10.0.0.9:4403");
		assert_string_equal(address_format(&f.list[1].address, text, sizeof text),
		                    "[::1]:4404");
		assert_string_equal(f.list[0].target, "10.0.0.9");
		assert_true(f.list[0].pinned && f.list[1].pinned);
	}
	locator_free(r);
}

/* A name that needs no DNS (RFC 6761 section 6.3) leads to loopback, with the route's port. */
static void test_route_to_a_name(void **state)
{
	static const char *const servers[] = { "127.0.0.1:1" };
	struct locate_route route;
	struct locate_options o = { .servers = servers, .n_servers = 1, .routes = &route,
		                    .n_routes = 1 };
	struct found f = { 0 };
	struct locator *r;

	(void)state;
	assert_int_equal(locate_parse_route("a.example rnasp localhost:4403", &route, NULL), 0);
	assert_int_equal(locator_create(l, &o, &r, NULL), 0);
	locate_start(r, "a.example", LOCATE_RNASP, on_found, &f);
	loop_run(l);
	assert_int_equal(f.error, 0);
	assert_true(f.n >= 1);
	for (size_t i = 0; i < f.n; i++) {
		assert_true(address_is_private(&f.list[i].address));
		assert_int_equal(address_port(&f.list[i].address), 4403);
		assert_string_equal(f.list[i].target, "localhost");
		assert_true(f.list[i].pinned);
	}
	locator_free(r);
}

static void test_cancel_lookup(void **state)
{
	struct locate_route route;
	struct locate_options o = { .routes = &route, .n_routes = 1 };
	struct found a = { 0 }, b = { 0 }, c = { 0 };
	struct locate_lookup *k;
	struct locator *r;

	(void)state;
	assert_int_equal(locate_parse_route("a.example rnasp 10.0.0.9:4403", &route, NULL), 0);
	assert_int_equal(locator_create(l, &o, &r, NULL), 0);
	locate_start(r, "a.example", LOCATE_RNASP, on_found, &a);
	k = locate_start(r, "a.example", LOCATE_RNASP, on_found, &b);
	locate_start(r, "a.example", LOCATE_RNASP, on_found, &c);
	locate_cancel(k);
	locate_cancel(NULL);
	run_for(5);
	assert_int_equal(a.calls + c.calls, 2);
	assert_int_equal(b.calls, 0);
	/* Freed while one waits: it is not called. */
	locate_start(r, "a.example", LOCATE_RNASP, on_found, &b);
	locator_free(r);
	run_for(5);
	assert_int_equal(b.calls, 0);
	locator_free(NULL);
}

static void test_bad_server(void **state)
{
	static const char *const servers[] = { "not an address" };
	struct locate_options o = { .servers = servers, .n_servers = 1 };
	struct locator *r;
	struct err_text e = { "" };

	(void)state;
	assert_int_equal(locator_create(l, &o, &r, &e), ERR_CONFIG);
	assert_non_null(strstr(e.text, "DNS server"));
}

/* --- order -------------------------------------------------------------------------------- */

static void test_order_by_priority(void **state)
{
	static const struct locate_srv records[] = {
		{ 30, 5, 1, "c" }, { 10, 0, 1, "a" }, { 65535, 9, 1, "e" }, { 20, 7, 1, "b" },
		{ 40, 0, 1, "d" },
	};
	static const size_t expected[] = { 1, 3, 0, 4, 2 };
	size_t order[5];

	(void)state;
	for (int i = 0; i < 20; i++) {
		locate_order(records, 5, random_below, order);
		assert_memory_equal(order, expected, sizeof expected);
	}
	locate_order(records, 0, random_below, order);
}

/* The number of times, of N, that each record of a group came first, and second. */
static void count_places(const struct locate_srv *records, size_t n, unsigned rounds,
                         unsigned first[], unsigned second[])
{
	size_t order[8];

	for (unsigned i = 0; i < rounds; i++) {
		unsigned seen = 0;

		locate_order(records, n, random_below, order);
		for (size_t j = 0; j < n; j++)
			seen |= 1U << order[j];
		assert_int_equal(seen, (1U << n) - 1); /* each once */
		first[order[0]]++;
		second[order[1]]++;
	}
}

static void assert_near(unsigned count, double expected)
{
	/* Over five standard deviations of 40,000 draws. */
	if (count < expected - 520 || count > expected + 520)
		fail_msg("%u is far from %.0f", count, expected);
}

/*
 * RFC 2782: of one priority each comes first in proportion to its weight, the
 * lot being drawn from 0 to the sum; then the same among the rest.
 */
static void test_order_by_weight(void **state)
{
	static const struct locate_srv records[] = {
		{ 1, 60, 1, "a" }, { 1, 30, 1, "b" }, { 1, 10, 1, "c" },
	};
	unsigned first[3] = { 0 }, second[3] = { 0 };

	(void)state;
	count_places(records, 3, 40000, first, second);
	assert_near(first[0], 40000 * 61.0 / 101);
	assert_near(first[1], 40000 * 30.0 / 101);
	assert_near(first[2], 40000 * 10.0 / 101);
	assert_near(second[0], 40000 * (30.0 / 101 * 61 / 71 + 10.0 / 101 * 61 / 91));
}

static void test_order_with_weight_zero(void **state)
{
	static const struct locate_srv mixed[] = {
		{ 1, 99, 1, "a" }, { 1, 0, 1, "b" }, { 1, 0, 1, "c" },
	};
	static const struct locate_srv zeros[] = {
		{ 1, 0, 1, "a" }, { 1, 0, 1, "b" }, { 1, 0, 1, "c" }, { 1, 0, 1, "d" },
	};
	unsigned first[4] = { 0 }, second[4] = { 0 };

	(void)state;
	/* A very small chance, but some. */
	count_places(mixed, 3, 40000, first, second);
	assert_near(first[0], 40000 * 99.0 / 100);
	assert_near(first[1] + first[2], 40000 * 1.0 / 100);
	assert_true(first[1] > 0);
	memset(first, 0, sizeof first);
	count_places(zeros, 4, 40000, first, second);
	for (int i = 0; i < 4; i++)
		assert_near(first[i], 10000);
}

static uint64_t last_of(uint64_t limit)
{
	return limit - 1;
}

static uint64_t first_of(uint64_t limit)
{
	(void)limit;
	return 0;
}

static void test_order_at_the_edges(void **state)
{
	static const struct locate_srv records[] = {
		{ 1, 65535, 1, "a" }, { 1, 65535, 1, "b" }, { 1, 0, 1, "c" }, { 0, 0, 1, "d" },
	};
	static const size_t high[] = { 3, 1, 0, 2 }, low[] = { 3, 2, 0, 1 };
	size_t order[4];

	(void)state;
	locate_order(records, 4, last_of, order);
	assert_memory_equal(order, high, sizeof high);
	locate_order(records, 4, first_of, order);
	assert_memory_equal(order, low, sizeof low);
}

/* --- answers ------------------------------------------------------------------------------ */

/* A DNS message in the making (RFC 1035 section 4.1). */
struct message {
	uint8_t octets[4096];
	size_t n;
};

static void put(struct message *m, const void *p, size_t n)
{
	assert_true(m->n + n <= sizeof m->octets);
	memcpy(m->octets + m->n, p, n);
	m->n += n;
}

static void put16(struct message *m, unsigned v)
{
	uint8_t p[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	put(m, p, 2);
}

/* "a.example"; "" is the root. */
static void put_name(struct message *m, const char *name)
{
	while (*name != '\0') {
		size_t n = strcspn(name, ".");
		uint8_t length = (uint8_t)n;

		put(m, &length, 1);
		put(m, name, n);
		name += n + (name[n] == '.');
	}
	put(m, "", 1);
}

static void begin(struct message *m, const char *question)
{
	memset(m, 0, sizeof *m);
	put(m, "\0\1\204\0\0\1\0\0\0\0\0\0", 12);
	put_name(m, question);
	put16(m, 33);
	put16(m, 1);
}

/* The record up to its data; where the length of these stands. */
static size_t begin_record(struct message *m, const char *owner, unsigned type, uint32_t ttl)
{
	unsigned count = (unsigned)m->octets[6] << 8 | m->octets[7];

	count++;
	m->octets[6] = (uint8_t)(count >> 8);
	m->octets[7] = (uint8_t)count;
	put_name(m, owner);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl & 0xffff);
	put16(m, 0);
	return m->n - 2;
}

static void end_record(struct message *m, size_t length_at)
{
	size_t n = m->n - length_at - 2;

	m->octets[length_at] = (uint8_t)(n >> 8);
	m->octets[length_at + 1] = (uint8_t)n;
}

static void put_srv(struct message *m, const char *owner, uint32_t ttl, unsigned priority,
                    unsigned weight, unsigned port, const char *target)
{
	size_t at = begin_record(m, owner, 33, ttl);

	put16(m, priority);
	put16(m, weight);
	put16(m, port);
	put_name(m, target);
	end_record(m, at);
}

static void put_cname(struct message *m, const char *owner, uint32_t ttl, const char *target)
{
	size_t at = begin_record(m, owner, 5, ttl);

	put_name(m, target);
	end_record(m, at);
}

static const char name[] = "_im2000-rnasp._tcp.a.example";

static void test_read_answer(void **state)
{
	struct locate_srv out[8];
	struct message m;
	uint32_t ttl;

	(void)state;
	begin(&m, name);
	put_srv(&m, "_IM2000-RNASP._TCP.A.example", 300, 10, 5, 4403, "One.A.Example");
	put_srv(&m, "other.example", 1, 0, 0, 1, "other.example"); /* not asked for */
	put_srv(&m, name, 60, 20, 0, 4404, "two.a.example");
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), 2);
	assert_string_equal(out[0].target, "one.a.example");
	assert_int_equal(out[0].priority, 10);
	assert_int_equal(out[0].weight, 5);
	assert_int_equal(out[0].port, 4403);
	assert_string_equal(out[1].target, "two.a.example");
	assert_int_equal(ttl, 60);
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 1, &ttl), 1);
	assert_int_equal(locate_read_srv(m.octets, m.n, "x.example", out, 8, &ttl), 0);

	/* Root target; no port; a target that is no host name. */
	begin(&m, name);
	put_srv(&m, name, 0x80000000, 0, 0, 0, "");
	put_srv(&m, name, 5, 0, 0, 0, "one.a.example");
	put_srv(&m, name, 5, 0, 0, 1, "one a.example");
	put_srv(&m, name, 5, 0, 0, 1, "127.0.0.1");
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), 1);
	assert_string_equal(out[0].target, "");
	assert_int_equal(ttl, 0); /* over 2^31 counts as none (RFC 2181) */
}

static void test_read_answer_through_cnames(void **state)
{
	struct locate_srv out[8];
	struct message m;
	uint32_t ttl;

	(void)state;
	/* In any order, and only along the chain. */
	begin(&m, name);
	put_srv(&m, "z.example", 300, 1, 0, 4403, "right.example");
	put_srv(&m, "y.example", 300, 1, 0, 4403, "wrong.example");
	put_cname(&m, "x.example", 30, "Z.example");
	put_cname(&m, name, 200, "x.example");
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), 1);
	assert_string_equal(out[0].target, "right.example");
	assert_int_equal(ttl, 30);

	/* A ring ends. */
	begin(&m, name);
	put_cname(&m, name, 200, "x.example");
	put_cname(&m, "x.example", 200, name);
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), 0);
}

/* Every truncation, every changed octet: an error or fewer records, never more than there is. */
static void test_read_broken_answers(void **state)
{
	struct locate_srv out[8];
	struct message m;
	uint32_t ttl;

	(void)state;
	begin(&m, name);
	put_cname(&m, name, 200, "x.example");
	put_srv(&m, "x.example", 300, 10, 5, 4403, "one.a.example");
	put_srv(&m, "x.example", 300, 20, 5, 4403, "two.a.example");
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), 2);
	for (size_t n = 0; n < m.n; n++) {
		uint8_t *exact = malloc(n > 0 ? n : 1); /* its end is watched by the sanitizers */

		memcpy(exact, m.octets, n);
		assert_int_equal(locate_read_srv(exact, n, name, out, 8, &ttl), ERR_MALFORMED);
		free(exact);
	}
	for (size_t i = 0; i < m.n; i++)
		for (int bit = 0; bit < 8; bit++) {
			uint8_t *exact = malloc(m.n);
			int rc;

			memcpy(exact, m.octets, m.n);
			exact[i] ^= (uint8_t)(1 << bit);
			rc = locate_read_srv(exact, m.n, name, out, 8, &ttl);
			assert_true(rc >= ERR_PROTOCOL && rc <= 2);
			free(exact);
		}
	/* Shorter data than an SRV has. */
	begin(&m, name);
	end_record(&m, begin_record(&m, name, 33, 5));
	assert_int_equal(locate_read_srv(m.octets, m.n, name, out, 8, &ttl), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_route),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_lookup_by_route, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_route_to_a_name, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_lookup, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_bad_server, pair_setup, pair_teardown),
		cmocka_unit_test(test_order_by_priority),
		cmocka_unit_test(test_order_by_weight),
		cmocka_unit_test(test_order_with_weight_zero),
		cmocka_unit_test(test_order_at_the_edges),
		cmocka_unit_test(test_read_answer),
		cmocka_unit_test(test_read_answer_through_cnames),
		cmocka_unit_test(test_read_broken_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
