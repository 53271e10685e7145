// SPDX-License-Identifier: BSD-2-Clause
/* Verdicts on processes: discovery's answer turned into what the BPF side acts on. */
#include "user/session/judge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/base/array.h"
#include "user/base/log.h"
#include "user/discover/discover.h"

#define AGAIN_MIN_NS 1000000ULL	  /* an interpreter takes some 10 ms to start */
#define AGAIN_MAX_NS 512000000ULL /* an embedding program may take its time */
#define CMDLINE_BYTES 4096	  /* of a command line that is kept */

/* An interpreter that was starting when it was looked at. */
struct pending {
	pid_t pid;
	uint64_t at_ns, pause_ns;
};

struct judge {
	struct sampler *sampler;
	struct namer *namer;
	struct discover *discover;
	const struct session_opts *opts;
	struct session_result *result;
	int (*emit)(const struct krait_hdr *rec, void *arg);
	void *arg;
	struct pending *pending;
	uint32_t pending_cnt, pending_cap;
};

static uint64_t now_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

struct judge *judge_new(struct sampler *sampler, struct namer *namer,
			const struct session_opts *opts, struct session_result *result,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg)
{
	struct judge *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	*j = (struct judge){.sampler = sampler,
			    .namer = namer,
			    .opts = opts,
			    .result = result,
			    .emit = emit,
			    .arg = arg};
	j->discover = discover_new();
	if (j->discover)
		return j;
	free(j);
	return NULL;
}

void judge_free(struct judge *j)
{
	if (!j)
		return;
	discover_free(j->discover);
	free(j->pending);
	free(j);
}

/* The INFO record of a target: its version and command line. */
static int emit_info(struct judge *j, const struct target *t)
{
	struct {
		struct krait_process_rec rec;
		char text[CMDLINE_BYTES];
	} info = {};
	ssize_t len = discover_cmdline(t->pid, info.text, sizeof(info.text));

	info.rec.what = KRAIT_PROCESS_INFO;
	info.rec.h.kind = KRAIT_PROCESS;
	info.rec.time_ns = now_mono_ns();
	info.rec.pid = info.rec.tid = t->pid;
	info.rec.py_version = t->py_version;
	memcpy(info.rec.comm, t->comm, sizeof(info.rec.comm));
	info.rec.text_bytes = len > 0 ? len : 0;
	info.rec.h.bytes = (sizeof(info.rec) + info.rec.text_bytes + 7) & ~7U;
	return j->emit(&info.rec.h, j->arg);
}

static void note_refusal(struct judge *j, const struct target *t)
{
	struct session_result *r = j->result;

	log_verbose("record: pid %d: %s", t->pid, t->why);
	for (uint32_t i = 0; i < r->refusal_cnt; i++)
		if (strcmp(r->refusals[i].why, t->why) == 0) {
			r->refusals[i].process_cnt++;
			return;
		}
	if (r->refusal_cnt == SESSION_REFUSALS)
		return;
	r->refusals[r->refusal_cnt] =
		(struct session_refusal){.process_cnt = 1, .an_example_pid = t->pid};
	memcpy(r->refusals[r->refusal_cnt++].why, t->why, sizeof(t->why));
}

static struct pending *pending_find(struct judge *j, pid_t pid)
{
	for (uint32_t i = 0; i < j->pending_cnt; i++)
		if (j->pending[i].pid == pid)
			return &j->pending[i];
	return NULL;
}

static void pending_add(struct judge *j, pid_t pid)
{
	struct pending *p = pending_find(j, pid);

	if (!p) {
		if (array_reserve((void **)&j->pending, &j->pending_cap, j->pending_cnt + 1,
				  sizeof(*j->pending)) != 0)
			return;
		p = &j->pending[j->pending_cnt++];
		*p = (struct pending){.pid = pid, .pause_ns = AGAIN_MIN_NS / 2};
	}
	if (p->pause_ns < AGAIN_MAX_NS)
		p->pause_ns *= 2;
	p->at_ns = now_mono_ns() + p->pause_ns;
}

static void pending_drop(struct judge *j, pid_t pid)
{
	struct pending *p = pending_find(j, pid);

	if (p)
		*p = j->pending[--j->pending_cnt];
}

