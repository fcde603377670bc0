#!/bin/sh
# tests/unit/wire_vectors.inc and the seeds of fuzz_wire are what tests/tools/wire_vectors.pl
# makes of docs/asn1 today. Needs libconvert-asn1-perl; without it nothing can be said.
cd "$(dirname "$0")/../.." || exit 1

perl -MConvert::ASN1 -e 1 2>/dev/null || {
	echo "wire_vectors: not checked, libconvert-asn1-perl is not installed"
	exit 0
}
made=$(mktemp -d) || exit 1
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$made/corpus"
bad=0
if ! perl tests/tools/wire_vectors.pl > "$made/inc" ||
    ! cmp -s "$made/inc" tests/unit/wire_vectors.inc; then
	echo "tests/unit/wire_vectors.inc: not what tests/tools/wire_vectors.pl prints"
	bad=1
fi
perl tests/tools/wire_vectors.pl --corpus "$made/corpus" || bad=1
for seed in "$made"/corpus/*; do
	name=$(basename "$seed")
	cmp -s "$seed" "tests/fuzz/corpus/fuzz_wire/$name" || {
		echo "tests/fuzz/corpus/fuzz_wire/$name: not what tests/tools/wire_vectors.pl makes"
		bad=1
	}
done
exit $bad
