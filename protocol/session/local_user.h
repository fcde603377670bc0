/*
 * Users of this machine who may log in without a password, over a UNIX socket:
 * `local-user = USER ACCOUNT` in a configuration. The kernel says who is at the
 * other end (SO_PEERCRED, unix(7)).
 */
#ifndef IM2000_SESSION_LOCAL_USER_H
#define IM2000_SESSION_LOCAL_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/conf.h"
#include "net/stream.h"

struct local_user {
	uid_t uid;
	char *account;
};
struct local_users {
	struct local_user *item;
	size_t n;
};

/*
 * Reads LIST, the values of `local-user` in file PATH: a user's name or number, white space, an
 * account. Several lines may name one user, or one account. 0; ERR_CONFIG (no such user),
 * ERR_NOMEM with E filled. To be freed in any case.
 */
int local_users_read(const char *path, const struct conf_list *list, struct local_users *out,
                     struct err_text *e);
void local_users_free(struct local_users *u); /* zeroed is fine; leaves it zeroed */

/*
 * Whether who is at the other end of STREAM may be ACCOUNT without a password: over a UNIX socket
 * as a user who is mapped to it.
 */
bool local_users_allow(const struct local_users *u, const struct stream *stream,
                       struct span account);

#endif
