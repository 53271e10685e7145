// SPDX-License-Identifier: BSD-2-Clause
/* Questions about processes, and their answers: a scan's result turned into what the BPF side acts
 * on. */
#include "user/session/classify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"
#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/proc/pid_ns.h"

#define AGAIN_MIN_NS 1000000ULL	  /* an interpreter takes some 10 ms to start */
#define AGAIN_MAX_NS 512000000ULL /* an embedding program may take its time */
/* A scan is not repeated before so many times what it took have passed: 1.5 % of a CPU. */
#define AGAIN_COSTS 64
/* More questions than this at once: the kernel asks again about those that go. */
#define QUESTIONS_MAX 4096
/* bpf/process.h doubles a process's pause between two questions up to here, ASK_AGAIN_MAX_MS. */
#define SELDOM_MS 8192

struct question {
	pid_t pid;
	uint64_t asked_ns;
	uint64_t due_ns;   /* not before */
	uint64_t pause_ns; /* of an interpreter that is starting; 0: the first time */
};

struct classifier {
	struct sampler *sampler;
	struct processes *processes;
	const struct selection *who;
	struct session_result *result;
	int (*emit)(const struct krait_hdr *rec, void *arg);
	void *arg;
	struct question *questions;
	uint32_t cnt, cap;
	struct question open; /* being scanned; pid 0: none */
	uint64_t open_seed;   /* of the process that the question is about */
	bool is_open_asked;   /* the kernel asked again meanwhile */
};

struct classifier *classifier_new(struct sampler *sampler, struct processes *processes,
				  const struct selection *who, struct session_result *result,
				  int (*emit)(const struct krait_hdr *rec, void *arg), void *arg)
{
	struct classifier *c = calloc(1, sizeof(*c));

	if (c)
		*c = (struct classifier){.sampler = sampler,
					 .processes = processes,
					 .who = who,
					 .result = result,
					 .emit = emit,
					 .arg = arg};
	return c;
}

void classifier_free(struct classifier *c)
{
	if (!c)
		return;
	free(c->questions);
	free(c);
}

/* ---- Questions ---- */

static struct question *find(struct classifier *c, pid_t pid)
{
	for (uint32_t i = 0; i < c->cnt; i++)
		if (c->questions[i].pid == pid)
			return &c->questions[i];
	return NULL;
}

static void drop(struct classifier *c, struct question *q)
{
	*q = c->questions[--c->cnt];
}

static struct question *longest_unasked(struct classifier *c)
{
	struct question *oldest = &c->questions[0];

	for (uint32_t i = 1; i < c->cnt; i++)
		if (c->questions[i].asked_ns < oldest->asked_ns)
			oldest = &c->questions[i];
	return oldest;
}

/* One about a pid that no question is about. Without memory it is dropped: the kernel asks again.
 */
static void add(struct classifier *c, const struct question *q)
{
	if (c->cnt == QUESTIONS_MAX)
		drop(c, longest_unasked(c));
	if (array_reserve((void **)&c->questions, &c->cap, c->cnt + 1, sizeof(*q)) == 0)
		c->questions[c->cnt++] = *q;
}

void classifier_ask(struct classifier *c, pid_t pid, uint64_t now_ns)
{
	struct question *q = find(c, pid);

	if (pid == c->open.pid)
		c->is_open_asked = true;
	else if (q)
		q->asked_ns = now_ns;
	else
		add(c, &(struct question){.pid = pid, .asked_ns = now_ns, .due_ns = now_ns});
}

void classifier_forked(struct classifier *c, pid_t parent, pid_t pid, uint64_t now_ns)
{
	struct krait_proc entry;

	processes_forked(c->processes, parent, pid);
	if (sampler_entry(c->sampler, pid, &entry) == 0 && entry.state == KRAIT_PROC_STARTING)
		classifier_ask(c, pid, now_ns);
}

/* The due one that was asked about last. */
static struct question *most_urgent(struct classifier *c, uint64_t now_ns)
{
	struct question *best = NULL;

	for (uint32_t i = 0; i < c->cnt; i++) {
		struct question *q = &c->questions[i];

		if (q->due_ns <= now_ns && (!best || q->asked_ns > best->asked_ns))
			best = q;
	}
	return best;
}

