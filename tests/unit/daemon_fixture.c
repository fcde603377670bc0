/* A daemon with two toy protocols in a process of its own, and its clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certs.h"
#include "daemon_fixture.h"
#include "session_toy.h"
#include "tempdir.h"
#include "wire/frame.h"

/* --- the program that is run ------------------------------------------------------------- */

/*
 * Two protocols, alpha and beta: the toy with one letter more, i, which answers
 * the protocol's name and the worker's number.
 */
struct shim {
	void *toy;
	const char *name;
	struct daemon_worker *worker;
	struct server_session *session;
};

static int shim_open(struct server_session *s, void *app, void **state, const char *name)
{
	struct shim *x = calloc(1, sizeof *x);
	int rc;

	if (x == NULL)
		return ERR_NOMEM;
	x->worker = app;
	x->session = s;
	x->name = name;
	rc = toy_protocol.open(s, daemon_worker_state(x->worker), &x->toy);
	if (rc < 0)
		free(x);
	*state = x;
	return rc;
}

static int alpha_open(struct server_session *s, void *app, void **state)
{
	return shim_open(s, app, state, "alpha");
}

static int beta_open(struct server_session *s, void *app, void **state)
{
	return shim_open(s, app, state, "beta");
}

static enum server_frame shim_classify(void *state, struct span head, uint64_t total)
{
	struct shim *x = state;

	return toy_protocol.classify(x->toy, head, total);
}

static void shim_command(void *state, struct span body, uint64_t total)
{
	struct shim *x = state;
	char text[32];
	struct buf b;

	if (body.n != 2 || body.p[1] != 'i') {
		toy_protocol.command(x->toy, body, total);
		return;
	}
	buf_init(&b, 0);
	snprintf(text, sizeof text, "%s %u", x->name, daemon_worker_number(x->worker));
	toy_add_response(&b, 'i', text, strlen(text));
	server_reply(x->session, buf_view(&b));
	buf_free(&b);
}

static void shim_data(void *state, struct span octets, bool last)
{
	struct shim *x = state;

	toy_protocol.data(x->toy, octets, last);
}

static void shim_wake(void *state)
{
	struct shim *x = state;

	toy_protocol.wake(x->toy);
}

static void shim_writable(void *state)
{
	struct shim *x = state;

	toy_protocol.writable(x->toy);
}

static void shim_close(void *state)
{
	struct shim *x = state;

	toy_protocol.close(x->toy);
	free(x);
}

#define SHIM(name_) \
	{ \
		.alpn = "im2000-" #name_ "/1", .open = name_##_open, .classify = shim_classify, \
		.command = shim_command, .data = shim_data, .wake = shim_wake, \
		.writable = shim_writable, .close = shim_close, \
	}
static const struct server_protocol alpha = SHIM(alpha);
static const struct server_protocol beta = SHIM(beta);

static int worker_start(void *ctx, struct daemon_worker *w, void **state, struct err_text *e)
{
	struct app *app = ctx;
	struct toy *toy;
	bool fails;

	pthread_mutex_lock(&app->lock);
	fails = app->fail_worker == daemon_worker_number(w) + 1;
	if (!fails)
		app->starts++;
	pthread_mutex_unlock(&app->lock);
	if (fails || daemon_worker_app(w) != app || daemon_worker_loop(w) == NULL)
		return err_set(e, ERR_CONFIG, "worker %u has a bad day", daemon_worker_number(w));
	toy = calloc(1, sizeof *toy);
	*state = toy;
	return toy != NULL ? 0 : ERR_NOMEM;
}

static void worker_stop(void *ctx, void *state)
{
	struct app *app = ctx;
	struct toy *toy = state;

	if (toy->opened != toy->closed)
		abort(); /* it comes after the last session */
	free(toy);
	pthread_mutex_lock(&app->lock);
	app->stops++;
	pthread_mutex_unlock(&app->lock);
}

