/* What a daemon tells of itself in its metrics. See daemon_state.h. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "session/daemon_state.h"
#include "session/login.h"

static unsigned long long load(atomic_ullong *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

/* The sum over the workers of a count of service I. */
#define SUM(sum_, d_, i_, field_) \
	do { \
		sum_ = 0; \
		for (unsigned w_ = 0; w_ < (d_)->n_workers; w_++) \
			sum_ += load(&(d_)->workers[w_].served[i_].counts.field_); \
	} while (0)

static void measure_sessions(struct daemon *d, struct metrics *m)
{
	const struct daemon_options *o = d->options;
	uint64_t begun, ended, in, out;

	metrics_family(m, METRICS_COUNTER, "im2000_sessions_total", "Sessions begun, by protocol.");
	for (size_t i = 0; i < o->n_services; i++) {
		SUM(begun, d, i, begun);
		metrics_add(m, begun, "protocol", o->services[i].name, NULL);
	}
	metrics_family(m, METRICS_GAUGE, "im2000_sessions", "Sessions now, by protocol.");
	for (size_t i = 0; i < o->n_services; i++) {
		SUM(ended, d, i, ended);
		SUM(begun, d, i, begun);
		metrics_add(m, begun > ended ? begun - ended : 0, "protocol", o->services[i].name,
		            NULL);
	}
	metrics_family(m, METRICS_COUNTER, "im2000_octets_total",
	               "Octets of commands (in) and answers (out), without TLS.");
	for (size_t i = 0; i < o->n_services; i++) {
		SUM(in, d, i, octets_in);
		SUM(out, d, i, octets_out);
		metrics_add(m, in, "protocol", o->services[i].name, "direction", "in", NULL);
		metrics_add(m, out, "protocol", o->services[i].name, "direction", "out", NULL);
	}
}

static void measure_commands(struct daemon *d, struct metrics *m)
{
	const struct daemon_options *o = d->options;
	const char *kind;
	uint64_t n;

	metrics_family(m, METRICS_COUNTER, "im2000_commands_total",
	               "Answers by protocol, kind of command (empty: none that is known) and status.");
	for (size_t i = 0; i < o->n_services; i++) {
		for (unsigned k = 0; k < SERVER_KINDS; k++) {
			kind = server_kind_name(o->services[i].protocol->alpn, k);
			for (unsigned s = 0; kind != NULL && s < WIRE_STATUS_COUNT; s++) {
				SUM(n, d, i, answers[k][s]);
				if (n > 0)
					metrics_add(m, n, "protocol", o->services[i].name, "kind", kind,
					            "status", wire_status_name((enum wire_status)s), NULL);
			}
		}
	}
}

static void measure_connections(struct daemon *d, struct metrics *m)
{
	struct listen_counts c;

	listen_limits_counts(d->listen_limits, &c);
	metrics_one(m, METRICS_COUNTER, "im2000_connections_total", "Connections taken.", c.taken);
	metrics_family(m, METRICS_COUNTER, "im2000_connections_refused_total",
	               "Connections refused, by the limit that they were over.");
	metrics_add(m, c.refused_all, "limit", "sessions", NULL);
	metrics_add(m, c.refused_address, "limit", "sessions-per-address", NULL);
	metrics_one(m, METRICS_COUNTER, "im2000_handshakes_failed_total",
	            "Connections whose handshake failed or was not done in time.", c.failed);
	metrics_one(m, METRICS_GAUGE, "im2000_connections",
	            "Connections now, those in their handshake included.",
	            listen_limits_count(d->listen_limits));
	metrics_one(m, METRICS_GAUGE, "im2000_connections_limit", "The most that there may be.",
	            d->options->max_sessions);
}

static void measure_configuration(struct daemon *d, struct metrics *m)
{
	uint64_t expires_us = 0;

	pthread_mutex_lock(&d->lock);
	if (d->tls != NULL)
		expires_us = tls_config_expires_us(d->tls, NULL);
	pthread_mutex_unlock(&d->lock);
	if (expires_us != 0) {
		metrics_family(m, METRICS_GAUGE, "im2000_certificate_expires_timestamp_seconds",
		               "When the certificate ends.");
		metrics_add_us(m, expires_us, NULL);
	}
	metrics_family(m, METRICS_COUNTER, "im2000_reloads_total",
	               "Configurations read again at SIGHUP, by what came of it.");
	metrics_add(m, d->reloads[1], "result", "done", NULL);
	metrics_add(m, d->reloads[0], "result", "failed", NULL);
	metrics_one(m, METRICS_GAUGE, "im2000_workers", "Threads that serve.", d->n_workers);
}

