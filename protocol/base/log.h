/*
 * The log of a daemon: one line a record on stderr,
 *     <time> level=info event=listen address=127.0.0.1:4401
 * Values with spaces or quotes are quoted. No MessageId is written whole, no
 * password, no token, no body.
 */
#ifndef IM2000_BASE_LOG_H
#define IM2000_BASE_LOG_H

#include <stdint.h>

#include "base/span.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Records above LEVEL are dropped. Default: warn. */
void log_set_level(enum log_level level);
int log_parse_level(const char *name, enum log_level *out); /* 0 or ERR_MALFORMED */

/*
 * One record. EVENT is a short constant word; FORMAT gives the key=value pairs
 * (may be ""). Thread-safe; a record is one write.
 */
void log_record(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_record(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_record(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_record(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_record(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/*
 * TEXT made safe as a value: quoted where needed, control octets and invalid
 * UTF-8 escaped, cut at 200 octets. Returns OUT. CAP 256 is enough.
 */
const char *log_quote(struct span text, char *out, size_t cap);

/* The first four octets of an id in hex and "…"; OUT of 12 octets is enough. */
const char *log_id(const uint8_t id[16], char *out, size_t cap);

#endif