static int reload(void *ctx, struct daemon *d, struct err_text *e)
{
	struct app *app = ctx;
	struct tls_options tls = app->options->tls;
	struct server_limits limits = app->options->limits;

	app->reloads++;
	if (app->bad_reload && app->reloads % 2 == 1)
		tls.certificate = "/nonexistent/certificate.pem";
	else
		tls.certificate = certs_path("second.pem");
	tls.key = certs_path("second.key");
	limits.command_octets = 8;
	return daemon_reconfigure(d, &tls, &limits, e);
}

/* The child: runs the daemon, its error's text to ERROR_FD. */
static int run_daemon(struct daemon_options *options, struct app *app, int error_fd)
{
	struct err_text e = { "" };
	int rc;

	pthread_mutex_init(&app->lock, NULL);
	app->options = options;
	rc = daemon_run(options, &e);
	if (rc < 0) {
		dprintf(error_fd, "%s", e.text);
		return app->starts == app->stops ? EXIT_STARTED_NOT : EXIT_COUNTS;
	}
	if (app->starts != app->stops || app->starts != options->workers)
		return EXIT_COUNTS;
	return EXIT_GOOD;
}

/* --- its parent -------------------------------------------------------------------------- */

void daemon_setup(struct fixture *f)
{
	*f = (struct fixture){ .pid = -1 };
	f->dir = tempdir_make();
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s/socket", f->dir);
	f->addresses[0] = "127.0.0.1:0";
	f->local[0] = f->unix_text;
	f->services[0] = (struct daemon_service){ &alpha, "alpha", f->addresses, 1 };
	f->services[1] = (struct daemon_service){ &beta, "beta", f->addresses, 1 };
	f->services[2] = (struct daemon_service){ &beta, "local", f->local, 1 };
	f->options = (struct daemon_options){
		.program = "test",
		.services = f->services,
		.n_services = 3,
		.workers = 2,
		.max_sessions = 1000,
		.max_per_address = 1000,
		.tls = { .certificate = certs_path("first.pem"), .key = certs_path("first.key"),
		         .ca_file = certs_path("ca.pem"), .server = true },
		.worker_start = worker_start,
		.worker_stop = worker_stop,
		.reload = reload,
		.app = &f->app,
	};
	server_limits_default(&f->options.limits);
	f->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(f->ctx);
	assert_int_equal(SSL_CTX_load_verify_locations(f->ctx, certs_path("ca.pem"), NULL), 1);
	SSL_CTX_set_verify(f->ctx, SSL_VERIFY_PEER, NULL);
}

/* Reads a line, or to the end. */
static void read_line(int fd, char *out, size_t cap)
{
	size_t n = 0;

	while (n + 1 < cap && read(fd, out + n, 1) == 1 && out[n] != '\n')
		n++;
	out[n] = '\0';
}

/* In the child: as a service manager would start it. OUT, its pipe, is moved out of the way. */
static int be_managed(const struct fixture *f, int out)
{
	char number[16];
	int high = fcntl(out, F_DUPFD, 40), fds[4];

	if (f->manager != NULL)
		setenv("NOTIFY_SOCKET", f->manager, 1);
	if (f->n_handed == 0)
		return high;
	for (unsigned i = 0; i < f->n_handed; i++)
		fds[i] = fcntl(f->handed[i], F_DUPFD, 40);
	for (unsigned i = 0; i < f->n_handed; i++)
		dup2(fds[i], 3 + (int)i);
	snprintf(number, sizeof number, "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof number, "%u", f->n_handed);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", f->handed_names, 1);
	return high;
}

