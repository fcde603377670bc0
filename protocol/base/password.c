/* Passwords by scrypt, tokens by SHA-256. */
#include "base/password.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "base/text.h"

#define LOG2_N 15
#define BLOCK_R 8
#define LANES_P 1
/* What a stored hash may ask for at most: 512 MiB, twenty times the time. */
#define LOG2_N_MAX 19
#define BLOCK_R_MAX 8
#define LANES_P_MAX 4

#define SALT_SIZE 16
#define DIGEST_SIZE 32
#define TOKEN_PREFIX "imt_"
#define TOKEN_RANDOM 32 /* octets */

/* Where things stand in struct password_hash. */
enum { AT_KIND, AT_LOG2_N, AT_R, AT_P, AT_SALT, AT_DIGEST = AT_SALT + SALT_SIZE };

_Static_assert(AT_DIGEST + DIGEST_SIZE == PASSWORD_HASH_SIZE, "the parts fill the hash");

/* scrypt of SECRET by the parameters and the salt that stand in HASH. 0 or ERR_NOMEM. */
static int derive(struct span secret, const struct password_hash *hash, uint8_t out[DIGEST_SIZE])
{
	const uint8_t *h = hash->octets;
	uint64_t n = 1ULL << h[AT_LOG2_N];
	/* RFC 7914: 128*N*r octets for V and 128*r*p for B; the rest is OpenSSL's. */
	uint64_t memory = 128 * n * h[AT_R] + 128ULL * h[AT_R] * h[AT_P] + (1 << 20);

	return EVP_PBE_scrypt((const char *)secret.p, secret.n, h + AT_SALT, SALT_SIZE, n, h[AT_R],
	                      h[AT_P], memory, out, DIGEST_SIZE) == 1 ? 0 : ERR_NOMEM;
}

static void start_hash(struct password_hash *out)
{
	memset(out, 0, sizeof *out);
	out->octets[AT_KIND] = PASSWORD_SCRYPT;
	out->octets[AT_LOG2_N] = LOG2_N;
	out->octets[AT_R] = BLOCK_R;
	out->octets[AT_P] = LANES_P;
	random_octets(out->octets + AT_SALT, SALT_SIZE);
}

int password_hash_make(struct span password, struct password_hash *out)
{
	if (password.n == 0)
		return ERR_MALFORMED;
	if (password.n > PASSWORD_MAX)
		return ERR_TOO_BIG;
	start_hash(out);
	return derive(password, out, out->octets + AT_DIGEST);
}

void password_hash_none(struct password_hash *out)
{
	start_hash(out);
	/* No password is known whose digest this is, nor can one be found. */
	random_octets(out->octets + AT_DIGEST, DIGEST_SIZE);
}

void password_token_make(char text[PASSWORD_TOKEN_TEXT + 1], struct password_hash *out)
{
	uint8_t octets[TOKEN_RANDOM];

	random_octets(octets, sizeof octets);
	memcpy(text, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1);
	text_base64url(octets, sizeof octets, text + sizeof TOKEN_PREFIX - 1);
	OPENSSL_cleanse(octets, sizeof octets);
	memset(out, 0, sizeof *out);
	out->octets[AT_KIND] = PASSWORD_TOKEN;
	SHA256((const uint8_t *)text, PASSWORD_TOKEN_TEXT, out->octets + AT_DIGEST);
}

static bool is_base64url(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
	       || c == '_';
}

bool password_is_token(struct span secret)
{
	const size_t prefix = sizeof TOKEN_PREFIX - 1;

	if (secret.n != PASSWORD_TOKEN_TEXT || memcmp(secret.p, TOKEN_PREFIX, prefix) != 0)
		return false;
	for (size_t i = prefix; i < secret.n; i++)
		if (!is_base64url(secret.p[i]))
			return false;
	return true;
}

static bool sound_parameters(const uint8_t *h)
{
	return h[AT_LOG2_N] >= 1 && h[AT_LOG2_N] <= LOG2_N_MAX && h[AT_R] >= 1
	       && h[AT_R] <= BLOCK_R_MAX && h[AT_P] >= 1 && h[AT_P] <= LANES_P_MAX;
}

bool password_check(struct span secret, const struct password_hash *hash)
{
	const uint8_t *h = hash->octets;
	uint8_t digest[DIGEST_SIZE];
	bool same;

	if (h[AT_KIND] == PASSWORD_TOKEN) {
		if (!password_is_token(secret))
			return false;
		SHA256(secret.p, secret.n, digest);
	} else if (h[AT_KIND] == PASSWORD_SCRYPT) {
		if (secret.n == 0 || secret.n > PASSWORD_MAX || !sound_parameters(h)
		    || derive(secret, hash, digest) < 0)
			return false;
	} else {
		return false;
	}
	same = CRYPTO_memcmp(digest, h + AT_DIGEST, DIGEST_SIZE) == 0;
	OPENSSL_cleanse(digest, sizeof digest);
	return same;
}

/* Octet by octet, so that what follows the first line of a pipe stays for whoever comes next. */
static int read_line(int fd, char *out, size_t *n)
{
	for (*n = 0;;) {
		char c;
		ssize_t got = read(fd, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_IO;
		if (got == 0 || c == '\n')
			return 0;
		if (*n == PASSWORD_MAX)
			return ERR_TOO_BIG;
		out[(*n)++] = c;
	}
}

int password_read_file(const char *path, char *out, struct err_text *e)
{
	bool standard = strcmp(path, "-") == 0;
	const char *name = standard ? "standard input" : path;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	int rc = fd < 0 ? ERR_IO : read_line(fd, out, &n);

	if (rc == ERR_IO)
		err_set(e, rc, "read the password from %s: %s", name, strerror(errno));
	if (fd >= 0 && !standard)
		close(fd);
	if (rc == 0 && n > 0 && out[n - 1] == '\r') /* from an editor that ends lines so */
		n--;
	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_MALFORMED, "read the password from %s: its first line is empty;"
		             " it must hold the password", name);
	if (rc == 0 && memchr(out, '\0', n) != NULL)
		rc = err_set(e, ERR_MALFORMED, "read the password from %s: its first line holds a NUL;"
		             " it must hold the password as text", name);
	if (rc == ERR_TOO_BIG)
		err_set(e, rc, "read the password from %s: its first line is too long; a password has"
		        " %d octets at most", name, PASSWORD_MAX);
	if (rc < 0)
		OPENSSL_cleanse(out, PASSWORD_MAX + 1);
	else
		out[n] = '\0';
	return rc;
}
