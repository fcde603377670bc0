/*
 * What OpenSSL alone does on this machine: --octets from one thread to another over loopback,
 * TLS 1.3 with AES-128-GCM, SSL_write of --block octets. Prints one JSON object.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/address.h"
#include "tests/bench/tool.h"

#define ROUNDS 5

struct bench {
	const char *cert, *key;
	uint64_t octets, block;
	int listener;
	struct address address;
	SSL_CTX *server, *client;
};

static void need(bool good, const char *what)
{
	if (!good)
		tool_fatal("%s: %s", what, strerrordesc_np(errno));
}

static void *serve(void *ctx)
{
	struct bench *b = ctx;
	uint8_t *block = tool_zero(b->block);
	int fd = accept(b->listener, NULL, NULL);
	SSL *ssl = SSL_new(b->server);
	uint8_t ask;

	need(fd >= 0 && ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1, "accept");
	while (SSL_read(ssl, &ask, 1) == 1)
		for (uint64_t left = b->octets; left > 0;) {
			int n = SSL_write(ssl, block, (int)(left < b->block ? left : b->block));

			need(n > 0, "SSL_write");
			left -= (uint64_t)n;
		}
	SSL_free(ssl);
	close(fd);
	free(block);
	return NULL;
}

/* One round: asks, reads all. */
static void take(struct bench *b, SSL *ssl, uint8_t *room, size_t cap)
{
	uint8_t ask = 1;

	need(SSL_write(ssl, &ask, 1) == 1, "SSL_write");
	for (uint64_t left = b->octets; left > 0;) {
		int n = SSL_read(ssl, room, (int)cap);

		need(n > 0, "SSL_read");
		left -= (uint64_t)n;
	}
}

static void run(struct bench *b)
{
	const size_t cap = 128 * 1024;
	struct tool_times times = { 0 };
	uint8_t *room = tool_zero(cap);
	uint64_t start_us = 0;
	pthread_t thread;
	SSL *ssl = SSL_new(b->client);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(pthread_create(&thread, NULL, serve, b) == 0, "pthread_create");
	need(fd >= 0 && connect(fd, &b->address.u.sa, b->address.n) == 0, "connect");
	need(ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1, "SSL_connect");
	for (int i = 0; i <= ROUNDS; i++) {
		uint64_t began_us = clock_mono_us();

		take(b, ssl, room, cap);
		if (i == 0)
			start_us = clock_mono_us();
		else
			tool_times_add(&times, clock_mono_us() - began_us);
	}
	tool_report(ROUNDS, clock_mono_us() - start_us, &times);
	tool_report_number("octets", ROUNDS * b->octets);
	tool_report_end();
	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
	pthread_join(thread, NULL);
	free(room);
}

int main(int argc, char **argv)
{
	struct bench b = { .octets = 10 << 20, .block = 16384 };
	const struct tool_option options[] = {
		{ "cert", TOOL_TEXT, &b.cert, true },
		{ "key", TOOL_TEXT, &b.key, true },
		{ "octets", TOOL_SIZE, &b.octets, false },
		{ "block", TOOL_SIZE, &b.block, false },
		{ NULL, 0, NULL, false },
	};

	tool_options(argc, argv, options);
	need(address_parse("127.0.0.1:0", &b.address) == 0, "address");
	b.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(b.listener >= 0 && bind(b.listener, &b.address.u.sa, b.address.n) == 0 &&
	         listen(b.listener, 1) == 0 &&
	         getsockname(b.listener, &b.address.u.sa, &b.address.n) == 0,
	     "listen");
	b.server = SSL_CTX_new(TLS_server_method());
	b.client = SSL_CTX_new(TLS_client_method());
	need(b.server != NULL && b.client != NULL &&
	         SSL_CTX_set_ciphersuites(b.client, "TLS_AES_128_GCM_SHA256") == 1 &&
	         SSL_CTX_use_certificate_chain_file(b.server, b.cert) == 1 &&
	         SSL_CTX_use_PrivateKey_file(b.server, b.key, SSL_FILETYPE_PEM) == 1,
	     "certificate");
	SSL_CTX_set_read_ahead(b.client, 1);
	SSL_CTX_set_default_read_buffer_len(b.client, 128 * 1024);
	run(&b);
	SSL_CTX_free(b.server);
	SSL_CTX_free(b.client);
	close(b.listener);
	return 0;
}
