/*
 * A client's tickets from one run of a program to the next, in a file: a line
 * that names the form, what says which CAs had to prove the servers (32 octets),
 * and for each ticket the server's domain, the protocol and OpenSSL's form of the
 * session, each with its length before it (4 octets, big-endian).
 */
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "net/tls_core.h"

#define FORM "im2000 tickets 1\n"
#define TRUST 32
#define TICKETS_MAX 64
#define FILE_MAX ((off_t)1 << 20) /* octets; a larger one was not written here */
#define PROTOCOL_MAX 255

int tls_tickets_trust(const struct tls_options *options, unsigned char trust[TRUST])
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	int fd = options->ca_file != NULL ? open(options->ca_file, O_RDONLY | O_CLOEXEC) : -1;
	unsigned char octets[4096];
	ssize_t n = 0;
	int rc = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 ? 0 : ERR_NOMEM;

	/* The system's CAs are nobody's file: their changes come with the tickets' end in time. */
	while (rc == 0 && fd >= 0 && (n = read(fd, octets, sizeof octets)) > 0)
		if (EVP_DigestUpdate(hash, octets, (size_t)n) != 1)
			rc = ERR_NOMEM;
	if (rc == 0 && (n < 0 || (options->ca_file != NULL && fd < 0)))
		rc = ERR_IO;
	if (rc == 0 && EVP_DigestFinal_ex(hash, trust, NULL) != 1)
		rc = ERR_NOMEM;
	if (fd >= 0)
		close(fd);
	EVP_MD_CTX_free(hash);
	return rc;
}

/* --- reading ------------------------------------------------------------------------------ */

/* All of the file into OUT, where it is the user's alone. False: there is nothing of use. */
static bool read_all(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	uint8_t *at;
	ssize_t n = -1;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid()
	    && (st.st_mode & 077) == 0 && st.st_size > 0 && st.st_size <= FILE_MAX
	    && buf_reserve(out, (size_t)st.st_size, &at) == 0)
		n = read(fd, at, (size_t)st.st_size);
	close(fd);
	if (n <= 0 || n != st.st_size)
		return false;
	buf_commit(out, (size_t)n);
	return true;
}

/* The next part, which has at most MOST octets, off REST. */
static bool next_part(struct span *rest, size_t most, struct span *out)
{
	size_t n;

	if (rest->n < 4)
		return false;
	n = (size_t)rest->p[0] << 24 | (size_t)rest->p[1] << 16 | (size_t)rest->p[2] << 8
	    | rest->p[3];
	*rest = span_after(*rest, 4);
	if (n == 0 || n > most || n > rest->n)
		return false;
	*out = span_of(rest->p, n);
	*rest = span_after(*rest, n);
	return true;
}

/* False: the rest is damaged. */
static bool load_one(struct tls_sessions *x, struct span *rest)
{
	struct span domain, protocol, octets;
	char name[NAME_DOMAIN_MAX + 1], speaks[PROTOCOL_MAX + 1];
	const unsigned char *p;
	SSL_SESSION *session;

	if (!next_part(rest, NAME_DOMAIN_MAX, &domain) || !next_part(rest, PROTOCOL_MAX, &protocol)
	    || !next_part(rest, FILE_MAX, &octets)
	    || span_copy(domain, name, sizeof name) < 0
	    || span_copy(protocol, speaks, sizeof speaks) < 0)
		return false;
	p = octets.p;
	session = d2i_SSL_SESSION(NULL, &p, (long)octets.n);
	if (session == NULL || p != octets.p + octets.n) {
		SSL_SESSION_free(session);
		return false;
	}
	tls_sessions_put(x, name, speaks, 0, session);
	SSL_SESSION_free(session);
	return true;
}

void tls_config_load_tickets(struct tls_config *c, const char *path)
{
	struct span rest, form = span_str(FORM);
	struct buf file;

	buf_init(&file, 0);
	if (read_all(path, &file)) {
		rest = buf_view(&file);
		if (rest.n > form.n + TRUST && memcmp(rest.p, form.p, form.n) == 0
		    && memcmp(rest.p + form.n, c->trust, TRUST) == 0) {
			rest = span_after(rest, form.n + TRUST);
			for (int i = 0; i < TICKETS_MAX && rest.n > 0; i++)
				if (!load_one(c->sessions, &rest))
					break;
		}
		OPENSSL_cleanse(file.p, file.cap);
	}
	buf_free(&file);
	tls_sessions_changed(c->sessions, true);
}

/* --- writing ------------------------------------------------------------------------------ */

struct saving {
	struct buf file;
	bool failed;
};

static void add_part(struct saving *s, const void *p, size_t n)
{
	const uint8_t length[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		                    (uint8_t)n };

	if (buf_add(&s->file, length, sizeof length) < 0 || buf_add(&s->file, p, n) < 0)
		s->failed = true;
}

static void save_one(void *ctx, const char *domain, const char *protocol, SSL_SESSION *session)
{
	struct saving *s = ctx;
	unsigned char *der = NULL;
	int n = i2d_SSL_SESSION(session, &der);

	if (n <= 0) {
		s->failed = true;
		return;
	}
	add_part(s, domain, strlen(domain));
	add_part(s, protocol, strlen(protocol));
	add_part(s, der, (size_t)n);
	OPENSSL_clear_free(der, (size_t)n);
}

/* 0 or ERR_IO. */
static int replace(const char *path, struct span octets)
{
	char fresh[PATH_MAX];
	int fd, rc;

	if (snprintf(fresh, sizeof fresh, "%s.XXXXXX", path) >= (int)sizeof fresh)
		return ERR_IO;
	fd = mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return ERR_IO;
	rc = file_write(fd, octets.p, octets.n);
	close(fd);
	if (rc == 0 && rename(fresh, path) == 0)
		return 0;
	unlink(fresh);
	return ERR_IO;
}

int tls_config_save_tickets(struct tls_config *c, const char *path)
{
	struct saving s = { .failed = false };
	int rc;

	if (!tls_sessions_changed(c->sessions, true))
		return 0;
	buf_init(&s.file, 0);
	if (buf_add_str(&s.file, FORM) < 0 || buf_add(&s.file, c->trust, TRUST) < 0)
		s.failed = true;
	tls_sessions_show(c->sessions, TICKETS_MAX, save_one, &s);
	rc = s.failed ? ERR_NOMEM : replace(path, buf_view(&s.file));
	if (s.file.p != NULL)
		OPENSSL_cleanse(s.file.p, s.file.cap);
	buf_free(&s.file);
	return rc;
}
