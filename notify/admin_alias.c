/* im2000-notify alias: addresses that stand for mailboxes. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "notify/admin.h"
#include "notify/admin_words.h"
#include "session/program.h"
#include "session/report.h"

/* An address as a person writes it, in canonical form: a mailbox, or "@domain". */
static int read_address(const char *text, char out[NAME_MAILBOX_MAX + 1])
{
	struct mailbox name;

	if (text[0] == '@') {
		out[0] = '@';
		return name_parse_domain(span_str(text + 1), out + 1);
	}
	return name_parse_mailbox(span_str(text), &name) == 0
	           ? span_copy(span_str(name.text), out, NAME_MAILBOX_MAX + 1)
	           : ERR_MALFORMED;
}

/* The alias ADDRESS to A; one that is not there is empty. 0, or an error with E filled. */
static int load(struct verb_place *p, struct kv_txn *t, const char *address, struct db_alias *a,
                struct err_text *e)
{
	int r;

	a->n = 0;
	(void)span_copy(span_str(address), a->address, sizeof a->address);
	r = db_alias_find(p->db, t, address, a);
	return r == 0 || r == ERR_NOT_FOUND
	           ? 0
	           : err_set(e, r, "read alias %s: %s (alias remove %s takes it away)", address,
	                     err_phrase(r), address);
}

static unsigned position(const struct db_alias *a, const struct mailbox *name)
{
	unsigned i = 0;

	while (i < a->n && !mailbox_eq(&a->target[i], name)) {
		i++;
	}
	return i;
}

/* Whether alias ADDRESS may be here: its domain is served, and no mailbox is in its place. */
static int check_address(struct verb_place *p, struct kv_txn *t, const char *address,
                         struct err_text *e)
{
	const char *domain = strrchr(address, '@') + 1;
	struct db_mailbox m;
	struct mailbox name;
	int r;

	if (!admin_serves(&p->config, domain)) {
		return err_set(
		    e, ERR_CONFIG,
		    "domain %s is not served here: add \"domain = %s\" to the configuration",
		    domain, domain);
	}
	if (address[0] == '@' ||
	    name_make_mailbox(span_of(address, (size_t)(domain - 1 - address)), span_str(domain),
	                      &name) != 0) {
		return 0;
	}
	r = db_mailbox_find(p->db, t, &name, &m);
	return r == ERR_NOT_FOUND ? 0
	       : r == 0 ? err_set(e, ERR_EXISTS,
	                          "%s is a mailbox: what is sent there goes nowhere else", address)
	                : r;
}

/* Whether NAME may be a target: aliases of aliases are not followed, so none can go in circles. */
static int check_target(struct verb_place *p, struct kv_txn *t, const struct mailbox *name,
                        struct err_text *e)
{
	struct db_alias a;
	struct db_mailbox m;
	int r = db_mailbox_find(p->db, t, name, &m);

	if (r != ERR_NOT_FOUND) {
		return r;
	}
	if (db_alias_find(p->db, t, name->text, &a) == 0) {
		return err_set(e, ERR_NOT_FOUND,
		               "%s is an alias itself: name its mailboxes (%s%s)", name->text,
		               a.target[0].text, a.n > 1 ? ", ..." : "");
	}
	return err_set(e, r, "there is no mailbox %s", name->text);
}

static int add_target(struct verb_place *p, struct kv_txn *t, struct db_alias *a, const char *text,
                      struct err_text *e)
{
	struct mailbox name;
	int r = name_parse_mailbox(span_str(text), &name);

	if (r != 0 || (r = check_target(p, t, &name, e)) != 0 || position(a, &name) < a->n) {
		return r;
	}
	if (a->n == DB_ALIAS_TARGETS) {
		return err_set(e, ERR_TOO_BIG, "alias %s has %d mailboxes, and may have no more",
		               a->address, DB_ALIAS_TARGETS);
	}
	a->target[a->n++] = name;
	return 0;
}

static int add(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	char address[NAME_MAILBOX_MAX + 1];
	struct db_alias a;
	struct kv_txn *t;
	int r = read_address(w->rest[0], address);

	if (r != 0 || (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = check_address(p, t, address, e)) == 0) {
		r = load(p, t, address, &a, e);
	}
	for (int i = 1; r == 0 && i < w->n_rest; i++) {
		r = add_target(p, t, &a, w->rest[i], e);
	}
	if (r == 0) {
		r = db_alias_put(p->db, t, &a);
	}
	return report_change(t, r, "add the alias", e);
}

