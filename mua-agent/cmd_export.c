/* im2000 export: all that is listed, as a Maildir. */
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "mua-agent/cmd.h"
#include "mua-agent/inbox.h"
#include "mua-agent/maildir.h"
#include "mua-agent/pull.h"
#include "mua-agent/show.h"

#define NAME_MAX_OCTETS 80

struct exporting {
	struct app *app;
	struct maildir *to;
	struct err_text *e;
	unsigned written, there;
};

/*
 * When it came and a hash of whose it is: the capability is nobody's business who may read the
 * folder, and the number is another one after im2000's data is gone.
 */
static void name_of(const struct entry *x, char out[NAME_MAX_OCTETS])
{
	uint8_t whose[CONFIG_IDENTITY_MAX + NAME_DOMAIN_MAX + WIRE_ID_SIZE + 2] = { 0 };
	uint8_t hash[SHA256_DIGEST_LENGTH];
	size_t account = x->item.account.n, store = strlen(x->store);
	int n;

	account = account < CONFIG_IDENTITY_MAX ? account : CONFIG_IDENTITY_MAX;
	memcpy(whose, x->item.account.p, account);
	memcpy(whose + account + 1, x->store, store);
	memcpy(whose + account + store + 2, x->notice.id, WIRE_ID_SIZE);
	SHA256(whose, account + store + 2 + WIRE_ID_SIZE, hash);
	n = snprintf(out, NAME_MAX_OCTETS, "%llu.",
	             (unsigned long long)(x->item.received_us / CLOCK_SECOND_US));
	for (int i = 0; i < 12; i++) {
		n += snprintf(out + n, (size_t)(NAME_MAX_OCTETS - n), "%02x", hash[i]);
	}
	snprintf(out + n, (size_t)(NAME_MAX_OCTETS - n), ".im2000");
}

static int octets_sink(void *ctx, struct span octets)
{
	struct exporting *x = ctx;

	return maildir_octets(x->to, octets, x->e);
}

static int export_one(struct exporting *x, uint32_t number, struct err_text *e)
{
	char name[NAME_MAX_OCTETS];
	const struct entry *entry;
	struct pull *p;
	bool cached;
	int r = pull_open(x->app, number, &p, e);

	if (r != 0) {
		return r;
	}
	entry = pull_entry(p);
	name_of(entry, name);
	cached = pull_is_cached(p);
	x->e = e;
	if (maildir_has(x->to, name)) {
		x->there++;
	} else if ((r = pull_whole(p, e)) == 0 && (r = maildir_begin(x->to, name, e)) == 0 &&
	           (r = pull_raw(p, octets_sink, x, e)) == 0 &&
	           (r = maildir_end(x->to, (entry->item.flags & DB_READ) != 0,
	                            entry->item.received_us, e)) == 0) {
		x->written++;
		r = pull_done(p, false, e);
	}
	pull_close(p);
	if (!cached) { /* twice is not wanted */
		pull_forget(x->app, number);
	}
	return r;
}

static void export_all(struct exporting *x, int *exit)
{
	uint32_t number = 0;
	struct entry entry;
	int r;

	while ((r = entry_next(x->app->db, number, &entry)) == 0) {
		bool wanted = (entry.item.flags & DB_DROPPED) == 0 &&
		              (x->app->account == NULL ||
		               span_eq_str(entry.item.account, x->app->account->identity));
		struct err_text e = { "" };

		number = entry.item.number;
		entry_free(&entry);
		if (wanted && (r = export_one(x, number, &e)) != 0) {
			cmd_trouble(exit, r, &e);
			if (r == ERR_FULL) {
				break;
			}
		}
	}
	if (r != 0 && r != ERR_NOT_FOUND && r != ERR_FULL) {
		cmd_trouble(exit, r, NULL);
	}
}

static void on_failed(void *ctx, int error, const struct err_text *why)
{
	cmd_trouble(ctx, error, why);
}

int cmd_export(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	struct exporting x = { .app = app };
	struct err_text e = { "" };
	int r, exit;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (argc - optind != 1 || argv[optind][0] == '\0') {
		return program_usage(APP_PROGRAM, "export wants one folder");
	}
	if ((exit = cmd_open(app)) != PROGRAM_DONE) {
		return exit;
	}
	if ((r = maildir_open(argv[optind], &x.to, &e)) != 0) {
		return cmd_fail(r, &e);
	}
	if (inbox_can_fetch(app, &e) == 0) {
		inbox_fetch(app, NULL, on_failed, &exit);
	}
	export_all(&x, &exit);
	if (app->json) {
		struct show_json j;

		show_json_begin(&j);
		show_json_number(&j, "written", x.written);
		show_json_number(&j, "there", x.there);
		r = show_json_end(&j);
	} else {
		show_format(stdout, "%s: %u written, %u were there\n", argv[optind], x.written,
		            x.there);
	}
	maildir_close(x.to);
	return r != 0 ? cmd_fail(r, NULL) : exit;
}
