/*
 * The agent's database with commands as a store would send them, each a batch that is
 * applied at once: no sockets, no threads, a clock that stands still.
 */
#ifndef IM2000_TESTS_INRIG_H
#define IM2000_TESTS_INRIG_H

#include "notify/db.h"
#include "notify/intake.h"

struct inrig {
	char *dir;
	struct db *db;
	struct policy_settings policy;
};

extern uint64_t inrig_now_us; /* what the clock says */

/* For cmocka: *STATE is a struct inrig, for 5 notices a mailbox and 3 an origin. */
int inrig_setup(void **state);
int inrig_teardown(void **state);
void inrig_reopen(struct inrig *f);

/* Adds a mailbox: its number. */
uint32_t inrig_mailbox(struct inrig *f, const char *name);

struct note {
	const char *sender, *recipient;
	uint8_t id; /* fills all 16 octets */
	uint64_t expires;
};
/* Views into static memory, good until the next call. */
void inrig_fill(const struct note *in, struct wire_notification *n);

/* The peer's certificate covers every domain but evil.example. */
bool inrig_covers(void *ctx, const char *domain);

/* Sends COMMAND as a batch; results go to OUT. */
void inrig_send(struct inrig *f, const struct rnasp_command *command, uint8_t *out);
/* One notification: its result. */
uint8_t inrig_notify(struct inrig *f, const struct note *note);

struct addressee {
	const char *recipient;
	uint8_t id; /* fills all 16 octets */
};
void inrig_notify_many(struct inrig *f, const struct note *note,
                     const struct addressee *addressees, size_t n, uint8_t *out);
void inrig_withdraw(struct inrig *f, const char *recipient, uint8_t id);

/* The mailbox's notices in order; how many. */
size_t inrig_notices(struct inrig *f, uint32_t mailbox, struct db_notice *out, size_t cap);
/* For db_check: prints what it found. */
void inrig_print(void *ctx, const char *line);
/* The database adds up. */
void inrig_sound(struct inrig *f);

#endif
