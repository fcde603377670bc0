#!/bin/sh
# Tabs, 100 columns (a tab reaches to the next multiple of 4), no white space at a line's end,
# a newline at the file's end. In a C function's body each line begins with a tab.
cd "$(dirname "$0")/../.." || exit 1

bad=0

files()
{
	find protocol store notify mua-agent tests \
		\( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' \) -size +0 2>/dev/null | sort
}

files | LC_ALL=C xargs -r awk -v columns=100 -v tab=4 '
function wrong(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	bad = 1
}
# LC_ALL=C counts octets, whichever awk this is; what continues a UTF-8 character is no column.
function width(line,    n, part, parts, i) {
	gsub(/[\200-\277]/, "", line)
	parts = split(line, part, "\t")
	n = 0
	for (i = 1; i <= parts; i++) {
		n += length(part[i])
		if (i < parts)
			n += tab - n % tab
	}
	return n
}
FNR == 1 { inside = 0 }
/[ \t]$/ { wrong("white space at the end") }
/\r/ { wrong("a carriage return") }
length($0) > columns / tab && width($0) > columns { wrong("wider than " columns " columns") }
FILENAME ~ /\.py$/ && /\t/ { wrong("a tab in Python") }
FILENAME ~ /\.[ch]$/ {
	if (/^ *\t* +\t/)
		wrong("a space before a tab")
	if (/^{/ || /^[a-z].*\).*{$/) {
		inside = 1
	} else if (/^}/) {
		inside = 0
	} else if (inside && /^ / && !/^ \*/) {
		wrong("indented by spaces")
	}
}
END { exit bad }' || bad=1

missing=$(files | while read -r file; do
	[ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
done)
if [ -n "$missing" ]; then
	echo "$missing"
	bad=1
fi
exit $bad
