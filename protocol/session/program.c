#include "session/program.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/conf.h"
#include "session/daemon.h"

int program_exit_code(int code)
{
	switch (code) {
	case 0:
		return PROGRAM_DONE;
	case ERR_TIMEOUT:
	case ERR_NO_SERVER:
	case ERR_CLOSED:
	case ERR_AGAIN:
	case ERR_FULL:
	case ERR_NOMEM:
		return PROGRAM_TRY_LATER;
	default:
		return PROGRAM_FAILED;
	}
}

/* One line, whatever a file or a command line brought in. */
static void say(const char *program, const char *text, const char *more)
{
	char line[1200];

	snprintf(line, sizeof line, "%s: %s%s", program, text, more);
	for (char *p = line; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			*p = '?';
		}
	}
	fprintf(stderr, "%s\n", line);
}

int program_fail(const char *program, int code, const struct err_text *e)
{
	say(program, e != NULL && e->text[0] != '\0' ? e->text : err_phrase(code), "");
	return program_exit_code(code);
}

int program_usage(const char *program, const char *format, ...)
{
	char text[1000], more[64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	snprintf(more, sizeof more, " (see %s --help)", program);
	say(program, text, more);
	return PROGRAM_USAGE;
}

/* One line from the terminal without echo. */
static int ask(int tty, const char *prompt, char *out, size_t cap, struct err_text *e)
{
	struct termios before, quiet;
	size_t n = 0;
	char c;

	if (write(tty, prompt, strlen(prompt)) < 0 || tcgetattr(tty, &before) != 0) {
		return err_set(e, ERR_IO, "ask for the password: %s", strerror(errno));
	}
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(tty, TCSAFLUSH, &quiet);
	while (read(tty, &c, 1) == 1 && c != '\n') {
		if (n + 1 < cap) {
			out[n++] = c;
		}
	}
	out[n] = '\0';
	tcsetattr(tty, TCSAFLUSH, &before);
	if (write(tty, "\n", 1) < 0) {
		return err_set(e, ERR_IO, "ask for the password: %s", strerror(errno));
	}
	return n == 0 ? err_set(e, ERR_MALFORMED, "the password is empty") : 0;
}

static int ask_twice(char *out, size_t cap, struct err_text *e)
{
	char again[PASSWORD_MAX + 1];
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	int r;

	if (tty < 0) {
		return err_set(
		    e, ERR_MALFORMED,
		    "no terminal to ask for a password: give --password-file or --token");
	}
	if ((r = ask(tty, "Password: ", out, cap, e)) == 0 &&
	    (r = ask(tty, "Once more: ", again, sizeof again, e)) == 0 && strcmp(out, again) != 0) {
		r = err_set(e, ERR_MALFORMED, "the two passwords differ");
	}
	OPENSSL_cleanse(again, sizeof again);
	close(tty);
	return r;
}

int program_secret(const char *password_file, bool token, struct password_hash *out,
                   struct err_text *e)
{
	char password[PASSWORD_MAX + 1], text[PASSWORD_TOKEN_TEXT + 1];
	int r;

	if (token) {
		password_token_make(text, out);
		printf("%s\n", text);
		OPENSSL_cleanse(text, sizeof text);
		return 0;
	}
	r = password_file != NULL ? password_read_file(password_file, password, e)
	                          : ask_twice(password, sizeof password, e);
	if (r == 0 && (r = password_hash_make(span_str(password), out)) != 0) {
		err_set(e, r, "hash the password: %s", err_phrase(r));
	}
	OPENSSL_cleanse(password, sizeof password);
	return r;
}

int program_make_dir(const char *dir, struct err_text *e)
{
	char path[4096];
	struct stat st;

	if (span_copy(span_str(dir), path, sizeof path) != 0 || dir[0] == '\0') {
		return err_set(e, ERR_MALFORMED, "make directory \"%.64s\": not a usable path",
		               dir);
	}
	for (char *p = path + 1; *p != '\0'; p++) {
		if (*p == '/') {
			*p = '\0';
			if (mkdir(path, 0700) != 0 && errno != EEXIST) {
				return err_set(e, ERR_IO, "make directory %s: %s", path,
				               strerror(errno));
			}
			*p = '/';
		}
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		return err_set(e, ERR_IO, "make directory %s: %s", path, strerror(errno));
	}
	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		return err_set(e, ERR_IO, "%s is no directory", path);
	}
	return st.st_uid == geteuid() ? 0
	                              : err_set(e, ERR_DENIED, "%s belongs to another user", path);
}

