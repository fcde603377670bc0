#include "store/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/file.h"
#include "base/kv.h"
#include "base/random.h"
#include "base/text.h"

#define KEY_OCTETS 32
#define KEY_NUMBER_MAX 255
#define ID_OCTETS 16
/* "255 " and 64 hex digits; a longer line is no key. */
#define LINE_OCTETS (4 + 2 * KEY_OCTETS)

struct ids_key {
	bool there;
	uint8_t octets[KEY_OCTETS];
};

struct ids {
	EVP_CIPHER *cipher; /* fetched once: looking it up costs more than a block */
	uint8_t current;
	struct ids_key key[KEY_NUMBER_MAX + 1]; /* by number */
};

/* --- the file -------------------------------------------------------------------------- */

/* Makes DIR/keys of the text P, durably: ids that cannot be opened again are mail lost. */
static int keys_write(const char *dir, const char *p, size_t n, struct err_text *e)
{
	char path[PATH_MAX];
	int rc = file_path(dir, "keys", path, e), fd, error;

	if (rc != 0)
		return rc;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "make %s: %s", path,
		               strerrordesc_np(errno));
	error = file_write(fd, p, n);
	close(fd);
	if (error == 0)
		error = file_sync_dir(dir);
	if (error != 0) {
		unlink(path);
		return err_set(e, ERR_IO, "write %s: %s", path, strerrordesc_np(error));
	}
	return 0;
}

int ids_init(const char *dir, struct err_text *e)
{
	uint8_t key[KEY_OCTETS];
	char line[LINE_OCTETS + 2], hex[2 * KEY_OCTETS + 1];
	int n, rc;

	random_octets(key, sizeof key);
	text_hex(key, sizeof key, hex);
	n = snprintf(line, sizeof line, "1 %s\n", hex);
	rc = keys_write(dir, line, (size_t)n, e);
	explicit_bzero(key, sizeof key);
	explicit_bzero(hex, sizeof hex);
	explicit_bzero(line, sizeof line);
	return rc;
}

/* Opens DIR/keys for reading, if nobody else can read it. */
static int keys_open(const char *dir, char path[PATH_MAX], FILE **out, struct err_text *e)
{
	struct stat st;
	int rc = file_path(dir, "keys", path, e);

	if (rc != 0)
		return rc;
	*out = fopen(path, "re");
	if (*out == NULL)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "open %s: %s", path,
		               strerror(errno));
	if (fstat(fileno(*out), &st) != 0)
		rc = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, ERR_CONFIG, "%s: not a plain file", path);
	else if ((st.st_mode & 077) != 0)
		rc = err_set(e, ERR_CONFIG, "%s is open to others (mode %04o): chmod 600 %s", path,
		             (unsigned)(st.st_mode & 07777), path);
	if (rc != 0)
		fclose(*out);
	return rc;
}

/* Takes a line without its newline: "number hex". 0 or ERR_MALFORMED. */
static int keys_line(struct ids *s, char *line)
{
	char *blank = strchr(line, ' ');
	uint64_t number;
	struct ids_key *k;

	if (blank == NULL)
		return ERR_MALFORMED;
	*blank = '\0';
	if (text_parse_number(line, KEY_NUMBER_MAX, &number) != 0 || number == 0)
		return ERR_MALFORMED;
	k = &s->key[number];
	if (k->there || text_parse_hex(span_str(blank + 1), k->octets, KEY_OCTETS) != 0)
		return ERR_MALFORMED;
	k->there = true;
	if (number > s->current)
		s->current = (uint8_t)number;
	return 0;
}

static int keys_read(struct ids *s, FILE *f, const char *path, struct err_text *e)
{
	char line[LINE_OCTETS + 2];
	unsigned n = 0;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof line, f) != NULL) {
		size_t end = strcspn(line, "\n");

		n++;
		if (line[end] != '\n' && !feof(f))
			rc = ERR_MALFORMED; /* too long */
		line[end] = '\0';
		if (rc == 0)
			rc = keys_line(s, line);
	}
	explicit_bzero(line, sizeof line);
	if (rc != 0)
		return err_set(e, ERR_CONFIG,
		               "%s:%u: not a key (a number from 1 to %d that is not taken, a "
		               "blank, %d hex digits)",
		               path, n, KEY_NUMBER_MAX, 2 * KEY_OCTETS);
	if (ferror(f))
		return err_set(e, ERR_IO, "read %s: %s", path, strerror(errno));
	return s->current != 0 ? 0 : err_set(e, ERR_CONFIG, "%s: no key in it", path);
}

