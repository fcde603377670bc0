#include "store/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/file.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/random.h"
#include "base/text.h"

#define KEY_OCTETS 32
#define ID_OCTETS 16
/* "255 " and 64 hex digits; a longer line is no key. */
#define LINE_OCTETS (4 + 2 * KEY_OCTETS)

struct ids_key {
	atomic_bool there; /* set once OCTETS are, which then stay */
	uint8_t octets[KEY_OCTETS];
};

struct ids {
	EVP_CIPHER *cipher; /* fetched once: looking it up costs more than a block */
	atomic_uint current;
	struct ids_key key[IDS_KEY_MAX + 1]; /* by number */
};

/* --- the file -------------------------------------------------------------------------- */

/* Makes DIR/NAME of the text P, durably: ids that cannot be opened again are mail lost. */
static int keys_write(const char *dir, const char *name, const char *p, size_t n,
                      struct err_text *e)
{
	char path[PATH_MAX];
	int rc = file_path(dir, name, path, e), fd, error;

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
		return err_set(e, error == ENOSPC || error == EDQUOT ? ERR_FULL : ERR_IO,
		               "write %s: %s", path, strerrordesc_np(error));
	}
	return 0;
}

/* A fresh key's line. How many octets; the caller wipes it. */
static size_t key_line(unsigned number, char out[LINE_OCTETS + 2])
{
	char hex[2 * KEY_OCTETS + 1];
	uint8_t key[KEY_OCTETS];
	int n;

	random_octets(key, sizeof key);
	text_hex(key, sizeof key, hex);
	n = snprintf(out, LINE_OCTETS + 2, "%u %s\n", number, hex);
	explicit_bzero(key, sizeof key);
	explicit_bzero(hex, sizeof hex);
	return (size_t)n;
}

int ids_init(const char *dir, struct err_text *e)
{
	char line[LINE_OCTETS + 2];
	size_t n = key_line(1, line);
	int rc = keys_write(dir, "keys", line, n, e);

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

/* The octets of key NUMBER are there: it may be used, by other threads too. */
static void key_publish(struct ids *s, unsigned number)
{
	atomic_store_explicit(&s->key[number].there, true, memory_order_release);
	if (number > atomic_load(&s->current))
		atomic_store(&s->current, number);
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
	if (text_parse_number(line, IDS_KEY_MAX, &number) != 0 || number == 0)
		return ERR_MALFORMED;
	k = &s->key[number];
	if (ids_has(s, (uint16_t)number) ||
	    text_parse_hex(span_str(blank + 1), k->octets, KEY_OCTETS) != 0)
		return ERR_MALFORMED;
	key_publish(s, (unsigned)number);
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
		               path, n, IDS_KEY_MAX, 2 * KEY_OCTETS);
	if (ferror(f))
		return err_set(e, ERR_IO, "read %s: %s", path, strerror(errno));
	return ids_current(s) != 0 ? 0 : err_set(e, ERR_CONFIG, "%s: no key in it", path);
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
	if (rc == 0 && (fsync(fileno(f)) != 0 || file_sync_dir(dir) != 0))
		rc = err_set(e, ERR_IO, "write %s: %s", path, strerror(errno));
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

/* All keys that there can be, one octet more to see a file that is larger. */
#define TEXT_OCTETS ((IDS_KEY_MAX + 1) * (LINE_OCTETS + 1))

/* The whole of DIR/keys, *N octets. The caller wipes it. */
static int keys_text(const char *dir, char text[TEXT_OCTETS], size_t *n, struct err_text *e)
{
	char path[PATH_MAX];
	FILE *f;
	int rc = keys_open(dir, path, &f, e);

	if (rc != 0)
		return rc;
	*n = fread(text, 1, TEXT_OCTETS, f);
	if (ferror(f))
		rc = err_set(e, ERR_IO, "read %s: %s", path, strerror(errno));
	else if (*n == TEXT_OCTETS)
		rc = err_set(e, ERR_TOO_BIG, "%s: more than %d keys", path, IDS_KEY_MAX);
	fclose(f);
	return rc;
}

int ids_backup(const char *dir, const char *to, struct err_text *e)
{
	char text[TEXT_OCTETS];
	size_t n;
	int rc = keys_text(dir, text, &n, e);

	if (rc == 0)
		rc = keys_write(to, "keys", text, n, e);
	explicit_bzero(text, sizeof text);
	return rc;
}

/* --- rotation -------------------------------------------------------------------------- */

/* Puts TEXT in the place of DIR/keys. What another left of keys.new when it was cut off goes. */
static int keys_replace(const char *dir, const char *text, size_t n, struct err_text *e)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	int rc = file_path(dir, "keys", path, e), error = 0;

	if (rc == 0)
		rc = file_path(dir, "keys.new", fresh, e);
	if (rc != 0)
		return rc;
	if (unlink(fresh) != 0 && errno != ENOENT)
		return err_set(e, ERR_IO, "remove %s: %s", fresh, strerrordesc_np(errno));
	rc = keys_write(dir, "keys.new", text, n, e);
	if (rc != 0)
		return rc;
	if (rename(fresh, path) != 0)
		error = errno;
	else
		error = file_sync_dir(dir);
	return error == 0 ? 0
	                  : err_set(e, ERR_IO, "put %s in the place of %s: %s", fresh, path,
	                            strerrordesc_np(error));
}

