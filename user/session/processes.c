// SPDX-License-Identifier: BSD-2-Clause
/* An array whose elements keep their places, a list of the free ones, and an index by pid. */
#include "user/session/processes.h"

#include <stdlib.h>

#include "user/base/array.h"
#include "user/base/index.h"

/* Twice what the kernel follows at once (bpf/maps.h): at least half of so many have ended without a
 * record that said so. */
#define PROCESSES_MAX 32768

struct process {
	pid_t pid;	    /* 0: free, */
	uint32_t next_free; /* as is this one, unless it is INDEX_NONE */
	struct cpython python;
};

struct processes {
	const struct sampler *sampler;
	struct process *all;
	uint32_t cnt, cap; /* the free ones included */
	uint32_t first_free;
	struct index by_pid;
};

struct processes *processes_new(const struct sampler *sampler)
{
	struct processes *p = calloc(1, sizeof(*p));

	if (p)
		*p = (struct processes){.sampler = sampler, .first_free = INDEX_NONE};
	return p;
}

void processes_free(struct processes *p)
{
	if (!p)
		return;
	index_release(&p->by_pid);
	free(p->all);
	free(p);
}

static uint64_t hash_of(pid_t pid)
{
	return hash_pair(pid, 0);
}

/* Its num is INDEX_NONE: it is not known. */
static struct index_iter find(const struct processes *p, pid_t pid)
{
	struct index_iter it = index_first(&p->by_pid, hash_of(pid));

	while (it.num != INDEX_NONE && p->all[it.num].pid != pid)
		index_next(&p->by_pid, &it);
	return it;
}

const struct cpython *processes_find(const struct processes *p, pid_t pid)
{
	struct index_iter it = find(p, pid);

	return it.num != INDEX_NONE ? &p->all[it.num].python : NULL;
}

void processes_ended(struct processes *p, pid_t pid)
{
	struct index_iter it = find(p, pid);

	if (it.num == INDEX_NONE)
		return;
	index_remove(&p->by_pid, &it);
	p->all[it.num] = (struct process){.next_free = p->first_free};
	p->first_free = it.num;
}

/* Those that are no targets any more, as the kernel has it. */
static void drop_ended(struct processes *p)
{
	struct krait_proc entry;

	for (uint32_t i = 0; i < p->cnt; i++)
		if (p->all[i].pid && (sampler_entry(p->sampler, p->all[i].pid, &entry) != 0 ||
				      entry.state != KRAIT_PROC_READY))
			processes_ended(p, p->all[i].pid);
}

/* A free place, which is still in the list of those; INDEX_NONE: there is none to be had. */
static uint32_t free_place(struct processes *p)
{
	if (p->first_free == INDEX_NONE && p->cnt == PROCESSES_MAX)
		drop_ended(p);
	if (p->first_free != INDEX_NONE || p->cnt == PROCESSES_MAX ||
	    array_reserve((void **)&p->all, &p->cap, p->cnt + 1, sizeof(*p->all)) != 0)
		return p->first_free;
	p->all[p->cnt] = (struct process){.next_free = INDEX_NONE};
	p->first_free = p->cnt++;
	return p->first_free;
}

void processes_ready(struct processes *p, pid_t pid, const struct cpython *python)
{
	uint32_t num = find(p, pid).num;

	if (num == INDEX_NONE) {
		num = free_place(p);
		if (num == INDEX_NONE || index_add(&p->by_pid, hash_of(pid), num) != 0)
			return;
		p->first_free = p->all[num].next_free;
		p->all[num].pid = pid;
	}
	p->all[num].python = *python;
}

void processes_forked(struct processes *p, pid_t parent, pid_t child)
{
	const struct cpython *known = processes_find(p, parent);
	struct cpython copy;

	if (!known) {
		processes_ended(p, child);
		return;
	}
	copy = *known; /* what is borrowed may move */
	processes_ready(p, child, &copy);
}
