/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small part of the kernel's BTF (its type information) that relocating our BPF program takes.
 *
 * Given a BTF of a hundred thousand types, libbpf (btf__load_vmlinux_btf) reads, indexes and
 * searches all of them, for the offsets of ten fields. Given this part, it has nothing to search.
 * That is why there is a second reader of BTF: without it a run takes 14.6 MB of memory at most
 * instead of 6.9, and its start 71 ms of CPU instead of 63 (Linux 6.18, 130,000 types, medians of
 * seven in turn). That much is freed again right after the load, but a container has to have room
 * for it, and krait's bar is 8 MB (tests/bench). The time alone would not be worth it.
 */
#ifndef KRAIT_SESSION_KERNEL_BTF_H
#define KRAIT_SESSION_KERNEL_BTF_H

#include <bpf/btf.h>

#define KERNEL_BTF_PATH "/sys/kernel/btf/vmlinux"

/*
 * Reads the BTF file open as `fd` and makes one of only the structures of the kernel that `ours`,
 * the BTF of our program, declares (vmlinux/vmlinux.h), each with only the members that it declares
 * there. Returns an open, unnamed file with it, which the caller closes, or -errno: -EBADMSG (not a
 * BTF, or damaged), -ENOENT (a structure or a member is missing), -ENOTUNIQ (there are two
 * structures of a name), -EOPNOTSUPP (a member of a kind that is not foreseen: bit fields, arrays,
 * enums), else an error of the system. Nothing is logged: on any error give libbpf the whole file.
 */
int kernel_btf_part(int fd, const struct btf *ours);

#endif