bool classifier_next(struct classifier *c, uint64_t now_ns, struct scan_request *out)
{
	struct krait_proc entry;
	struct question *q;

	while ((q = most_urgent(c, now_ns))) {
		struct question open = *q;

		drop(c, q);
		if (sampler_entry(c->sampler, open.pid, &entry) != 0 ||
		    entry.state >= KRAIT_PROC_UNSUPPORTED)
			continue;
		processes_ended(c->processes, open.pid); /* whatever it was */
		c->open = open;
		c->open_seed = entry.seed;
		c->is_open_asked = false;
		out->kind = SCAN_PROCESS;
		out->pid = open.pid;
		return true;
	}
	return false;
}

uint64_t classifier_next_ns(const struct classifier *c)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < c->cnt; i++)
		if (c->questions[i].due_ns < next)
			next = c->questions[i].due_ns;
	return next;
}

/* ---- Answers ---- */

/* The INFO record of a target: its version and command line. */
static int emit_info(struct classifier *c, const struct scan_result *r)
{
	struct {
		struct krait_process_rec rec;
		char text[SCAN_CMDLINE_BYTES];
	} info = {};
	const struct target *t = &r->target;
	uint32_t len = r->text_bytes < sizeof(info.text) ? r->text_bytes : sizeof(info.text);

	info.rec.what = KRAIT_PROCESS_INFO;
	info.rec.h.kind = KRAIT_PROCESS;
	info.rec.time_ns = clock_ns(CLOCK_MONOTONIC);
	info.rec.pid = info.rec.tid = t->pid;
	info.rec.py_version = t->python.version;
	memcpy(info.rec.comm, t->comm, sizeof(info.rec.comm));
	memcpy(info.text, r->text, len);
	info.rec.text_bytes = len;
	info.rec.h.bytes = (sizeof(info.rec) + len + 7) & ~7U;
	return c->emit(&info.rec.h, c->arg);
}

static void note_refusal(struct classifier *c, pid_t pid, const char *why, bool is_forbidden)
{
	struct session_result *r = c->result;
	struct session_refusal *refusal;

	log_verbose("record: pid %d: %s", pid, why);
	for (uint32_t i = 0; i < r->refusal_cnt; i++)
		if (strcmp(r->refusals[i].why, why) == 0) {
			r->refusals[i].process_cnt++;
			return;
		}
	if (r->refusal_cnt == SESSION_REFUSALS) {
		r->others_refused++;
		return;
	}
	refusal = &r->refusals[r->refusal_cnt++];
	*refusal = (struct session_refusal){
		.process_cnt = 1, .an_example_pid = pid, .is_forbidden = is_forbidden};
	snprintf(refusal->why, sizeof(refusal->why), "%s", why);
}

/* A target: its layout goes to the kernel, its command line to the sink. */
static int take_ready(struct classifier *c, const struct scan_result *r, struct krait_proc *entry)
{
	const struct target *t = &r->target;
	int layout_idx = sampler_layout(c->sampler, &t->python.walk);

	if (layout_idx < 0) {
		log_warn(
			"record: pid %d: more than %d kinds of interpreter at once; it is left out",
			t->pid, KRAIT_LAYOUTS);
		entry->state = KRAIT_PROC_UNSUPPORTED;
		return 0;
	}
	log_verbose("record: pid %d is Python %u.%u.%u, by %s", t->pid, t->python.version >> 24,
		    t->python.version >> 16 & 0xff, t->python.version >> 8 & 0xff, t->how);
	entry->state = KRAIT_PROC_READY;
	entry->absent_at_ns = 0;
	entry->layout_idx = layout_idx;
	entry->addrs = t->python.addrs;
	c->result->python_cnt++;
	return emit_info(c, r);
}

/* What is to be asked again: a scan that met a starting interpreter. */
static void ask_again(struct classifier *c, uint64_t cost_ns, uint64_t now_ns)
{
	struct question q = c->open;

	q.pause_ns = q.pause_ns ? 2 * q.pause_ns : AGAIN_MIN_NS;
	if (q.pause_ns > AGAIN_MAX_NS)
		q.pause_ns = AGAIN_MAX_NS;
	q.due_ns = now_ns + q.pause_ns + cost_ns;
	add(c, &q);
}

