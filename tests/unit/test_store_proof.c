/* builds: plain asan tsan */

/* MSRAP retrieve with proof: what a range is widened to, that the octets prove themselves, and
 * messages of which no leaf hashes are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "message/verify.h"
#include "storerig.h"
#include "store/db_table.h"
#include "store/originator.h"
#include "store/recipient.h"

#define B DIGEST_BLOCK
#define SIZE (20 * (size_t)B + 1234)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const bob[] = { "bob@b.example", NULL };

static struct rig r;
static struct buf b;
static struct msrap_response p;
static char *message; /* a header, a text of 500 octets, a picture, a text */
static size_t header_n, text_at[2], picture_at, picture_n;
static uint8_t own[16], id[16], root[DIGEST_SIZE];
static int out, in;

static void make_message(void)
{
	static const char head[] = "Subject: large\r\n"
				   "Content-Type: multipart/mixed; boundary=xx\r\n\r\n",
			  text[] = "--xx\r\nContent-Type: text/plain\r\n\r\n",
			  picture[] = "\r\n--xx\r\nContent-Type: image/png\r\n\r\n",
			  next[] = "\r\n--xx\r\nContent-Type: text/plain\r\n\r\n",
			  end[] = "\r\n--xx--\r\n";
	size_t n = 0;
	uint32_t x = 99;

	message = malloc(SIZE + 1);
	assert_non_null(message);
	n += (size_t)snprintf(message, SIZE + 1, "%s%s%0500d%s", head, text, 1, picture);
	header_n = sizeof head - 1;
	text_at[0] = header_n + sizeof text - 1;
	picture_at = n;
	picture_n = SIZE - n - (sizeof next - 1) - 700 - (sizeof end - 1);
	for (; n < picture_at + picture_n; n++) {
		x = x * 1664525 + 1013904223;
		message[n] = n % 77 == 0 ? '\n' : (char)('A' + (x >> 27));
	}
	n += (size_t)snprintf(message + n, SIZE + 1 - n, "%s", next);
	text_at[1] = n;
	n += (size_t)snprintf(message + n, SIZE + 1 - n, "%0700d%s", 2, end);
	assert_int_equal(n, SIZE);
}

static int setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	buf_init(&b, 0);
	make_message();
	assert_int_equal(digest_octets(span_of(message, SIZE), root), 0);
	out = rig_login(&r);
	rig_submit(&r, out, bob, span_of(message, SIZE), own);
	rig_recipient_id(&r, own, 0, id);
	in = rig_connect(&r, &recipient_protocol);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(in);
	close(out);
	free(message);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

static void ask(int fd, const uint8_t of[16], enum wire_retrieval type, const char *section,
                uint64_t offset, uint64_t length)
{
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };

	memcpy(c.u.retrieve.id, of, 16);
	c.u.retrieve.type = type;
	c.u.retrieve.offset = offset;
	c.u.retrieve.length = length;
	c.u.retrieve.has_section = section != NULL;
	c.u.retrieve.section = span_str(section);
	c.u.retrieve.has_proof = c.u.retrieve.proof = true;
	rig_msrap(&b, &c);
	rig_flush(fd, &b);
}

/* The next answer proves LENGTH octets of the WHOLE from OFFSET on. */
static void expect_proven(int fd, struct span whole, uint64_t offset, uint64_t length)
{
	static uint8_t room[SIZE + B];
	const struct msrap_retrieve_done *d = &p.u.retrieve;
	struct err_text why = { "" };
	uint8_t hash[DIGEST_SIZE], digest[DIGEST_SIZE];
	struct wire_list rest;
	struct verify v;

	rig_answer_msrap(&r, fd, &p);
	assert_string_equal(wire_status_name(p.status), "ok");
	assert_int_equal(p.kind, MSRAP_RETRIEVE);
	assert_int_equal(d->size, whole.n);
	assert_int_equal(d->offset, offset);
	assert_int_equal(d->data.size, length);
	assert_int_equal(d->data.here.n, length);
	assert_true(d->has_proof);
	if (length > 0)
		assert_memory_equal(d->data.here.p, whole.p + offset, (size_t)length);
	assert_int_equal(digest_octets(whole, digest), 0);
	verify_begin(&v, digest, whole.n, room, sizeof room);
	verify_ask(&v, offset, offset + length);
	assert_int_equal(verify_head(&v, d->size, d->offset, d->data.size, &why), 0);
	for (rest = d->proof; wire_digest_next(&rest, hash);)
		assert_int_equal(verify_hash(&v, hash, &why), 0);
	assert_int_equal(verify_octets(&v, d->data.here, &why), 0);
	if (verify_end(&v, &why) != 0)
		fail_msg("%s", why.text);
}

