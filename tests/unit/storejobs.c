#include "storejobs.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

struct rig r;
struct round *round_;
uint8_t id[16];
uint64_t number;
int out;
uint64_t next_us;
struct batch_room room;
struct span frame;

struct round_job *job[64];
size_t n_jobs;

int storejobs_setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	rig_limit(&r, 1 << 20, 10000);
	assert_int_equal(round_create(r.service.db, 64, &round_), 0);
	n_jobs = 0;
	out = rig_login(&r);
	return 0;
}

int storejobs_teardown(void **state)
{
	(void)state;
	close(out);
	round_free(round_);
	rig_stop(&r);
	return 0;
}

static void found(void *ctx, struct round_job *j)
{
	(void)ctx;
	assert_true(n_jobs < 64);
	job[n_jobs++] = j;
}

int collect(uint64_t ahead_us)
{
	n_jobs = 0;
	return round_collect(round_, clock_now_us() + ahead_us, found, NULL, &next_us);
}

void submit(const char *const *to)
{
	static const char text[] = "From: Alice <alice@a.example>\r\nSubject: Hello\r\n"
				   "X-Mine: not told\r\n\r\nHow are you?\r\n";
	struct ids_name name;

	rig_submit(&r, out, to, span_str(text), id);
	assert_int_equal(ids_open(r.service.ids, id, &name), 0);
	number = name.message;
}

void submit_many(size_t n, const char *domain)
{
	static char text[2000][32];
	static const char *to[2001];

	for (size_t i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "r%04zu@%s", i, domain);
		to[i] = text[i];
	}
	to[n] = NULL;
	submit(to);
}

struct batch *load_as(struct round_job *j, enum batch_form form, bool sent, int result)
{
	struct settings *s = service_settings(&r.service);
	struct batch *b = batch_create(r.service.db, form, sent ? &room : NULL);
	struct kv_txn *t = db_read_begin(r.service.db);

	assert_non_null(b);
	assert_int_equal(batch_add(b, t, s, r.service.ids, j, clock_now_us()), result);
	if (sent && b->n > 0)
		assert_int_equal(batch_encode(b, &frame), 0);
	db_read_end(t);
	settings_drop(s);
	return b;
}

struct batch *load(struct round_job *j, bool sent, int result)
{
	return load_as(j, j->job.kind == DB_JOB_WITHDRAW ? BATCH_WITHDRAW : BATCH_NOTIFY, sent,
	               result);
}

void apply(struct batch *b)
{
	struct kv_txn *t;

	for (size_t i = 0; i < b->n_jobs; i++)
		b->jobs[i].retire = b->jobs[i].job->exhausted && !b->jobs[i].job->failed &&
		                    b->jobs[i].job->batches == 1;
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(batch_apply(&b->job, t), 0);
	assert_int_equal(kv_write_commit(t), 0);
	for (size_t i = 0; i < b->n_jobs; i++) {
		struct round_job *j = b->jobs[i].job;

		j->batches--;
		if (j->exhausted && j->batches == 0)
			round_forget(round_, j);
	}
	batch_free(b);
}

void decode_frame(struct rnasp_command *c)
{
	assert_int_equal(rnasp_command_decode(span_after(frame, 4), frame.n - 4, c), 0);
}

void answer(struct batch *b, const char *results, int want)
{
	static const char letters[] = "anrflu"; /* in the order of enum wire_notify_result */
	struct rnasp_response response = { .kind = RNASP_NOTIFY };
	uint8_t list[4096], octets[8192];
	struct wire_list_writer w;
	struct span s;

	if (b->form == BATCH_NOTIFY_MANY)
		response.kind = RNASP_NOTIFY_MANY;

	wire_list_writer_init(&w, list, sizeof(list));
	for (; *results != '\0'; results++) {
		const char *at = strchr(letters, *results);

		assert_non_null(at);
		assert_int_equal(rnasp_result_append(&w, (enum wire_notify_result)(at - letters)),
		                 0);
	}
	response.u.notify.results = wire_list_view(&w);
	assert_int_equal(rnasp_response_encode(&response, octets, sizeof(octets), &s), 0);
	assert_int_equal(batch_answer(b, span_after(s, 4)), want);
}

struct db_delivery delivery(struct kv_txn *t, uint32_t index)
{
	struct db_delivery d;

	assert_int_equal(db_delivery_get(r.service.db, t, number, index, &d), 0);
	return d;
}

void expect_status(uint32_t index, enum wire_notification_status want)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_delivery d = delivery(t, index);

	assert_string_equal(
	    wire_notification_status_name((enum wire_notification_status)d.notification),
	    wire_notification_status_name(want));
	db_read_end(t);
}
