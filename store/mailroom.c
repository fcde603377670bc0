#include "store/mailroom.h"

#include <string.h>

#include "base/clock.h"

/* Retries of what failed for now: after a minute, doubling, up to four hours. */
#define RETRY_FIRST_US CLOCK_MINUTE_US
#define RETRY_MOST_US (4 * CLOCK_HOUR_US)
/* A repeat that failed for now; the agent has the notification already. */
#define REPEAT_AGAIN_US CLOCK_HOUR_US

/* Repeats of what the agent has accepted, and second thoughts on what it or the DNS denied: the
 * wait after each, in a row. After the last there is none. */
static const uint64_t repeat_us[] = { 1 * CLOCK_DAY_US, 3 * CLOCK_DAY_US, 7 * CLOCK_DAY_US,
                                      14 * CLOCK_DAY_US };
static const uint64_t denied_us[] = { CLOCK_HOUR_US, CLOCK_DAY_US };

/* What follows an attempt; those of one kind are counted in a row. */
enum kind {
	KIND_ACCEPTED, /* repeated, ever more rarely */
	KIND_RETRY,    /* failed for now */
	KIND_DENIED    /* failed for good, unless a name gets mended */
};

static enum kind outcome_kind(enum mailroom_outcome outcome)
{
	switch (outcome) {
	case MAILROOM_ACCEPTED:
		return KIND_ACCEPTED;
	case MAILROOM_NO_DOMAIN:
	case MAILROOM_NO_SERVICE:
	case MAILROOM_NO_USER:
	case MAILROOM_REFUSED:
		return KIND_DENIED;
	default:
		return KIND_RETRY;
	}
}

/* The kind of the attempts that led to status S (unprocessed: none, or tryLater). */
static enum kind status_kind(enum wire_notification_status s)
{
	switch (s) {
	case WIRE_NOTIFICATION_NOTIFYING:
		return KIND_ACCEPTED;
	case WIRE_NOTIFICATION_BAD_DOMAIN:
	case WIRE_NOTIFICATION_NO_SERVICE:
	case WIRE_NOTIFICATION_NO_USER:
	case WIRE_NOTIFICATION_REFUSED:
		return KIND_DENIED;
	default:
		return KIND_RETRY;
	}
}

/* The status that OUTCOME leaves where S stood. tryLater has none of its own. */
static enum wire_notification_status next_status(enum wire_notification_status s,
                                                 enum mailroom_outcome outcome)
{
	switch (outcome) {
	case MAILROOM_ACCEPTED:
		return WIRE_NOTIFICATION_NOTIFYING;
	case MAILROOM_NO_DOMAIN:
		return WIRE_NOTIFICATION_BAD_DOMAIN;
	case MAILROOM_NO_SERVICE:
		return WIRE_NOTIFICATION_NO_SERVICE;
	case MAILROOM_NO_SERVER:
		return WIRE_NOTIFICATION_NO_SERVER;
	case MAILROOM_PROTOCOL_ERROR:
		return WIRE_NOTIFICATION_PROTOCOL_ERROR;
	case MAILROOM_NO_USER:
		return WIRE_NOTIFICATION_NO_USER;
	case MAILROOM_REFUSED:
		return WIRE_NOTIFICATION_REFUSED;
	case MAILROOM_FULL:
		return WIRE_NOTIFICATION_FULL;
	default:
		return status_kind(s) == KIND_RETRY ? s : WIRE_NOTIFICATION_UNPROCESSED;
	}
}

/* RETRY_FIRST_US after failure 1, twice that after 2, ..., ± 20 % by JITTER. */
static uint64_t jittered(uint64_t wait, uint32_t jitter)
{
	return wait - wait / 5 + wait * 2 / 5 * jitter / MAILROOM_JITTER;
}

static uint64_t retry_wait(uint16_t failures, uint32_t jitter)
{
	uint64_t wait = RETRY_FIRST_US;

	for (uint16_t i = 1; i < failures && wait < RETRY_MOST_US; i++)
		wait *= 2;
	return jittered(wait < RETRY_MOST_US ? wait : RETRY_MOST_US, jitter);
}

/* The wait after attempt number N of KIND in a row; 0: there is no further one. */
static uint64_t schedule_wait(enum kind kind, uint16_t n, uint32_t jitter)
{
	size_t i = n > 0 ? (size_t)n - 1 : 0;

	switch (kind) {
	case KIND_ACCEPTED:
		return i < sizeof repeat_us / sizeof repeat_us[0] ? repeat_us[i] : 0;
	case KIND_DENIED:
		return i < sizeof denied_us / sizeof denied_us[0] ? denied_us[i] : 0;
	default:
		return retry_wait(n, jitter);
	}
}

