/* im2000-notify policy: the operator's tables, and those of a mailbox. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "notify/admin.h"
#include "notify/admin_words.h"
#include "notify/rules.h"
#include "session/program.h"
#include "session/report.h"

/* The number of the mailbox that --mailbox names, or DB_OPERATOR. */
static int find_owner(struct verb_place *p, struct kv_txn *t, const struct verb_words *w,
                      uint32_t *owner, struct err_text *e)
{
	const char *text = verb_value(w, ADMIN_TAKES_MAILBOX, 0);
	struct mailbox name;
	struct db_mailbox m;
	int r;

	*owner = DB_OPERATOR;
	if (text == NULL) {
		return 0;
	}
	if ((r = admin_read_mailbox(text, &name, e)) != 0) {
		return r;
	}
	if ((r = db_mailbox_find(p->db, t, &name, &m)) == 0) {
		*owner = m.number;
		return 0;
	}
	return r == ERR_NOT_FOUND ? err_set(e, r, "there is no mailbox %s", name.text) : r;
}

static void print_rule(const struct db_rule *rule, bool json)
{
	char added[24];
	struct buf value;

	clock_format(rule->added_us, added, sizeof added);
	if (!json) {
		printf("%-10s %-40s %s\n", rule_table_name(rule->table), rule->value, added);
		return;
	}
	buf_init(&value, 0);
	if (text_json(&value, span_str(rule->value)) == 0) {
		printf("{\"table\":\"%s\",\"value\":%s,\"added\":\"%s\"}\n",
		       rule_table_name(rule->table), buf_cstr(&value), added);
	}
	buf_free(&value);
}

static int show_table(struct verb_place *p, struct kv_txn *t, uint32_t owner, enum rule_table table,
                      bool json)
{
	struct db_rule rule;
	int r = db_rule_next(p->db, t, owner, table, NULL, &rule);

	while (r == 0) {
		print_rule(&rule, json);
		r = db_rule_next(p->db, t, owner, table, rule.value, &rule);
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* One table, or all. */
static int show(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	unsigned first = RULE_BLACKLIST, last = RULE_TABLES - 1;
	struct rules_command c;
	struct kv_txn *t;
	uint32_t owner;
	int r;

	if (w->n_rest == 1) {
		if ((r = rules_read(WIRE_POLICY_SHOW, span_str(w->rest[0]), span_of(NULL, 0), &c,
		                    e)) != 0) {
			return r;
		}
		first = last = c.table;
	}
	if ((t = db_read_begin(p->db)) == NULL) {
		return ERR_NOMEM;
	}
	r = find_owner(p, t, w, &owner, e);
	for (unsigned table = first; r == 0 && table <= last; table++) {
		r = show_table(p, t, owner, (enum rule_table)table, w->json);
	}
	db_read_end(t);
	return r;
}

static int change(struct verb_place *p, const struct verb_words *w, enum wire_policy_action action,
                  struct err_text *e)
{
	struct rules_command c;
	struct kv_txn *t;
	uint32_t owner;
	int r = rules_read(action, span_str(w->rest[0]), span_str(w->rest[1]), &c, e);

	if (r != 0 || (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = find_owner(p, t, w, &owner, e)) == 0) {
		r = rules_apply(p->db, t, owner, &c);
	}
	if (r == ERR_TOO_BIG) {
		err_set(e, r, "the %s of %s has %d values, and may have no more", w->rest[0],
		        verb_value(w, ADMIN_TAKES_MAILBOX, 0), RULES_MAX);
	} else if (r == 0 && action == WIRE_POLICY_REMOVE && e->text[0] == '\0') {
		r = err_set(e, ERR_NOT_FOUND, "%s is not in the %s", c.value, w->rest[0]);
	}
	return report_change(t, r > 0 ? 0 : r, "change the policy", e);
}

static int add(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	return change(p, w, WIRE_POLICY_ADD, e);
}

static int withdraw(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	return change(p, w, WIRE_POLICY_REMOVE, e);
}

static int judge(const struct verb_words *w, struct err_text *e)
{
	const char *text = verb_value(w, ADMIN_TAKES_MAILBOX, 0);
	struct mailbox name;

	return text == NULL ? 0 : admin_read_mailbox(text, &name, e);
}

int admin_policy(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "show", "policy show", ADMIN_TAKES_MAILBOX | VERB_TAKES_JSON, 0, 1,
		  "one table at most", judge, show },
		{ "add", "policy add", ADMIN_TAKES_MAILBOX, 2, 2, "a table and a value", judge, add },
		{ "remove", "policy remove", ADMIN_TAKES_MAILBOX, 2, 2, "a table and a value", judge,
		  withdraw },
		{ .name = NULL },
	};

	return verb_choose(&admin_program, "show, add or remove", verbs, argc, argv);
}
