#!/usr/bin/env bash
# Compiles the BPF programs to the objects that package bpf embeds. The compiler's
# version is fixed and no path of the machine enters, so that the result is the same
# everywhere and `make verify` can compare it with what is committed.
set -euo pipefail
cd "$(dirname "$0")/../bpf"

CLANG=${CLANG:-clang-19}
STRIP=${LLVM_STRIP:-llvm-strip-19}

for source in network/{dispatch,verdict,trial} runtime/*.c; do
	object=$(basename "$source" .c)
	(
		cd "${source%/*}"
		"$CLANG" -std=gnu11 -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror \
			-Wno-unused-parameter -Wno-unused-function -Wno-missing-declarations -Wno-compare-distinct-pointer-types \
			-fno-ident -fdebug-compilation-dir=. \
			-idirafter "/usr/include/$(uname -m)-linux-gnu" \
			-c "$object.c" -o "$object.o"
		# DWARF is for debuggers and holds paths; BTF stays.
		"$STRIP" -g "$object.o"
	)
done