int program_check_data(const char *program, const char *dir, struct err_text *e)
{
	struct stat st;

	if (stat(dir, &st) != 0) {
		return errno == ENOENT
		           ? err_set(e, ERR_NOT_FOUND, "data directory %s: %s (%s init makes it)", dir,
		                     strerror(errno), program)
		           : err_set(e, ERR_IO, "data directory %s: %s", dir, strerror(errno));
	}
	if (!S_ISDIR(st.st_mode)) {
		return err_set(e, ERR_IO, "data directory %s is no directory", dir);
	}
	if (st.st_uid != geteuid()) {
		return err_set(e, ERR_DENIED,
		               "data directory %s belongs to user %u: run as that user", dir,
		               (unsigned)st.st_uid);
	}
	if ((st.st_mode & 077) != 0) {
		return err_set(e, ERR_DENIED,
		               "data directory %s is open to others (mode %04o): chmod 700 %s", dir,
		               (unsigned)(st.st_mode & 07777), dir);
	}
	return 0;
}

int program_write_file(const char *path, unsigned mode, const char *text, struct err_text *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
	size_t n = strlen(text);
	bool written;

	if (fd < 0) {
		return err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "write %s: %s", path,
		               errno == EEXIST ? "it is there already" : strerror(errno));
	}
	written = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	if (close(fd) != 0 || !written) {
		unlink(path);
		return err_set(e, ERR_IO, "write %s: %s", path, strerror(errno));
	}
	return 0;
}

int program_bad_option(const char *program, const char *command, int c, char **argv)
{
	return program_usage(program, "%s: option %s %s", command, argv[optind > 1 ? optind - 1 : 1],
	                     c == ':' ? "needs a value" : "is not known here");
}

/* Whether one of the arguments asks for help or the version; then that is printed. */
static bool answered(const char *program, const char *usage, const char *argument)
{
	if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
		fputs(usage, stdout);
		return true;
	}
	if (strcmp(argument, "--version") == 0) {
		printf("%s %s\n", program, PROGRAM_VERSION);
		return true;
	}
	return false;
}

int program_dispatch(const char *program, const char *usage, const struct program_command *commands,
                     int argc, char **argv)
{
	struct err_text e = { "" };
	int r;

	opterr = 0;
	if (argc > 1 && answered(program, usage, argv[1])) {
		return program_finish(program);
	}
	for (; argc > 1 && commands->name != NULL; commands++) {
		if (strcmp(argv[1], commands->name) != 0) {
			continue;
		}
		for (int i = 2; i < argc; i++) {
			if (answered(program, usage, argv[i])) {
				return program_finish(program);
			}
		}
		if ((r = daemon_refuse_root(program, &e)) != 0) {
			return program_fail(program, r, &e);
		}
		return commands->run(argc - 1, argv + 1);
	}
	return argc > 1 ? program_usage(program, "there is no command \"%s\"", argv[1])
	                : program_usage(program, "no command given");
}

int program_run(const char *program, int argc, char **argv,
                const char *(*config_path)(const char *named),
                int (*check)(const char *config, struct err_text *e),
                int (*serve)(const char *config, struct err_text *e))
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	struct err_text e = { "" };
	const char *config = NULL;
	bool only_check = false;
	int c, r;

	while ((c = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
		if (c == 'c') {
			config = optarg;
		} else if (c == 'k') {
			only_check = true;
		} else {
			return program_bad_option(program, "run", c, argv);
		}
	}
	if (optind != argc) {
		return program_usage(program, "run wants -c FILE and nothing else");
	}
	config = config_path(config);
	r = only_check ? check(config, &e) : serve(config, &e);
	if (r == 0 && only_check) {
		fprintf(stderr, "%s: %s is fine\n", program, config);
	}
	return r == 0 ? PROGRAM_DONE : program_fail(program, conf_blame(&e, r, config), &e);
}

int program_finish(const char *program)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "%s: cannot write to standard output\n", program);
		return PROGRAM_FAILED;
	}
	return PROGRAM_DONE;
}
