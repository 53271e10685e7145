// SPDX-License-Identifier: BSD-2-Clause
/* Threads that wait for their names, looked up in batches: a process at a time. */
#include "user/session/namer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/base/array.h"
#include "user/base/index.h"
#include "user/discover/thread_names.h"

#define WAITING_MAX (1 << 16) /* 2.5 MB */
/* What it may take of each draining, in which nobody reads the ring buffer; the rest waits for the
 * next one. */
#define BATCH_NS 10000000ULL
#define LAST_BATCH_NS 1000000000ULL

struct waiting {
	uint32_t pid, tid;
	uint64_t ident;
	uint64_t at_ns;
	uint64_t name_hash; /* of what was told; 0: nothing yet */
	bool was_looked_at;
};

/* What is not in the kernel's entry of a process. */
struct kind {
	struct krait_layout layout;
	uint32_t py_version; /* 0: no target of this layout yet */
	uint32_t interp_modules_off;
};

struct namer {
	struct sampler *sampler;
	int (*emit)(const struct krait_hdr *rec, void *arg);
	void *arg;
	struct kind kinds[KRAIT_LAYOUTS];
	struct waiting *waiting;
	uint32_t cnt, cap;
	bool is_behind;
};

struct namer *namer_new(struct sampler *sampler,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg)
{
	struct namer *n = calloc(1, sizeof(*n));

	if (n)
		*n = (struct namer){.sampler = sampler, .emit = emit, .arg = arg};
	return n;
}

void namer_free(struct namer *n)
{
	if (!n)
		return;
	free(n->waiting);
	free(n);
}

/* Two versions of one layout, should that ever be: nobody knows then which one a process is. */
void namer_layout(struct namer *n, uint32_t layout_idx, const struct target *t)
{
	struct kind kind = {.layout = t->layout,
			    .py_version = t->py_version & 0xffff0000,
			    .interp_modules_off = t->interp_modules_off};
	struct kind *known = &n->kinds[layout_idx];

	if (!known->py_version)
		*known = kind;
	else if (known->py_version != kind.py_version ||
		 known->interp_modules_off != kind.interp_modules_off)
		known->py_version = UINT32_MAX;
}

void namer_thread(struct namer *n, const struct krait_process_rec *rec)
{
	if (n->cnt == WAITING_MAX ||
	    array_reserve((void **)&n->waiting, &n->cap, n->cnt + 1, sizeof(*n->waiting)) != 0)
		return;
	n->waiting[n->cnt++] =
		(struct waiting){.pid = rec->pid, .tid = rec->tid, .ident = rec->ident};
}

static uint64_t now_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int emit_name(struct namer *n, struct waiting *w, const char *name)
{
	struct {
		struct krait_process_rec rec;
		char text[(THREAD_NAME_BYTES + 7) & ~7U];
	} record = {};
	size_t len = strnlen(name, THREAD_NAME_BYTES);
	uint64_t hash = hash_bytes(name, len) | 1;

	if (hash == w->name_hash)
		return 0;
	w->name_hash = hash;
	record.rec.what = KRAIT_PROCESS_NAME;
	record.rec.h.kind = KRAIT_PROCESS;
	record.rec.h.bytes = (sizeof(record.rec) + len + 7) & ~7U;
	record.rec.time_ns = now_mono_ns();
	record.rec.pid = w->pid;
	record.rec.tid = w->tid;
	record.rec.text_bytes = len;
	memcpy(record.text, name, len);
	return n->emit(&record.rec.h, n->arg);
}

/* Finds out the names of threads of one process. No process, no layout, no names: no error. */
static void read_names(struct namer *n, pid_t pid, struct named_thread *threads, uint32_t cnt)
{
	struct krait_proc entry;
	const struct kind *kind;
	struct thread_names_source source;

	if (sampler_entry(n->sampler, pid, &entry) != 0 || entry.state != KRAIT_PROC_READY ||
	    entry.layout_idx >= KRAIT_LAYOUTS)
		return;
	kind = &n->kinds[entry.layout_idx];
	source = (struct thread_names_source){.pid = pid,
					      .py_version = kind->py_version,
					      .interp_modules_off = kind->interp_modules_off,
					      .interp_head_addr = entry.interp_head_addr,
					      .walk = &kind->layout};
	thread_names_read(&source, threads, cnt);
}

static int by_pid(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Looks at threads of one process, at most cnt of them. How many that were, or emit's error. */
static int look_at_process(struct namer *n, struct waiting *of, uint32_t cnt,
			   struct named_thread *threads)
{
	uint32_t same = 0;
	int err = 0;

	for (; same < cnt && of[same].pid == of[0].pid; same++)
		threads[same] = (struct named_thread){
			.tid = of[same].tid, .ident = of[same].ident, .num = same};
	read_names(n, of[0].pid, threads, same);
	for (uint32_t i = 0; i < same; i++) {
		if (threads[i].name && !err)
			err = emit_name(n, &of[threads[i].num], threads[i].name);
		free(threads[i].name);
	}
	return err ?: (int)same;
}

/* Moves those that are due to the front, in the order of their processes. How many. */
static uint32_t sort_due(struct namer *n, uint64_t now_ns, bool all)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < n->cnt; i++) {
		struct waiting w = n->waiting[i];

		if (w.at_ns > now_ns && !all)
			continue;
		n->waiting[i] = n->waiting[cnt];
		n->waiting[cnt++] = w;
	}
	if (cnt)
		qsort(n->waiting, cnt, sizeof(*n->waiting), by_pid);
	return cnt;
}

/* Of the first cnt, which have been looked at, drops those that need no further look, and lets the
 * others wait for it. */
static void put_back(struct namer *n, uint32_t cnt, uint64_t now_ns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n->cnt; i++) {
		struct waiting w = n->waiting[i];

		if (i < cnt && w.was_looked_at)
			continue;
		if (i < cnt) {
			w.was_looked_at = true;
			w.at_ns = now_ns + NAMER_AGAIN_NS;
		}
		n->waiting[kept++] = w;
	}
	n->cnt = kept;
}

int namer_due(struct namer *n, bool all)
{
	uint64_t now_ns = now_mono_ns(), end_ns = now_ns + (all ? LAST_BATCH_NS : BATCH_NS);
	uint32_t cnt = sort_due(n, now_ns, all), done = 0;
	struct named_thread *threads = cnt ? malloc(cnt * sizeof(*threads)) : NULL;
	int ret = 0;

	while (threads && done < cnt && ret >= 0 && now_mono_ns() < end_ns) {
		ret = look_at_process(n, n->waiting + done, cnt - done, threads);
		done += ret < 0 ? 0 : ret;
	}
	free(threads);
	put_back(n, done, now_ns);
	n->is_behind = done < cnt;
	return ret < 0 ? ret : 0;
}

bool namer_is_behind(const struct namer *n)
{
	return n->is_behind;
}
