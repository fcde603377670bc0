#!/bin/sh
# Holds the includes against the layers (docs/style.md): a file includes from its own row and
# the rows under it. Of the system's and the libraries' headers, <lmdb.h> belongs to base/kv.c
# alone, and wire and message, which are pure, include none that does input or output.
cd "$(dirname "$0")/../.." || exit 1

find protocol store notify mua-agent -name '*.[ch]' 2>/dev/null | sort | xargs -r awk '
BEGIN {
	may["base"] = "base"
	may["net"] = "base net"
	may["message"] = "base message"
	may["wire"] = "base wire"
	may["session"] = "base net message wire session"
	may["store"] = may["session"] " store"
	may["notify"] = may["session"] " notify"
	may["mua-agent"] = may["session"] " mua-agent"
}
function wrong(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	bad = 1
}
FNR == 1 {
	split(FILENAME, path, "/")
	row = path[1] == "protocol" ? path[2] : path[1]
	if (!(row in may))
		wrong("the folder protocol/" row " is in no layer")
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, quoted, "\"")
	if (quoted[2] !~ /^[a-z-]+\/[a-z0-9_]+\.h$/) {
		wrong("\"" quoted[2] "\": an include names folder and header: \"base/err.h\"")
		next
	}
	split(quoted[2], target, "/")
	if (index(" " may[row] " ", " " target[1] " ") == 0)
		wrong(row " must not include from " target[1] " (\"" quoted[2] "\")")
}
/^[ \t]*#[ \t]*include[ \t]*</ {
	header = $0
	sub(/^[^<]*</, "", header)
	sub(/>.*/, "", header)
	if (header == "lmdb.h" && FILENAME != "protocol/base/kv.c")
		wrong("only protocol/base/kv.c includes <lmdb.h>")
	if ((row == "wire" || row == "message") &&
	    header ~ /^(uv|ares|stdio|unistd|fcntl|pthread|openssl\/ssl|sys\/(socket|stat|mman))\.h$/)
		wrong(row " is pure: no <" header ">")
}
END { exit bad }'