/* A scan that came to no end says nothing of the process; it is not tried again soon. */
static void take_failure(struct classifier *c, int err, struct krait_proc *entry, uint64_t now_ns)
{
	if (err == -ETIME)
		note_refusal(c, c->open.pid,
			     "what it is can't be told: its files or memory could not be read in "
			     "time",
			     false);
	else if (err == -ECHILD)
		note_refusal(c, c->open.pid,
			     "what it is can't be told: reading its files or memory crashed "
			     "(please report this as a bug of krait)",
			     false);
	else
		log_warn("record: scan pid %d: %s", c->open.pid, strerror(-err));
	entry->state = KRAIT_PROC_IGNORED;
	entry->ask_again_ms = SELDOM_MS;
	entry->ask_at_ns = now_ns + SELDOM_MS * NS_PER_MS;
}

/* Fills in the state, and what belongs to it. */
static int fill_in(struct classifier *c, const struct scan_result *r, struct krait_proc *entry,
		   uint64_t now_ns)
{
	const struct target *t = &r->target;

	entry->state = KRAIT_PROC_IGNORED;
	if (r->err) {
		take_failure(c, r->err, entry, now_ns);
		return 0;
	}
	if (!selection_has_comm(c->who, t->comm))
		return 0;
	switch (t->state) {
	case TARGET_READY:
		return take_ready(c, r, entry);
	case TARGET_STARTING:
		entry->state = KRAIT_PROC_STARTING;
		ask_again(c, r->cost_ns, now_ns);
		return 0;
	case TARGET_UNSUPPORTED:
	case TARGET_FORBIDDEN:
		entry->state = KRAIT_PROC_UNSUPPORTED;
		note_refusal(c, t->pid, t->why, t->state == TARGET_FORBIDDEN);
		return 0;
	default:
		return 0;
	}
}

/* The ticks before now were on a target, or on another process: for both sides of the ledger. */
static void settle_ticks(struct classifier *c, uint64_t ticks, uint16_t state)
{
	if (state == KRAIT_PROC_IGNORED)
		c->result->rejected_ticks += ticks;
	else
		c->result->early_ticks += ticks;
}

int classifier_take(struct classifier *c, const struct scan_result *r, uint64_t now_ns)
{
	struct krait_proc entry;
	uint64_t unknown_ticks, again_ns = now_ns + AGAIN_COSTS * r->cost_ns;
	pid_t pid = c->open.pid;
	int err;

	/* The kernel's entry as it is now: what it wrote there while the scan went on, when to ask
	 * again, stays. */
	if (sampler_entry(c->sampler, pid, &entry) != 0) {
		c->open.pid = 0;
		return 0;
	}
	if (entry.seed != c->open_seed) {
		/* The process has called exec, or the pid is another's. */
		c->open.pid = 0;
		if (c->is_open_asked)
			classifier_ask(c, pid, now_ns);
		return 0;
	}
	unknown_ticks = entry.state == KRAIT_PROC_UNKNOWN ? entry.unknown_ticks : 0;
	entry.unknown_ticks = 0;
	err = fill_in(c, r, &entry, now_ns);
	settle_ticks(c, unknown_ticks, entry.state);
	if (entry.state != KRAIT_PROC_READY && entry.ask_at_ns < again_ns)
		entry.ask_at_ns = again_ns;
	if (sampler_classify(c->sampler, pid, &entry) == 0 && entry.state == KRAIT_PROC_READY)
		processes_ready(c->processes, pid, &r->target.python);
	c->open.pid = 0;
	return err;
}

/* ---- Those asked for by pid ---- */

int classifier_check(const struct scan_result *r, bool has_children)
{
	const struct target *t = &r->target;
	pid_t pid = t->pid;

	if (r->err) {
		log_error("record: scan pid %d: %s", pid, strerror(-r->err));
		return r->err;
	}
	switch (t->state) {
	case TARGET_READY:
	case TARGET_STARTING:
		return 0;
	case TARGET_GONE:
		log_error("record: pid %d: no such process %s (krait ps lists the Python "
			  "processes)",
			  pid, pid_ns_where());
		return -ESRCH;
	case TARGET_KERNEL:
		log_error("record: pid %d is a kernel thread, which runs no Python (see krait ps)",
			  pid);
		return -ESRCH;
	case TARGET_NOT_PYTHON:
		if (has_children)
			return 0;
		log_error("record: pid %d (%.15s) is no Python process (krait ps lists those)", pid,
			  t->comm);
		return -ESRCH;
	default:
		log_error("record: pid %d: %s", pid, t->why);
		return t->state == TARGET_FORBIDDEN ? -EPERM : -ESRCH;
	}
}