/* The time WAIT after NOW, if there is a wait and that is before the end; else 0. */
static uint64_t next_attempt(uint64_t wait, uint64_t now_us, uint64_t expires_us)
{
	if (wait == 0 || now_us >= expires_us || wait >= expires_us - now_us)
		return 0;
	return now_us + wait;
}

static void count(uint16_t *n)
{
	if (*n < UINT16_MAX)
		(*n)++;
}

/*
 * The recipient has spoken, or nobody is to be notified: no attempt changes the
 * status. A refusal by the agent's policy leaves the delivery pinned and is not final.
 */
static bool settled(const struct mailroom_delivery *d)
{
	switch (d->notification) {
	case WIRE_NOTIFICATION_SILENCED:
	case WIRE_NOTIFICATION_WITHDRAWN:
	case WIRE_NOTIFICATION_EXPIRED:
	case WIRE_NOTIFICATION_HELD:
		return true;
	case WIRE_NOTIFICATION_REFUSED:
		return d->withdrawn || !d->pinned;
	default:
		return d->withdrawn;
	}
}

/* No second thoughts are left, and no agent ever had it: nobody has a capability to read. */
static bool denied_for_good(const struct mailroom_delivery *d)
{
	return status_kind(d->notification) == KIND_DENIED && !d->notified &&
	       schedule_wait(KIND_DENIED, d->failures, 0) == 0;
}

void mailroom_begin(struct mailroom_delivery *d, bool held, uint64_t release_us, uint64_t now_us)
{
	*d = (struct mailroom_delivery){
		.notification = WIRE_NOTIFICATION_HELD,
		.read = WIRE_READ_UNREAD,
		.pinned = true,
		.changed_us = now_us,
	};
	if (!held)
		mailroom_released(d, release_us, now_us);
}

bool mailroom_notified(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint64_t now_us,
                       uint64_t expires_us, uint32_t jitter)
{
	enum kind kind = outcome_kind(outcome);
	enum kind before = status_kind(d->notification);

	count(&d->attempts);
	if (outcome == MAILROOM_ACCEPTED)
		d->notified = true;
	if (settled(d)) {
		/* Taken by the agent while the sender took it back: the agent is to be told. */
		if (d->withdrawn && d->notified && !d->told_withdrawn && d->next_us == 0)
			d->next_us = now_us < expires_us ? now_us : 0;
		return true; /* the number of attempts */
	}
	d->changed_us = now_us;
	if (before == KIND_ACCEPTED && kind == KIND_RETRY) {
		/* The agent has it: that is what the originator shall go on seeing. */
		d->next_us = next_attempt(jittered(REPEAT_AGAIN_US, jitter), now_us, expires_us);
		return true;
	}
	if (kind != before)
		d->failures = 0;
	count(&d->failures);
	d->notification = next_status(d->notification, outcome);
	d->next_us = next_attempt(schedule_wait(kind, d->failures, jitter), now_us, expires_us);
	if (denied_for_good(d))
		d->pinned = false;
	return true;
}

bool mailroom_told(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint64_t now_us,
                   uint64_t expires_us, uint32_t jitter)
{
	count(&d->attempts);
	if (d->told_withdrawn)
		return true;
	d->changed_us = now_us;
	if (outcome == MAILROOM_ACCEPTED || outcome == MAILROOM_NO_USER ||
	    outcome == MAILROOM_REFUSED) {
		d->told_withdrawn = true;
		d->failures = 0;
		d->next_us = 0;
		return true;
	}
	count(&d->failures);
	d->next_us = next_attempt(schedule_wait(outcome_kind(outcome), d->failures, jitter), now_us,
	                          expires_us);
	return true;
}

/* Ends the attempts to notify with STATUS. */
static void settle(struct mailroom_delivery *d, enum wire_notification_status status,
                   uint64_t now_us)
{
	d->notification = status;
	d->failures = 0;
	d->next_us = 0;
	d->changed_us = now_us;
}

bool mailroom_silenced(struct mailroom_delivery *d, uint64_t now_us)
{
	if (settled(d))
		return false;
	settle(d, WIRE_NOTIFICATION_SILENCED, now_us);
	return true;
}

/* The recipient, who has a capability, may still do something with it. */
static bool open_to_recipient(const struct mailroom_delivery *d)
{
	return !d->withdrawn && d->notification != WIRE_NOTIFICATION_EXPIRED;
}

