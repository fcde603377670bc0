/*
 * How many durable 4 KiB changes a second the group commit carries, from a client process
 * over sockets through worker loops and back: alone, and with many sessions at once. Prints
 * one line for each count of sessions: sessions, changes a second, median and 99th percentile
 * of the time from request to answer.
 *
 * usage: bench_writer [DIR [WORKERS [SECONDS [SESSIONS...]]]]
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kv.h"
#include "base/text.h"
#include "base/writer.h"

enum { REQUEST = 4096, ANSWER = 32, SESSIONS_MAX = 200, WORKERS_MAX = 16, EVENTS = 64 };

static const char *const tables[] = { "message", NULL };
static kv_table table;
static struct kv *kv;
static uint64_t number; /* of the next change; under the write transaction */

struct worker;

struct session {
	struct writer_job job;
	struct worker *worker;
	int fd;
	size_t n; /* octets of the request read so far */
	uint8_t request[REQUEST];
};

struct worker {
	pthread_t thread;
	struct writer_client *client;
	int epoll, wake;
	struct session *sessions; /* to free */
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_writer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int apply(struct writer_job *job, struct kv_txn *txn)
{
	struct session *s = (struct session *)job;
	uint8_t key[8];

	kv_put_u64(key, number++);
	return kv_append(txn, table, span_of(key, 8), span_of(s->request, REQUEST));
}

static void answer(struct writer_job *job, int result)
{
	struct session *s = (struct session *)job;
	char text[ANSWER] = { 0 };

	text[0] = result == 0 ? '+' : '-';
	if (write(s->fd, text, ANSWER) != ANSWER && errno != EPIPE)
		fail("write an answer");
}

static void wake(void *ctx)
{
	struct worker *w = ctx;
	uint64_t one = 1;

	if (write(w->wake, &one, sizeof one) < 0)
		fail("wake a worker");
}

/* False when the session is over. */
static bool take_request(struct session *s)
{
	ssize_t got = read(s->fd, s->request + s->n, REQUEST - s->n);

	if (got <= 0)
		return false;
	s->n += (size_t)got;
	if (s->n == REQUEST) {
		s->n = 0;
		writer_submit(s->worker->client, &s->job);
	}
	return true;
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	bool open = true;

	while (open) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(w->epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			uint64_t count;

			if (events[i].data.ptr != NULL)
				open = take_request(events[i].data.ptr) && open;
			else if (read(w->wake, &count, sizeof count) > 0)
				writer_client_collect(w->client);
		}
		writer_client_turn(w->client);
	}
	return NULL;
}

static void watch(int epoll, int fd, void *ptr)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = ptr };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll");
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

enum { SAMPLES_MAX = 1 << 22 };

/* The clients: each sends a request, waits for the answer, sends the next. */
static void run_clients(const int *fds, size_t sessions, uint64_t seconds)
{
	static uint8_t request[REQUEST];
	uint64_t sent_us[SESSIONS_MAX];
	uint32_t *sample = malloc(SAMPLES_MAX * sizeof *sample);
	size_t samples = 0;
	int epoll = epoll_create1(0);
	uint64_t start = clock_mono_us(), now = start;

	if (sample == NULL)
		fail("memory");
	for (size_t i = 0; i < sessions; i++) {
		watch(epoll, fds[i], (void *)(i + 1));
		sent_us[i] = now;
		if (write(fds[i], request, REQUEST) != REQUEST)
			fail("write a request");
	}
	while (now - start < seconds * CLOCK_SECOND_US && samples < SAMPLES_MAX - EVENTS) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, -1);

		now = clock_mono_us();
		for (int i = 0; i < n; i++) {
			size_t at = (size_t)events[i].data.ptr - 1;
			char text[ANSWER];

			if (read(fds[at], text, ANSWER) != ANSWER || text[0] != '+')
				fail("an answer");
			sample[samples++] = (uint32_t)(now - sent_us[at]);
			sent_us[at] = now;
			if (write(fds[at], request, REQUEST) != REQUEST)
				fail("write a request");
		}
	}
	qsort(sample, samples, sizeof *sample, compare);
	printf("%8zu %10.0f %10u %10u\n", sessions,
	       (double)samples * CLOCK_SECOND_US / (double)(now - start), sample[samples / 2],
	       sample[samples / 100 * 99]);
	fflush(stdout);
	free(sample);
}

