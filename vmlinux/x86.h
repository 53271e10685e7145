/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The x86-64 part of vmlinux.h; included only from there.
 */
#ifndef KRAIT_VMLINUX_X86_H
#define KRAIT_VMLINUX_X86_H

/*
 * arch/x86/include/asm/ptrace.h. Exact, not relocated: on x86 it is the head of the context of
 * perf_event programs (include/uapi/asm-generic/bpf_perf_event.h). cs and ss became unions of the
 * same size in 6.9.
 */
struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long cs;
	unsigned long flags;
	unsigned long sp;
	unsigned long ss;
};

typedef struct pt_regs bpf_user_pt_regs_t;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* arch/x86/include/asm/processor.h */
struct thread_struct {
	unsigned long
		fsbase; /* the thread pointer of a task that isn't running, or runs in the kernel */
};

#pragma clang attribute pop

#endif /* KRAIT_VMLINUX_X86_H */
