#include "notify/rules.h"

#include "base/clock.h"

int rules_read(enum wire_policy_action action, struct span table, struct span value,
               struct rules_command *out, struct err_text *e)
{
	*out = (struct rules_command) { .action = action };
	if (rule_table_parse(table, &out->table) != 0) {
		return err_set(e, ERR_UNSUPPORTED,
		               "no such table (there are blacklist, whitelist, strangers)");
	}
	if (action == WIRE_POLICY_SHOW) {
		return value.p == NULL ? 0 : err_set(e, ERR_MALFORMED, "show takes no value");
	}
	if (value.p == NULL) {
		return err_set(e, ERR_MALFORMED, "a value is wanted: %s",
		               rule_value_help(out->table));
	}
	if (rule_value_parse(out->table, value, out->value) != 0) {
		return err_set(e, ERR_MALFORMED, "no value for %s (allowed: %s)",
		               rule_table_name(out->table), rule_value_help(out->table));
	}
	return 0;
}

/* How many values the table has, up to RULES_MAX; or an error. */
static int count(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table)
{
	struct db_rule rule;
	int n = 0, r = db_rule_next(db, t, owner, table, NULL, &rule);

	while (r == 0 && ++n < RULES_MAX) {
		r = db_rule_next(db, t, owner, table, rule.value, &rule);
	}
	return r == 0 || r == ERR_NOT_FOUND ? n : r;
}

static int add(struct db *db, struct kv_txn *t, uint32_t owner, const struct rules_command *c)
{
	struct db_rule rule = { .owner = owner, .table = c->table, .added_us = clock_now_us() };
	int r = db_rule_has(db, t, owner, c->table, c->value);

	if (r != 0) {
		return r == 1 ? 0 : r;
	}
	if (owner != DB_OPERATOR) {
		if ((r = count(db, t, owner, c->table)) >= RULES_MAX) {
			return ERR_TOO_BIG;
		}
		if (r < 0) {
			return r;
		}
	}
	(void)span_copy(span_str(c->value), rule.value, sizeof rule.value);
	r = db_rule_add(db, t, &rule);
	return r == 0 ? 1 : r;
}

int rules_apply(struct db *db, struct kv_txn *t, uint32_t owner, const struct rules_command *c)
{
	int r;

	if (c->action == WIRE_POLICY_ADD) {
		return add(db, t, owner, c);
	}
	r = db_rule_remove(db, t, owner, c->table, c->value);
	return r == 0 ? 1 : r == ERR_NOT_FOUND ? 0 : r;
}

int rules_show(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
               struct wire_list_writer *list)
{
	struct db_rule rule;
	int r = db_rule_next(db, t, owner, table, NULL, &rule);

	while (r == 0 && (r = wire_text_append(list, span_str(rule.value))) == 0) {
		r = db_rule_next(db, t, owner, table, rule.value, &rule);
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}
