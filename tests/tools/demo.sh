#!/bin/sh
# What `make demo` calls: runs tests/demo.sh as an ordinary user, with IM2000_BIN, IM2000_SRC
# and DEMO_ARCHIVE (the project's sources as one file) set. KEEP=1 leaves everything running
# and in place; MESSAGE=FILE sends that message.
set -eu
cd "$(dirname "$0")/../.."
bin=build
archive=build/im2000-source.tar.gz
git -c safe.directory='*' archive --format=tar.gz -o "$archive" HEAD 2>/dev/null ||
	tar -czf "$archive" --exclude=./build --exclude=./.git .

if [ "$(id -u)" != 0 ]; then
	IM2000_BIN=$PWD/$bin IM2000_SRC=$PWD DEMO_ARCHIVE=$PWD/$archive exec tests/demo.sh
fi

stage=$(mktemp -d)
[ -n "${KEEP-}" ] || trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
tests/tools/stage.sh "$stage" "$bin"
cp "$archive" "$stage/source.tar.gz"
message=
if [ -n "${MESSAGE-}" ]; then
	message=$stage/message.eml
	cp -- "$MESSAGE" "$message"
fi
chmod -R a+rX "$stage"
cd "$stage/src"
AS_USER_KEEP=${KEEP-} "$stage/src/tests/tools/as_user.sh" \
	IM2000_BIN="$stage/build" IM2000_SRC="$stage/src" DEMO_ARCHIVE="$stage/source.tar.gz" \
	DEMO_AS="setpriv --reuid=nobody --regid=nogroup --clear-groups " \
	KEEP="${KEEP-}" MESSAGE="$message" tests/demo.sh
