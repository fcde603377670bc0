#include "session/migrate.h"

#include <string.h>

#include "base/claim.h"
#include "base/log.h"

#define NUMBER_OCTETS 4
#define RECORD_MAX 16 /* lead and number */

/* What the database says of itself. */
struct state {
	bool there;                 /* it has a schema */
	unsigned schema;            /* which; a step under way leads to it */
	bool stepping;              /* a step is under way */
	struct migrate_place place; /* of that step */
};

/* --- the two records ----------------------------------------------------------------------- */

static int schema_decode(const struct migrate_options *o, struct span value, unsigned *out)
{
	if (value.n != o->lead.n + NUMBER_OCTETS ||
	    !span_eq(span_of(value.p, o->lead.n), o->lead))
		return ERR_MALFORMED;
	*out = kv_get_u32(value.p + o->lead.n);
	return *out != 0 ? 0 : ERR_MALFORMED;
}

static int place_decode(struct span value, struct migrate_place *out)
{
	if (value.n > MIGRATE_PLACE_MAX)
		return ERR_MALFORMED;
	out->n = value.n;
	if (value.n > 0)
		memcpy(out->octets, value.p, value.n);
	return 0;
}

static int state_read(const struct migrate_options *o, struct kv_txn *t, struct state *out)
{
	struct span value;
	int rc = kv_get(t, o->meta, span_str(MIGRATE_SCHEMA), &value);

	memset(out, 0, sizeof *out);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = schema_decode(o, value, &out->schema);
	if (rc != 0)
		return rc;
	out->there = true;
	rc = kv_get(t, o->meta, span_str(MIGRATE_STEP), &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = place_decode(value, &out->place);
	out->stepping = rc == 0;
	return rc;
}

static int schema_put(const struct migrate_options *o, struct kv_txn *t, unsigned schema)
{
	uint8_t record[RECORD_MAX];

	if (o->lead.n > RECORD_MAX - NUMBER_OCTETS)
		return ERR_INTERNAL;
	if (o->lead.n > 0)
		memcpy(record, o->lead.p, o->lead.n);
	kv_put_u32(record + o->lead.n, schema);
	return kv_put(t, o->meta, span_str(MIGRATE_SCHEMA),
	              span_of(record, o->lead.n + NUMBER_OCTETS));
}

/* --- steps --------------------------------------------------------------------------------- */

static const struct migrate_step *step_find(const struct migrate_options *o, unsigned from)
{
	for (size_t i = 0; i < o->n_steps; i++)
		if (o->steps[i].from == from)
			return &o->steps[i];
	return NULL;
}

/* One piece of STEP in T, and the two records after it. 0; ERR_AGAIN: more is left. */
static int step_apply(const struct migrate_options *o, const struct migrate_step *step,
                      struct kv_txn *t, struct migrate_place *place)
{
	int more = step->apply != NULL ? step->apply(o->ctx, t, place) : 0, rc;

	if (more != 0 && more != ERR_AGAIN)
		return more;
	rc = schema_put(o, t, step->from + 1);
	if (rc == 0 && more != 0)
		rc = kv_put(t, o->meta, span_str(MIGRATE_STEP), span_of(place->octets, place->n));
	else if (rc == 0)
		rc = kv_delete(t, o->meta, span_str(MIGRATE_STEP));
	return rc == 0 || rc == ERR_NOT_FOUND ? more : rc;
}

/* Carries STEP through, from PLACE on. */
static int step_run(const struct migrate_options *o, const struct migrate_step *step,
                    struct migrate_place *place)
{
	int more, rc;

	log_info("migrate", "file=%s from=%u to=%u part=%s", o->file, step->from, step->from + 1,
	         place->n == 0 ? "begin" : "resume");
	do {
		struct kv_txn *t;

		rc = kv_write_begin(o->kv, &t);
		if (rc != 0)
			return rc;
		more = step_apply(o, step, t, place);
		rc = kv_write_end(t, more == ERR_AGAIN ? 0 : more);
	} while (rc == 0 && more == ERR_AGAIN);
	if (rc == 0)
		log_info("migrate", "file=%s from=%u to=%u part=end", o->file, step->from,
		         step->from + 1);
	return rc;
}

/* From what the database is, S, on. The claim is held. */
static int bring_up(const struct migrate_options *o, struct state *s, struct err_text *e)
{
	unsigned from = s->schema - (s->stepping ? 1 : 0);

	for (; from < o->schema; from++) {
		const struct migrate_step *step = step_find(o, from);
		int rc;

		if (step == NULL)
			return err_set(e, ERR_UNSUPPORTED,
			               "%s/%s has schema %u, which this %s cannot bring up to %u: "
			               "run an older version of it first",
			               o->dir, o->file, from, o->program, o->schema);
		rc = step_run(o, step, &s->place);
		if (rc != 0)
			return err_set(e, rc,
			               "bring %s/%s from schema %u to %u: %s; it goes on where it "
			               "stopped when it is opened again",
			               o->dir, o->file, from, from + 1, err_phrase(rc));
		s->place.n = 0;
	}
	return 0;
}

/* --- opening ------------------------------------------------------------------------------- */

static int read_error(const struct migrate_options *o, int rc, struct err_text *e)
{
	if (rc == ERR_MALFORMED)
		return err_set(e, rc,
		               "%s/%s: the number of its schema cannot be read: restore a backup",
		               o->dir, o->file);
	return err_set(e, rc, "read %s/%s: %s", o->dir, o->file, err_phrase(rc));
}

/* A database that has no schema: a new one, or none of ours. */
static int begin_new(const struct migrate_options *o, struct err_text *e)
{
	struct kv_txn *t;
	int rc;

	if (!o->create)
		return err_set(e, ERR_MALFORMED, "%s/%s is no database of %s", o->dir, o->file,
		               o->program);
	rc = kv_write_begin(o->kv, &t);
	if (rc == 0)
		rc = kv_write_end(t, schema_put(o, t, o->schema));
	return rc == 0 ? 0
	               : err_set(e, rc, "write %s/%s: %s", o->dir, o->file, err_phrase(rc));
}

/* What the database is; a newer one is refused. */
static int state_look(const struct migrate_options *o, struct state *s, struct err_text *e)
{
	struct kv_txn *t = kv_read_begin(o->kv);
	int rc;

	if (t == NULL)
		return err_set(e, ERR_NOMEM, "read %s/%s: out of memory", o->dir, o->file);
	rc = state_read(o, t, s);
	kv_read_end(t);
	if (rc != 0)
		return read_error(o, rc, e);
	if (s->schema > o->schema)
		return err_set(e, ERR_UNSUPPORTED,
		               "%s/%s was made by a newer %s (schema %u, this program knows %u): "
		               "use that program",
		               o->dir, o->file, o->program, s->schema, o->schema);
	return 0;
}

/* Takes the claim, unless the caller has it, and looks again: another may have been quicker. */
static int bring_up_claimed(const struct migrate_options *o, struct err_text *e)
{
	struct claim *claim = NULL;
	struct state s;
	int rc = o->claimed ? 0 : claim_take(o->dir, o->claim, &claim, e);

	if (rc == ERR_EXISTS)
		return err_set(e, rc,
		               "%s/%s was made by an older %s, and one works on it now: stop it, so "
		               "that the database can be brought up to schema %u",
		               o->dir, o->file, o->program, o->schema);
	if (rc == 0)
		rc = state_look(o, &s, e);
	if (rc == 0)
		rc = bring_up(o, &s, e);
	claim_drop(claim);
	return rc;
}

int migrate_run(const struct migrate_options *o, struct err_text *e)
{
	struct state s;
	int rc = state_look(o, &s, e);

	if (rc != 0)
		return rc;
	if (!s.there)
		return begin_new(o, e);
	return s.schema == o->schema && !s.stepping ? 0 : bring_up_claimed(o, e);
}
