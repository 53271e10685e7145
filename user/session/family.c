// SPDX-License-Identifier: BSD-2-Clause
/* The process tree, from /proc/PID/stat. */
#include "user/session/family.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"
#include "user/discover/discover.h"

/* The parent's pid: the 4th field of /proc/PID/stat (proc(5)), behind the name, which may hold
 * anything. */
static pid_t parent_of(pid_t pid)
{
	char path[32], text[512], *end;
	size_t len;
	int parent = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	in = fopen(path, "re");
	if (!in)
		return 0;
	len = fread(text, 1, sizeof(text) - 1, in);
	fclose(in);
	text[len] = '\0';
	end = strrchr(text, ')');
	return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

static int add_member(pid_t pid, void *arg)
{
	struct family *f = arg;

	if (array_reserve((void **)&f->members, &f->cap, f->cnt + 1, sizeof(*f->members)) != 0)
		return -ENOMEM;
	f->members[f->cnt++] = (struct family_member){.pid = pid, .parent = parent_of(pid)};
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct family_member *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static pid_t root_of(const struct family *f, pid_t pid)
{
	struct family_member key = {.pid = pid};
	const struct family_member *m = bsearch(&key, f->members, f->cnt, sizeof(key), by_pid);

	return m ? m->root : 0;
}

static void mark_roots(struct family *f, const pid_t *roots, uint32_t root_cnt)
{
	for (uint32_t i = 0; i < f->cnt; i++)
		for (uint32_t k = 0; k < root_cnt; k++)
			if (f->members[i].pid == roots[k])
				f->members[i].root = roots[k];
}

/* Hands roots down by one generation more (or several: pids mostly rise). True if anything changed.
 */
static bool hand_down(struct family *f)
{
	bool changed = false;

	for (uint32_t i = 0; i < f->cnt; i++) {
		struct family_member *m = &f->members[i];

		if (m->root)
			continue;
		m->root = root_of(f, m->parent);
		changed = changed || m->root;
	}
	return changed;
}

int family_init(struct family *f, const pid_t *roots, uint32_t root_cnt)
{
	int err;

	*f = (struct family){0};
	err = discover_each_pid(add_member, f);
	if (err) {
		family_release(f);
		return err;
	}
	qsort(f->members, f->cnt, sizeof(*f->members), by_pid);
	mark_roots(f, roots, root_cnt);
	while (hand_down(f))
		;
	return 0;
}

void family_release(struct family *f)
{
	free(f->members);
	*f = (struct family){0};
}
