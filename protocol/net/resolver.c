/* c-ares on a libuv loop: one poll handle for each of its sockets, one timer for all. */
#include "net/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct loop_timer *timer;
	struct socket_watch *watches;
};

struct socket_watch {
	struct socket_watch *next;
	struct resolver *resolver;
	uv_poll_t poll;
	ares_socket_t fd;
};

struct query {
	void (*done)(void *ctx, enum resolver_result result, const uint8_t *answer, size_t n,
	             const char *why);
	void *ctx;
};

struct host_query {
	void (*done)(void *ctx, enum resolver_result result, const struct address *list, size_t n,
	             uint32_t ttl_s, const char *why);
	void *ctx;
};

/* --- sockets and time --------------------------------------------------------------------- */

static void set_timer(struct resolver *r)
{
	struct timeval tv, *wait = ares_timeout(r->channel, NULL, &tv);

	if (wait == NULL)
		loop_timer_stop(r->timer);
	else
		loop_timer_start(r->timer, (uint64_t)wait->tv_sec * 1000000 + (uint64_t)wait->tv_usec);
}

static void on_timer(void *ctx)
{
	struct resolver *r = ctx;

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(r);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct socket_watch *w = poll->data;
	struct resolver *r = w->resolver;
	bool in = status < 0 || (events & UV_READABLE) != 0;
	bool out = status < 0 || (events & UV_WRITABLE) != 0;

	/* W may be gone after this. */
	ares_process_fd(r->channel, in ? w->fd : ARES_SOCKET_BAD, out ? w->fd : ARES_SOCKET_BAD);
	set_timer(r);
}

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* c-ares opens, uses and closes FD. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = ctx;
	struct socket_watch **at = &r->watches, *w;

	while (*at != NULL && (*at)->fd != fd)
		at = &(*at)->next;
	w = *at;
	if (!readable && !writable) {
		if (w == NULL)
			return;
		*at = w->next;
		uv_close((uv_handle_t *)&w->poll, on_freed);
		return;
	}
	if (w == NULL) {
		w = calloc(1, sizeof *w);
		/* Unwatched, the question ends by its time limit. */
		if (w == NULL)
			return;
		if (uv_poll_init(loop_uv(r->loop), &w->poll, fd) != 0) {
			free(w);
			return;
		}
		w->poll.data = w;
		w->resolver = r;
		w->fd = fd;
		w->next = r->watches;
		r->watches = w;
	}
	uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
}

/* --- questions ---------------------------------------------------------------------------- */

static enum resolver_result result_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return RESOLVER_OK;
	case ARES_ENOTFOUND:
		return RESOLVER_NO_NAME;
	case ARES_ENODATA:
		return RESOLVER_NO_DATA;
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return RESOLVER_CANCELLED;
	default:
		return RESOLVER_FAILED;
	}
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *answer, int n)
{
	struct query *q = arg;

	(void)timeouts;
	q->done(q->ctx, result_of(status), status == ARES_SUCCESS ? answer : NULL,
	        status == ARES_SUCCESS ? (size_t)n : 0, ares_strerror(status));
	free(q);
}

