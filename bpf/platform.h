/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few things that the walker needs of the world, so that the same sources run in the kernel
 * and, compiled for the host with KRAIT_HOST, over captured memory with injected faults
 * (tests/host).
 */
#ifndef KRAIT_PLATFORM_H
#define KRAIT_PLATFORM_H

#ifdef KRAIT_HOST
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define KRAIT_GLOBAL static
#define KRAIT_CONFIG
#undef __always_inline /* libc and linux/stddef.h have one each */
#define __always_inline inline __attribute__((always_inline))
/* Keeps a value's bounds in sight of the verifier; nothing to do for a host. */
#define keep_bounds(var) ((void)0)
#define keep_max(var, max) ((void)((var) = (var) > (max) ? (max) : (var)))

/* Copies n bytes of the target at addr; 0, or negative if they are not all readable. The test
 * provides it. */
long platform_read_user(void *dst, __u32 n, __u64 addr);
/* Sends a record. 0, or negative if there was no room. The test provides it. */
long platform_send(void *record, __u32 n, bool wake);
void platform_count(__u32 counter, __u64 n);
struct scratch;
struct thread_memo *memo_get(struct scratch *s);
bool platform_stack(struct scratch *s);
void platform_note_crossed(struct scratch *s);
struct krait_stack_rec *stack_get(struct scratch *s);
struct sent_pair *sent_code_get(__u64 id);
struct known_set *known_code_get(__u64 key);
struct krait_proc *proc_entry_get(__u32 pid);

#else
#include "vmlinux/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* A BPF global function: the verifier checks it once, by itself, however often it is called in a
 * loop. That is what bounds the verifier's work on a walk of 8,192 frames, on kernels without
 * bpf_loop too. It takes a pointer for one that may be NULL, so each asks first. */
#define KRAIT_GLOBAL __attribute__((noinline))
/* A constant of the load: in .rodata, so the verifier knows its value. */
#define KRAIT_CONFIG const volatile
#define keep_bounds(var) asm volatile("" : "+r"(var))
/* Bounds a __u64 from above, so that a verifier sees it whatever the compiler does: of a variable
 * in memory that of 6.1 knows no more than before, if the comparison was made in a register. */
#define keep_max(var, max) asm volatile("if %0 <= %1 goto +1\n%0 = %1" : "+r"(var) : "i"(max))

#define platform_read_user(dst, n, addr) bpf_probe_read_user(dst, n, (const void *)(addr))
#endif

#include "bpf/abi/control.h"
#include "bpf/abi/ledger.h"
#include "bpf/abi/record.h"

/* The word at p, which need not be aligned. BPF takes it as it is on the architectures that krait
 * runs on (the verifier would refuse it elsewhere); C does not. */
static __always_inline __u64 word_at(const __u8 *p)
{
#ifdef KRAIT_HOST
	__u64 word;

	__builtin_memcpy(&word, p, sizeof(word));
	return word;
#else
	return *(const __u64 *)p;
#endif
}

/* A 64-bit mix with full avalanche (the finalizer of splitmix64; S. Vigna, public domain
 * constants). */
static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

#endif
