/*
 * What a notification and a summary carry of a message's header: whole fields
 * as they stand, octet for octet, in the message's order, then an empty line
 * (CRLF). A field whose last line has no line end gets a CRLF.
 */
#ifndef IM2000_MESSAGE_EXCERPT_H
#define IM2000_MESSAGE_EXCERPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define EXCERPT_MAX 1280 /* octets with the empty line */

/*
 * The excerpt of a notification (protocol.md section 10): From, Sender,
 * Reply-To, To, Cc, Subject, Date, Message-ID, In-Reply-To, References,
 * Content-Type, List-Id. When they do not fit into EXCERPT_MAX octets:
 *
 * - Fields are let in by rank: From, Sender, Reply-To, Subject, Date,
 *   Message-ID, In-Reply-To, Content-Type, List-Id, then To, Cc, References;
 *   equals in the message's order. One that does not fit in what is left stays
 *   out whole.
 * - When a To, Cc or References stays out, so does all of these that ranks
 *   behind it. So References is the first to go, then Cc, then To; of the nine
 *   others none goes while one of these three is there, unless it is too long
 *   for what its betters left.
 *
 * Of more than 64 fields of these names the first 64 count. HEADER as for
 * header_begin. Returns the octets written to OUT.
 */
size_t excerpt_make(struct span header, uint8_t out[EXCERPT_MAX]);

/*
 * The text of MSRAP's summary: From, Subject, Date (rank in this order). CAP >= 2;
 * a field that does not fit is left out. Returns the octets written to OUT.
 */
size_t excerpt_summary(struct span header, uint8_t *out, size_t cap);

/*
 * Whether each field of EXCERPT stands in HEADER, octet for octet and in that order: whether it can
 * be an excerpt of it, whoever made it. HEADER as for header_begin.
 */
bool excerpt_fits(struct span header, struct span excerpt);

#endif