/* The keys of before, read as a whole so that a bad file is not made larger, and one more. */
static int keys_add(const char *dir, uint16_t *number, struct err_text *e)
{
	char text[TEXT_OCTETS + LINE_OCTETS + 3];
	struct ids *before;
	size_t n;
	int rc = ids_load(dir, &before, e);

	if (rc != 0)
		return rc;
	*number = (uint16_t)(ids_current(before) + 1);
	ids_free(before);
	if (*number > IDS_KEY_MAX)
		return err_set(e, ERR_FULL, "%s/keys: key %d is there, and no number is above it", dir,
		               IDS_KEY_MAX);
	rc = keys_text(dir, text, &n, e);
	if (rc == 0) {
		if (n > 0 && text[n - 1] != '\n')
			text[n++] = '\n';
		n += key_line(*number, text + n);
		rc = keys_replace(dir, text, n, e);
	}
	explicit_bzero(text, sizeof text);
	return rc;
}

int ids_rotate(const char *dir, uint16_t *number, struct err_text *e)
{
	/* Two at once would both add to what was before. */
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0 || flock(fd, LOCK_EX) != 0) {
		rc = err_set(e, ERR_IO, "lock %s: %s", dir, strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = keys_add(dir, number, e);
	close(fd);
	return rc;
}

int ids_compare(const struct ids *s, const struct ids *fresh, const char *dir, struct err_text *e)
{
	for (unsigned i = 1; i <= IDS_KEY_MAX; i++)
		if (ids_has(s, (uint16_t)i) && ids_has(fresh, (uint16_t)i) &&
		    memcmp(s->key[i].octets, fresh->key[i].octets, KEY_OCTETS) != 0)
			return err_set(e, ERR_CONFIG,
			               "%s/keys: key %u is another than the one in use, and would "
			               "not open the ids made with that: a new key needs a number "
			               "of its own",
			               dir, i);
	return 0;
}

void ids_adopt(struct ids *s, const struct ids *fresh)
{
	for (unsigned i = 1; i <= IDS_KEY_MAX; i++) {
		bool was = ids_has(s, (uint16_t)i), is = ids_has(fresh, (uint16_t)i);

		if (was && !is)
			log_warn("keys", "key=%u file=missing use=\"until the daemon ends\"", i);
		if (was || !is)
			continue;
		memcpy(s->key[i].octets, fresh->key[i].octets, KEY_OCTETS);
		key_publish(s, i);
		log_info("keys", "key=%u use=\"from now on\"", i);
	}
}

/* --- the block ------------------------------------------------------------------------- */

uint16_t ids_current(const struct ids *s)
{
	return (uint16_t)atomic_load(&s->current);
}

bool ids_has(const struct ids *s, uint16_t number)
{
	return number <= IDS_KEY_MAX &&
	       atomic_load_explicit(&s->key[number].there, memory_order_acquire);
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

	if (!ids_has(s, name->key))
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

	for (unsigned i = 1; i <= IDS_KEY_MAX; i++) {
		if (!ids_has(s, (uint16_t)i))
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
