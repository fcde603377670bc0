/*
 * TLS 1.3 early data (RFC 8446 sections 2.3 and 8): a client that has a ticket
 * speaks in its first flight, and the server may answer before it knows that the
 * flight is fresh.
 *
 * Who sends such a flight again gets nothing by it here: a server remembers the
 * hellos whose early data it took for as long as their tickets' ages let them pass
 * (section 8.2), and gives out tickets that only its own keys open, which die with
 * its memory. What is left to the sessions (wire/early.h) is the flight that
 * arrives for the first time, but later than its client believes.
 */
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/tls_core.h"

/* --- hellos that were seen ----------------------------------------------------------------- */

/*
 * OpenSSL takes early data whose ticket is as old as its client says, give or
 * take 10 s and the rounding of two clocks to seconds.
 */
#define WINDOW_US (15 * CLOCK_SECOND_US)
#define SETS 8192 /* a power of two */
#define WAYS 8    /* hellos of one set: who finds it full waits for the handshake's end */

struct seen {
	uint32_t marks[SETS][WAYS]; /* 0: free */
};

/* Each hello is remembered for one to two windows: in the newest of two tables. */
struct tls_hellos {
	pthread_mutex_t lock;
	struct seen *newer, *older; /* NULL: none since then */
	uint64_t turned_us;         /* when `newer` was begun */
};

static struct tls_hellos *hellos_create(void)
{
	struct tls_hellos *x = calloc(1, sizeof *x);

	if (x != NULL && pthread_mutex_init(&x->lock, NULL) != 0) {
		free(x);
		return NULL;
	}
	return x;
}

void tls_hellos_free(struct tls_hellos *x)
{
	if (x == NULL)
		return;
	free(x->newer);
	free(x->older);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* Under the lock. */
static void turn(struct tls_hellos *x)
{
	uint64_t now = clock_mono_us();

	if (x->newer != NULL && now - x->turned_us < WINDOW_US)
		return;
	free(x->older);
	x->older = x->newer;
	if (x->older != NULL && now - x->turned_us >= 2 * WINDOW_US) {
		free(x->older);
		x->older = NULL;
	}
	x->newer = calloc(1, sizeof *x->newer);
	x->turned_us = now;
}

static bool holds(const struct seen *seen, uint32_t set, uint32_t mark)
{
	for (size_t i = 0; seen != NULL && i < WAYS; i++)
		if (seen->marks[set][i] == mark)
			return true;
	return false;
}

/* True once for each RANDOM; then, and when there is no room to remember it, false. */
static bool is_new(struct tls_hellos *x, const unsigned char random[SSL3_RANDOM_SIZE])
{
	uint32_t set, mark;
	bool found = false;

	memcpy(&set, random, sizeof set);
	memcpy(&mark, random + sizeof set, sizeof mark);
	set &= SETS - 1;
	if (mark == 0)
		mark = 1;
	pthread_mutex_lock(&x->lock);
	turn(x);
	if (x->newer != NULL && !holds(x->newer, set, mark) && !holds(x->older, set, mark))
		for (size_t i = 0; i < WAYS && !found; i++)
			if (x->newer->marks[set][i] == 0) {
				x->newer->marks[set][i] = mark;
				found = true;
			}
	pthread_mutex_unlock(&x->lock);
	return found;
}

/* The client's random is under the ticket's seal (the binder): nobody else can change it. */
static int allow(SSL *ssl, void *ctx)
{
	unsigned char random[SSL3_RANDOM_SIZE];

	return SSL_get_client_random(ssl, random, sizeof random) == sizeof random
	       && is_new(ctx, random);
}

int tls_early_serve(struct tls_config *c, uint32_t octets)
{
	if (octets == 0)
		return 0;
	c->hellos = hellos_create();
	if (c->hellos == NULL)
		return ERR_NOMEM;
	/* OpenSSL's own record is of tickets, kept for their whole life: ours is of hellos. */
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_ANTI_REPLAY);
	SSL_CTX_set_allow_early_data_cb(c->ctx, allow, c->hellos);
	return SSL_CTX_set_max_early_data(c->ctx, octets) == 1
	       && SSL_CTX_set_recv_max_early_data(c->ctx, octets) == 1 ? 0 : ERR_NOMEM;
}

/* --- the server's part --------------------------------------------------------------------- */

#define FIRST ((size_t)16 * 1024) /* octets of a record */

bool tls_early_begin(struct tls_stream *t, int *rc)
{
	uint8_t *at;
	size_t got;

	*rc = 0;
	if (t->early_over || t->config->hellos == NULL)
		return false;
	ERR_clear_error();
	if (buf_reserve(&t->ahead, FIRST, &at) < 0) {
		*rc = stream_core_fail(&t->base, ERR_NOMEM, "out of memory");
		return false;
	}
	switch (SSL_read_early_data(t->ssl, at, FIRST, &got)) {
	case SSL_READ_EARLY_DATA_SUCCESS:
		buf_commit(&t->ahead, got);
		return true;
	case SSL_READ_EARLY_DATA_FINISH:
		t->early_over = true;
		break;
	default:
		*rc = tls_stalled(t, 0);
		break;
	}
	buf_shrink(&t->ahead);
	return false;
}

static size_t take_ahead(struct tls_stream *t, void *p, size_t n)
{
	struct span ahead = buf_view(&t->ahead);

	if (n > ahead.n)
		n = ahead.n;
	memcpy(p, ahead.p, n);
	buf_consume(&t->ahead, n);
	buf_shrink(&t->ahead);
	return n;
}

ssize_t tls_early_read(struct tls_stream *t, void *p, size_t n)
{
	size_t got;
	int rc;

	if (t->ahead.n > 0)
		return (ssize_t)take_ahead(t, p, n);
	if (!t->early_over) {
		switch (SSL_read_early_data(t->ssl, p, n, &got)) {
		case SSL_READ_EARLY_DATA_SUCCESS:
			return (ssize_t)got;
		case SSL_READ_EARLY_DATA_FINISH:
			t->early_over = true;
			break;
		default:
			return tls_stalled(t, 0);
		}
	}
	rc = SSL_do_handshake(t->ssl);
	if (rc != 1)
		return tls_stalled(t, rc);
	t->base.early = false;
	tls_client_known(t);
	stream_hub_dirty(&t->base); /* tickets */
	return 0;
}

/* --- the client's part ---------------------------------------------------------------------- */

void tls_early_send(struct tls_stream *t)
{
	const SSL_SESSION *session = SSL_get0_session(t->ssl);
	size_t sent;

	if (t->early_sent || t->early_octets == 0 || !t->config->early || session == NULL
	    || SSL_SESSION_get_max_early_data(session) < t->early_octets)
		return;
	/* Where it fails the handshake fails as well, and says why. */
	t->early_sent = SSL_write_early_data(t->ssl, buf_view(&t->plain).p, t->early_octets,
	                                     &sent) == 1;
}

void tls_early_settle(struct tls_stream *t)
{
	if (t->early_sent && SSL_get_early_data_status(t->ssl) == SSL_EARLY_DATA_ACCEPTED)
		buf_consume(&t->plain, t->early_octets);
	t->early_octets = 0;
}