static void start_worker(struct worker *w, struct writer *writer, const int *fds, size_t sessions)
{
	w->sessions = calloc(sessions, sizeof *w->sessions);
	w->epoll = epoll_create1(0);
	w->wake = eventfd(0, 0);
	if (w->sessions == NULL || w->epoll < 0 || w->wake < 0
	    || writer_client_create(writer, wake, w, &w->client) < 0)
		fail("start a worker");
	watch(w->epoll, w->wake, NULL);
	for (size_t i = 0; i < sessions; i++) {
		struct session *s = &w->sessions[i];

		*s = (struct session){ .job = { .apply = apply, .done = answer }, .worker = w,
			               .fd = fds[i] };
		watch(w->epoll, fds[i], s);
	}
	if (pthread_create(&w->thread, NULL, run_worker, w) != 0)
		fail("start a worker");
}

/* SESSIONS sessions spread over WORKERS workers, the clients in a process of their own. */
static void measure(size_t sessions, size_t workers, uint64_t seconds)
{
	struct worker worker[WORKERS_MAX] = { 0 };
	int server[SESSIONS_MAX], client[SESSIONS_MAX];
	struct writer *writer;
	size_t at = 0;
	pid_t pid;

	for (size_t i = 0; i < sessions; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			fail("socketpair");
		server[i] = pair[0];
		client[i] = pair[1];
	}
	pid = fork();
	if (pid == 0) {
		run_clients(client, sessions, seconds);
		_exit(0);
	}
	for (size_t i = 0; i < sessions; i++)
		close(client[i]);
	if (writer_create(kv, &writer) < 0)
		fail("writer");
	if (workers > sessions)
		workers = sessions;
	for (size_t i = 0; i < workers; i++) {
		size_t share = (sessions - at) / (workers - i);

		start_worker(&worker[i], writer, server + at, share);
		at += share;
	}
	waitpid(pid, NULL, 0);
	for (size_t i = 0; i < workers; i++) {
		pthread_join(worker[i].thread, NULL);
		writer_client_free(worker[i].client);
		close(worker[i].epoll);
		close(worker[i].wake);
		free(worker[i].sessions);
	}
	writer_free(writer);
	for (size_t i = 0; i < sessions; i++)
		close(server[i]);
}

/* A fresh database for each count, so that one does not pay for the others. */
static void measure_fresh(const char *dir, size_t sessions, size_t workers, uint64_t seconds)
{
	static const char *const files[] = { "bench.mdb", "bench.mdb-lock" };
	struct err_text e = { "" };
	char path[4096];

	if (kv_open(dir, files[0], &(struct kv_options){ .create = true }, tables, &table, &kv, &e)
	    < 0) {
		fprintf(stderr, "bench_writer: %s\n", e.text);
		exit(1);
	}
	number = 0;
	measure(sessions, workers, seconds);
	kv_close(kv);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		unlink(path);
	}
}

static uint64_t argument(int argc, char **argv, int at, uint64_t initial, uint64_t max)
{
	uint64_t value = initial;

	if (argc > at && (text_parse_number(argv[at], max, &value) < 0 || value == 0)) {
		fprintf(stderr, "usage: bench_writer [DIR [WORKERS [SECONDS [SESSIONS...]]]]\n");
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const size_t counts[] = { 1, 2, 5, 10, 20, 50, 100, 200 };
	char template[] = "bench-writer-XXXXXX";
	const char *dir = argc > 1 ? argv[1] : mkdtemp(template);
	uint64_t workers = argument(argc, argv, 2, 2, WORKERS_MAX);
	uint64_t seconds = argument(argc, argv, 3, 2, 3600);

	if (dir == NULL)
		fail("make a directory");
	signal(SIGPIPE, SIG_IGN);
	printf("sessions  changes/s  median us     p99 us\n");
	fflush(stdout);
	for (int i = 4; i < argc; i++)
		measure_fresh(dir, argument(argc, argv, i, 1, SESSIONS_MAX), workers, seconds);
	for (size_t i = 0; argc <= 4 && i < sizeof counts / sizeof counts[0]; i++)
		measure_fresh(dir, counts[i], workers, seconds);
	if (argc <= 1)
		rmdir(dir);
	return 0;
}
