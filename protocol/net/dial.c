/*
 * Dialling. Addresses are tried in the locator's order; each has a head start
 * before the next, which it loses when it fails. An attempt has won only when
 * its TLS handshake is done, so that a dead or wrong server in the first place
 * costs no more than the head start.
 */
#include "net/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/name.h"

#define HEAD_START_US 250000 /* RFC 8305 section 5 */
#define TIMEOUT_US (20 * CLOCK_SECOND_US)
#define ADDRESSES_MAX 64

struct attempt {
	struct attempt *next;
	struct dial *dial;
	struct stream *stream;
	struct address address;
};

/* What is told when nothing works, by how much it says. */
enum fault_weight { FAULT_NONE, FAULT_DENIED, FAULT_SERVER, FAULT_TLS };

struct dial {
	struct loop *loop;
	char domain[NAME_DOMAIN_MAX + 1];
	enum locate_service service;
	struct tls_config *tls; /* one reference; NULL for a UNIX socket */
	bool allow_private;
	char *unix_path;
	unsigned identity;
	struct span (*early)(void *ctx);
	void *early_ctx;
	void (*done)(void *ctx, int error, struct stream *stream, const char *why);
	void *ctx;
	struct locate_lookup *lookup;
	struct loop_timer *step;     /* the next address's turn */
	struct loop_timer *deadline; /* of all */
	struct located *list;
	size_t n_list, next;
	struct attempt *attempts; /* under way */
	enum fault_weight weight; /* of FAULT */
	struct err_text fault;
	unsigned faults;
};

/* --- the end ------------------------------------------------------------------------------ */

static void attempt_free(struct attempt *a)
{
	struct attempt **at = &a->dial->attempts;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	stream_free(a->stream);
	free(a);
}

static void dial_free(struct dial *d)
{
	while (d->attempts != NULL)
		attempt_free(d->attempts);
	locate_cancel(d->lookup);
	loop_timer_free(d->step);
	loop_timer_free(d->deadline);
	tls_config_drop(d->tls);
	free(d->unix_path);
	free(d->list);
	free(d);
}

/* The one call of DONE. D is gone after it. */
static void finish(struct dial *d, int error, struct stream *stream, const char *why)
{
	void (*done)(void *ctx, int error, struct stream *stream, const char *why) = d->done;
	void *ctx = d->ctx;
	struct err_text text = { "" };

	err_set(&text, error, "%s", why); /* WHY may lie in D */
	dial_free(d);
	done(ctx, error, stream, text.text);
}

static void finish_failed(struct dial *d, int error)
{
	static const int errors[] = {
		[FAULT_NONE] = ERR_NO_SERVER,
		[FAULT_DENIED] = ERR_DENIED,
		[FAULT_SERVER] = ERR_NO_SERVER,
		[FAULT_TLS] = ERR_TLS,
	};
	struct err_text why = d->fault;

	if (d->weight == FAULT_NONE)
		err_set(&why, 0, "no answer in time");
	if (d->faults > 1)
		err_set(&why, 0, "%s (and %u other addresses failed)", why.text, d->faults - 1);
	if (d->unix_path == NULL)
		err_prefix(&why, 0, "%s %s", d->domain, locate_service_name(d->service));
	finish(d, error != 0 && d->weight != FAULT_TLS ? error : errors[d->weight], NULL, why.text);
}

/* Keeps what went wrong at an address when nothing that says more is kept: of equals the first. */
static void note(struct dial *d, enum fault_weight weight, const char *where, const char *why)
{
	d->faults++;
	if (weight <= d->weight)
		return;
	d->weight = weight;
	err_set(&d->fault, 0, "%s: %s", where, why);
}

/* --- attempts ----------------------------------------------------------------------------- */

static void start_next(struct dial *d);

static const char *where_of(const struct dial *d, const struct address *a, char *out, size_t cap)
{
	return d->unix_path != NULL ? d->unix_path : address_format(a, out, cap);
}

static void on_opened(void *ctx)
{
	struct attempt *a = ctx;
	struct stream *stream = a->stream;

	a->stream = NULL;
	stream_set_handler(stream, NULL, NULL);
	finish(a->dial, 0, stream, "");
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct attempt *a = ctx;
	struct dial *d = a->dial;
	char text[64];

	note(d, error == ERR_TLS ? FAULT_TLS : FAULT_SERVER,
	     where_of(d, &a->address, text, sizeof text), why);
	attempt_free(a);
	start_next(d);
}

static const struct stream_handler attempt_handler = {
	.opened = on_opened,
	.closed = on_closed,
};

/* A socket on its way to A; or a negated errno. */
static int connecting_socket(const struct address *a)
{
	int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int number;

	if (fd < 0)
		return -errno;
	if (connect(fd, &a->u.sa, a->n) == 0 || errno == EINPROGRESS)
		return fd;
	number = errno;
	close(fd);
	return -number;
}

/* Takes FD over. 0 or an error of the stream. */
static int start_stream(struct dial *d, int fd, struct stream **out)
{
	const struct tls_target to = {
		.domain = d->domain,
		.alpn = locate_alpn(d->service),
		.identity = d->identity,
		.early = d->early != NULL ? d->early(d->early_ctx) : span_of(NULL, 0),
	};
	ssize_t n = (ssize_t)to.early.n;
	int rc;

	if (d->unix_path == NULL)
		return tls_connect_to(d->loop, fd, d->tls, &to, out);
	rc = stream_plain_create(d->loop, fd, out);
	if (rc == 0 && n > 0 && stream_write(*out, to.early.p, to.early.n) != n) {
		stream_free(*out);
		rc = ERR_NOMEM;
	}
	return rc;
}

