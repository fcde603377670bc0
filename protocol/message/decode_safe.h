/* Characters of strangers made harmless for a terminal; for the modules beside this one. */
#ifndef IM2000_MESSAGE_DECODE_SAFE_H
#define IM2000_MESSAGE_DECODE_SAFE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "message/fill.h"

#define DECODE_SAFE_GROWTH 3 /* octets that an octet becomes at most */

/*
 * Writes the first character of TEXT (not empty) as decode_safe_text shows it, or as it is
 * when RAW and it is valid. Returns its octets in TEXT.
 */
size_t decode_safe_char(struct fill *f, struct span text, bool raw);

#endif