void daemon_start(struct fixture *f)
{
	int pipe_fds[2];
	const char *at;

	assert_int_equal(pipe(pipe_fds), 0);
	fflush(NULL);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		close(pipe_fds[0]);
		pipe_fds[1] = be_managed(f, pipe_fds[1]);
		dup2(pipe_fds[1], STDOUT_FILENO);
		exit(run_daemon(&f->options, &f->app, pipe_fds[1]));
	}
	close(pipe_fds[1]);
	read_line(pipe_fds[0], f->ready, sizeof f->ready);
	close(pipe_fds[0]);
	at = strstr(f->ready, "alpha=");
	if (at != NULL)
		sscanf(at, "alpha=%63s", f->address);
}

/* What the child says in the end. */
int daemon_finish(struct fixture *f)
{
	int status;

	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = -1;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

void daemon_stop(struct fixture *f)
{
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(daemon_finish(f), EXIT_GOOD);
}

void daemon_teardown(struct fixture *f)
{
	SSL_CTX_free(f->ctx);
	tempdir_remove(f->dir);
}

/* Where the service that speaks ALPN listens; alpha's address for one that there is not. */
static void find_service(const struct fixture *f, const char *alpn, struct address *out)
{
	const char *at = strstr(alpn, "beta") != NULL ? strstr(f->ready, " beta=") : NULL;
	char text[64];

	if (at == NULL || sscanf(at, " beta=%63s", text) != 1)
		snprintf(text, sizeof text, "%s", f->address);
	assert_int_equal(address_parse(text, out), 0);
}

bool daemon_dial(struct fixture *f, struct link *k, const char *alpn, const char *domain)
{
	unsigned char list[64];
	struct address a;

	list[0] = (unsigned char)snprintf((char *)list + 1, sizeof list - 1, "%s", alpn);
	find_service(f, alpn, &a);
	k->fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(k->fd >= 0);
	if (connect(k->fd, &a.u.sa, a.n) < 0) {
		close(k->fd);
		return false;
	}
	k->ssl = SSL_new(f->ctx);
	assert_non_null(k->ssl);
	SSL_set_alpn_protos(k->ssl, list, list[0] + 1U);
	SSL_set_tlsext_host_name(k->ssl, domain);
	SSL_set1_host(k->ssl, domain);
	SSL_set_fd(k->ssl, k->fd);
	if (SSL_connect(k->ssl) == 1)
		return true;
	SSL_free(k->ssl);
	close(k->fd);
	return false;
}

void daemon_dial_local(struct fixture *f, struct link *k)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof a.sun_path, "%s", f->unix_text + strlen("unix:"));
	k->ssl = NULL;
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(k->fd >= 0);
	assert_int_equal(connect(k->fd, (struct sockaddr *)&a, sizeof a), 0);
}

void daemon_hang_up(struct link *k)
{
	SSL_free(k->ssl);
	close(k->fd);
}

void daemon_say(struct link *k, char letter, const char *data)
{
	struct buf b;

	buf_init(&b, 0);
	toy_add_command(&b, letter, data, strlen(data));
	if (k->ssl != NULL)
		assert_int_equal(SSL_write(k->ssl, b.p, (int)b.n), (int)b.n);
	else
		assert_int_equal(write(k->fd, b.p, b.n), (ssize_t)b.n);
	buf_free(&b);
}

size_t daemon_hear_octets(struct link *k, uint8_t *p, size_t n)
{
	size_t had = 0;

	while (had < n) {
		ssize_t r = k->ssl != NULL ? SSL_read(k->ssl, p + had, (int)(n - had))
		                           : read(k->fd, p + had, n - had);

		if (r <= 0)
			return 0;
		had += (size_t)r;
	}
	return had;
}

const char *daemon_hear(struct link *k)
{
	static uint8_t octets[512];
	uint32_t n;

	if (daemon_hear_octets(k, octets, FRAME_PREFIX) == 0)
		return "";
	n = frame_length(octets);
	assert_in_range(n, 2, sizeof octets - 1);
	assert_int_equal(daemon_hear_octets(k, octets, n), n);
	octets[n] = '\0';
	assert_int_equal(octets[0], 0xa2);
	return (char *)octets + 1;
}
