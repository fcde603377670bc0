#include "store/proving.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define STEP (16 * (uint64_t)DB_BLOCK) /* octets hashed in one turn of the loop */

/* --- from what is kept ------------------------------------------------------------------- */

struct kept {
	struct db *db;
	struct kv_txn *t;
	uint64_t blob;
};

static int kept_subtree(void *ctx, uint64_t first, uint64_t count, uint8_t hash[DIGEST_SIZE])
{
	const struct kept *k = ctx;

	return db_leaf_get(k->db, k->t, k->blob, first, count, hash);
}

int proving_make(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t offset,
                 uint64_t length, struct proving_proof *out)
{
	struct kept k = { .db = db, .t = t };
	int err = 0;

	out->n = 0;
	if (length == m->size_octets)
		return 0; /* the whole message proves itself */
	err = db_leaf_blob(db, t, m, &k.blob);
	if (err != 0)
		return err;
	return digest_proof_make(m->size_octets, offset, length, kept_subtree, &k, out->hash,
	                         DIGEST_PROOF_MAX, &out->n);
}

/* --- from the octets --------------------------------------------------------------------- */

struct proving {
	struct writer_job job; /* first: keeps what was computed */
	struct loop_task task;
	struct service_worker *worker;
	uint64_t message, size, offset, length;
	uint64_t at; /* octets hashed */
	struct digest_tree tree;
	void (*done)(void *ctx, int error, const struct proving_proof *proof); /* NULL: cancelled */
	void *ctx;
	size_t n;
	uint8_t leaf[][DIGEST_SIZE];
};

static void free_proving(struct proving *p)
{
	digest_free(&p->tree);
	free(p);
}

static void keep_leaf(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE])
{
	struct proving *p = ctx;

	memcpy(p->leaf[index], hash, DIGEST_SIZE);
	p->n = (size_t)index + 1;
}

static int computed_subtree(void *ctx, uint64_t first, uint64_t count, uint8_t hash[DIGEST_SIZE])
{
	const struct proving *p = ctx;

	if (count > 1)
		return ERR_NOT_FOUND;
	memcpy(hash, p->leaf[first], DIGEST_SIZE);
	return 0;
}

static int keep_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct proving *p = (struct proving *)job;
	struct db *db = p->worker->service->db;
	struct db_message m;
	uint64_t blob;
	int err = db_message_get(db, txn, p->message, &m);

	if (err == 0)
		err = m.freed ? ERR_NOT_FOUND : db_leaf_blob(db, txn, &m, &blob);
	if (err == 0)
		err = kv_claim(txn, (uint64_t)p->n * DIGEST_SIZE);
	if (err != 0)
		return err;
	return db_leaf_put(db, txn, blob, 0, (const uint8_t(*)[DIGEST_SIZE])p->leaf, p->n);
}

static void keep_done(struct writer_job *job, int result)
{
	if (result != 0 && result != ERR_NOT_FOUND)
		log_warn("leaf-hashes", "error=\"%s\"", err_phrase(result));
	free_proving((struct proving *)job);
}

/* All is hashed: answers, and has the hashes kept. */
static void finish(struct proving *p, int err)
{
	struct proving_proof proof = { .n = 0 };
	uint8_t root[DIGEST_SIZE];

	if (err == 0)
		err = digest_final(&p->tree, root);
	if (err == 0)
		err = digest_proof_make(p->size, p->offset, p->length, computed_subtree, p,
		                        proof.hash, DIGEST_PROOF_MAX, &proof.n);
	p->done(p->ctx, err, &proof);
	if (err != 0) {
		free_proving(p);
		return;
	}
	p->job.apply = keep_apply;
	p->job.done = keep_done;
	writer_submit(p->worker->writer, &p->job);
}

/* Hashes the next octets. 0 or an error: they are gone. */
static int step(struct proving *p)
{
	struct db *db = p->worker->service->db;
	uint64_t end = p->size - p->at > STEP ? p->at + STEP : p->size;
	struct kv_txn *t = db_read_begin(db);
	struct db_message m;
	struct span piece;
	int err = t == NULL ? ERR_NOMEM : db_message_get(db, t, p->message, &m);

	if (err == 0 && (m.freed || m.size_octets != p->size))
		err = ERR_NOT_FOUND;
	while (err == 0 && p->at < end) {
		err = db_octets(db, t, &m, p->at, &piece);
		if (err == 0)
			err = digest_update(&p->tree, piece);
		if (err == 0)
			p->at += piece.n;
	}
	db_read_end(t);
	return err;
}

static void run(struct loop_task *task)
{
	struct proving *p = (struct proving *)((char *)task - offsetof(struct proving, task));
	int err;

	if (p->done == NULL) {
		free_proving(p);
		return;
	}
	err = step(p);
	if (err == 0 && p->at < p->size)
		loop_post(p->worker->loop, &p->task);
	else
		finish(p, err);
}

int proving_start(struct service_worker *w, uint64_t number, uint64_t size, uint64_t offset,
                  uint64_t length,
                  void (*done)(void *ctx, int error, const struct proving_proof *proof), void *ctx,
                  struct proving **out)
{
	size_t blocks = (size_t)digest_blocks(size);
	struct proving *p = calloc(1, sizeof(*p) + blocks * DIGEST_SIZE);

	if (p == NULL)
		return ERR_NOMEM;
	if (digest_init(&p->tree, keep_leaf, p) != 0) {
		free(p);
		return ERR_NOMEM;
	}
	p->worker = w;
	p->message = number;
	p->size = size;
	p->offset = offset;
	p->length = length;
	p->done = done;
	p->ctx = ctx;
	p->task.run = run;
	loop_post(w->loop, &p->task);
	*out = p;
	return 0;
}

void proving_cancel(struct proving *p)
{
	if (p != NULL)
		p->done = NULL; /* its task is posted, and frees it */
}
