#include "session/puller.h"

#include <stdlib.h>
#include <string.h>

#include "message/digest.h"
#include "session/client.h"
#include "wire/msrap.h"

#define STREAM_OCTETS 65536 /* a longer response is not collected */
#define COMMAND_OCTETS 256
#define TRIES 3 /* of a pull that is cut off */

struct puller {
	struct loop *loop;
	struct puller_options options;
	char domain[NAME_DOMAIN_MAX + 1];
	const struct puller_calls *calls;
	void *ctx;
	struct client *client;
	struct loop_timer *deadline;
	struct digest_tree digest;
	uint64_t begin; /* offset that was asked for */
	uint64_t got;   /* octets so far, those before BEGIN too */
	uint64_t size;  /* as the store says */
	uint64_t left;  /* of the response in hand */
	bool sized;     /* SIZE was told on */
	bool answered;
	enum wire_status status;
	unsigned tries;
};

static void release(struct puller *p)
{
	client_free(p->client);
	loop_timer_free(p->deadline);
	digest_free(&p->digest);
	free(p);
}

/* Nothing of P may be touched after. */
static void finish(struct puller *p, int error, const char *why)
{
	const struct puller_calls *calls = p->calls;
	void *ctx = p->ctx;
	struct err_text text;
	struct puller_end end = {
		.error = error,
		.answered = p->answered,
		.status = p->status,
		.why = text.text,
	};

	/* WHY may lie in what is freed. */
	err_set(&text, error, "%s", error == 0 ? "" : why[0] != '\0' ? why : err_phrase(error));
	release(p);
	calls->done(ctx, &end);
}

static int ask(struct puller *p);

/* --- what comes ---------------------------------------------------------------------------- */

static int take_octets(struct puller *p, struct span octets, struct err_text *why)
{
	int r = octets.n == 0 ? 0 : p->calls->octets(p->ctx, octets, why);

	if (r == 0 && (r = digest_update(&p->digest, octets)) != 0) {
		return err_set(why, r, "%s", err_phrase(r));
	}
	p->got += octets.n;
	p->left -= octets.n;
	return r;
}

/* The size that the store says is what was announced, and has not changed on the way. */
static int take_size(struct puller *p, uint64_t size, struct err_text *why)
{
	const struct puller_options *o = &p->options;

	if ((o->has_size && size != o->size) || (p->sized && size != p->size)) {
		return err_set(why, ERR_PROTOCOL,
		               "%s: the message has another size than its notification says",
		               p->domain);
	}
	if (size > o->limit) {
		return err_set(why, ERR_TOO_BIG, "%s: the message has %llu octets, more than %llu",
		               p->domain, (unsigned long long)size, (unsigned long long)o->limit);
	}
	p->size = size;
	if (p->sized) {
		return 0;
	}
	p->sized = true;
	return p->calls->size(p->ctx, size, why);
}

static int take_response(struct puller *p, const struct msrap_response *r, struct err_text *why)
{
	const struct msrap_retrieve_done *d = &r->u.retrieve;
	int rc;

	p->answered = true;
	p->status = r->status;
	if (r->status != WIRE_STATUS_OK) {
		return err_set(why, ERR_AGAIN, "%s: %s%s%.*s", p->domain,
		               wire_status_name(r->status), r->has_text ? ": " : "",
		               r->has_text ? (int)r->text.n : 0,
		               r->has_text ? (const char *)r->text.p : "");
	}
	if (r->kind != MSRAP_RETRIEVE || d->offset != p->begin || d->offset > d->size ||
	    d->data.size != d->size - d->offset) {
		return err_set(why, ERR_PROTOCOL, "%s: sends other octets than asked for",
		               p->domain);
	}
	if ((rc = take_size(p, d->size, why)) != 0) {
		return rc;
	}
	p->left = d->data.size;
	return take_octets(p, d->data.here, why);
}