/* A target: its layout goes to the kernel, its command line to the sink. */
static int judge_ready(struct judge *j, const struct target *t, struct krait_proc *verdict)
{
	int layout_idx = sampler_layout(j->sampler, &t->layout);

	if (layout_idx < 0) {
		log_warn(
			"record: pid %d: more than %d kinds of interpreter at once; it is left out",
			t->pid, KRAIT_LAYOUTS);
		verdict->state = KRAIT_PROC_UNSUPPORTED;
		return 0;
	}
	log_verbose("record: pid %d is Python %u.%u.%u, by %s", t->pid, t->py_version >> 24,
		    t->py_version >> 16 & 0xff, t->py_version >> 8 & 0xff, t->how);
	verdict->state = KRAIT_PROC_READY;
	verdict->layout_idx = layout_idx;
	verdict->interp_head_addr = t->interp_head_addr;
	verdict->code_type_addr = t->code_type_addr;
	verdict->current_addr = t->current_addr;
	verdict->collecting_addr = t->collecting_addr;
	verdict->runtime_addr = t->runtime_addr;
	verdict->runtime_bytes = t->runtime_bytes;
	verdict->eval_addr = t->eval_addr;
	verdict->eval_bytes = t->eval_bytes;
	j->result->python_cnt++;
	if (j->namer)
		namer_layout(j->namer, layout_idx, t);
	return emit_info(j, t);
}

static bool is_wanted(const struct judge *j, const struct target *t)
{
	return !j->opts->comm || strncmp(j->opts->comm, t->comm, KRAIT_COMM_BYTES - 1) == 0;
}

/* Fills in the state, and what belongs to it, from what discovery found. */
static int verdict_of(struct judge *j, const struct target *t, struct krait_proc *verdict)
{
	verdict->state = KRAIT_PROC_IGNORED;
	switch (t->state) {
	case TARGET_READY:
		return is_wanted(j, t) ? judge_ready(j, t, verdict) : 0;
	case TARGET_STARTING:
		if (!is_wanted(j, t))
			return 0;
		verdict->state = KRAIT_PROC_STARTING;
		pending_add(j, t->pid);
		return 0;
	case TARGET_UNSUPPORTED:
	case TARGET_FORBIDDEN:
		if (!is_wanted(j, t))
			return 0;
		verdict->state = KRAIT_PROC_UNSUPPORTED;
		note_refusal(j, t);
		return 0;
	default:
		return 0;
	}
}

int judge_process(struct judge *j, pid_t pid)
{
	struct krait_proc verdict;
	struct target t;
	int err;

	/* First the kernel's entry, then the look: what is found is about that address space or
	 * about a later one, and then the kernel will not believe it. */
	if (sampler_entry(j->sampler, pid, &verdict) != 0 ||
	    verdict.state >= KRAIT_PROC_UNSUPPORTED) {
		pending_drop(j, pid);
		return 0;
	}
	err = discover_look(j->discover, pid, &t);
	if (err) {
		log_warn("record: look at pid %d: %s", pid, strerror(-err));
		return 0;
	}
	err = verdict_of(j, &t, &verdict);
	if (verdict.state != KRAIT_PROC_STARTING)
		pending_drop(j, pid);
	sampler_judge(j->sampler, pid, &verdict);
	return err;
}

void judge_forked(struct judge *j, pid_t pid)
{
	struct krait_proc entry;

	if (sampler_entry(j->sampler, pid, &entry) == 0 && entry.state == KRAIT_PROC_STARTING)
		pending_add(j, pid);
}

int judge_due(struct judge *j, uint64_t now_ns)
{
	for (uint32_t i = 0; i < j->pending_cnt;) {
		pid_t pid = j->pending[i].pid;
		int err = j->pending[i].at_ns <= now_ns ? judge_process(j, pid) : 0;

		if (err)
			return err;
		if (i < j->pending_cnt && j->pending[i].pid == pid)
			i++; /* else it was judged, and another has taken its place */
	}
	return 0;
}

uint64_t judge_next_ns(const struct judge *j)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < j->pending_cnt; i++)
		if (j->pending[i].at_ns < next)
			next = j->pending[i].at_ns;
	return next;
}

int judge_wanted(struct judge *j, pid_t pid, bool has_children)
{
	struct target t;
	int err = discover_look(j->discover, pid, &t);

	if (err)
		return err;
	switch (t.state) {
	case TARGET_READY:
	case TARGET_STARTING:
		return 0;
	case TARGET_GONE:
		log_error("record: pid %d: no such process (krait ps lists the Python processes)",
			  pid);
		return -ESRCH;
	case TARGET_KERNEL:
		log_error("record: pid %d is a kernel thread, which runs no Python (see krait ps)",
			  pid);
		return -ESRCH;
	case TARGET_NOT_PYTHON:
		if (has_children)
			return 0;
		log_error("record: pid %d (%.15s) is no Python process (krait ps lists those)", pid,
			  t.comm);
		return -ESRCH;
	default:
		log_error("record: pid %d: %s", pid, t.why);
		return t.state == TARGET_FORBIDDEN ? -EPERM : -ESRCH;
	}
}
