#include "mua-agent/app.h"

#include <stdlib.h>
#include <string.h>

int app_open(struct app *app, struct err_text *e)
{
	char *path = config_path(app->config_path);
	int r;

	if (path == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r = config_read(path, &app->config, e);
	free(path);
	if (r == 0 && app->account_name != NULL) {
		r = config_find(&app->config, app->account_name, &app->account, e);
	}
	return r != 0 ? r : db_open(app->config.data, &app->db, e);
}

void app_close(struct app *app)
{
	lines_free(app->lines);
	db_close(app->db);
	config_free(&app->config);
}

int app_lines(struct app *app, struct lines **out, struct err_text *e)
{
	int r = app->lines != NULL ? 0 : lines_create(&app->config, &app->lines, e);

	*out = app->lines;
	return r;
}

bool app_wants(const struct app *app, const struct config_account *a)
{
	return app->account == NULL || app->account == a;
}

const struct config_account *app_by_identity(const struct app *app, struct span identity)
{
	for (size_t i = 0; i < app->config.n_accounts; i++) {
		if (span_eq_str(identity, app->config.accounts[i].identity)) {
			return &app->config.accounts[i];
		}
	}
	return NULL;
}

const struct config_account *app_by_store(const struct app *app, const char *store)
{
	if (app->account != NULL && strcmp(app->account->store_domain, store) == 0) {
		return app->account;
	}
	for (size_t i = 0; app->account == NULL && i < app->config.n_accounts; i++) {
		if (strcmp(app->config.accounts[i].store_domain, store) == 0) {
			return &app->config.accounts[i];
		}
	}
	return NULL;
}

bool app_is_sender(const struct app *app, size_t index)
{
	const struct config_account *a = &app->config.accounts[index], *b;

	if (!app_wants(app, a) || !config_sends(a)) {
		return false;
	}
	for (b = app->config.accounts; b < a; b++) {
		if (app_wants(app, b) && config_sends(b) &&
		    strcmp(a->store_domain, b->store_domain) == 0 &&
		    strcmp(a->store_login, b->store_login) == 0) {
			return false;
		}
	}
	return true;
}
