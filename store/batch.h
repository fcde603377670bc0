/*
 * Deliveries of one domain that go to its agent in one command, and what came of
 * it: chosen from jobs in hand, encoded, and written back. Knows the database,
 * the rules and the wire, and no sockets.
 */
#ifndef IM2000_STORE_BATCH_H
#define IM2000_STORE_BATCH_H

#include "store/mailroom.h"
#include "store/round.h"
#include "store/service.h"
#include "wire/frame.h"
#include "wire/rnasp.h"

#define BATCH_ITEMS LIMIT_NOTIFICATIONS
#define BATCH_JOBS 256
#define BATCH_FRAME_OCTETS LIMIT_NOTIFY_OCTETS /* the whole command */
#define BATCH_LIST_OCTETS (BATCH_FRAME_OCTETS - 64)

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
	enum db_job_kind kind;
	struct batch_item items[BATCH_ITEMS];
	size_t n;
	struct batch_job jobs[BATCH_JOBS];
	size_t n_jobs;
	bool encodes; /* else nothing is to be sent: only results are noted */
	struct wire_list_writer list;
	uint64_t now_us; /* of the results */
	char text[DB_TEXT_MAX];
	uint8_t room[]; /* BATCH_LIST_OCTETS where it encodes */
};

/* NULL when memory is out. */
struct batch *batch_create(struct db *db, enum db_job_kind kind, bool encodes);
void batch_free(struct batch *b);

/*
 * Adds the deliveries of J that are due, from j->next on, while there is room.
 * 0: J is looked at to its end (j->exhausted); ERR_AGAIN: the batch is full;
 * or an error of db.h, with j->failed set.
 */
int batch_add(struct batch *b, struct kv_txn *t, const struct settings *s, const struct ids *ids,
              struct round_job *j, uint64_t now_us);

/* The command with its length, in BUF[CAP] (BATCH_FRAME_OCTETS is enough). As X_encode. */
int batch_encode(const struct batch *b, uint8_t *buf, size_t cap, struct span *out);

/* Notes one outcome for all items. TEXT is copied and made safe. */
void batch_outcome(struct batch *b, enum mailroom_outcome outcome, struct span text);

/*
 * Notes what the agent answered, BODY being the response's. 0, or ERR_PROTOCOL
 * when it is no answer to this command (noted as such).
 */
int batch_answer(struct batch *b, struct span body);

/* The outcome that a failure to reach the agent means (base/err.h). */
enum mailroom_outcome batch_failure(int error);

/* For the writer: puts the results, the jobs that follow, and removes those to retire. */
int batch_apply(struct writer_job *job, struct kv_txn *txn);

#endif
