#!/bin/sh
# Runs each fuzz target of the folder FOLDER (built with SAN=fuzz) for FUZZ_SECONDS, from its
# corpus tests/fuzz/corpus/NAME. New inputs are kept in build/fuzz/found/NAME, crashes in
# build/fuzz/crashes/. What is worth keeping is copied into the corpus by hand.
#
# usage: run.sh FOLDER [NAME...]        NAME: fuzz_der; all without
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=$1
shift
seconds=${FUZZ_SECONDS:-30}
status=0
ran=0

[ $# -gt 0 ] || set -- $(cd "$folder" 2>/dev/null && ls)
mkdir -p build/fuzz/crashes
for name in "$@"; do
	corpus=tests/fuzz/corpus/$name
	found=build/fuzz/found/$name
	mkdir -p "$found"
	[ -d "$corpus" ] || corpus=
	echo "== $name, $seconds s"
	ran=$((ran + 1))
	# shellcheck disable=SC2086 # an empty corpus is no argument
	if ! "$folder/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
	    -print_final_stats=1 -artifact_prefix=build/fuzz/crashes/"$name"- \
	    "$found" $corpus 2>build/fuzz/"$name".log; then
		tail -n 60 build/fuzz/"$name".log
		echo "$name FAILED; the input is in build/fuzz/crashes/"
		status=1
	else
		grep -E 'stat::(number_of_executed_units|new_units_added)' build/fuzz/"$name".log
	fi
done
echo "$ran targets fuzzed, $([ $status = 0 ] && echo no failure || echo FAILED)"
exit $status
