/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's types, as far as the BPF program needs them: a build needs no BTF of the machine
 * that it runs on, and a reader sees at a glance what krait reads of the kernel.
 *
 * Fields of the CO-RE structures below are found by *name*: libbpf looks the real offset up in the
 * running kernel's BTF at load, so only the names and the types must be right here; order, gaps and
 * sizes need not be. Structures and constants that are user API (UAPI) are exact instead, and come
 * before the pragma. The README in this folder says how the file was made and how to check it.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <stdbool.h>
#include <stddef.h>

/* include/uapi/asm-generic/int-ll64.h */
typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;

/* include/uapi/linux/types.h; in the prototypes of bpf_helper_defs.h */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

/* ---- UAPI: exact, never relocated ---- */

/* enum bpf_map_type, include/uapi/linux/bpf.h: the kinds that a BPF map definition here may name */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

/* Flags of map creation, bpf_map_update_elem and the ring buffer: include/uapi/linux/bpf.h */
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
	BPF_F_LOCK = 4,
};

enum {
	BPF_F_NO_PREALLOC = 1U << 0,
	BPF_F_NO_COMMON_LRU = 1U << 1,
	BPF_F_RDONLY = 1U << 3,
	BPF_F_RDONLY_PROG = 1U << 7,
	BPF_F_MMAPABLE = 1U << 10,
};

enum {
	BPF_RB_NO_WAKEUP = 1U << 0,
	BPF_RB_FORCE_WAKEUP = 1U << 1,
};

enum {
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
	BPF_RB_CONS_POS = 2,
	BPF_RB_PROD_POS = 3,
};

enum {
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1U << 0,
};

/*
 * Helpers that not every kernel has, for bpf_core_enum_value_exists(enum bpf_func_id, ...):
 * include/uapi/linux/bpf.h. The numbers are fixed; the first kernel is in the comment.
 */
enum bpf_func_id {
	BPF_FUNC_ringbuf_output = 130,	     /* 5.8 */
	BPF_FUNC_task_storage_get = 156,     /* 5.11 */
	BPF_FUNC_get_current_task_btf = 158, /* 5.11 */
	BPF_FUNC_get_attach_cookie = 174,    /* 5.15 */
	BPF_FUNC_loop = 181,		     /* 5.17 */
	BPF_FUNC_copy_from_user_task = 191,  /* 5.18 */
};

/* bpf_user_pt_regs_t, and the CO-RE struct thread_struct of the architecture */
#if defined(__TARGET_ARCH_x86)
#include "vmlinux/x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "vmlinux/arm64.h"
#else
#error "vmlinux: define __TARGET_ARCH_x86 or __TARGET_ARCH_arm64"
#endif

/* include/uapi/linux/bpf_perf_event.h: the context of a perf_event program */
struct bpf_perf_event_data {
	bpf_user_pt_regs_t regs;
	__u64 sample_period;
	__u64 addr;
};

/* ---- CO-RE: found by name in the running kernel ---- */

/* The host's compiler, which builds the walker for tests, knows no such attribute and needs none.
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pid_namespace; /* only its address is used */
struct linux_binprm;  /* only in the arguments of the sched_process_exec tracepoint */

/* include/linux/types.h */
typedef struct {
	int counter;
} atomic_t;

/* include/linux/mm_types.h */
struct mm_struct {
	unsigned long start_stack; /* where the main thread's stack begins, and grows down from */
};

/* include/linux/sched/signal.h */
struct signal_struct {
	atomic_t live; /* threads that have not begun to exit */
};

/* include/linux/pid.h: an id in one namespace */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

/* include/linux/pid.h; before 6.5 numbers[1] */
struct pid {
	unsigned int level;    /* of the namespace that it was made in; 0: the initial one */
	struct upid numbers[]; /* in the namespaces of each level up to that one */
};

/* include/linux/sched.h */
struct task_struct {
	unsigned int flags; /* PF_FORKNOEXEC */
	struct mm_struct *mm;
	int pid;  /* a thread's id, as seen by user space */
	int tgid; /* a process's id */
	struct task_struct *group_leader;
	struct pid *thread_pid; /* NULL once nobody can find the task any more */
	struct signal_struct *signal;
	unsigned long sas_ss_sp; /* sigaltstack(2) */
	size_t sas_ss_size;
	struct thread_struct thread;
};

#pragma clang attribute pop

#endif /* __VMLINUX_H__ */
