/* A bar on standard error for what takes longer than a second, where that is a terminal. */
#ifndef IM2000_AGENT_PROGRESS_H
#define IM2000_AGENT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "sending"; NULL: nothing is shown */
	uint64_t total;   /* octets; 0: not known */
	uint64_t begun_us, shown_us;
};

void progress_begin(struct progress *p, const char *what);
void progress_total(struct progress *p, uint64_t total); /* P may be NULL here and below */
void progress_at(struct progress *p, uint64_t octets);
/* Takes the bar away. */
void progress_end(struct progress *p);

#endif
