// SPDX-License-Identifier: BSD-2-Clause
/* Threads that wait for their names, scanned in batches: a process at a time. */
#include "user/session/namer.h"

#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"
#include "user/base/clock.h"
#include "user/base/index.h"

#define WAITING_MAX (1 << 16) /* 2.5 MB */

struct waiting {
	uint32_t pid, tid;
	uint64_t ident;
	uint64_t at_ns;
	uint64_t name_hash; /* of what was told; 0: nothing yet */
	bool was_scanned;
};

struct namer {
	const struct processes *processes;
	int (*emit)(const struct krait_hdr *rec, void *arg);
	void *arg;
	struct waiting *waiting;
	uint32_t cnt, cap;
	struct waiting open[SCAN_THREADS]; /* being scanned */
	uint32_t open_cnt;
};

struct namer *namer_new(const struct processes *processes,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg)
{
	struct namer *n = calloc(1, sizeof(*n));

	if (n)
		*n = (struct namer){.processes = processes, .emit = emit, .arg = arg};
	return n;
}

void namer_free(struct namer *n)
{
	if (!n)
		return;
	free(n->waiting);
	free(n);
}

static void wait_for_name(struct namer *n, const struct waiting *w)
{
	if (n->cnt < WAITING_MAX &&
	    array_reserve((void **)&n->waiting, &n->cap, n->cnt + 1, sizeof(*n->waiting)) == 0)
		n->waiting[n->cnt++] = *w;
}

void namer_thread(struct namer *n, const struct krait_process_rec *rec)
{
	wait_for_name(n, &(struct waiting){.pid = rec->pid, .tid = rec->tid, .ident = rec->ident});
}

/* Unless that is what was told before. */
static int emit_name(struct namer *n, struct waiting *w, const char *name, size_t len)
{
	struct {
		struct krait_process_rec rec;
		char text[(THREAD_NAME_BYTES + 7) & ~7U];
	} record = {};
	uint64_t hash = hash_bytes(name, len) | 1;

	if (len > THREAD_NAME_BYTES)
		len = THREAD_NAME_BYTES;
	if (hash == w->name_hash)
		return 0;
	w->name_hash = hash;
	record.rec.what = KRAIT_PROCESS_NAME;
	record.rec.h.kind = KRAIT_PROCESS;
	record.rec.h.bytes = (sizeof(record.rec) + len + 7) & ~7U;
	record.rec.time_ns = clock_ns(CLOCK_MONOTONIC);
	record.rec.pid = w->pid;
	record.rec.tid = w->tid;
	record.rec.text_bytes = len;
	memcpy(record.text, name, len);
	return n->emit(&record.rec.h, n->arg);
}

/* Takes the due threads of the process of the first due one out of the queue. */
static void open_process(struct namer *n, uint64_t now_ns, bool all)
{
	uint32_t kept = 0;

	n->open_cnt = 0;
	for (uint32_t i = 0; i < n->cnt; i++) {
		const struct waiting *w = &n->waiting[i];
		bool is_due = all || w->at_ns <= now_ns;

		if (is_due && n->open_cnt < SCAN_THREADS &&
		    (!n->open_cnt || n->open[0].pid == w->pid))
			n->open[n->open_cnt++] = *w;
		else
			n->waiting[kept++] = *w;
	}
	n->cnt = kept;
}

bool namer_next(struct namer *n, uint64_t now_ns, bool all, struct scan_request *out)
{
	for (open_process(n, now_ns, all); n->open_cnt; open_process(n, now_ns, all)) {
		pid_t pid = n->open[0].pid;
		const struct cpython *python = processes_find(n->processes, pid);

		if (!python) /* no target (any more), so there are no names */
			continue;
		out->kind = SCAN_NAMES;
		out->pid = pid;
		out->python = *python;
		for (uint32_t i = 0; i < n->open_cnt; i++)
			out->threads[i] = (struct named_thread){.tid = n->open[i].tid,
								.ident = n->open[i].ident};
		out->thread_cnt = n->open_cnt;
		return true;
	}
	return false;
}

uint64_t namer_next_ns(const struct namer *n)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < n->cnt; i++)
		if (n->waiting[i].at_ns < next)
			next = n->waiting[i].at_ns;
	return next;
}

int namer_take(struct namer *n, const struct scan_result *r, uint64_t now_ns)
{
	uint32_t at = 0;
	int err = 0;

	for (uint32_t i = 0; i < n->open_cnt; i++) {
		struct waiting *w = &n->open[i];
		const char *name = r->text + at;
		size_t len = strnlen(name, r->text_bytes - at);

		if (len && !err)
			err = emit_name(n, w, name, len);
		at += len < r->text_bytes - at ? len + 1 : len;
		if (w->was_scanned)
			continue;
		w->was_scanned = true;
		w->at_ns = now_ns + NAMER_AGAIN_NS;
		wait_for_name(n, w);
	}
	n->open_cnt = 0;
	return err;
}