int ids_load(const char *dir, struct ids **out, struct err_text *e)
{
	char path[PATH_MAX];
	struct ids *s;
	FILE *f;
	int rc = keys_open(dir, path, &f, e);

	if (rc != 0)
		return rc;
	s = calloc(1, sizeof *s);
	if (s == NULL) {
		fclose(f);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	rc = keys_read(s, f, path, e);
	fclose(f);
	if (rc == 0) {
		s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
		if (s->cipher == NULL)
			rc = err_set(e, ERR_INTERNAL, "OpenSSL has no AES-256");
	}
	if (rc != 0) {
		ids_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void ids_free(struct ids *s)
{
	if (s == NULL)
		return;
	EVP_CIPHER_free(s->cipher);
	explicit_bzero(s, sizeof *s);
	free(s);
}

int ids_backup(const char *dir, const char *to, struct err_text *e)
{
	/* All keys that there can be, one byte more to see a file that is larger. */
	char text[(KEY_NUMBER_MAX + 1) * (LINE_OCTETS + 1)], path[PATH_MAX];
	size_t n;
	FILE *f;
	int rc = keys_open(dir, path, &f, e);

	if (rc != 0)
		return rc;
	n = fread(text, 1, sizeof text, f);
	if (ferror(f))
		rc = err_set(e, ERR_IO, "read %s: %s", path, strerror(errno));
	else if (n == sizeof text)
		rc = err_set(e, ERR_TOO_BIG, "%s: more than %d keys", path, KEY_NUMBER_MAX);
	fclose(f);
	if (rc == 0)
		rc = keys_write(to, text, n, e);
	explicit_bzero(text, sizeof text);
	return rc;
}

/* --- the block ------------------------------------------------------------------------- */

uint16_t ids_current(const struct ids *s)
{
	return s->current;
}

/* One block of AES-256, made (MAKE 1) or opened (0). */
static int block_crypt(const struct ids *s, const struct ids_key *key, int make,
                       const uint8_t in[ID_OCTETS], uint8_t out[ID_OCTETS])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, rc = ERR_INTERNAL;

	if (c == NULL)
		return ERR_NOMEM;
	if (EVP_CipherInit_ex2(c, s->cipher, key->octets, NULL, make, NULL) == 1 &&
	    EVP_CIPHER_CTX_set_padding(c, 0) == 1 &&
	    EVP_CipherUpdate(c, out, &n, in, ID_OCTETS) == 1 && n == ID_OCTETS)
		rc = 0;
	EVP_CIPHER_CTX_free(c);
	return rc;
}

int ids_make(const struct ids *s, const struct ids_name *name, uint8_t id[ID_OCTETS])
{
	uint8_t block[ID_OCTETS] = { 0 };

	if (name->key > KEY_NUMBER_MAX || !s->key[name->key].there)
		return ERR_NOT_FOUND;
	kv_put_u64(block, name->message);
	kv_put_u32(block + 8, name->index);
	block[12] = (uint8_t)name->kind;
	block[13] = (uint8_t)name->key;
	return block_crypt(s, &s->key[name->key], 1, block, id);
}

/* What stands in an opened BLOCK is a name made with key NUMBER. */
static bool block_is_name(const uint8_t block[ID_OCTETS], unsigned number)
{
	bool kind = block[12] >= IDS_ORIGINATOR && block[12] <= IDS_GRANT;
	bool index = block[12] != IDS_ORIGINATOR || kv_get_u32(block + 8) == 0;

	return kind & index & (block[13] == number) & (kv_get_u16(block + 14) == 0);
}

int ids_open(const struct ids *s, const uint8_t id[ID_OCTETS], struct ids_name *out)
{
	uint8_t block[ID_OCTETS];
	int found = ERR_NOT_FOUND;

	for (unsigned i = 1; i <= KEY_NUMBER_MAX; i++) {
		if (!s->key[i].there)
			continue;
		if (block_crypt(s, &s->key[i], 0, id, block) != 0 || !block_is_name(block, i))
			continue;
		found = 0;
		*out = (struct ids_name){
			.message = kv_get_u64(block),
			.index = kv_get_u32(block + 8),
			.kind = (enum ids_kind)block[12],
			.key = block[13],
		};
	}
	return found;
}
