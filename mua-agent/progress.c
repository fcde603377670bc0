#include "mua-agent/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define QUIET_US CLOCK_SECOND_US /* what is done sooner needs no bar */
#define EVERY_US (CLOCK_SECOND_US / 5)
#define WIDTH 30

void progress_begin(struct progress *p, const char *what)
{
	*p = (struct progress) { .what = isatty(STDERR_FILENO) ? what : NULL,
		                 .begun_us = clock_mono_us() };
}

void progress_total(struct progress *p, uint64_t total)
{
	if (p != NULL) {
		p->total = total;
	}
}

void progress_at(struct progress *p, uint64_t octets)
{
	char bar[WIDTH + 1], so_far[16], all[16];
	uint64_t now;
	size_t filled;

	if (p == NULL || p->what == NULL || p->total == 0) {
		return;
	}
	now = clock_mono_us();
	if (now - p->begun_us < QUIET_US || now - p->shown_us < EVERY_US) {
		return;
	}
	p->shown_us = now;
	filled = (size_t)((double)octets / (double)p->total * WIDTH);
	for (size_t i = 0; i < WIDTH; i++) {
		bar[i] = i < filled ? '#' : '.';
	}
	bar[WIDTH] = '\0';
	text_size(octets, so_far, sizeof so_far);
	text_size(p->total, all, sizeof all);
	fprintf(stderr, "\r%s %s %s of %s   ", p->what, bar, so_far, all);
}

void progress_end(struct progress *p)
{
	if (p != NULL && p->shown_us != 0) {
		fprintf(stderr, "\r\033[K");
		p->shown_us = 0;
	}
}
