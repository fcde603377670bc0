#!/bin/sh
# Writes to stdout what the makefile must know of this machine: the flags of the packages,
# and which hardening flags the compiler knows for its architecture. CC comes from make.
set -eu

packages='libuv lmdb libcares inih openssl libidn2 zlib'
cc=${CC:-gcc}

pkg-config --print-errors --exists $packages
echo "PACKAGE_CFLAGS := $(pkg-config --cflags $packages)"
echo "PACKAGE_LIBS := $(pkg-config --libs $packages)"

known=
for flag in -fstack-clash-protection -fcf-protection; do
	if echo 'int main(void) { return 0; }' |
	    $cc -Werror "$flag" -x c -c -o /dev/null - 2>/dev/null; then
		known="$known $flag"
	fi
done
echo "HARDENING_ARCH :=$known"
