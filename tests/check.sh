#!/bin/sh
# What `make check` does: installs what is missing, lints, builds with gcc and clang and with
# the sanitizers, every warning an error, and runs all tests as an ordinary user. The builds lie
# in build/check/. The last line is `N passed, N failed`.
set -u
cd "$(dirname "$0")/.." || exit 1
# This make's own jobs are none of those below.
unset MAKEFLAGS MAKELEVEL MFLAGS
jobs=$(getconf _NPROCESSORS_ONLN)
root=$PWD
top=$root/build/check
results=$top/results

tests/tools/deps.sh build test || { echo '0 passed, 1 failed'; exit 1; }
mkdir -p "$top"
: > "$results"

echo '== lint'
RESULTS=$results tests/lint/all.sh

# NAME VARIABLE=VALUE... TARGET...
build()
{
	name=$1
	shift
	echo "== build $name"
	if make -k --no-print-directory -j"$jobs" WERROR=1 BUILD="build/check/$name" "$@" \
	    > "$top/$name.log" 2>&1; then
		echo "pass build/$name" >> "$results"
		echo "ok    build/$name"
	else
		echo "fail build/$name" >> "$results"
		grep -Ev '^  [A-Z]|Nothing to be done' "$top/$name.log" | tail -n 80
		echo "FAIL  build/$name"
	fi
}
build plain CC=gcc all tests fuzzers benches
build clang CC=clang all tests fuzzers benches
build asan SAN=asan all tests fuzzers
build tsan SAN=tsan all tests

echo '== tests'
stage=$top
if [ "$(id -u)" = 0 ]; then
	stage=$(mktemp -d) || exit 1
	trap 'rm -rf "$stage"' EXIT
	trap 'exit 1' HUP INT TERM
	tests/tools/stage.sh "$stage" "$top/plain" "$top/asan" "$top/tsan"
	cp "$results" "$stage/results"
	chmod -R a+rX "$stage"
	root=$stage/src
fi
cd "$root" || exit 1
tests/tools/as_user.sh IM2000_SRC="$root" CI="${CI-}" \
	/usr/bin/python3 -B tests/run.py --builds "$stage" --results "$stage/results"