/* Without targets all of it goes, whatever state it is in. */
static int withdraw(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	char address[NAME_MAILBOX_MAX + 1];
	struct db_alias a = { .n = 0 };
	struct mailbox name;
	struct kv_txn *t;
	unsigned at;
	int r = read_address(w->rest[0], address);

	if (r != 0 || (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if (w->n_rest > 1) {
		r = load(p, t, address, &a, e);
	}
	for (int i = 1; r == 0 && i < w->n_rest; i++) {
		if ((r = name_parse_mailbox(span_str(w->rest[i]), &name)) == 0 &&
		    (at = position(&a, &name)) == a.n) {
			r = err_set(e, ERR_NOT_FOUND, "alias %s does not lead to %s", address,
			            name.text);
		} else if (r == 0) {
			a.n--;
			memmove(&a.target[at], &a.target[at + 1],
			        (a.n - at) * sizeof a.target[0]);
		}
	}
	if (r == 0 && a.n > 0) {
		r = db_alias_put(p->db, t, &a);
	} else if (r == 0 && (r = db_alias_remove(p->db, t, address)) == ERR_NOT_FOUND) {
		err_set(e, r, "there is no alias %s", address);
	}
	r = report_change(t, r, "remove the alias", e);
	if (r == 0 && a.n == 0 && w->n_rest > 1) {
		admin_alias_gone(NULL, address);
	}
	return r;
}

void admin_alias_gone(void *ctx, const char *address)
{
	(void)ctx;
	fprintf(stderr, "%s: alias %s has no mailbox left and is removed\n", ADMIN_PROGRAM,
	        address);
}

static void print_alias(const struct db_alias *a, bool json)
{
	struct buf line;
	int r;

	buf_init(&line, 0);
	if (json) {
		r = buf_add_str(&line, "{\"alias\":");
		r = r == 0 ? text_json(&line, span_str(a->address)) : r;
		r = r == 0 ? buf_add_str(&line, ",\"mailboxes\":[") : r;
	} else {
		r = buf_addf(&line, "%-40s", a->address);
	}
	for (unsigned i = 0; r == 0 && i < a->n; i++) {
		r = buf_add_str(&line, !json ? " " : i > 0 ? "," : "");
		if (r == 0) {
			r = json ? text_json(&line, span_str(a->target[i].text))
			         : buf_add_str(&line, a->target[i].text);
		}
	}
	if (r == 0) {
		printf("%s%s\n", buf_cstr(&line), json ? "]}" : "");
	}
	buf_free(&line);
}

static int list(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(p->db);
	struct db_alias a;
	int r = t == NULL ? ERR_NOMEM : db_alias_next(p->db, t, NULL, &a);

	while (r == 0) {
		print_alias(&a, w->json);
		r = db_alias_next(p->db, t, a.address, &a);
	}
	db_read_end(t);
	return r == ERR_NOT_FOUND ? 0 : err_set(e, r, "list aliases: %s", err_phrase(r));
}

/* An address first, then mailboxes. */
static int judge(const struct verb_words *w, struct err_text *e)
{
	char address[NAME_MAILBOX_MAX + 1];
	struct mailbox name;
	int r = 0;

	if (read_address(w->rest[0], address) != 0) {
		return err_set(e, ERR_MALFORMED,
		               "\"%.300s\" is no address (as in info@b.example, or @b.example for"
		               " all that is nobody's)",
		               w->rest[0]);
	}
	for (int i = 1; r == 0 && i < w->n_rest; i++) {
		r = admin_read_mailbox(w->rest[i], &name, e);
	}
	return r;
}

int admin_alias(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "add", "alias add", 0, 2, 1 + DB_ALIAS_TARGETS,
		  "an address and the mailboxes it stands for, 100 at most", judge, add },
		{ "list", "alias list", VERB_TAKES_JSON, 0, 0, "no name", NULL, list },
		{ "remove", "alias remove", 0, 1, 1 + DB_ALIAS_TARGETS,
		  "an address, and those of its mailboxes that go", judge, withdraw },
		{ .name = NULL },
	};

	return verb_choose(&admin_program, "add, list or remove", verbs, argc, argv);
}
