/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is profiled, or listed: one rule for record, ps, and what follows processes in the kernel.
 *
 * A process is selected if it is one of `pids` or, with_children, descends from one (without pids:
 * any is), and if it is called `comm` where that says a name. What a command becomes is selected by
 * its pid, once it has one.
 */
#ifndef KRAIT_SESSION_SELECTION_H
#define KRAIT_SESSION_SELECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/control.h"

struct selection {
	const pid_t *pids; /* borrowed; none: any process */
	uint32_t pid_cnt;
	const char *comm; /* as in /proc/PID/comm; borrowed; NULL: any */
	bool is_command;  /* nothing that runs already is */
	bool with_children;
};

/* What a BPF program decides by itself. */
struct krait_selection selection_of_kernel(const struct selection *who);

/* Who is selected, in words: "all", "pid 12,13", "comm x", or the words of the command that is
 * started (NULL: none). The caller frees; NULL without memory. */
char *selection_text(const struct selection *who, char *const *command);

/* Whether a process of this name is selected, if its pid is. */
bool selection_has_comm(const struct selection *who, const char *comm);

struct selected {
	pid_t pid, parent;
	pid_t root; /* which of the pids it is or descends from; 0: any process is selected */
};

/* The processes that are selected by their pids at this moment, by rising pid. (From then on the
 * kernel tells of forks.) All zero is an empty one. */
struct selected_list {
	struct selected *v;
	uint32_t cnt, cap;
};

/* Reads /proc. 0 or -errno. The caller releases the list in any case. */
int selection_find(const struct selection *who, struct selected_list *out);
void selected_release(struct selected_list *list);

#endif