bool mailroom_refused(struct mailroom_delivery *d, uint64_t now_us)
{
	if (!open_to_recipient(d) || (d->notification == WIRE_NOTIFICATION_REFUSED && !d->pinned))
		return false;
	d->pinned = false;
	settle(d, WIRE_NOTIFICATION_REFUSED, now_us);
	return true;
}

bool mailroom_unpinned(struct mailroom_delivery *d, uint64_t now_us)
{
	if (!open_to_recipient(d) || !d->pinned)
		return false;
	/* Who needs it no more has the notification, too: no repeat. */
	mailroom_silenced(d, now_us);
	d->pinned = false;
	d->changed_us = now_us;
	return true;
}

bool mailroom_read(struct mailroom_delivery *d, enum wire_retrieval type, uint64_t now_us)
{
	static const enum wire_read_status reached[WIRE_RETRIEVAL_COUNT] = {
		[WIRE_RETRIEVAL_NOTHING] = WIRE_READ_UNREAD,
		[WIRE_RETRIEVAL_SUMMARY] = WIRE_READ_SUMMARISED,
		[WIRE_RETRIEVAL_STRUCTURE] = WIRE_READ_SUMMARISED,
		[WIRE_RETRIEVAL_HEADERS] = WIRE_READ_HEADERS,
		/* More than the header, but not all of it was asked for. */
		[WIRE_RETRIEVAL_PART] = WIRE_READ_HEADERS,
		[WIRE_RETRIEVAL_ALL] = WIRE_READ_ALL,
	};

	if (!open_to_recipient(d) || (unsigned)type >= WIRE_RETRIEVAL_COUNT ||
	    reached[type] <= d->read)
		return false;
	d->read = reached[type];
	d->changed_us = now_us;
	return true;
}

bool mailroom_released(struct mailroom_delivery *d, uint64_t release_us, uint64_t now_us)
{
	if (d->notification != WIRE_NOTIFICATION_HELD)
		return false;
	d->notification = WIRE_NOTIFICATION_UNPROCESSED;
	d->next_us = release_us > now_us ? release_us : now_us;
	d->changed_us = now_us;
	return true;
}

bool mailroom_extended(struct mailroom_delivery *d, uint64_t again_us, uint64_t now_us)
{
	enum kind kind = status_kind(d->notification);

	if (settled(d) || d->next_us != 0)
		return false;
	if (kind == KIND_DENIED && schedule_wait(kind, d->failures, 0) == 0)
		return false;
	d->next_us = kind == KIND_ACCEPTED && again_us > now_us ? again_us : now_us;
	d->changed_us = now_us;
	return true;
}

bool mailroom_cancelled(struct mailroom_delivery *d, uint64_t now_us)
{
	if (!open_to_recipient(d))
		return false;
	d->withdrawn = true;
	d->pinned = false;
	settle(d, WIRE_NOTIFICATION_WITHDRAWN, now_us);
	if (d->notified)
		d->next_us = now_us;
	return true;
}

bool mailroom_expired(struct mailroom_delivery *d, uint64_t now_us)
{
	bool changed = d->pinned || d->next_us != 0;

	d->pinned = false;
	d->next_us = 0;
	/* What was settled, or denied and left so, stays as it is. */
	if (!settled(d) || d->notification == WIRE_NOTIFICATION_HELD) {
		if (status_kind(d->notification) != KIND_DENIED) {
			settle(d, WIRE_NOTIFICATION_EXPIRED, now_us);
			return true;
		}
	}
	if (changed)
		d->changed_us = now_us;
	return changed;
}

bool mailroom_may_read(const struct mailroom_delivery *d)
{
	return d->pinned && !d->withdrawn;
}

bool mailroom_may_send_as(struct span senders, const struct mailbox *sender)
{
	while (senders.n > 0) {
		const uint8_t *end = memchr(senders.p, '\0', senders.n);
		size_t n = end != NULL ? (size_t)(end - senders.p) : senders.n;
		struct span one = span_of(senders.p, n);

		if (n > 0 && one.p[0] == '@' ? span_eq_str(span_after(one, 1), mailbox_domain(sender))
		                             : span_eq_str(one, sender->text))
			return true;
		senders = span_after(senders, n + 1);
	}
	return false;
}

uint64_t mailroom_lifetime_s(uint64_t wanted_s, uint64_t default_s, uint64_t max_s)
{
	uint64_t s = wanted_s != 0 ? wanted_s : default_s;

	return max_s != 0 && s > max_s ? max_s : s;
}
