#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Compares vmlinux.h with a real kernel: `vmlinux/check.sh [DUMP]`, where DUMP is the output of
# `bpftool btf dump file ... format c` (default: of this host's kernel). Compiles one program that
# includes the dump, with an assertion per constant and field that vmlinux.h has: its name must exist
# there, and its type, value and, for the UAPI structures, its offset be the same.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dump=${1:-}
if [ -z "$dump" ]; then
	dump=$work/dump.h
	bpftool btf dump file /sys/kernel/btf/vmlinux format c >"$dump"
fi
arch=$(uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')

# The names, from vmlinux.h as the preprocessor leaves it.
clang -target bpf -D__TARGET_ARCH_"$arch" -I"$here" -E -P "$here/vmlinux/vmlinux.h" >"$work/ours.h"
{
	echo '#include "dump.h"'
	grep -oE '^ *BPF_[A-Za-z_0-9]+ = [0-9A-Fx]+U?( << [0-9]+)?' "$work/ours.h" |
		sed 's/^ *\(BPF_[A-Za-z_0-9]*\) = \(.*\)/_Static_assert(\1 == (\2), "\1");/'
	field() { # structure, field, its type
		echo "_Static_assert(__builtin_types_compatible_p(__typeof__(((struct $1 *)0)->$2), $3), \"$1.$2\");"
	}
	field task_struct flags 'unsigned int'
	field task_struct mm 'struct mm_struct *'
	field task_struct pid int
	field task_struct tgid int
	field task_struct group_leader 'struct task_struct *'
	field task_struct thread_pid 'struct pid *'
	field task_struct signal 'struct signal_struct *'
	field task_struct thread 'struct thread_struct'
	field task_struct sas_ss_sp 'unsigned long'
	field task_struct sas_ss_size size_t
	field mm_struct start_stack 'unsigned long'
	field signal_struct live atomic_t
	field signal_struct live.counter int
	field pid level 'unsigned int'
	field pid 'numbers[0]' 'struct upid'
	field upid nr int
	field upid ns 'struct pid_namespace *'
	case $arch in
	x86) field thread_struct fsbase 'unsigned long' ;;
	arm64) field thread_struct uw.tp_value 'unsigned long' ;;
	esac
	for name in sample_period addr; do
		offset=$(printf '#include "ours.h"\nint at = __builtin_offsetof(struct bpf_perf_event_data, %s);\n' "$name" |
			clang -target bpf -I"$work" -x c -S -emit-llvm -o - - | sed -n 's/^@at .* i32 \([0-9]*\),.*/\1/p')
		echo "_Static_assert(__builtin_offsetof(struct bpf_perf_event_data, $name) == $offset, \"$name\");"
	done
} >"$work/check.c"
# The dump's name is free; the program knows it as dump.h.
[ "$dump" = "$work/dump.h" ] || cp "$dump" "$work/dump.h"
clang -target bpf -fsyntax-only -Wno-everything -I"$work" "$work/check.c"
echo "vmlinux: $(grep -c _Static_assert "$work/check.c") facts checked, 0 differ"
