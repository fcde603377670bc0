#!/bin/sh
# Functions that the house does not use (docs/style.md), and those that only one file may call.
# Comments and strings are taken out first. -Wvla finds variable-length arrays.
cd "$(dirname "$0")/../.." || exit 1

find protocol store notify mua-agent tests -name '*.[ch]' 2>/dev/null | sort | xargs -r awk '
BEGIN {
	ban("never", "strcpy stpcpy strcat strncpy strncat sprintf vsprintf gets atoi atol " \
		"atoll atof alloca strdupa strndupa strtok tmpnam tempnam mktemp system popen " \
		"setuid seteuid setreuid setresuid gmtime localtime ctime asctime")
	ban("tests", "scanf sscanf fscanf vsscanf")
	# gate.c: the deadline of a condition variable, on the real monotonic clock.
	ban("protocol/base/clock.c protocol/base/gate.c", "time gettimeofday clock_gettime")
	ban("protocol/base/random.c",
		"rand srand random srandom drand48 getrandom arc4random RAND_bytes")
	ban("wire", "malloc calloc realloc strdup strndup free")
}
function ban(rule, names,    word, n, i) {
	n = split(names, word, " ")
	for (i = 1; i <= n; i++)
		banned[word[i]] = rule
}
function wrong(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	bad = 1
}
function check(name,    rule) {
	rule = banned[name]
	if (rule == "never") {
		wrong(name "() is not used here (tests/lint/banned.sh)")
	} else if (rule == "wire") {
		if (FILENAME ~ /^protocol\/wire\//)
			wrong(name "(): wire allocates nothing")
	} else if (index(" " rule " ", " " FILENAME " ") == 0 && FILENAME !~ /^tests\//) {
		wrong(name "() stands in " rule " alone")
	}
}
FNR == 1 { comment = 0 }
{
	line = $0
	if (comment) {
		if (!sub(/^.*\*\//, "", line))
			next
		comment = 0
	}
	gsub(/\\./, "", line)
	gsub(/"[^"]*"/, "\"\"", line)
	gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
	sub(/\/\/.*/, "", line)
	if (sub(/\/\*.*/, "", line))
		comment = 1
	while (match(line, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
		before = RSTART > 1 ? substr(line, RSTART - 1, 1) : ""
		name = substr(line, RSTART, RLENGTH)
		sub(/[ \t]*\($/, "", name)
		line = substr(line, RSTART + RLENGTH)
		if ((name in banned) && before != "." && before != ">")
			check(name)
	}
}
END { exit bad }'
