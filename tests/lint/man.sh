#!/bin/sh
# The manual pages are correct mdoc.
cd "$(dirname "$0")/../.." || exit 1
set -- docs/man/*.[1-8]
[ -e "$1" ] || exit 0
mandoc -T lint -W warning "$@"
