/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of the program. Sizes that say 1 are set by user space before the load
 * (user/session/map_sizes.c), by the CPUs that there is room for, their levels, the rate and
 * --max-depth.
 *
 * | map          | key → value                        | written by            | read by         |
 * |--------------|------------------------------------|-----------------------|-----------------|
 * | ring         | records but samples                | every program         | user space      |
 * | samples      | slot → krait_sample_rec, a ring    | the tick              | user space,     |
 * |              | for each level of a CPU (level.h)  |                       | mapped          |
 * | procs        | pid → krait_proc                   | the tick, fork, exec, | the tick, fork, |
 * |              |                                    | exit; user space      | user space      |
 * | layouts      | number → krait_layout              | user space            | the tick        |
 * | scratches    | level of a CPU → scratch: counters,| the tick; exec, exit: | the tick; the   |
 * |              | what the last ticks hit, its memory| counters              | counters: user  |
 * |              |                                    |                       | space, mapped   |
 * | stack_       | level of a CPU → the STACK record  | the tick              | the tick        |
 * | scratches    | in the making                      |                       |                 |
 * | sent_stacks, | hash → ids that user space has:    | the tick              | the tick        |
 * | sent_codes   | what is not in there is sent again |                       |                 |
 * | known_stacks,| hash → what was found to be true   | the tick              | the tick        |
 * | known_codes  | in this epoch, or for two; else it |                       |                 |
 * |              | is read and verified again         |                       |                 |
 * | threads      | task → thread_memo: where its      | the tick              | the tick        |
 * |              | Python thread state was            |                       |                 |
 *
 * Arrays that are hashed into have no lock and no allocation: a collision costs work, or a record
 * sent twice, and is never wrong. Plain arrays stand where a per-CPU map could: its values may not
 * exceed 32 KB, and can't be mapped.
 */
#ifndef KRAIT_MAPS_H
#define KRAIT_MAPS_H

#include "bpf/state.h"

/* Processes that are followed at once; beyond it they are counted (PROCS_FULL). */
#define PROCS_MAX 16384

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

/* The longest kind of sample that a program here sends: those of other events are longer. */
#ifndef KRAIT_SAMPLE_SLOT
#define KRAIT_SAMPLE_SLOT struct krait_sample_rec
#endif

/* The rings of samples: control.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* user space: levels of CPUs times slots */
	__type(key, __u32);
	__type(value, KRAIT_SAMPLE_SLOT);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KRAIT_LAYOUTS);
	__type(key, __u32);
	__type(value, struct krait_layout);
} layouts SEC(".maps");

/* One per level of a CPU, as plain arrays: a per-CPU map's value may not exceed 32 KB
 * (PCPU_MIN_UNIT_SIZE). An array that can be mapped starts on a page of its own; user space reads
 * the counters there. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* user space: levels of the CPUs that there is room for */
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* user space: levels of the CPUs that there is room for */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct krait_stack_rec)); /* user space: and stack_room */
} stack_scratches SEC(".maps");

/* Powers of two: a mask makes the slot. What does not fit is looked at or sent again, never wrong.
 */
#define STACK_SLOTS (1 << 15)
#define CODE_SLOTS (1 << 15)
#define STACK_SETS (1 << 13) /* 512 KB */
#define KNOWN_SETS (1 << 13) /* 1 MB */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STACK_SLOTS);
	__type(key, __u32);
	__type(value, struct sent_pair);
} sent_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CODE_SLOTS);
	__type(key, __u32);
	__type(value, struct sent_pair);
} sent_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* for the alignment: a set is a cache line */
	__uint(max_entries, STACK_SETS);
	__type(key, __u32);
	__type(value, struct stack_set);
} known_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KNOWN_SETS);
	__type(key, __u32);
	__type(value, struct known_set);
} known_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_memo);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROCS_MAX);
	__type(key, __u32);
	__type(value, struct krait_proc);
} procs SEC(".maps");

#endif
