/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel as those see it who only ask what it holds of a process, and answer: a table of
 * entries and one of layouts. It stands in for user/session/sampler.c: these are the functions of
 * sampler.h that classify.c and processes.c call, so the linker leaves the library's alone. Include
 * after cmocka.h, in one file of a program.
 */
#ifndef KRAIT_TESTS_UNIT_FAKE_SAMPLER_H
#define KRAIT_TESTS_UNIT_FAKE_SAMPLER_H

#include <errno.h>
#include <string.h>

#include "user/session/sampler.h"

#define KERNEL_PROCS 5000

struct kernel_proc {
	pid_t pid;
	struct krait_proc entry;
};

struct sampler {
	struct kernel_proc procs[KERNEL_PROCS];
	uint32_t proc_cnt;
	struct krait_layout layouts[KRAIT_LAYOUTS];
	uint32_t layout_cnt;
	uint32_t classified_cnt; /* answers that it has got */
	bool ends_at_answer;	 /* the process, before the next one comes */
	bool is_any_ready;	 /* what is asked about is a target, whatever it is */
};

/* One for each test: kernel_init empties it. */
static struct sampler kernel;

static inline void kernel_init(void)
{
	kernel.proc_cnt = kernel.layout_cnt = kernel.classified_cnt = 0;
	kernel.ends_at_answer = kernel.is_any_ready = false;
}

/* Its entry, to be looked at and changed; NULL: there is no such process. */
static inline struct krait_proc *kernel_entry(pid_t pid)
{
	for (uint32_t i = 0; i < kernel.proc_cnt; i++)
		if (kernel.procs[i].pid == pid)
			return &kernel.procs[i].entry;
	return NULL;
}

/* A process in this state, with a seed of its own. */
static inline struct krait_proc *kernel_add(pid_t pid, enum krait_proc_state state)
{
	struct kernel_proc *added = &kernel.procs[kernel.proc_cnt];

	assert_true(kernel.proc_cnt < KERNEL_PROCS);
	assert_null(kernel_entry(pid));
	kernel.proc_cnt++;
	*added = (struct kernel_proc){
		.pid = pid,
		.entry = {.mm = 0x1000 + (uint64_t)pid,
			  .seed = 0x2000 + (uint64_t)pid,
			  .state = state},
	};
	return &added->entry;
}

static inline void kernel_remove(pid_t pid)
{
	for (uint32_t i = 0; i < kernel.proc_cnt; i++)
		if (kernel.procs[i].pid == pid)
			kernel.procs[i--] = kernel.procs[--kernel.proc_cnt];
}

int sampler_entry(const struct sampler *s, pid_t pid, struct krait_proc *out)
{
	const struct krait_proc *entry = kernel_entry(pid);

	assert_ptr_equal(s, &kernel);
	/* Without an entry what is in *out is no answer, however good it looks. */
	*out = entry ? *entry : (struct krait_proc){.state = KRAIT_PROC_READY};
	return entry || s->is_any_ready ? 0 : -ENOENT;
}

int sampler_classify(struct sampler *s, pid_t pid, const struct krait_proc *entry)
{
	struct krait_proc *known = kernel_entry(pid);

	s->classified_cnt++;
	if (!known || s->ends_at_answer)
		return -ENOENT;
	*known = *entry;
	return 0;
}

int sampler_layout(struct sampler *s, const struct krait_layout *layout)
{
	for (uint32_t i = 0; i < s->layout_cnt; i++)
		if (memcmp(&s->layouts[i], layout, sizeof(*layout)) == 0)
			return i;
	if (s->layout_cnt == KRAIT_LAYOUTS)
		return -ENOSPC;
	s->layouts[s->layout_cnt] = *layout;
	return s->layout_cnt++;
}

#endif
