#!/bin/sh
# Copies what tests need to where any user can read it: the clone may lie in a folder that only
# its owner can enter, and the tests run as an ordinary user even when root starts them.
#
# usage: stage.sh DEST BUILD...
# DEST/src becomes the source tree without build/ and .git; DEST/NAME the programs, unit tests
# and fuzz targets of each BUILD, NAME being the last part of its path.
set -eu
cd "$(dirname "$0")/../.."
dest=$1
shift
umask 022
mkdir -p "$dest/src"
tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C "$dest/src" --no-same-owner
for build in "$@"; do
	into=$dest/$(basename "$build")
	mkdir -p "$into"
	for part in im2000 im2000-agent im2000-store im2000-notify tests fuzz; do
		[ ! -e "$build/$part" ] || cp -R "$build/$part" "$into/"
	done
done
chmod -R a+rX "$dest"