/* The answer to octets AT to AT + N of the message: the blocks that they lie in. */
static void expect_blocks(int fd, uint64_t at, uint64_t n)
{
	uint64_t begin = at / B * B, end = n == 0 ? begin + B : (at + n + B - 1) / B * B;

	if (end > SIZE)
		end = SIZE;
	expect_proven(fd, span_of(message, SIZE), begin, end - begin);
}

static void ranges(void **state)
{
	const struct {
		enum wire_retrieval type;
		const char *section;
		uint64_t offset, length;
		uint64_t at, n; /* the octets of the message that this names */
	} cases[] = {
		{ WIRE_RETRIEVAL_ALL, NULL, 0, 0, 0, SIZE },
		{ WIRE_RETRIEVAL_ALL, NULL, 0, UINT64_MAX, 0, SIZE },
		{ WIRE_RETRIEVAL_ALL, NULL, 0, 1, 0, 1 },
		{ WIRE_RETRIEVAL_ALL, NULL, B - 1, 2, B - 1, 2 },
		{ WIRE_RETRIEVAL_ALL, NULL, 3 * B, B, 3 * B, B },
		{ WIRE_RETRIEVAL_ALL, NULL, 3 * B, 2 * B + 1, 3 * B, 2 * B + 1 },
		{ WIRE_RETRIEVAL_ALL, NULL, 17 * B + 5, 0, 17 * B + 5, SIZE - 17 * B - 5 },
		{ WIRE_RETRIEVAL_ALL, NULL, SIZE - 1, 1, SIZE - 1, 1 },
		{ WIRE_RETRIEVAL_ALL, NULL, SIZE, 0, SIZE, 0 },
		{ WIRE_RETRIEVAL_ALL, NULL, UINT64_MAX, 7, SIZE, 0 },
		{ WIRE_RETRIEVAL_HEADERS, NULL, 0, 0, 0, header_n },
		{ WIRE_RETRIEVAL_HEADERS, NULL, 0, B + 1, 0, header_n },
		{ WIRE_RETRIEVAL_PART, "1", 0, 0, text_at[0], 500 },
		{ WIRE_RETRIEVAL_PART, "2", 0, 0, picture_at, picture_n },
		{ WIRE_RETRIEVAL_PART, "2", B, 10, picture_at + B, 10 },
		{ WIRE_RETRIEVAL_PART, "2", 3, picture_n, picture_at + 3, picture_n - 3 },
		{ WIRE_RETRIEVAL_PART, "2", picture_n, 0, picture_at + picture_n, 0 },
		{ WIRE_RETRIEVAL_PART, "3", 0, 0, text_at[1], 700 },
		{ WIRE_RETRIEVAL_PART, "3", 699, 0, text_at[1] + 699, 1 },
		{ WIRE_RETRIEVAL_PART, "HEADER", 0, 0, 0, header_n },
		{ WIRE_RETRIEVAL_PART, "TEXT", 1, 0, header_n + 1, SIZE - header_n - 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		ask(in, id, cases[i].type, cases[i].section, cases[i].offset, cases[i].length);
		expect_blocks(in, cases[i].at, cases[i].n);
	}
}

/* There is no proof of what is made from the message. */
static void unproven(void **state)
{
	static const enum wire_retrieval types[] = { WIRE_RETRIEVAL_NOTHING,
		                                     WIRE_RETRIEVAL_SUMMARY,
		                                     WIRE_RETRIEVAL_STRUCTURE };

	(void)state;
	for (size_t i = 0; i < COUNT(types); i++) {
		ask(in, id, types[i], NULL, 0, 0);
		rig_answer_msrap(&r, in, &p);
		assert_string_equal(wire_status_name(p.status), "unsupported");
	}
	ask(in, id, WIRE_RETRIEVAL_PART, "9", 0, 0);
	rig_answer_msrap(&r, in, &p);
	assert_string_equal(wire_status_name(p.status), "noSuchMessage");
	ask(in, id, WIRE_RETRIEVAL_PART, "x", 0, 0);
	rig_answer_msrap(&r, in, &p);
	assert_string_equal(wire_status_name(p.status), "unsupported");
}

/* Small messages, of one block and of none. */
static void small(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, B - 1, B, B + 1, 2 * B };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		uint8_t *text = rig_message(sizes[i] + 1), other[16];

		rig_submit(&r, out, bob, span_of(text, sizes[i]), other);
		rig_recipient_id(&r, other, 0, other);
		ask(in, other, WIRE_RETRIEVAL_ALL, NULL, 0, 0);
		expect_proven(in, span_of(text, sizes[i]), 0, sizes[i]);
		ask(in, other, WIRE_RETRIEVAL_ALL, NULL, 0, 1);
		expect_proven(in, span_of(text, sizes[i]), 0, sizes[i] < B ? sizes[i] : B);
		free(text);
	}
	rig_check(&r);
}

