#!/bin/sh
# The modules in docs/asn1 are ASN.1 that another compiler (asn1c) accepts. Each module alone with
# the common one: asn1c wants names to be unique over all modules that it reads.
cd "$(dirname "$0")/../.." || exit 1

command -v asn1c >/dev/null || {
	echo "asn1: not checked, asn1c is not installed"
	exit 0
}
common=docs/asn1/IM2000-Common.asn1
bad=0
for module in docs/asn1/*.asn1; do
	[ "$module" != "$common" ] || continue
	output=$(asn1c -EF "$common" "$module" 2>&1 >/dev/null) && continue
	printf '%s: asn1c does not accept it\n%s\n' "$module" "$output"
	bad=1
done
exit $bad
