/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arm64 part of vmlinux.h; included only from there.
 */
#ifndef KRAIT_VMLINUX_ARM64_H
#define KRAIT_VMLINUX_ARM64_H

/* arch/arm64/include/uapi/asm/ptrace.h; exact, the head of the context of perf_event programs */
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};

/* arch/arm64/include/uapi/asm/bpf_perf_event.h */
typedef struct user_pt_regs bpf_user_pt_regs_t;

struct pt_regs; /* the kernel's own, which starts with a user_pt_regs; only in prototypes */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* arch/arm64/include/asm/processor.h; uw is a named struct since 4.17 */
struct thread_struct {
	struct {
		unsigned long tp_value; /* TPIDR_EL0, the thread pointer */
	} uw;
};

#pragma clang attribute pop

#endif /* KRAIT_VMLINUX_ARM64_H */
