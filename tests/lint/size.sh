#!/bin/sh
# A file has at most 700 lines, a C function at most 90 (from its opening brace to the closing
# one, both in the first column).
cd "$(dirname "$0")/../.." || exit 1

find protocol store notify mua-agent tests GNUmakefile \
	\( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name GNUmakefile \) 2>/dev/null |
sort | xargs -r awk -v max_file=700 -v max_function=90 '
FNR == 1 { inside = 0 }
FNR == max_file + 1 {
	printf "%s: more than %d lines: split it\n", FILENAME, max_file
	bad = 1
}
FILENAME !~ /\.[ch]$/ { next }
/^[a-z].*\(/ { name = $0 }
/^{/ || /^[a-z].*\).*{$/ { inside = FNR }
/^}/ && inside {
	if (FNR - inside + 1 > max_function) {
		printf "%s:%d: a function of %d lines (at most %d): %s\n", FILENAME, inside,
			FNR - inside + 1, max_function, name
		bad = 1
	}
	inside = 0
}
END { exit bad }'
