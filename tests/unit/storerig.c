#include "storerig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/name.h"
#include "store/originator.h"
#include "tempdir.h"
#include "wire/frame.h"

static uint8_t scratch[1 << 20];

/* --- the store --------------------------------------------------------------------------- */

static void add_account(struct rig *r, uint64_t quota_octets)
{
	static const char senders[] = RIG_SENDER "\0@a.example";
	struct db_account a = {
		.name = span_str(RIG_ACCOUNT),
		.quota_octets = quota_octets,
		.senders = span_of(senders, sizeof(senders)),
	};
	struct kv_txn *t;

	password_token_make(r->token, &a.hash);
	assert_int_equal(kv_write_begin(db_kv(r->service.db), &t), 0);
	assert_int_equal(db_account_put(r->service.db, t, &a), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

static struct settings *make_settings(uint64_t max_message, uint32_t max_recipients)
{
	struct settings *s = settings_create(1);

	assert_non_null(s);
	snprintf(s->domains[0], sizeof(s->domains[0]), "a.example");
	s->max_message = max_message;
	s->max_recipients = max_recipients;
	s->default_lifetime_s = 90 * 86400;
	s->min_lifetime_s = 60;
	s->max_lifetime_s = 365 * 86400;
	s->resume_s = 86400;
	s->keep_status_s = 86400;
	return s;
}

void rig_limit(struct rig *r, uint64_t max_message, uint32_t max_recipients)
{
	service_settings_replace(&r->service, make_settings(max_message, max_recipients));
}

static void *serve(void *arg)
{
	struct rig *r = arg;

	loop_run(r->loop);
	return NULL;
}

void rig_start(struct rig *r, uint64_t quota_octets)
{
	const struct db_options options = { .create = true, .map_size = 1u << 30, .no_sync = true };
	const struct login_options login = { .threads = 1 };
	struct err_text e;

	memset(r, 0, offsetof(struct rig, body));
	r->dir = tempdir_make();
	assert_int_equal(service_init(&r->service, make_settings(8u << 20, 4)), 0);
	assert_int_equal(ids_init(r->dir, &e), 0);
	assert_int_equal(ids_load(r->dir, &r->service.ids, &e), 0);
	assert_int_equal(db_open(r->dir, &options, &r->service.db, &e), 0);
	assert_int_equal(service_numbers_prepare(r->service.db), 0);
	assert_int_equal(writer_create(db_kv(r->service.db), &r->service.writer), 0);
	assert_int_equal(login_create(&login, &r->service.login), 0);
	add_account(r, quota_octets);
	server_limits_default(&r->limits);
	r->limits.stream_octets = (8u << 20) + (64u << 10);
	assert_int_equal(loop_create(&r->loop), 0);
	assert_int_equal(service_worker_create(&r->service, r->loop, &r->worker), 0);
	assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
}

void rig_stop(struct rig *r)
{
	for (int i = 0; i < 2000 && atomic_load(&r->sessions) > 0; i++)
		usleep(5000);
	assert_int_equal(atomic_load(&r->sessions), 0);
	loop_stop(r->loop);
	pthread_join(r->thread, NULL);
	service_worker_free(r->worker);
	loop_free(r->loop);
	login_free(r->service.login);
	writer_free(r->service.writer);
	db_close(r->service.db);
	ids_free(r->service.ids);
	service_release(&r->service);
	tempdir_remove(r->dir);
}

/* --- sessions ---------------------------------------------------------------------------- */

struct opening {
	struct loop_task task; /* first */
	struct rig *r;
	const struct server_protocol *protocol;
	int fd;
};

static void session_ended(void *ctx, struct server_session *s)
{
	struct rig *r = ctx;

	(void)s;
	atomic_fetch_sub(&r->sessions, 1);
}

static void open_session(struct loop_task *task)
{
	struct opening *o = (struct opening *)task;
	struct server_session *session;
	struct stream *stream;

	assert_int_equal(stream_plain_create(o->r->loop, o->fd, &stream), 0);
	assert_int_equal(server_start(o->r->loop, stream, o->protocol, &o->r->limits, o->r->worker,
	                              session_ended, o->r, &session),
	                 0);
	free(o);
}

int rig_connect(struct rig *r, const struct server_protocol *protocol)
{
	struct timeval patience = { .tv_sec = 20 };
	struct opening *o = calloc(1, sizeof(*o));
	int pair[2];

	assert_non_null(o);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	atomic_fetch_add(&r->sessions, 1);
	o->task.run = open_session;
	o->r = r;
	o->protocol = protocol;
	o->fd = pair[1];
	loop_post(r->loop, &o->task);
	return pair[0];
}

void rig_send(int fd, struct span octets)
{
	while (octets.n > 0) {
		ssize_t n = send(fd, octets.p, octets.n, MSG_NOSIGNAL);

		assert_true(n > 0);
		octets = span_after(octets, (size_t)n);
	}
}

void rig_flush(int fd, struct buf *b)
{
	rig_send(fd, buf_view(b));
	buf_consume(b, b->n);
}

static void receive(int fd, uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t got = recv(fd, p, n, 0);

		assert_true(got > 0);
		p += got;
		n -= (size_t)got;
	}
}

static struct span receive_body(struct rig *r, int fd)
{
	uint8_t prefix[FRAME_PREFIX];
	uint32_t n;

	receive(fd, prefix, sizeof(prefix));
	n = frame_length(prefix);
	assert_true(n <= sizeof(r->body));
	receive(fd, r->body, n);
	return span_of(r->body, n);
}

void rig_answer(struct rig *r, int fd, struct msoap_response *out)
{
	struct span body = receive_body(r, fd);

	assert_int_equal(msoap_response_decode(body, body.n, out), 0);
}

void rig_answer_msrap(struct rig *r, int fd, struct msrap_response *out)
{
	struct span body = receive_body(r, fd);

	assert_int_equal(msrap_response_decode(body, body.n, out), 0);
}

void rig_expect_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

/* --- commands ---------------------------------------------------------------------------- */

void rig_msoap(struct buf *out, const struct msoap_command *c)
{
	struct span frame;

	assert_int_equal(msoap_command_encode(c, scratch, sizeof(scratch), &frame), 0);
	assert_int_equal(buf_add(out, frame.p, frame.n), 0);
}

void rig_msrap(struct buf *out, const struct msrap_command *c)
{
	struct span frame;

	assert_int_equal(msrap_command_encode(c, scratch, sizeof(scratch), &frame), 0);
	assert_int_equal(buf_add(out, frame.p, frame.n), 0);
}

void rig_authenticate(struct rig *r, struct buf *out)
{
	struct msoap_command c = { .kind = MSOAP_AUTHENTICATE };

	c.u.authenticate.account = span_str(RIG_ACCOUNT);
	c.u.authenticate.password = span_str(r->token);
	rig_msoap(out, &c);
}

struct wire_list rig_mailboxes(const char *const *to)
{
	static uint8_t list[1 << 18];
	uint8_t labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;
	struct wire_mailbox mailbox;
	struct mailbox name;

	wire_list_writer_init(&w, list, sizeof(list));
	for (; *to != NULL; to++) {
		const char *at = strrchr(*to, '@');

		/* What is no mailbox goes as it stands, in one label. */
		if (name_parse_mailbox(span_str(*to), &name) == 0) {
			wire_mailbox_from_name(&name, labels, &mailbox);
		} else {
			struct wire_list_writer d;

			wire_list_writer_init(&d, labels, sizeof(labels));
			assert_non_null(at);
			assert_int_equal(wire_text_append(&d, span_str(at + 1)), 0);
			mailbox.local = span_of(*to, (size_t)(at - *to));
			mailbox.domain = wire_list_view(&d);
		}
		assert_int_equal(wire_mailbox_append(&w, &mailbox), 0);
	}
	return wire_list_view(&w);
}

void rig_envelope(struct buf *out, struct msoap_submit_envelope *e, const char *const *to)
{
	struct msoap_command c = { .kind = MSOAP_SUBMIT_ENVELOPE };

	e->recipients = rig_mailboxes(to);
	e->has_recipients = e->recipients.count > 0;
	c.u.submit_envelope = *e;
	rig_msoap(out, &c);
}

void rig_chunk(struct buf *out, uint64_t offset, struct span data, bool last)
{
	struct msoap_command c = { .kind = MSOAP_SUBMIT_CHUNK };
	struct span frame;

	c.u.submit_chunk.is_last = last;
	c.u.submit_chunk.offset = offset;
	c.u.submit_chunk.data.size = data.n;
	assert_int_equal(msoap_command_encode(&c, scratch, sizeof(scratch), &frame), 0);
	assert_int_equal(buf_add(out, frame.p, frame.n), 0);
	assert_int_equal(buf_add(out, data.p, data.n), 0);
}

int rig_login(struct rig *r)
{
	int fd = rig_connect(r, &originator_protocol);
	struct msoap_response a;
	struct buf b;

	buf_init(&b, 0);
	rig_authenticate(r, &b);
	rig_flush(fd, &b);
	rig_answer(r, fd, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	buf_free(&b);
	return fd;
}

void rig_submit(struct rig *r, int fd, const char *const *to, struct span message, uint8_t id[16])
{
	struct msoap_submit_envelope e = { 0 };
	struct msoap_response a;
	struct buf b;

	buf_init(&b, 0);
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, message, true);
	rig_flush(fd, &b);
	rig_answer(r, fd, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	memcpy(id, a.u.submit_envelope.id, 16);
	rig_answer(r, fd, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	assert_int_equal(a.u.submit_chunk.received, message.n);
	buf_free(&b);
}

uint8_t *rig_message(size_t n)
{
	static const char header[] =
	    "From: Alice <" RIG_SENDER ">\r\nTo: bob@b.example\r\nSubject: A letter\r\n"
	    "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\r\n";
	uint8_t *p = malloc(n + sizeof(header));
	uint32_t seed = (uint32_t)n;

	assert_non_null(p);
	memcpy(p, header, sizeof(header) - 1);
	for (size_t i = sizeof(header) - 1; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = i % 78 == 76   ? '\r'
		       : i % 78 == 77 ? '\n'
		                      : (uint8_t)('a' + (seed >> 24) % 26);
	}
	return p;
}

/* --- looking in -------------------------------------------------------------------------- */

int rig_find(struct rig *r, struct kv_txn *t, const uint8_t id[16], struct db_message *out)
{
	struct ids_name name;
	int err = ids_open(r->service.ids, id, &name);

	return err != 0 ? err : db_message_get(r->service.db, t, name.message, out);
}

uint64_t rig_used(struct rig *r)
{
	struct kv_txn *t = db_read_begin(r->service.db);
	struct db_account a;
	uint64_t used;

	assert_non_null(t);
	assert_int_equal(db_account_find(r->service.db, t, span_str(RIG_ACCOUNT), &a), 0);
	used = a.used_octets;
	db_read_end(t);
	return used;
}

void rig_wait_used(struct rig *r, uint64_t n)
{
	for (int i = 0; i < 2000 && rig_used(r) != n; i++)
		usleep(5000);
	assert_int_equal(rig_used(r), n);
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	print_error("%s\n", line);
}

void rig_check(struct rig *r)
{
	assert_int_equal(db_check(r->service.db, print_line, NULL), 0);
}

void rig_recipient_id(struct rig *r, const uint8_t originator[16], uint32_t index, uint8_t id[16])
{
	struct ids_name name;

	assert_int_equal(ids_open(r->service.ids, originator, &name), 0);
	assert_int_equal(name.kind, IDS_ORIGINATOR);
	name.kind = IDS_RECIPIENT;
	name.index = index;
	assert_int_equal(ids_make(r->service.ids, &name, id), 0);
}
