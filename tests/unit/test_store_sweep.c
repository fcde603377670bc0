/* builds: plain asan */

/* The sweep goes on over what is damaged, and comes back to that after a while. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/db_table.h"
#include "store/sweep.h"

static const char *const bob[] = { "bob@b.example", NULL };

static struct rig r;
static struct sweep *sweep;
static atomic_ullong ahead_us; /* of the machine's clocks */
static uint64_t number[4];

static uint64_t machine_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 + atomic_load(&ahead_us);
}

static uint64_t now_us(void)
{
	return machine_us(CLOCK_REALTIME);
}

static uint64_t mono_us(void)
{
	return machine_us(CLOCK_MONOTONIC);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	atomic_store(&ahead_us, 0);
	clock_set_source(now_us, mono_us);
	rig_start(&r, 0);
	assert_int_equal(sweep_create(r.worker, &sweep), 0);
	fd = rig_login(&r);
	for (size_t i = 0; i < 4; i++) {
		struct ids_name name;
		uint8_t id[16];

		rig_submit(&r, fd, bob, span_str("A: b\r\n\r\nc"), id);
		assert_int_equal(ids_open(r.service.ids, id, &name), 0);
		number[i] = name.message;
	}
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_stop(&r);
	sweep_free(sweep);
	clock_set_source(NULL, NULL);
	return 0;
}

/* --- turns, on the worker's thread -------------------------------------------------------- */

static atomic_uint turned;

static void on_turn(struct loop_task *task)
{
	(void)task;
	sweep_turn(sweep);
	atomic_fetch_add(&turned, 1);
}

static void turn(void)
{
	static struct loop_task task = { .run = on_turn };
	unsigned before = atomic_load(&turned);

	loop_post(r.loop, &task);
	for (int i = 0; i < 20000 && atomic_load(&turned) == before; i++)
		usleep(500);
	assert_int_not_equal(atomic_load(&turned), before);
}

/* The state of message I; 0: gone; -1: it cannot be read. */
static int state_of(size_t i)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_message m;
	int err = db_message_get(r.service.db, t, number[i], &m), found = (int)m.state;

	db_read_end(t);
	return err == 0 ? found : err == ERR_NOT_FOUND ? 0 : -1;
}

static void wait_state(size_t i, int state)
{
	for (int n = 0; n < 2000 && state_of(i) != state; n++) {
		turn();
		usleep(2000);
	}
	assert_int_equal(state_of(i), state);
}

/* --- damage -------------------------------------------------------------------------------- */

static void put(enum db_table table, const void *key, size_t n, struct span value)
{
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(kv_put(t, r.service.db->table[table], span_of(key, n), value), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

static size_t record(enum db_table table, uint64_t message, uint8_t out[512])
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_key key = db_key64(message);
	struct span value;

	assert_int_equal(db_get(r.service.db, t, table, &key, &value), 0);
	assert_int_equal(span_copy(value, (char *)out, 512), 0);
	db_read_end(t);
	return value.n;
}

static void test_passes_over(void **state)
{
	static const uint8_t odd[][20] = { { 0, 0, 1 }, { 0, 0, 2, 7, 7 } };
	uint8_t core[512], content[512], orphan[16], bad_sweep[3] = { 0, 0, 5 };
	struct db_key first = db_key64(number[0]), second = db_key64(number[1]);
	size_t core_n, content_n;

	(void)state;
	/* Before all others: keys of another length, an entry of a message that is not there; then
	 * two messages with a damaged record each. */
	put(DB_EXPIRY, odd[0], 3, span_str("\1"));
	put(DB_EXPIRY, odd[1], 20, span_str("\1"));
	put(DB_SWEEP, bad_sweep, sizeof(bad_sweep), span_str("\1"));
	kv_put_u64(orphan, 1);
	kv_put_u64(orphan + 8, 1u << 30);
	put(DB_EXPIRY, orphan, sizeof(orphan), span_str("\1"));
	core_n = record(DB_MESSAGE, number[0], core);
	put(DB_MESSAGE, first.octets, first.n, span_of(core, core_n - 1));
	content_n = record(DB_CONTENT, number[1], content);
	put(DB_CONTENT, second.octets, second.n, span_of(content, content_n - 1));

	atomic_store(&ahead_us, 91 * CLOCK_DAY_US);
	wait_state(2, DB_EXPIRED);
	wait_state(3, DB_EXPIRED);
	assert_int_equal(state_of(0), -1);
	assert_int_equal(state_of(1), -1);

	/* Mended, they are not looked at before an hour is over; then they go. */
	put(DB_MESSAGE, first.octets, first.n, span_of(core, core_n));
	put(DB_CONTENT, second.octets, second.n, span_of(content, content_n));
	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(state_of(0), DB_STORED);
	assert_int_equal(state_of(1), DB_STORED);
	atomic_fetch_add(&ahead_us, CLOCK_HOUR_US);
	wait_state(0, DB_EXPIRED);
	wait_state(1, DB_EXPIRED);
	/* And the last of what the four have, behind the odd mark in the table of blobs to sweep. */
	for (int i = 0; i < 2000; i++) {
		struct db_stats s;

		turn();
		assert_int_equal(db_stats(r.service.db, &s), 0);
		if (s.blocks == 0)
			break;
		usleep(2000);
	}
	struct db_stats s;
	assert_int_equal(db_stats(r.service.db, &s), 0);
	assert_int_equal(s.blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_passes_over, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
