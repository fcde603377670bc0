#!/bin/sh
# Runs a command as an ordinary user. Started by root: as nobody, with a clean environment, a
# fresh HOME and TMPDIR that go with the command's end (not with AS_USER_KEEP set, when it left
# something running there). Otherwise: just runs it.
#
# usage: as_user.sh [NAME=VALUE...] COMMAND...
#
# The command and what it reads must be readable for nobody: see tests/tools/stage.sh.
set -eu

if [ "$(id -u)" != 0 ]; then
	exec env "$@"
fi
home=$(mktemp -d)
[ -n "${AS_USER_KEEP-}" ] || trap 'rm -rf "$home"' EXIT
trap 'exit 1' HUP INT TERM
chown nobody:nogroup "$home"
chmod 700 "$home"
mkdir -m 700 "$home/tmp"
chown nobody:nogroup "$home/tmp"
status=0
setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \
	env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8 USER=nobody \
	HOME="$home" TMPDIR="$home/tmp" "$@" || status=$?
exit "$status"
