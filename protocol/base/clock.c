/* Time: the system's clocks or a test's, and the forms in which people write times. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/text.h"

#define YEAR_10000_S 253402300800ULL /* 10000-01-01T00:00:00Z in seconds since 1970 */

static uint64_t (*now_source)(void);
static uint64_t (*mono_source)(void);

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t); /* cannot fail: both clocks exist on every Linux */
	return (uint64_t)t.tv_sec * CLOCK_SECOND_US + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_now_us(void)
{
	return now_source != NULL ? now_source() : read_clock(CLOCK_REALTIME);
}

uint64_t clock_mono_us(void)
{
	return mono_source != NULL ? mono_source() : read_clock(CLOCK_MONOTONIC);
}

void clock_set_source(uint64_t (*now_us)(void), uint64_t (*mono_us)(void))
{
	now_source = now_us;
	mono_source = mono_us;
}

bool clock_wait(pthread_cond_t *changed, pthread_mutex_t *lock, uint64_t wait_us)
{
	uint64_t end_us = read_clock(CLOCK_MONOTONIC) + wait_us;
	struct timespec end = { .tv_sec = (time_t)(end_us / CLOCK_SECOND_US),
		                .tv_nsec = (long)(end_us % CLOCK_SECOND_US * 1000) };

	return pthread_cond_clockwait(changed, lock, CLOCK_MONOTONIC, &end) == 0;
}

void clock_format(uint64_t time_us, char *out, size_t cap)
{
	uint64_t seconds = time_us / CLOCK_SECOND_US;
	time_t t;
	struct tm tm;

	/* Times that four digits of year cannot say are shown as the last one that they can. */
	if (seconds >= YEAR_10000_S)
		seconds = YEAR_10000_S - 1;
	t = (time_t)seconds;
	gmtime_r(&t, &tm);
	snprintf(out, cap, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
	         tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Reads exactly DIGITS digits at *P into *OUT and moves *P behind them. */
static int take_number(const char **p, int digits, int low, int high, int *out)
{
	int value = 0;

	for (int i = 0; i < digits; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return ERR_MALFORMED;
		value = value * 10 + (**p - '0');
	}
	if (value < low || value > high)
		return ERR_MALFORMED;
	*out = value;
	return 0;
}

static int take_char(const char **p, const char *allowed)
{
	if (**p == '\0' || strchr(allowed, **p) == NULL)
		return ERR_MALFORMED;
	(*p)++;
	return 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static int take_date(const char **p, struct tm *tm)
{
	int year, month, day;

	if (take_number(p, 4, 1970, 9999, &year) < 0 || take_char(p, "-") < 0
	    || take_number(p, 2, 1, 12, &month) < 0 || take_char(p, "-") < 0
	    || take_number(p, 2, 1, days_in_month(year, month), &day) < 0)
		return ERR_MALFORMED;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return 0;
}

/* hh:mm, and :ss where it stands. A leap second (60) counts as the second after it. */
static int take_time(const char **p, struct tm *tm)
{
	if (take_number(p, 2, 0, 23, &tm->tm_hour) < 0 || take_char(p, ":") < 0
	    || take_number(p, 2, 0, 59, &tm->tm_min) < 0)
		return ERR_MALFORMED;
	if (**p != ':')
		return 0;
	(*p)++;
	return take_number(p, 2, 0, 60, &tm->tm_sec);
}

/* Z or an offset: the seconds to take off for UTC. */
static int take_zone(const char **p, int64_t *offset_s)
{
	char sign = **p;
	int hours, minutes;

	*offset_s = 0;
	if (take_char(p, "Zz+-") < 0)
		return ERR_MALFORMED;
	if (sign == 'Z' || sign == 'z')
		return 0;
	if (take_number(p, 2, 0, 23, &hours) < 0 || take_char(p, ":") < 0
	    || take_number(p, 2, 0, 59, &minutes) < 0)
		return ERR_MALFORMED;
	*offset_s = (hours * 60 + minutes) * 60;
	if (sign == '-')
		*offset_s = -*offset_s;
	return 0;
}

static int parse_from_now(const char *text, uint64_t now_us, uint64_t *out_us)
{
	size_t n = strlen(text);
	uint64_t seconds;

	/* A bare number would leave open what is counted. */
	if (n == 0 || strchr("smhd", text[n - 1]) == NULL)
		return ERR_MALFORMED;
	if (text_parse_duration(text, &seconds) < 0
	    || seconds > (UINT64_MAX - now_us) / CLOCK_SECOND_US)
		return ERR_MALFORMED;
	*out_us = now_us + seconds * CLOCK_SECOND_US;
	return 0;
}

int clock_parse(const char *text, uint64_t now_us, uint64_t *out_us)
{
	struct tm tm = { 0 };
	int64_t offset_s = 0;
	int64_t seconds;
	const char *p = text;

	if (*p == '+')
		return parse_from_now(p + 1, now_us, out_us);
	if (take_date(&p, &tm) < 0)
		return ERR_MALFORMED;
	if (*p != '\0'
	    && (take_char(&p, "Tt ") < 0 || take_time(&p, &tm) < 0 || take_zone(&p, &offset_s) < 0))
		return ERR_MALFORMED;
	if (*p != '\0')
		return ERR_MALFORMED;
	seconds = (int64_t)timegm(&tm) - offset_s;
	if (seconds < 0)
		return ERR_MALFORMED;
	*out_us = (uint64_t)seconds * CLOCK_SECOND_US;
	return 0;
}
