/*
 * Buckets as a virtual schedule (GCRA): an entry has the time at which all that
 * was sent would be over, had it come at the allowed rate. What is ahead of now by more than the
 * bucket's minute has to wait. A table is sets of a few entries; a new one takes the
 * place of the one that owes least, so that nobody is freed by others' being many.
 */
#include "notify/flood.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

#define SETS 2048
#define WAYS 8
#define KEY_SIZE 16
#define SECRET_SIZE 32
#define WAIT_MAX_S 3600

struct entry {
	uint8_t key[KEY_SIZE];
	uint64_t until_us; /* 0: free */
};

struct flood {
	uint8_t secret[SECRET_SIZE]; /* nobody can choose names that meet in one set */
	/* One notification's time; 0: no limit. */
	_Atomic uint64_t origin_ns, address_ns, unknown_ns;
	pthread_mutex_t lock;
	struct entry entry[SETS][WAYS];
};

static uint64_t time_of_one(uint32_t minute)
{
	return minute == 0 ? 0 : CLOCK_MINUTE_US * 1000 / minute;
}

void flood_change(struct flood *f, const struct flood_limits *limits)
{
	f->origin_ns = time_of_one(limits->origin_minute);
	f->address_ns = time_of_one(limits->address_minute);
	f->unknown_ns = time_of_one(limits->unknown_minute);
}

int flood_create(const struct flood_limits *limits, struct flood **out)
{
	struct flood *f = calloc(1, sizeof *f);

	if (f == NULL) {
		return ERR_NOMEM;
	}
	random_octets(f->secret, sizeof f->secret);
	flood_change(f, limits);
	pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return 0;
}

void flood_free(struct flood *f)
{
	if (f != NULL) {
		pthread_mutex_destroy(&f->lock);
		OPENSSL_cleanse(f->secret, sizeof f->secret);
		free(f);
	}
}

/* The key of the N octets at P, which are a KIND ('o', '4', '6'; 'u' and 'U': unknown ones). */
static void make_key(const struct flood *f, char kind, const void *p, size_t n,
                     uint8_t key[KEY_SIZE])
{
	uint8_t text[SECRET_SIZE + 1 + NAME_DOMAIN_MAX], hash[SHA256_DIGEST_LENGTH];

	memcpy(text, f->secret, SECRET_SIZE);
	text[SECRET_SIZE] = (uint8_t)kind;
	n = n < NAME_DOMAIN_MAX ? n : NAME_DOMAIN_MAX;
	memcpy(text + SECRET_SIZE + 1, p, n);
	SHA256(text, SECRET_SIZE + 1 + n, hash);
	memcpy(key, hash, KEY_SIZE);
}

/* KEY's entry, made in its set's least place when it is not there. */
static struct entry *find(struct flood *f, const uint8_t key[KEY_SIZE])
{
	struct entry *set = f->entry[((size_t)key[0] << 8 | key[1]) % SETS];
	struct entry *least = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].until_us != 0 && memcmp(set[i].key, key, KEY_SIZE) == 0) {
			return &set[i];
		}
		if (set[i].until_us < least->until_us) {
			least = &set[i];
		}
	}
	memcpy(least->key, key, KEY_SIZE);
	least->until_us = 0;
	return least;
}

static unsigned wait_of(const struct entry *e, uint64_t now_us)
{
	uint64_t wait_s;

	if (e->until_us <= now_us + CLOCK_MINUTE_US) {
		return 0;
	}
	wait_s = (e->until_us - now_us - CLOCK_MINUTE_US) / CLOCK_SECOND_US + 1;
	return wait_s < WAIT_MAX_S ? (unsigned)wait_s : WAIT_MAX_S;
}

static void charge(struct entry *e, uint64_t now_us, uint64_t one_ns, size_t n)
{
	e->until_us = (e->until_us > now_us ? e->until_us : now_us) + n * one_ns / 1000;
}

static void address_key(const struct flood *f, const struct wire_address *address,
                        uint8_t key[KEY_SIZE])
{
	if (address->kind == WIRE_ADDRESS_V4) {
		make_key(f, '4', address->u.v4, 4, key);
	} else {
		make_key(f, '6', address->u.v6, 8, key);
	}
}

static unsigned wait_for(struct flood *f, const uint8_t key[KEY_SIZE])
{
	unsigned wait_s;

	pthread_mutex_lock(&f->lock);
	wait_s = wait_of(find(f, key), clock_mono_us());
	pthread_mutex_unlock(&f->lock);
	return wait_s;
}

static void charge_to(struct flood *f, const uint8_t key[KEY_SIZE], uint64_t one_ns, size_t n)
{
	pthread_mutex_lock(&f->lock);
	charge(find(f, key), clock_mono_us(), one_ns, n);
	pthread_mutex_unlock(&f->lock);
}

unsigned flood_address_wait(struct flood *f, const struct wire_address *address)
{
	uint8_t key[KEY_SIZE];

	if (f->address_ns == 0) {
		return 0;
	}
	address_key(f, address, key);
	return wait_for(f, key);
}

void flood_address_charge(struct flood *f, const struct wire_address *address, size_t n)
{
	uint8_t key[KEY_SIZE];

	if (f->address_ns != 0) {
		address_key(f, address, key);
		charge_to(f, key, f->address_ns, n);
	}
}

static void unknown_key(const struct flood *f, const char *domain,
                        const struct wire_address *address, uint8_t key[KEY_SIZE])
{
	uint8_t of_address[KEY_SIZE];

	if (domain != NULL) {
		make_key(f, 'u', domain, strlen(domain), key);
	} else {
		address_key(f, address, of_address);
		make_key(f, 'U', of_address, sizeof of_address, key);
	}
}

unsigned flood_unknown_wait(struct flood *f, const char *domain, const struct wire_address *address)
{
	uint8_t key[KEY_SIZE];

	if (f->unknown_ns == 0) {
		return 0;
	}
	unknown_key(f, domain, address, key);
	return wait_for(f, key);
}

void flood_unknown_charge(struct flood *f, const char *domain, const struct wire_address *address,
                          size_t n)
{
	uint8_t key[KEY_SIZE];

	if (f->unknown_ns != 0) {
		unknown_key(f, domain, address, key);
		charge_to(f, key, f->unknown_ns, n);
	}
}

unsigned flood_origin(struct flood *f, const char *domain, size_t n)
{
	uint8_t key[KEY_SIZE];
	struct entry *e;
	unsigned wait_s;
	uint64_t now_us;

	if (f->origin_ns == 0) {
		return 0;
	}
	make_key(f, 'o', domain, strlen(domain), key);
	pthread_mutex_lock(&f->lock);
	e = find(f, key);
	now_us = clock_mono_us();
	if ((wait_s = wait_of(e, now_us)) == 0) {
		charge(e, now_us, f->origin_ns, n);
	}
	pthread_mutex_unlock(&f->lock);
	return wait_s;
}
