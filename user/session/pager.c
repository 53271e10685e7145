// SPDX-License-Identifier: BSD-2-Clause
/* Processes that lack memory, in no order: they are few. */
#include "user/session/pager.h"

#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"
#include "user/base/log.h"

struct lacking {
	struct krait_absent_rec rec; /* the last one */
	uint64_t due_ns;	     /* not before */
	uint64_t pause_ns;
	bool is_waiting;
	bool is_given_up;
};

struct pager {
	const struct processes *processes;
	struct lacking *all;
	uint32_t cnt, cap;
	uint32_t open_pid; /* being scanned; 0: none, or it has ended */
	uint32_t failed_cnt;
};

struct pager *pager_new(const struct processes *processes)
{
	struct pager *p = calloc(1, sizeof(*p));

	if (p)
		p->processes = processes;
	return p;
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	free(p->all);
	free(p);
}

static struct lacking *find(struct pager *p, uint32_t pid)
{
	for (uint32_t i = 0; i < p->cnt; i++)
		if (p->all[i].rec.pid == pid)
			return &p->all[i];
	return NULL;
}

static void drop(struct pager *p, struct lacking *l)
{
	*l = p->all[--p->cnt];
}

/* Whether as long as the last pause nothing was lacking after it. */
static bool is_quiet(const struct lacking *l, uint64_t now_ns)
{
	return !l->is_waiting && !l->is_given_up && now_ns > l->due_ns + l->pause_ns;
}

static void drop_quiet(struct pager *p, uint64_t now_ns)
{
	for (uint32_t i = p->cnt; i-- > 0;)
		if (is_quiet(&p->all[i], now_ns) && p->all[i].rec.pid != p->open_pid)
			drop(p, &p->all[i]);
}

void pager_absent(struct pager *p, const struct krait_absent_rec *rec, uint64_t now_ns)
{
	struct lacking *l;

	drop_quiet(p, now_ns);
	l = find(p, rec->pid);
	if (!l) {
		if (p->cnt == PAGER_PROCESSES_MAX ||
		    array_reserve((void **)&p->all, &p->cap, p->cnt + 1, sizeof(*l)) != 0)
			return;
		l = &p->all[p->cnt++];
		*l = (struct lacking){.due_ns = now_ns, .pause_ns = PAGER_PAUSE_NS};
	}
	l->rec = *rec;
	l->is_waiting = !l->is_given_up;
}

void pager_ended(struct pager *p, pid_t pid)
{
	struct lacking *l = find(p, pid);

	if (l)
		drop(p, l);
	if (p->open_pid == (uint32_t)pid)
		p->open_pid = 0;
}

static struct lacking *longest_due(struct pager *p, uint64_t now_ns)
{
	struct lacking *best = NULL;

	for (uint32_t i = 0; i < p->cnt; i++) {
		struct lacking *l = &p->all[i];

		if (l->is_waiting && l->due_ns <= now_ns && (!best || l->due_ns < best->due_ns))
			best = l;
	}
	return best;
}

/* False: it is no target (any more). */
static bool describe(struct pager *p, const struct krait_absent_rec *rec, struct scan_request *out)
{
	const struct cpython *python = processes_find(p->processes, (pid_t)rec->pid);

	if (!python)
		return false;
	out->kind = SCAN_PAGES;
	out->pid = rec->pid;
	out->python = *python;
	out->absent = *rec;
	return true;
}

bool pager_next(struct pager *p, uint64_t now_ns, struct scan_request *out)
{
	struct lacking *l;

	while (p->failed_cnt < PAGER_FAILURES_MAX && (l = longest_due(p, now_ns))) {
		if (!describe(p, &l->rec, out)) {
			drop(p, l);
			continue;
		}
		l->is_waiting = false;
		p->open_pid = l->rec.pid;
		return true;
	}
	return false;
}

uint64_t pager_next_ns(const struct pager *p)
{
	uint64_t next = UINT64_MAX;

	if (p->failed_cnt >= PAGER_FAILURES_MAX)
		return next;
	for (uint32_t i = 0; i < p->cnt; i++)
		if (p->all[i].is_waiting && p->all[i].due_ns < next)
			next = p->all[i].due_ns;
	return next;
}

static void give_up(struct pager *p, struct lacking *l)
{
	p->failed_cnt++;
	if (p->failed_cnt == PAGER_FAILURES_MAX)
		log_warn("record: memory that was paged out is no longer brought back: reading it "
			 "failed %u times",
			 p->failed_cnt);
	if (!l)
		return;
	log_verbose("record: pid %u: its memory could not be read in time", l->rec.pid);
	l->is_given_up = true;
}

void pager_take(struct pager *p, const struct scan_result *r, uint64_t now_ns)
{
	struct lacking *l = p->open_pid ? find(p, p->open_pid) : NULL;

	p->open_pid = 0;
	if (l)
		l->is_waiting = false; /* what was told meanwhile, it had not come so far */
	if (r->err)
		give_up(p, l);
	if (!l)
		return;
	l->pause_ns = r->page_cnt ? PAGER_PAUSE_NS : 2 * l->pause_ns;
	if (l->pause_ns > PAGER_PAUSE_MAX_NS)
		l->pause_ns = PAGER_PAUSE_MAX_NS;
	l->due_ns = now_ns + l->pause_ns;
}
