#include "session/local_user.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* The number of user NAME, which may be one. 0, ERR_NOT_FOUND, ERR_NOMEM. */
static int find_user(const char *name, uid_t *out)
{
	struct passwd user, *found = NULL;
	uint64_t number;
	size_t cap = 1024;
	int error;

	if (text_parse_number(name, UINT32_MAX - 1, &number) == 0) {
		*out = (uid_t)number;
		return 0;
	}
	do {
		char *room = malloc(cap);

		if (room == NULL)
			return ERR_NOMEM;
		error = getpwnam_r(name, &user, room, cap, &found);
		free(room);
		cap *= 2;
	} while (error == ERANGE && cap <= (size_t)1 << 20);
	if (found == NULL)
		return ERR_NOT_FOUND;
	*out = user.pw_uid;
	return 0;
}

/* One line's value: "USER ACCOUNT". */
static int read_one(const char *path, const struct conf_list *list, size_t i,
                    struct local_user *out, struct err_text *e)
{
	const char *value = list->item[i];
	size_t n = strcspn(value, " \t");
	const char *account = value + n + strspn(value + n, " \t");
	char name[256];
	int rc;

	if (*account == '\0' || span_copy(span_of(value, n), name, sizeof name) != 0)
		return conf_error(e, path, list->line[i], "local-user",
		                  "\"%s\" is no user and account (as in www-data alice, or 1000 alice)",
		                  value);
	rc = find_user(name, &out->uid);
	if (rc == ERR_NOT_FOUND)
		return conf_error(e, path, list->line[i], "local-user",
		                  "there is no user \"%s\" here", name);
	if (rc == 0)
		out->account = strdup(account);
	return out->account != NULL ? 0 : err_set(e, ERR_NOMEM, "read %s: out of memory", path);
}

int local_users_read(const char *path, const struct conf_list *list, struct local_users *out,
                     struct err_text *e)
{
	int rc = 0;

	*out = (struct local_users){ 0 };
	if (list->n == 0)
		return 0;
	out->item = calloc(list->n, sizeof *out->item);
	if (out->item == NULL)
		return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
	for (; rc == 0 && out->n < list->n; out->n++)
		rc = read_one(path, list, out->n, &out->item[out->n], e);
	return rc;
}

void local_users_free(struct local_users *u)
{
	for (size_t i = 0; i < u->n; i++)
		free(u->item[i].account);
	free(u->item);
	*u = (struct local_users){ 0 };
}

bool local_users_allow(const struct local_users *u, const struct stream *stream,
                       struct span account)
{
	struct stream_info info;

	stream_info(stream, &info);
	if (!info.local)
		return false;
	for (size_t i = 0; i < u->n; i++)
		if (u->item[i].uid == info.uid && span_eq_str(account, u->item[i].account))
			return true;
	return false;
}
