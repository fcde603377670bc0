/*
 * The schema of a database: its number stands in the record "schema" of its table of numbers, and
 * an older database is brought up to date when it is opened, one schema after another, by a table
 * of steps. A database that is newer than the program is left alone.
 *
 * A step works in transactions of bounded size. From its first one on the database has the number
 * of the schema that it leads to, so that an older program refuses what is half done; how far it
 * came stands in the record "schema-step", and the next opening goes on there, after a crash or a
 * full disk, too.
 *
 * A database is only brought up while no daemon works on it: by who holds the claim (base/claim.h)
 * on its folder, which is taken for that time where the caller has it not.
 */
#ifndef IM2000_SESSION_MIGRATE_H
#define IM2000_SESSION_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/kv.h"

/* The records' keys in the table of numbers. */
#define MIGRATE_SCHEMA "schema"
#define MIGRATE_STEP "schema-step"

/* Where a step stands: what it likes, a key that it will go on with for instance. */
#define MIGRATE_PLACE_MAX 128
struct migrate_place {
	uint8_t octets[MIGRATE_PLACE_MAX];
	size_t n; /* 0: at the beginning */
};

/* Brings schema FROM to FROM + 1. */
struct migrate_step {
	unsigned from;
	/*
	 * Does a bounded piece of the work in T, from PLACE on: 0 when that was the last one;
	 * ERR_AGAIN with PLACE moved when more is left; or the error that stopped it, and nothing of T
	 * is kept. NULL: what is new are tables, which were made empty.
	 */
	int (*apply)(void *ctx, struct kv_txn *t, struct migrate_place *place);
};

struct migrate_options {
	const char *program;     /* as in "im2000-store" */
	const char *dir, *file;  /* the database, for claims and messages */
	const char *claim;       /* name of the claim on DIR that the daemon takes */
	bool claimed;            /* the caller holds it */
	bool create;             /* a database without a schema is new: it gets SCHEMA */
	struct kv *kv;
	kv_table meta;           /* the table of numbers */
	struct span lead;        /* what stands in the schema's record before its number (4 octets) */
	unsigned schema;         /* that this program works with */
	/* Without gaps from the oldest schema that can be brought up to SCHEMA - 1. */
	const struct migrate_step *steps;
	size_t n_steps;
	void *ctx;               /* for the steps */
};

/*
 * 0: the database has O's schema. ERR_UNSUPPORTED: it is newer, or older than the first step;
 * ERR_MALFORMED: no such database, or its number cannot be read; ERR_EXISTS: it is older and a
 * daemon works on it; or what stopped a step (call again to go on). With E filled.
 */
int migrate_run(const struct migrate_options *o, struct err_text *e);

#endif
