/*
 * Goes through a message from its beginning, as far as a question about its parts needs it, and
 * pulls on the way. So it believes nobody about where a part lies: what it answers follows from
 * octets that were checked (octets.h).
 */
#ifndef IM2000_AGENT_WALK_H
#define IM2000_AGENT_WALK_H

#include "message/bodystructure.h"
#include "mua-agent/octets.h"

struct walk;

/* Of the message X, which must stay; people call it NUMBER. 0 or ERR_NOMEM with E filled. */
int walk_create(struct octets *x, uint32_t number, struct walk **out, struct err_text *e);
void walk_free(struct walk *w); /* NULL is fine */

/* Goes on by some octets: the more, the farther it is. 0 or an error with E filled. */
int walk_on(struct walk *w, struct err_text *e);

/* Whether the message's end was reached: nothing below pulls anything more. */
bool walk_is_over(const struct walk *w);

/* How far it went. */
uint64_t walk_octets(const struct walk *w);

/* Where SECTION lies, as soon as that is certain. 0; ERR_NOT_FOUND (there is none, or it is no
 * section) and others with E filled. */
int walk_section(struct walk *w, const char *section, uint64_t *at, uint64_t *length,
                 struct err_text *e);

/* That there is no SECTION: ERR_NOT_FOUND with E filled. */
int walk_no_section(const struct walk *w, const char *section, struct err_text *e);

#define WALK_OPEN UINT64_MAX /* the octets of a part that has not ended so far */

/*
 * The parts so far (walk_is_over: all) into OUT[PARTS_MAX], *N of them; none while not even the
 * header of the message is over. Goes on by nothing. 0; ERR_TOO_BIG (too deep, too long), others;
 * E is not filled.
 */
int walk_parts(struct walk *w, struct bodystructure_part *out, size_t *n);

#endif
