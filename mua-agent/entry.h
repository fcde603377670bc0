/* One notification as a person sees it: its record in agent.mdb, taken apart. */
#ifndef IM2000_AGENT_ENTRY_H
#define IM2000_AGENT_ENTRY_H

#include "mua-agent/app.h"

struct entry {
	struct db_item item;             /* its views lie in OCTETS */
	struct wire_notification notice; /* the same */
	char store[NAME_DOMAIN_MAX + 1]; /* where the message is; empty: no domain is named */
	bool verified;                   /* the store proved the domain of the sender */
	uint8_t *octets;
};

/* Number NUMBER. 0; ERR_NOT_FOUND (dropped ones too) and others with E filled. entry_free only
 * after 0. */
int entry_get(struct db *db, uint32_t number, struct entry *out, struct err_text *e);
/* The first after NUMBER, dropped ones too. ERR_NOT_FOUND: none. */
int entry_next(struct db *db, uint32_t number, struct entry *out);
void entry_free(struct entry *x);

/* Field NAME of the notification's header, decoded and safe for a terminal; empty when absent. */
const char *entry_field(const struct entry *x, const char *name, char *out, size_t cap);

/* "RA": N new or R read; W withdrawn, E expired, A with attachments. */
#define ENTRY_FLAGS 8
const char *entry_flags(const struct entry *x, uint64_t now_us, char out[ENTRY_FLAGS]);

/* Prints it as a line of the list, or as JSON. 0 or ERR_NOMEM. */
int entry_print(const struct app *app, const struct entry *x, uint64_t now_us);

/* Adds FLAGS (of enum db_flag) to item NUMBER, durably. */
int entry_mark(struct db *db, uint32_t number, unsigned flags, struct err_text *e);

#endif
