/*
 * Choices over a message's structure (message/bodystructure.h): what to show,
 * what is an attachment, under which name it is saved. Pure.
 */
#ifndef IM2000_AGENT_PARTS_H
#define IM2000_AGENT_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "message/bodystructure.h"

#define PARTS_MAX 2000 /* of a structure that is looked at */

/* A multipart: it has no octets of its own worth showing. */
bool parts_is_container(const struct bodystructure_part *p);

/*
 * An attachment: named, or said to be one, or no text. A part of a message that is itself
 * attached is none (that message is).
 */
bool parts_is_attachment(const struct bodystructure_part *p);

/* The first after I that does not stand inside of part I. */
size_t parts_after(const struct bodystructure_part *parts, size_t n, size_t i);

/* Text as it is to be read. */
bool parts_is_plain(const struct bodystructure_part *p);

/* What a reader wants to see first: text/plain, else another text; N when there is none. */
size_t parts_text(const struct bodystructure_part *parts, size_t n);

/* Whether there is an attachment. */
bool parts_have_attachment(const struct bodystructure_part *parts, size_t n);

/* The part called SECTION (letters without case); N when there is none. */
size_t parts_find(const struct bodystructure_part *parts, size_t n, const char *section);

/* A file name without folders, control characters or a leading dot. OUT 256 octets. */
void parts_file_name(const struct bodystructure_part *p, char out[256]);

/* The Nth form of NAME, when others are taken: "a.txt", "a-2.txt", "a-3.txt". OUT 256 octets. */
void parts_other_name(const char *name, unsigned n, char out[256]);

#endif
