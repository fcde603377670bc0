/*
 * Deliveries of one domain that go to its agent in one command, and what came of
 * it: chosen from jobs in hand, encoded, and written back. Knows the database,
 * the rules and the wire, and no sockets.
 */
#ifndef IM2000_STORE_BATCH_H
#define IM2000_STORE_BATCH_H

#include "store/mailroom.h"
#include "store/notice.h"
#include "store/round.h"
#include "store/service.h"
#include "wire/frame.h"
#include "wire/rnasp.h"

/* The command that a batch goes in. */
enum batch_form {
	BATCH_NOTIFY,      /* any notifications, each whole */
	BATCH_NOTIFY_MANY, /* of one message, what is alike once */
	BATCH_WITHDRAW
};

#define BATCH_MANY 1024 /* addressees of one notifyMany */
#define BATCH_JOBS 256
#define BATCH_FRAME_OCTETS LIMIT_NOTIFY_OCTETS /* the whole command */

/*
 * Room to put a command together in: one for all batches, as each is encoded
 * before the next is begun. Its views of the database are only good in the read
 * transaction of batch_add.
 */
struct batch_room {
	struct wire_list_writer list;
	struct wire_notification common; /* BATCH_NOTIFY_MANY: what is alike */
	struct notice notice;            /* that it borrows from */
	size_t common_octets;            /* its encoding, less that of its addressee */
	uint8_t octets[BATCH_FRAME_OCTETS], frame[BATCH_FRAME_OCTETS];
};

struct batch_item {
	uint32_t index; /* of the delivery */
	enum mailroom_outcome outcome;
	struct span text; /* diagnostic: static, or the batch's */
};

/* The deliveries of one job. */
struct batch_job {
	struct round_job *job;
	size_t first, n; /* of items */
	uint32_t jitter; /* alike for all, so that they stay together */
	bool retire;     /* remove the job: all its results are written with these */
};

struct batch {
	struct writer_job job; /* first; batch_apply, done is the holder's */
	void *holder;          /* the caller's */
	struct db *db;
	enum batch_form form;
	struct batch_item *items;
	size_t n, items_cap;
	struct batch_job *jobs;
	size_t n_jobs, jobs_cap;
	struct batch_room *room; /* NULL: nothing is to be sent (any more), only results are noted */
	uint64_t now_us;         /* of the results */
	bool lost;               /* applied: some who could read the message cannot any more */
	char text[DB_TEXT_MAX];
};

/* ROOM is borrowed until batch_encode; NULL: nothing will be sent. NULL when memory is out. */
struct batch *batch_create(struct db *db, enum batch_form form, struct batch_room *room);
void batch_free(struct batch *b); /* NULL is fine */

/* Which kind of job goes in FORM. */
enum db_job_kind batch_kind(enum batch_form form);

/*
 * Adds the deliveries of J that are due, from j->next on, while there is room.
 * 0: J is looked at to its end (j->exhausted); ERR_AGAIN: the batch is full, or
 * J does not go into it; or an error of db.h, with j->failed set.
 */
int batch_add(struct batch *b, struct kv_txn *t, const struct settings *s, const struct ids *ids,
              struct round_job *j, uint64_t now_us);
/* Whether a delivery of J is due, so that its agent is wanted; j->next goes on to it. When not,
 * batch_add tells why. */
bool batch_wants(struct db *db, struct kv_txn *t, struct round_job *j, uint64_t now_us);
/* A job with nothing in it but its removal. 0 or ERR_NOMEM. */
int batch_add_empty(struct batch *b, struct round_job *j);

/* The command with its length, in the room, which is free again afterwards. In the read
 * transaction of all the batch_adds. As X_encode. */
int batch_encode(struct batch *b, struct span *out);

/*
 * It was not told after all: what its jobs have in it is to be looked at again. They are in no
 * batch of this one any more, which is left empty.
 */
void batch_give_back(struct batch *b);

/* Notes one outcome for all items. TEXT is copied and made safe. */
void batch_outcome(struct batch *b, enum mailroom_outcome outcome, struct span text);

/*
 * Notes what the agent answered, BODY being the response's. 0; ERR_PROTOCOL when
 * it is no answer to this command (noted as such); ERR_UNSUPPORTED when the agent
 * does not take notifyMany (nothing is noted).
 */
int batch_answer(struct batch *b, struct span body);

/* Counts the outcomes. */
void batch_count(const struct batch *b, struct service_counts *counts);

/* The outcome that a failure to reach the agent means (base/err.h). */
enum mailroom_outcome batch_failure(int error);

/* For the writer: puts the results, the jobs that follow, and removes those to retire. */
int batch_apply(struct writer_job *job, struct kv_txn *txn);

#endif