/* True when the attempt is under way. */
static bool start_attempt(struct dial *d, const struct address *address)
{
	struct attempt *a = calloc(1, sizeof *a);
	int fd = connecting_socket(address), rc;
	char text[64];

	if (a == NULL || fd < 0) {
		if (fd >= 0)
			close(fd);
		free(a);
		note(d, FAULT_SERVER, where_of(d, address, text, sizeof text),
		     fd < 0 ? strerrordesc_np(-fd) : "out of memory");
		return false;
	}
	a->dial = d;
	a->address = *address;
	rc = start_stream(d, fd, &a->stream);
	if (rc < 0) {
		free(a);
		note(d, FAULT_SERVER, where_of(d, address, text, sizeof text), err_phrase(rc));
		return false;
	}
	stream_set_handler(a->stream, &attempt_handler, a);
	a->next = d->attempts;
	d->attempts = a;
	return true;
}

static bool is_allowed(struct dial *d, const struct located *at)
{
	char text[64], why[160];

	if (at->pinned || d->allow_private || !address_is_private(&at->address))
		return true;
	address_format(&at->address, text, sizeof text);
	snprintf(why, sizeof why, "private address %s (set allow-private = yes to allow)", text);
	note(d, FAULT_DENIED, at->target[0] != '\0' ? at->target : d->domain, why);
	return false;
}

/* Starts the next address that can be tried; D may be gone after it. */
static void start_next(struct dial *d)
{
	while (d->next < d->n_list) {
		const struct located *at = &d->list[d->next++];

		if (!is_allowed(d, at) || !start_attempt(d, &at->address))
			continue;
		if (d->next < d->n_list)
			loop_timer_start(d->step, HEAD_START_US);
		return;
	}
	loop_timer_stop(d->step);
	if (d->attempts == NULL)
		finish_failed(d, 0);
}

static void on_step(void *ctx)
{
	start_next(ctx);
}

static void on_deadline(void *ctx)
{
	finish_failed(ctx, ERR_TIMEOUT);
}

static void on_located(void *ctx, int error, const struct located *list, size_t n,
                       const char *why)
{
	struct dial *d = ctx;

	d->lookup = NULL;
	if (error != 0) {
		finish(d, error, NULL, why);
		return;
	}
	if (n > ADDRESSES_MAX)
		n = ADDRESSES_MAX;
	d->list = calloc(n, sizeof *d->list);
	if (d->list == NULL) {
		finish(d, ERR_NOMEM, NULL, "out of memory");
		return;
	}
	memcpy(d->list, list, n * sizeof *list);
	d->n_list = n;
	start_next(d);
}

/* --- beginning ---------------------------------------------------------------------------- */

/* Addresses that need no look-up. 0, or ERR_NOMEM. */
static int take_addresses(struct dial *d, const struct dial_options *o)
{
	size_t n = o->unix_path != NULL ? 1 : o->n_literals;
	struct sockaddr_un *path;

	if (n > ADDRESSES_MAX)
		n = ADDRESSES_MAX;
	d->list = calloc(n, sizeof *d->list);
	if (d->list == NULL)
		return ERR_NOMEM;
	d->n_list = n;
	for (size_t i = 0; i < n && o->unix_path == NULL; i++)
		d->list[i].address = o->literals[i];
	if (o->unix_path == NULL)
		return 0;
	d->unix_path = strdup(o->unix_path);
	if (d->unix_path == NULL)
		return ERR_NOMEM;
	path = (struct sockaddr_un *)&d->list[0].address.u;
	path->sun_family = AF_UNIX;
	/* A path that is too long leaves the empty one, at which nobody listens. */
	span_copy(span_str(o->unix_path), path->sun_path, sizeof path->sun_path);
	d->list[0].address.n = sizeof *path;
	d->list[0].pinned = true;
	return 0;
}

static int begin(struct dial *d, const struct dial_options *o)
{
	if (loop_timer_create(d->loop, on_step, d, &d->step) < 0
	    || loop_timer_create(d->loop, on_deadline, d, &d->deadline) < 0)
		return ERR_NOMEM;
	loop_timer_start(d->deadline, o->timeout_us != 0 ? o->timeout_us : TIMEOUT_US);
	if (o->unix_path != NULL || o->n_literals > 0) {
		if (take_addresses(d, o) < 0)
			return ERR_NOMEM;
		loop_timer_start(d->step, 0); /* not from inside dial_start */
		return 0;
	}
	d->lookup = locate_start(o->locator, d->domain, d->service, on_located, d);
	return d->lookup != NULL ? 0 : ERR_NOMEM;
}

struct dial *dial_start(struct loop *l, const char *domain, enum locate_service service,
                        const struct dial_options *options,
                        void (*done)(void *ctx, int error, struct stream *stream, const char *why),
                        void *ctx)
{
	struct dial *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->loop = l;
	d->service = service;
	d->allow_private = options->allow_private;
	d->done = done;
	d->ctx = ctx;
	d->identity = options->identity;
	d->early = options->early;
	d->early_ctx = options->early_ctx;
	if (options->unix_path == NULL)
		d->tls = tls_config_hold(options->tls);
	if (span_copy(span_str(domain), d->domain, sizeof d->domain) < 0 || begin(d, options) < 0) {
		dial_free(d);
		return NULL;
	}
	return d;
}

void dial_cancel(struct dial *d)
{
	if (d != NULL)
		dial_free(d);
}
