#!/bin/sh
# Holds the key tables of the programs against their manuals: each key has an item of its own in
# the manual's list, with its default, and the manual has no other key.
cd "$(dirname "$0")/../.." || exit 1
bad=0

# SOURCE MANUAL: the keys of SOURCE's table (struct conf_key, written with names or in order).
check()
{
	[ -e "$1" ] && [ -e "$2" ] || return 0
	awk -v source="$1" -v manual="$2" '
	function wrong(what) {
		print what
		bad = 1
	}
	# The text between the first pair of quotes, or nothing.
	function quoted(s,    part) {
		return split(s, part, "\"") >= 3 ? part[2] : ""
	}
	# S as it stands in a pattern.
	function literal(s) {
		gsub(/[.*+?^$|()]/, "\\\\&", s)
		return s
	}
	# Takes the text of one entry, from its brace to its brace.
	function entry(s,    name, field) {
		name = quoted(s)
		keys[name] = 1
		restart[name] = s ~ /\.restart = true/
		if (match(s, /\.initial = "[^"]*"/)) {
			initial[name] = quoted(substr(s, RSTART, RLENGTH))
		} else if (s !~ /\.name =/) {
			split(s, field, ",")
			initial[name] = quoted(field[7])
		}
	}
	FILENAME == source && /conf_key [a-z_]*keys\[\] = \{/ { inside = 1; next }
	FILENAME == source && inside && /^};/ { inside = 0 }
	FILENAME == source && inside {
		text = text " " $0
		if (/\},$/) {
			if (text ~ /"/)
				entry(text)
			text = ""
		}
	}
	# One item may be of several keys: .It Cm this , Cm that
	FILENAME == manual && /^\.(It Cm |El)/ { delete items }
	FILENAME == manual && /^\.It Cm / {
		for (i = 3; i <= NF; i++)
			if ($(i - 1) == "Cm")
				items[$i] = 1
	}
	FILENAME == manual {
		for (item in items)
			described[item] = described[item] " " $0
	}
	END {
		for (name in keys) {
			count++
			if (!(name in described)) {
				wrong(manual ": nothing on the key " name " of " source)
			} else if (initial[name] != "" && \
			    (" " described[name] " ") !~ "[ (]" literal(initial[name]) "[ .,)]") {
				wrong(manual ": " name ": not its default, " initial[name])
			} else if (restart[name] && described[name] !~ /Read at start\./) {
				wrong(manual ": " name ": not that it is read at start")
			} else if (!restart[name] && described[name] ~ /Read at start\./) {
				wrong(manual ": " name ": is not only read at start")
			}
		}
		for (name in described)
			if (!(name in keys))
				wrong(manual ": " name " is no key of " source)
		if (count == 0)
			wrong(source ": no table of keys was found")
		exit bad
	}' "$1" "$2" || bad=1
}

check store/config.c docs/man/store.conf.5
check notify/config.c docs/man/notify.conf.5
check mua-agent/config.c docs/man/agent.conf.5
exit $bad