/* --- without leaf hashes -------------------------------------------------------------------- */

/* As an older program left it. */
static void forget_leaves(void)
{
	struct kv_txn *t;
	struct span key, value;
	struct kv_cursor *c;

	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(kv_cursor_open(t, r.service.db->table[DB_LEAF], &c), 0);
	while (kv_cursor_first(c, &key, &value) == 0)
		assert_int_equal(kv_cursor_delete(c), 0);
	kv_cursor_close(c);
	assert_int_equal(kv_write_commit(t), 0);
}

static bool leaves_kept(void)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	uint8_t hash[DIGEST_SIZE];
	struct db_message m;
	uint64_t blob;
	int rc;

	assert_int_equal(rig_find(&r, t, own, &m), 0);
	assert_int_equal(db_leaf_blob(r.service.db, t, &m, &blob), 0);
	rc = db_leaf_get(r.service.db, t, blob, SIZE / B, 1, hash);
	db_read_end(t);
	return rc == 0;
}

static void recomputed(void **state)
{
	(void)state;
	assert_true(leaves_kept());
	forget_leaves();
	assert_false(leaves_kept());
	rig_check(&r);
	ask(in, id, WIRE_RETRIEVAL_ALL, NULL, 0, 0); /* needs none */
	expect_blocks(in, 0, SIZE);
	assert_false(leaves_kept());
	/* Asked in one flight: one after another, and kept. */
	ask(in, id, WIRE_RETRIEVAL_PART, "1", 0, 0);
	ask(in, id, WIRE_RETRIEVAL_PART, "3", 0, 0);
	expect_blocks(in, text_at[0], 500);
	expect_blocks(in, text_at[1], 700);
	for (int i = 0; i < 400 && !leaves_kept(); i++)
		usleep(5000);
	assert_true(leaves_kept());
	rig_check(&r);
}

/* Whoever goes away while they are computed hurts nobody. */
static void gone_away(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		int fd = rig_connect(&r, &recipient_protocol);

		forget_leaves();
		ask(fd, id, WIRE_RETRIEVAL_ALL, NULL, 5, 5);
		usleep((useconds_t)i * 300);
		close(fd);
	}
	ask(in, id, WIRE_RETRIEVAL_ALL, NULL, 5, 5);
	expect_blocks(in, 5, 5);
	rig_check(&r);
}

/* --- what the sender sees ------------------------------------------------------------------- */

static enum wire_read_status read_status(void)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_delivery d;
	struct db_message m;

	assert_int_equal(rig_find(&r, t, own, &m), 0);
	assert_int_equal(db_delivery_get(r.service.db, t, m.number, 0, &d), 0);
	db_read_end(t);
	return (enum wire_read_status)d.read;
}

static void expect_read(enum wire_read_status want)
{
	for (int i = 0; i < 400 && read_status() != want; i++)
		usleep(5000);
	assert_string_equal(wire_read_status_name(read_status()), wire_read_status_name(want));
}

/* A range of `all` that does not reach the end is a part of it, whatever it is widened to. */
static void status(void **state)
{
	(void)state;
	ask(in, id, WIRE_RETRIEVAL_ALL, NULL, 0, SIZE - 1);
	expect_blocks(in, 0, SIZE - 1);
	expect_read(WIRE_READ_HEADERS);
	ask(in, id, WIRE_RETRIEVAL_ALL, NULL, 20 * B, 1000);
	expect_blocks(in, 20 * B, 1000);
	usleep(20000);
	assert_int_equal(read_status(), WIRE_READ_HEADERS);
	ask(in, id, WIRE_RETRIEVAL_ALL, NULL, 20 * B, 1234);
	expect_blocks(in, 20 * B, 1234);
	expect_read(WIRE_READ_ALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(unproven, setup, teardown),
		cmocka_unit_test_setup_teardown(small, setup, teardown),
		cmocka_unit_test_setup_teardown(recomputed, setup, teardown),
		cmocka_unit_test_setup_teardown(gone_away, setup, teardown),
		cmocka_unit_test_setup_teardown(status, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