void resolver_query(struct resolver *r, const char *name, enum resolver_type type,
                    void (*done)(void *ctx, enum resolver_result result, const uint8_t *answer,
                                 size_t n, const char *why),
                    void *ctx)
{
	struct query *q = calloc(1, sizeof *q);

	if (q == NULL) {
		done(ctx, RESOLVER_FAILED, NULL, 0, "out of memory");
		return;
	}
	q->done = done;
	q->ctx = ctx;
	ares_query(r->channel, name, 1 /* IN */, (int)type, on_answer, q);
	set_timer(r);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	struct host_query *q = arg;
	struct address list[RESOLVER_ADDRESSES];
	uint32_t ttl = UINT32_MAX;
	size_t n = 0;

	(void)timeouts;
	if (status == ARES_SUCCESS && found != NULL) {
		for (struct ares_addrinfo_cname *c = found->cnames; c != NULL; c = c->next)
			if (c->ttl >= 0 && (uint32_t)c->ttl < ttl)
				ttl = (uint32_t)c->ttl;
		for (struct ares_addrinfo_node *a = found->nodes; a != NULL; a = a->ai_next) {
			if (a->ai_ttl >= 0 && (uint32_t)a->ai_ttl < ttl)
				ttl = (uint32_t)a->ai_ttl;
			if (n == RESOLVER_ADDRESSES || a->ai_addrlen > sizeof list[n].u)
				continue;
			memset(&list[n], 0, sizeof list[n]);
			memcpy(&list[n].u, a->ai_addr, a->ai_addrlen);
			list[n++].n = a->ai_addrlen;
		}
	}
	q->done(q->ctx, status == ARES_SUCCESS && n == 0 ? RESOLVER_NO_DATA : result_of(status), list,
	        n, ttl, ares_strerror(status));
	free(q);
	ares_freeaddrinfo(found);
}

void resolver_addresses(struct resolver *r, const char *host,
                        void (*done)(void *ctx, enum resolver_result result,
                                     const struct address *list, size_t n, uint32_t ttl_s,
                                     const char *why),
                        void *ctx)
{
	/* Sorting would open sockets to each address; the order of families is dial's affair. */
	const struct ares_addrinfo_hints hints = {
		.ai_flags = ARES_AI_NOSORT,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct host_query *q = calloc(1, sizeof *q);

	if (q == NULL) {
		done(ctx, RESOLVER_FAILED, NULL, 0, 0, "out of memory");
		return;
	}
	q->done = done;
	q->ctx = ctx;
	ares_getaddrinfo(r->channel, host, NULL, &hints, on_addresses, q);
	set_timer(r);
}

/* --- making and ending -------------------------------------------------------------------- */

static int library_status;

static void init_library(void)
{
	library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static int set_servers(struct resolver *r, const char *const *servers, size_t n,
                       struct err_text *e)
{
	struct buf list;
	int status = ARES_ENOMEM;

	buf_init(&list, 0);
	for (size_t i = 0; i < n; i++)
		if (buf_addf(&list, "%s%s", i > 0 ? "," : "", servers[i]) < 0)
			goto out;
	if (buf_cstr(&list) != NULL)
		status = ares_set_servers_ports_csv(r->channel, buf_cstr(&list));
out:
	buf_free(&list);
	if (status == ARES_ENOMEM)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (status != ARES_SUCCESS)
		return err_set(e, ERR_CONFIG, "DNS server: not an address and port (as in "
		               "127.0.0.1:53): %s", ares_strerror(status));
	return 0;
}

int resolver_create(struct loop *l, const char *const *servers, size_t n_servers,
                    unsigned timeout_ms, struct resolver **out, struct err_text *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct resolver *r = calloc(1, sizeof *r);
	struct ares_options options = {
		/* Names are whole; no search list may lead them elsewhere. */
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
		.timeout = (int)timeout_ms,
		.tries = RESOLVER_TRIES,
		.sock_state_cb = on_socket,
		.sock_state_cb_data = r,
		.ednspsz = 1232,
	};
	int status, rc = 0;

	if (r == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	pthread_once(&once, init_library);
	r->loop = l;
	status = library_status;
	if (status == ARES_SUCCESS)
		status = ares_init_options(&r->channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS
		                           | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
		                           | ARES_OPT_EDNSPSZ);
	if (status != ARES_SUCCESS) {
		free(r);
		return err_set(e, status == ARES_ENOMEM ? ERR_NOMEM : ERR_CONFIG, "DNS: %s",
		               ares_strerror(status));
	}
	if (loop_timer_create(l, on_timer, r, &r->timer) < 0)
		rc = err_set(e, ERR_NOMEM, "out of memory");
	else if (n_servers > 0)
		rc = set_servers(r, servers, n_servers, e);
	if (rc < 0) {
		resolver_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	ares_destroy(r->channel);
	loop_timer_free(r->timer);
	free(r);
}
