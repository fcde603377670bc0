/* A loop's client of a writer (base/writer.h). */
#include <stdlib.h>

#include "session/daemon.h"

struct attachment {
	struct loop *loop;
	struct loop_hook hook;
	uv_async_t ready; /* the writer's threads send, the loop collects */
	struct writer_client *client;
};

static void on_wake(void *ctx)
{
	struct attachment *a = ctx;

	uv_async_send(&a->ready);
}

static void on_ready(uv_async_t *ready)
{
	struct attachment *a = ready->data;

	writer_client_collect(a->client);
}

/* Before streams send (rank 10), so that answers leave in the turn in which their jobs are done. */
static void on_turn_end(struct loop_hook *hook)
{
	struct attachment *a = (struct attachment *)(void *)((char *)hook
	                                                     - offsetof(struct attachment, hook));

	/* In this order: what the callbacks submit is set in motion by the turn. */
	writer_client_collect(a->client);
	writer_client_turn(a->client);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

int daemon_writer_attach(struct loop *l, struct writer *w, struct writer_client **out,
                         void **attachment)
{
	struct attachment *a = calloc(1, sizeof *a);
	int rc;

	if (a == NULL)
		return ERR_NOMEM;
	a->loop = l;
	a->hook = (struct loop_hook){ .run = on_turn_end };
	if (uv_async_init(loop_uv(l), &a->ready, on_ready) != 0) {
		free(a);
		return ERR_IO;
	}
	a->ready.data = a;
	rc = writer_client_create(w, on_wake, a, &a->client);
	if (rc < 0) {
		uv_close((uv_handle_t *)&a->ready, on_closed);
		return rc;
	}
	loop_hook_add(l, &a->hook);
	*out = a->client;
	*attachment = a;
	return 0;
}

void daemon_writer_detach(void *attachment)
{
	struct attachment *a = attachment;

	if (a == NULL)
		return;
	loop_hook_remove(a->loop, &a->hook);
	writer_client_free(a->client);
	uv_close((uv_handle_t *)&a->ready, on_closed);
}
