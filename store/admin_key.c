/* im2000-store key: the keys that message ids are made with. */
#include <inttypes.h>
#include <stdio.h>

#include "base/claim.h"
#include "session/program.h"
#include "store/admin.h"
#include "store/admin_words.h"
#include "store/ids.h"

/* The new key's number to stdout; and what is still to be done where a daemon runs. */
static int key_rotate(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	uint16_t number;
	long daemon;
	int rc = ids_rotate(p->config.data, &number, e);

	(void)w;
	if (rc != 0)
		return rc;
	printf("%u\n", number);
	daemon = claim_holder(p->config.data, DB_CLAIM);
	if (daemon > 0)
		fprintf(stderr,
		        "%s: send SIGHUP to process %ld: until then it makes ids with the key of "
		        "before\n",
		        ADMIN_PROGRAM, daemon);
	return 0;
}

static void print_key(uint16_t number, bool current, uint64_t messages, bool json)
{
	if (json)
		printf("{\"key\":%u,\"current\":%s,\"messages\":%" PRIu64 "}\n", number,
		       current ? "true" : "false", messages);
	else
		printf("%3u %12" PRIu64 " messages%s\n", number, messages,
		       current ? ", and new ones" : "");
}

static int key_list(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	uint64_t messages[DB_KEYS];
	struct ids *ids;
	int rc = ids_load(p->config.data, &ids, e);

	if (rc != 0)
		return rc;
	rc = db_count_by_key(p->db, messages);
	if (rc != 0)
		err_set(e, rc, "count the messages of each key: %s", err_phrase(rc));
	for (uint16_t i = 1; rc == 0 && i < DB_KEYS; i++) {
		if (ids_has(ids, i))
			print_key(i, i == ids_current(ids), messages[i], w->json);
		else if (messages[i] > 0)
			fprintf(stderr, "%s: %" PRIu64 " messages were made with key %u, which is missing\n",
			        ADMIN_PROGRAM, messages[i], i);
	}
	ids_free(ids);
	return rc;
}

int admin_key(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "rotate", "key rotate", 0, 0, 0, "no argument", NULL, key_rotate },
		{ "list", "key list", VERB_TAKES_JSON, 0, 0, "no argument", NULL, key_list },
		{ .name = NULL },
	};

	return verb_choose(&admin_program, "rotate or list", verbs, argc, argv);
}
