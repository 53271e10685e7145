// SPDX-License-Identifier: BSD-2-Clause
/* Who descends from whom is told by the 4th field of /proc/PID/stat, proc(5). */
#include "user/session/selection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi/record.h"
#include "user/base/array.h"
#include "user/base/strbuf.h"
#include "user/proc/procfs.h"

struct krait_selection selection_of_kernel(const struct selection *who)
{
	return (struct krait_selection){
		.is_open = !who->pid_cnt && !who->is_command,
		.with_children = who->with_children,
	};
}

char *selection_text(const struct selection *who, char *const *command)
{
	struct strbuf text = {};

	if (command) {
		for (char *const *arg = command; *arg; arg++)
			strbuf_addf(&text, "%s%s", arg == command ? "" : " ", *arg);
	} else if (who->pid_cnt) {
		for (uint32_t i = 0; i < who->pid_cnt; i++)
			strbuf_addf(&text, "%s%d", i ? "," : "pid ", who->pids[i]);
	} else if (who->comm) {
		strbuf_addf(&text, "comm %s", who->comm);
	} else {
		strbuf_add_str(&text, "all");
	}
	return text.failed ? (strbuf_release(&text), NULL) : text.buf;
}

bool selection_has_comm(const struct selection *who, const char *comm)
{
	return !who->comm || strncmp(who->comm, comm, KRAIT_COMM_BYTES - 1) == 0;
}

/* ---- Processes by pid ---- */

/* The field is behind the name, which may hold anything. */
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

static int add_process(pid_t pid, void *arg)
{
	struct selected_list *list = arg;

	if (array_reserve((void **)&list->v, &list->cap, list->cnt + 1, sizeof(*list->v)) != 0)
		return -ENOMEM;
	list->v[list->cnt++] = (struct selected){.pid = pid};
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct selected *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static pid_t root_of(const struct selected_list *list, pid_t pid)
{
	struct selected key = {.pid = pid};
	const struct selected *s = bsearch(&key, list->v, list->cnt, sizeof(key), by_pid);

	return s ? s->root : 0;
}

static void mark_roots(struct selected_list *list, const struct selection *who)
{
	for (uint32_t i = 0; i < list->cnt; i++)
		for (uint32_t k = 0; k < who->pid_cnt; k++)
			if (list->v[i].pid == who->pids[k])
				list->v[i].root = who->pids[k];
}

/* Hands roots down by one generation more (or several: pids mostly rise). True if anything changed.
 */
static bool hand_down(struct selected_list *list)
{
	bool changed = false;

	for (uint32_t i = 0; i < list->cnt; i++) {
		struct selected *s = &list->v[i];

		if (s->root)
			continue;
		s->root = root_of(list, s->parent);
		changed = changed || s->root;
	}
	return changed;
}

static void mark_descendants(struct selected_list *list)
{
	for (uint32_t i = 0; i < list->cnt; i++)
		list->v[i].parent = parent_of(list->v[i].pid);
	while (hand_down(list))
		;
}

static void keep_rooted(struct selected_list *list)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->cnt; i++)
		if (list->v[i].root)
			list->v[kept++] = list->v[i];
	list->cnt = kept;
}

int selection_find(const struct selection *who, struct selected_list *out)
{
	int err;

	*out = (struct selected_list){0};
	if (who->is_command)
		return 0;
	err = procfs_each_pid(add_process, out);
	if (err)
		return err;
	if (out->cnt)
		qsort(out->v, out->cnt, sizeof(*out->v), by_pid);
	if (!who->pid_cnt)
		return 0;
	mark_roots(out, who);
	if (who->with_children)
		mark_descendants(out);
	keep_rooted(out);
	return 0;
}

void selected_release(struct selected_list *list)
{
	free(list->v);
	*list = (struct selected_list){0};
}