/* Octets of memory in use; 0: unknown. */
static uint64_t resident_octets(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128], *at = NULL;
	uint64_t pages = 0;

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof line, f) != NULL)
		at = strchr(line, ' '); /* the second number */
	if (at != NULL)
		pages = strtoull(at, NULL, 10);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n > 3 ? n - 3 : 0; /* ".", "..", and the directory's own */
}

/* By the names that all exporters use for a process. */
static void measure_process(struct daemon *d, struct metrics *m)
{
	struct rusage use = { 0 };
	struct rlimit files;

	getrusage(RUSAGE_SELF, &use);
	metrics_family(m, METRICS_COUNTER, "process_cpu_seconds_total", "CPU time, user and system.");
	metrics_add_us(m, (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * CLOCK_SECOND_US +
	               (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec), NULL);
	metrics_one(m, METRICS_GAUGE, "process_resident_memory_bytes",
	            "Memory in use; pages of the database that the kernel caches count too.",
	            resident_octets());
	metrics_one(m, METRICS_GAUGE, "process_open_fds", "Open file descriptors.", open_files());
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		metrics_one(m, METRICS_GAUGE, "process_max_fds", "The most that there may be.",
		            files.rlim_cur);
	metrics_family(m, METRICS_GAUGE, "process_start_time_seconds", "When the daemon started.");
	metrics_add_us(m, d->started_us, NULL);
}

void daemon_measure_writer(struct metrics *m, struct writer *w)
{
	struct writer_counts c;
	uint64_t bounds[WRITER_SIZES];

	for (size_t i = 0; i < WRITER_SIZES; i++)
		bounds[i] = 1ULL << i;
	writer_counts(w, &c);
	metrics_histogram(m, "im2000_commit_jobs",
	                  "Commits of the database, by how many jobs shared one.", bounds, c.sizes,
	                  WRITER_SIZES, c.jobs);
	metrics_family(m, METRICS_COUNTER, "im2000_commit_seconds_total", "Time that commits took.");
	metrics_add_us(m, c.busy_us, NULL);
	metrics_one(m, METRICS_COUNTER, "im2000_commits_failed_total",
	            "Commits that failed, whose jobs were then tried one by one.", c.failed);
}

void daemon_measure_logins(struct metrics *m, struct login *g)
{
	struct login_counts c;

	login_counts(g, &c);
	metrics_family(m, METRICS_COUNTER, "im2000_logins_total",
	               "Logins by what came of them; later: over a limit of failures, busy: too many "
	               "at once.");
	metrics_add(m, c.right, "result", "right", NULL);
	metrics_add(m, c.wrong, "result", "wrong", NULL);
	metrics_add(m, c.later - c.busy, "result", "later", NULL);
	metrics_add(m, c.busy, "result", "busy", NULL);
	metrics_one(m, METRICS_GAUGE, "im2000_logins_waiting", "Passwords that wait to be checked.",
	            c.waiting);
}

static void measure_tables(struct metrics *m, struct kv *kv, const char *const *tables,
                           const kv_table *handles, bool octets)
{
	struct kv_txn *t = kv_read_begin(kv);
	struct kv_table_stat stat;

	for (size_t i = 0; t != NULL && tables[i] != NULL; i++) {
		if (kv_table_stat(t, handles[i], &stat) == 0)
			metrics_add(m, octets ? stat.octets : stat.entries, "table", tables[i], NULL);
	}
	kv_read_end(t);
}

void daemon_measure_database(struct metrics *m, struct kv *kv, const char *const *tables,
                             const kv_table *handles)
{
	struct kv_stat s;

	if (kv_stat(kv, &s) == 0) {
		metrics_one(m, METRICS_GAUGE, "im2000_database_file_octets",
		            "Octets of the database's file.", s.file_octets);
		metrics_one(m, METRICS_GAUGE, "im2000_database_free_octets",
		            "Of those, free to be used again.", s.free_octets);
		metrics_one(m, METRICS_GAUGE, "im2000_database_map_octets",
		            "What the file may grow to before the map is made larger.", s.map_octets);
		metrics_one(m, METRICS_GAUGE, "im2000_database_readers",
		            "Readers of all processes that have a place, in use or not.", s.readers);
		metrics_one(m, METRICS_GAUGE, "im2000_database_readers_limit",
		            "The most that there may be.", s.max_readers);
	}
	metrics_family(m, METRICS_GAUGE, "im2000_table_entries", "Entries of each table.");
	measure_tables(m, kv, tables, handles, false);
	metrics_family(m, METRICS_GAUGE, "im2000_table_octets", "Octets that each table takes.");
	measure_tables(m, kv, tables, handles, true);
}

void daemon_measure(struct daemon *d, struct metrics *m)
{
	measure_sessions(d, m);
	measure_commands(d, m);
	measure_connections(d, m);
	measure_configuration(d, m);
	measure_process(d, m);
	if (d->options->measure != NULL)
		d->options->measure(d->options->app, m);
}
