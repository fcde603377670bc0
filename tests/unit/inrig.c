#include "inrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "wire/frame.h"
#include "tempdir.h"

uint64_t inrig_now_us = 1000000;

static uint64_t fake_now(void)
{
	return inrig_now_us;
}

int inrig_setup(void **state)
{
	struct inrig *f = calloc(1, sizeof *f);
	struct db_options options = { .create = true, .no_sync = true, .map_size = 64 << 20 };

	f->dir = tempdir_make();
	f->policy = (struct policy_settings) { .mailbox_notices = 5,
		                               .origin_notices = 3,
		                               .retention_us = CLOCK_DAY_US,
		                               .tag = '+' };
	inrig_now_us = 1000000;
	clock_set_source(fake_now, NULL);
	assert_int_equal(db_open(f->dir, &options, &f->db, NULL), 0);
	*state = f;
	return 0;
}

int inrig_teardown(void **state)
{
	struct inrig *f = *state;

	clock_set_source(NULL, NULL);
	db_close(f->db);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

void inrig_reopen(struct inrig *f)
{
	struct db_options options = { .no_sync = true, .map_size = 64 << 20 };

	db_close(f->db);
	assert_int_equal(db_open(f->dir, &options, &f->db, NULL), 0);
}

uint32_t inrig_mailbox(struct inrig *f, const char *name)
{
	struct db_mailbox m = { .created_us = inrig_now_us };
	struct kv_txn *t;

	assert_int_equal(name_parse_mailbox(span_str(name), &m.name), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_mailbox_put(f->db, t, &m), 0);
	assert_int_equal(kv_write_commit(t), 0);
	return m.number;
}

/* --- commands as a store would send them ------------------------------------------------------ */

void inrig_fill(const struct note *in, struct wire_notification *n)
{
	static uint8_t recipient[WIRE_LABELS_MAX], store[WIRE_LABELS_MAX];
	static struct mailbox name, sender;

	memset(n, 0, sizeof *n);
	assert_int_equal(name_parse_mailbox(span_str(in->recipient), &name), 0);
	assert_int_equal(name_parse_mailbox(span_str(in->sender), &sender), 0);
	wire_mailbox_from_name(&name, recipient, &n->recipient);
	n->has_store_tls = true;
	assert_int_equal(wire_location_from_name(mailbox_domain(&sender), store, &n->store_tls), 0);
	memset(n->id, in->id, sizeof n->id);
	n->sender = span_str(in->sender);
	n->has_expires = in->expires != 0;
	n->expires = in->expires;
	n->has_header = true;
	n->header = span_str("From: somebody\r\n\r\n");
}

bool inrig_covers(void *ctx, const char *domain)
{
	return ctx == NULL && strcmp(domain, "evil.example") != 0;
}

void inrig_send(struct inrig *f, const struct rnasp_command *command, uint8_t *out)
{
	const struct intake_place place = { f->db, &f->policy, NULL };
	static uint8_t buf[65536];
	struct intake_batch *b;
	struct rnasp_response response;
	struct span frame;
	struct kv_txn *t;

	assert_int_equal(rnasp_command_encode(command, buf, sizeof buf, &frame), 0);
	frame = span_after(frame, FRAME_PREFIX);
	assert_int_equal(intake_create(&place, NULL, frame, inrig_covers, NULL, &b), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(intake_apply(&b->job, t), 0);
	kv_write_abort(t); /* a batch may be undone and applied again */
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(intake_apply(&b->job, t), 0);
	assert_int_equal(kv_write_commit(t), 0);
	memcpy(out, b->results, b->n);
	assert_int_equal(intake_response(b, 0, buf, sizeof buf, &frame), 0);
	frame = span_after(frame, FRAME_PREFIX);
	assert_int_equal(rnasp_response_decode(frame, frame.n, &response), 0);
	assert_int_equal(response.status, WIRE_STATUS_OK);
	assert_int_equal(response.kind, command->kind);
	if (command->kind != RNASP_WITHDRAW) {
		assert_int_equal(response.u.notify.results.count, b->n);
	}
	intake_free(b);
}

uint8_t inrig_notify(struct inrig *f, const struct note *note)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_notification n;
	struct wire_list_writer w;
	uint8_t list[4096], result;

	inrig_fill(note, &n);
	wire_list_writer_init(&w, list, sizeof list);
	assert_int_equal(wire_notification_append(&w, &n), 0);
	c.u.notify.notifications = wire_list_view(&w);
	inrig_send(f, &c, &result);
	return result;
}

/* ADDRESSEES as a list in OCTETS, CAP of them. */
static struct wire_list list_addressees(const struct addressee *addressees, size_t n,
                                        uint8_t *octets, size_t cap)
{
	uint8_t labels[WIRE_LABELS_MAX];
	struct rnasp_addressee a;
	struct wire_list_writer w;
	struct mailbox name;

	wire_list_writer_init(&w, octets, cap);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(name_parse_mailbox(span_str(addressees[i].recipient), &name), 0);
		wire_mailbox_from_name(&name, labels, &a.recipient);
		memset(a.id, addressees[i].id, sizeof a.id);
		assert_int_equal(rnasp_addressee_append(&w, &a), 0);
	}
	return wire_list_view(&w);
}

void inrig_notify_many(struct inrig *f, const struct note *note,
                     const struct addressee *addressees, size_t n, uint8_t *out)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY_MANY };
	uint8_t list[8192];

	inrig_fill(note, &c.u.notify_many.common);
	c.u.notify_many.addressees = list_addressees(addressees, n, list, sizeof list);
	inrig_send(f, &c, out);
}

void inrig_withdraw(struct inrig *f, const char *recipient, uint8_t id)
{
	const struct addressee one = { recipient, id };
	struct rnasp_command c = { .kind = RNASP_WITHDRAW };
	uint8_t list[1024], result[1];

	c.u.withdraw.notifications = list_addressees(&one, 1, list, sizeof list);
	inrig_send(f, &c, result);
}

size_t inrig_notices(struct inrig *f, uint32_t mailbox, struct db_notice *out, size_t cap)
{
	struct kv_txn *t = db_read_begin(f->db);
	uint64_t after = 0;
	size_t n = 0;

	while (n < cap && db_notice_list(f->db, t, mailbox, after, &after, 1) == 1) {
		assert_int_equal(db_notice_get(f->db, t, mailbox, after, &out[n++]), 0);
	}
	db_read_end(t);
	return n;
}

void inrig_print(void *ctx, const char *line)
{
	(void)ctx;
	print_message("%s\n", line);
}

void inrig_sound(struct inrig *f)
{
	assert_int_equal(db_check(f->db, inrig_print, NULL), 0);
}
