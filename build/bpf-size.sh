#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# build/bpf-size.sh OBJECT [BUDGET]
#
# Prints how many instructions the programs of a BPF object have (8 bytes each; a 64-bit constant is
# two). With a BUDGET, fails if they are more: what a tick costs grows with them when the caches are
# cold, and so does the time that the verifier takes at each start.

set -u

object=$1
bytes=0
# "[ 3] perf_event PROGBITS 0000000000000000 001ae8 0069e0 00 AX 0 0 8": an executable section.
for size in $(readelf -SW "$object" | sed 's/^ *\[ *[0-9]*\] *//' |
	awk '$2 == "PROGBITS" && $7 ~ /X/ { print $5 }'); do
	bytes=$((bytes + 0x$size))
done
instructions=$((bytes / 8))
if [ $instructions -eq 0 ]; then
	echo "$object: no program in it" >&2
	exit 1
fi
if [ $# -gt 1 ] && [ $instructions -gt "$2" ]; then
	echo "$object: $instructions instructions, more than the budget of $2 (BPF_BUDGET in the Makefile)" >&2
	exit 1
fi
echo "$instructions"
