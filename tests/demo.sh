#!/bin/sh
# The demonstration: three domains on loopback, each with a store and a notification agent, on
# what `init` writes; one real message from a.example to b.example and c.example. Called by
# `make demo`, which sets IM2000_BIN, IM2000_SRC and DEMO_ARCHIVE. KEEP=1 leaves all running.
# MESSAGE=FILE sends that message instead of the one made here.
set -eu

PATH=$IM2000_BIN:$PATH
export PATH
dir=$(mktemp -d)
pids=

if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else
	bold= plain=
fi

say() {
	printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

show() {
	printf '%s$ %s%s\n' "$bold" "$*" "$plain"
}

fail() {
	printf 'demo: %s\n' "$*" >&2
	for log in "$dir"/*/*.log; do
		[ -s "$log" ] && printf -- '--- %s\n' "$log" >&2 && tail -n 20 "$log" >&2
	done
	exit 1
}

finish() {
	status=$?
	if [ "$status" = 0 ] && [ -n "${KEEP-}" ]; then
		return
	fi
	for pid in $pids; do
		kill "$pid" 2>/dev/null || :
	done
	wait
	rm -rf "$dir"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Each run takes three loopback addresses of its own, so that two can run at once.
net=127.$(($$ / 250 % 250 + 1)).$(($$ % 250 + 1))
address_of() {
	case $1 in
	a) echo "$net.1" ;;
	b) echo "$net.2" ;;
	c) echo "$net.3" ;;
	esac
}

# Where each domain offers its services; in the world outside, DNS says this (SRV records).
routes() {
	for place in a b c; do
		n=4400
		for service in msoap msrap rnasp rnaqp; do
			n=$((n + 1))
			echo "route = $place.example $service $(address_of $place):$n"
		done
	done
}

wait_ready() { # output of a daemon, its pid, its name
	tries=0
	until grep -q '^ready ' "$1" 2>/dev/null; do
		kill -0 "$2" 2>/dev/null || fail "$3 ended"
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "$3 does not get ready"
		sleep 0.1
	done
}

start() { # domain letter, program, configuration
	"$2" run -c "$3" >"$dir/$1/$2.out" 2>"$dir/$1/$2.log" &
	pids="$pids $!"
	wait_ready "$dir/$1/$2.out" $! "$2 of $1.example"
}

domain() {
	at=$(address_of "$1")
	im2000-store init "$dir/$1/store" --domain "$1.example" --listen "$at" --ca "$dir/ca" \
		2>/dev/null
	im2000-notify init "$dir/$1/notify" --domain "$1.example" --listen "$at" --ca "$dir/ca" \
		2>/dev/null
	routes >>"$dir/$1/store/store.conf"
	# Loopback addresses are what a store must not be led to, but for this demonstration.
	sed -i '/^#* *allow-private/d' "$dir/$1/store/store.conf"
	echo 'allow-private = yes' >>"$dir/$1/store/store.conf"
	start "$1" im2000-store "$dir/$1/store/store.conf"
	start "$1" im2000-notify "$dir/$1/notify/notify.conf"
}

person() { # name, domain letter
	mkdir -p "$dir/$1"
	printf '%s\n' "$1-secret" >"$dir/$1/password"
	im2000-store account add -c "$dir/$2/store/store.conf" "$1" --sender "$1@$2.example" \
		--password-file "$dir/$1/password"
	im2000-notify mailbox add -c "$dir/$2/notify/notify.conf" "$1@$2.example" \
		--password-file "$dir/$1/password"
	{
		echo "data = data"
		echo "ca-file = $dir/ca/ca.pem"
		echo "allow-private = yes"
		routes
		echo "[account home]"
		echo "mailbox = $1@$2.example"
		echo "notify-password-file = password"
		echo "store-password-file = password"
	} >"$dir/$1/agent.conf"
}

as() { # name, arguments of im2000
	who=$1
	shift
	show "im2000 $*   ($who)"
	im2000 -c "$dir/$who/agent.conf" "$@"
}

attach() { # file, type
	printf -- '--=_demo\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n' "$2"
	printf 'Content-Disposition: attachment; filename="%s"\r\n\r\n' "$(basename "$1")"
	base64 "$1" | sed 's/$/\r/'
}

compose() {
	printf 'From: Alice <alice@a.example>\r\nTo: Bob <bob@b.example>, carol@c.example\r\n'
	printf 'Cc: nobody@b.example\r\nSubject: The source, and a picture of it\r\n'
	printf 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_demo"\r\n\r\n'
	printf -- '--=_demo\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'
	printf 'Hello Bob, hello Carol,\r\n\r\n'
	printf 'the whole source is attached, and a picture. It is stored once, at my store:\r\n'
	printf 'you pull of it what you want, when you want.\r\n\r\nAlice\r\n'
	attach "$dir/archive/im2000-source.tar.gz" application/gzip
	attach "$dir/archive/im2000.png" image/png
	printf -- '--=_demo--\r\n'
}

# Until nothing of the message is unprocessed any more.
settle() {
	tries=0
	while im2000 -c "$dir/alice/agent.conf" status --json "$1" | grep -q '"unprocessed"'; do
		tries=$((tries + 1))
		[ $tries -lt 150 ] || fail "no notification within 15 seconds"
		sleep 0.1
	done
}

say "Three domains on loopback: a store and a notification agent each"
for d in a b c; do
	mkdir -p "$dir/$d"
done
for d in a b c; do
	domain $d
	sed "s/^ready/$d.example:/" "$dir/$d/im2000-store.out" "$dir/$d/im2000-notify.out"
done
person alice a
person bob b
person carol c

if [ -n "${MESSAGE-}" ]; then
	say "Alice sends $MESSAGE"
	[ -r "$MESSAGE" ] || fail "cannot read $MESSAGE"
	cp "$MESSAGE" "$dir/message.eml"
else
	say "Alice sends a text with two attachments: this project's source, and a picture"
	mkdir "$dir/archive"
	cp "$DEMO_ARCHIVE" "$dir/archive/im2000-source.tar.gz"
	cp "$IM2000_SRC/docs/im2000.png" "$dir/archive/"
	compose >"$dir/message.eml"
fi
ls -l "$dir/message.eml" | awk '{ print "message.eml: " $5 " octets" }'
as alice send "$dir/message.eml" --to bob@b.example --to carol@c.example --to nobody@b.example |
	tee "$dir/sent"
url=$(sed -n 's,^\(im2000://[^ ]*\).*,\1,p' "$dir/sent")
[ -n "$url" ] || fail "send printed no URL"

say "What Alice knows at once, and when the agents have been told"
as alice status "$url"
settle "$url"
as alice status "$url"

say "Bob lists his notifications: no store is contacted, so Alice sees nothing of it"
as bob list
as alice status "$url"

number=$(im2000 -c "$dir/bob/agent.conf" list --json |
	sed -n 's/.*"number":\([0-9]*\).*/\1/p' | head -n 1)
[ -n "$number" ] || fail "nothing was listed"

say "Bob looks at the structure, and reads the text alone"
as bob structure "$number"
as bob read "$number" --part 1 | head -n 20
as alice status "$url"

say "Bob reads all of it, and saves the attachments"
as bob read "$number" --raw >"$dir/bob/raw.eml"
mkdir "$dir/bob/saved"
as bob read "$number" --save "$dir/bob/saved"
as alice status "$url"
if [ -z "${MESSAGE-}" ]; then
	for f in "$dir"/archive/*; do
		cmp "$f" "$dir/bob/saved/$(basename "$f")" || fail "an attachment came out changed"
		echo "$(basename "$f"): octet for octet the same ($(wc -c <"$f") octets)"
	done
fi

say "Alice sends a second message to Carol, and recalls it before Carol reads it"
printf 'From: alice@a.example\nTo: carol@c.example\nSubject: Dinner on Friday?\n\nOr Saturday.\n' |
	as alice send | tee "$dir/sent"
second=$(sed -n 's,^\(im2000://[^ ]*\).*,\1,p' "$dir/sent")
settle "$second"
as carol list
as alice cancel "$second"
as alice status "$second"
number=$(im2000 -c "$dir/carol/agent.conf" list --json | grep 'Dinner' |
	sed -n 's/.*"number":\([0-9]*\).*/\1/p')
if as carol read "$number"; then
	fail "a recalled message could be read"
fi

say "Done"
if [ -n "${KEEP-}" ]; then
	cat <<END
Everything is still running. Try it by hand:

  export PATH=$IM2000_BIN:\$PATH
  printf 'To: bob@b.example\nFrom: alice@a.example\nSubject: Hi\n\nHello.\n' |
      ${DEMO_AS-}im2000 -c $dir/alice/agent.conf send
  ${DEMO_AS-}im2000 -c $dir/bob/agent.conf list
  ${DEMO_AS-}im2000 -c $dir/bob/agent.conf read 1
  ${DEMO_AS-}im2000 -c $dir/alice/agent.conf status

To end it: kill$pids; rm -r $dir
END
else
	echo "Try it by hand: make demo KEEP=1 leaves the three domains running and says how."
fi
