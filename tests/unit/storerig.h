/*
 * A store without TLS and without a notifier: sessions over socket pairs, served
 * by a thread of their own, on a real database in a directory of its own.
 */
#ifndef IM2000_TESTS_STORERIG_H
#define IM2000_TESTS_STORERIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "session/server.h"
#include "store/service.h"
#include "wire/msoap.h"
#include "wire/msrap.h"

#define RIG_ACCOUNT "alice"
#define RIG_SENDER "alice@a.example"

struct rig {
	char *dir;
	struct service service;
	struct loop *loop;
	struct service_worker *worker;
	struct server_limits limits;
	pthread_t thread;
	atomic_int sessions; /* not ended yet */
	char token[PASSWORD_TOKEN_TEXT + 1];
	uint8_t body[2 << 20]; /* of the response received last */
};

/* Account alice, with a token, may send as anyone of a.example. */
void rig_start(struct rig *r, uint64_t quota_octets);
/* All clients' ends must be closed. */
void rig_stop(struct rig *r);

/* A session of PROTOCOL: the client's end, whose reads give up after a while. */
int rig_connect(struct rig *r, const struct server_protocol *protocol);

/* Frames, one after another. */
void rig_msoap(struct buf *out, const struct msoap_command *c);
void rig_msrap(struct buf *out, const struct msrap_command *c);
void rig_authenticate(struct rig *r, struct buf *out);
/* The mailboxes TO, a NULL at the end; lives until the next one. */
struct wire_list rig_mailboxes(const char *const *to);
/* An envelope to the mailboxes TO, a NULL at the end; E for the rest of it. */
void rig_envelope(struct buf *out, struct msoap_submit_envelope *e, const char *const *to);
void rig_chunk(struct buf *out, uint64_t offset, struct span data, bool last);

void rig_send(int fd, struct span octets);
/* Sends and forgets what B holds. */
void rig_flush(int fd, struct buf *b);
/* The next response; its views live until the next one. */
void rig_answer(struct rig *r, int fd, struct msoap_response *out);
void rig_answer_msrap(struct rig *r, int fd, struct msrap_response *out);
/* The session has ended. */
void rig_expect_end(int fd);

/* Connects and authenticates. */
int rig_login(struct rig *r);
/* Submits MESSAGE whole; the originator's id into ID. */
void rig_submit(struct rig *r, int fd, const char *const *to, struct span message, uint8_t id[16]);

/* Octets that look like a message: a header, and a body of pseudo-random text. Caller frees. */
uint8_t *rig_message(size_t n);

/* The message of the originator's id, in a read transaction. */
int rig_find(struct rig *r, struct kv_txn *t, const uint8_t id[16], struct db_message *out);
uint64_t rig_used(struct rig *r);
/* Waits until used octets are N (a session that ended is cleaned up a little later). */
void rig_wait_used(struct rig *r, uint64_t n);
/* Everything in the database adds up. */
void rig_check(struct rig *r);
/* From now on sessions begin with these limits. */
void rig_limit(struct rig *r, uint64_t max_message, uint32_t max_recipients);
/* The recipient's id. */
void rig_recipient_id(struct rig *r, const uint8_t originator[16], uint32_t index, uint8_t id[16]);

#endif
