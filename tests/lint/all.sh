#!/bin/sh
# Runs every script of this folder. Each prints what is wrong, as FILE:LINE: WHAT, and nothing
# when all is well. With RESULTS set, one line for each is added to that file (tests/check.sh).
cd "$(dirname "$0")/../.." || exit 1
status=0
for script in tests/lint/*.sh; do
	name=$(basename "$script" .sh)
	[ "$name" != all ] || continue
	if "$script"; then
		word=pass
		echo "ok    lint/$name"
	else
		word=fail
		status=1
		echo "FAIL  lint/$name"
	fi
	[ -z "${RESULTS-}" ] || echo "$word lint/$name" >> "$RESULTS"
done
exit $status