static void check(struct puller *p)
{
	uint8_t root[DIGEST_SIZE];
	struct err_text why = { "" };
	int r = digest_final(&p->digest, root);

	if (r == 0 && memcmp(root, p->options.digest, DIGEST_SIZE) != 0) {
		r = err_set(&why, ERR_PROTOCOL,
		            "%s: what it sends does not match its notification", p->domain);
	}
	finish(p, r, why.text);
}

static void on_response(void *ctx, struct span body, uint64_t total)
{
	struct puller *p = ctx;
	struct msrap_response response;
	struct err_text why = { "" };
	int r;

	if (msrap_response_decode(body, total, &response) != 0) {
		r = err_set(&why, ERR_PROTOCOL, "%s: the answer breaks the protocol", p->domain);
	} else {
		r = take_response(p, &response, &why);
	}
	if (r != 0) {
		finish(p, r, why.text);
	} else if (p->left == 0 && total == body.n) {
		check(p);
	}
}

static void on_data(void *ctx, struct span octets, bool last)
{
	struct puller *p = ctx;
	struct err_text why = { "" };
	int r = take_octets(p, octets, &why);

	if (r != 0) {
		finish(p, r, why.text);
	} else if (last) {
		check(p);
	}
}

/* What came so far is there: only the rest is asked for. */
static void on_failed(void *ctx, int error, const char *why)
{
	struct puller *p = ctx;
	bool on = error == ERR_CLOSED && p->got > p->begin && ++p->tries < TRIES;

	if (on) {
		client_free(p->client);
		p->client = NULL;
	}
	if (!on || (error = ask(p)) != 0) {
		finish(p, error, why);
	}
}

static void on_deadline(void *ctx)
{
	struct puller *p = ctx;
	struct err_text why;

	err_set(&why, ERR_TIMEOUT, "%s: the message did not come in %llu s", p->domain,
	        (unsigned long long)(p->options.whole_us / 1000000));
	finish(p, ERR_TIMEOUT, why.text);
}

/* --- asking -------------------------------------------------------------------------------- */

/* Connects, and asks for what is missing. 0, or an error with no client left. */
static int ask(struct puller *p)
{
	struct client_options options = {
		.domain = p->domain,
		.service = LOCATE_MSRAP,
		.dial = p->options.dial,
		.response_octets = STREAM_OCTETS,
	};
	struct msrap_command c = {
		.kind = MSRAP_RETRIEVE,
		.u.retrieve = { .type = WIRE_RETRIEVAL_ALL, .offset = p->got },
	};
	struct client_call call = {
		.response = on_response,
		.data = on_data,
		.failed = on_failed,
		.ctx = p,
		.timeout_us = p->options.silence_us,
	};
	uint8_t room[COMMAND_OCTETS];
	int r;

	p->begin = p->got;
	p->answered = false;
	memcpy(c.u.retrieve.id, p->options.id, WIRE_ID_SIZE);
	if ((r = msrap_command_encode(&c, room, sizeof room, &call.frame)) != 0 ||
	    (r = client_create(p->loop, &options, &p->client)) != 0) {
		return r;
	}
	if ((r = client_send(p->client, &call, NULL)) != 0) {
		client_free(p->client);
		p->client = NULL;
	}
	return r;
}

int puller_start(struct loop *l, const struct puller_options *options,
                 const struct puller_calls *calls, void *ctx, struct puller **out)
{
	struct puller *p = calloc(1, sizeof *p);
	int r;

	if (p == NULL) {
		return ERR_NOMEM;
	}
	if (span_copy(span_str(options->domain), p->domain, sizeof p->domain) != 0) {
		free(p);
		return ERR_INTERNAL;
	}
	p->loop = l;
	p->options = *options;
	p->options.domain = p->domain;
	p->calls = calls;
	p->ctx = ctx;
	if ((r = digest_init(&p->digest, NULL, NULL)) != 0 ||
	    (r = loop_timer_create(l, on_deadline, p, &p->deadline)) != 0 || (r = ask(p)) != 0) {
		release(p);
		return r;
	}
	loop_timer_start(p->deadline, options->whole_us);
	*out = p;
	return 0;
}

void puller_cancel(struct puller *p)
{
	if (p != NULL) {
		release(p);
	}
}
