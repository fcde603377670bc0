/* What every command works with: the configuration, agent.mdb, connections. */
#ifndef IM2000_AGENT_APP_H
#define IM2000_AGENT_APP_H

#include "mua-agent/config.h"
#include "mua-agent/db.h"
#include "mua-agent/line.h"

#define APP_PROGRAM "im2000"

struct app {
	/* From the command line. */
	const char *config_path;  /* -c; NULL: by environment */
	const char *account_name; /* --account; NULL: not said */
	bool json;                /* --json */
	/* By app_open. */
	struct config config;
	const struct config_account *account; /* the one that account_name says, else NULL */
	struct db *db;
	struct lines *lines; /* by app_lines */
};

/* Reads the configuration and opens the database. 0 or an error with E filled; app_close in any
 * case. */
int app_open(struct app *app, struct err_text *e);
void app_close(struct app *app);

/* What connections need, made by the first call. */
int app_lines(struct app *app, struct lines **out, struct err_text *e);

/* Whether the command is about this account: all are, unless --account says which. */
bool app_wants(const struct app *app, const struct config_account *a);

/* Whether account INDEX is one that the command is about, can send, and no account before it is the
 * same at the same store. */
bool app_is_sender(const struct app *app, size_t index);

/* The account whose notifications db.h calls IDENTITY; NULL: the configuration has none. */
const struct config_account *app_by_identity(const struct app *app, struct span identity);

/* The account that submits to STORE (--account first); NULL: none. */
const struct config_account *app_by_store(const struct app *app, const char *store);

#endif
