// SPDX-License-Identifier: BSD-2-Clause
/*
 * Counting samples.
 *
 * Everything that repeats is kept once and known by number: functions, frames, stacks (lists of
 * frame numbers), processes, threads. A STACK record binds its id to a stack. A sample then costs
 * one look-up, of the binding, which remembers the counter that it last went to; only when another
 * thread shares the stack is that counter looked up as well.
 *
 * A process is a *lifetime* of a pid: exec and exit end it, so that a pid that is used again, or
 * that runs another program, gets a root of its own.
 *
 * The ids of code objects and stacks are hashes of what a process has in its memory, which may be
 * made up to give any value. So what an id means belongs to an *owner*, the lifetime of the pid
 * that the record is of: no record of one process is ever looked up for another. (A lifetime in
 * this sense does not end where a process only changes its command line: the kernel does not send
 * its stacks again.)
 */
#include "user/aggregate/aggregate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/aggregate/tables.h"
#include "user/base/clock.h"
#include "user/base/text.h"
#include "user/drain/records.h"

struct aggregate *aggregate_new(void)
{
	struct aggregate *agg = calloc(1, sizeof(*agg));

	if (!agg)
		return NULL;
	agg->in = intern_new();
	agg->frames = agg->in ? frames_new(agg->in) : NULL;
	if (!agg->frames || events_number(agg, KRAIT_EVENT_CPU_CLOCK) == INDEX_NONE) {
		aggregate_free(agg);
		errno = ENOMEM;
		return NULL;
	}
	return agg;
}

void aggregate_free(struct aggregate *agg)
{
	if (!agg)
		return;
	TABLE_FREE(&agg->stacks);
	TABLE_FREE(&agg->processes);
	TABLE_FREE(&agg->threads);
	TABLE_FREE(&agg->samples);
	timeline_release(&agg->when);
	TABLE_FREE(&agg->bindings);
	owners_release(&agg->owners);
	free(agg->events);
	free(agg->frame_idx.items);
	free(agg->fresh);
	strbuf_release(&agg->text);
	frames_free(agg->frames);
	intern_free(agg->in);
	free(agg);
}

/* ---- Stacks ---- */

/* Appends a frame to fresh, where there is room. 0 or -ENOMEM. */
static int append(struct aggregate *agg, uint32_t num)
{
	if (num == FRAME_NO_MEMORY)
		return -ENOMEM;
	if (num != FRAME_HIDDEN)
		agg->fresh[agg->fresh_cnt++] = num;
	return 0;
}

/* Sets fresh to the record's frames. 0 or -ENOMEM. */
static int read_frames(struct aggregate *agg, uint32_t owner, const struct krait_stack_rec *rec)
{
	const struct krait_frame *frames = stack_frames(rec);
	int err = 0;

	/* And the collector at one end, the marker of what was cut off at the other; and one more:
	 * a stack of no frames must not be at NULL. */
	if (array_reserve((void **)&agg->fresh, &agg->fresh_cap, rec->frame_cnt + 3,
			  sizeof(*agg->fresh)) != 0)
		return -ENOMEM;
	agg->fresh_cnt = 0;
	if (rec->h.flags & KRAIT_STACK_GC)
		err = append(agg, frames_marker(agg->frames, "<GC>"));
	for (uint32_t i = 0; i < rec->frame_cnt && !err; i++)
		err = append(agg, frames_number(agg->frames, owner, &frames[i]));
	if (!err && rec->h.flags & KRAIT_STACK_TRUNCATED)
		err = append(agg, frames_marker(agg->frames, "[truncated]"));
	return err;
}

static bool is_fresh(const struct aggregate *agg, const struct profile_stack *stack)
{
	if (stack->cnt != agg->fresh_cnt)
		return false;
	for (uint32_t i = 0; i < stack->cnt; i++)
		if (packed_get(&agg->frame_idx, stack->first + i) != agg->fresh[i])
			return false;
	return true;
}

uint32_t tables_stack(struct aggregate *agg)
{
	struct profile_stack stack = {.first = agg->frame_idx.cnt};
	uint64_t hash;
	uint32_t num;

	hash = hash_bytes(agg->fresh, agg->fresh_cnt * sizeof(*agg->fresh));
	TABLE_EACH(it, &agg->stacks, hash)
	if (is_fresh(agg, &agg->stacks.items[it.num]))
		return it.num;
	stack.cnt = agg->fresh_cnt;
	if (packed_add(&agg->frame_idx, agg->fresh, agg->fresh_cnt) != 0)
		return INDEX_NONE;
	num = TABLE_GROW(&agg->stacks, hash);
	if (num != INDEX_NONE)
		agg->stacks.items[num] = stack;
	return num;
}

static uint64_t binding_hash(uint32_t owner, uint64_t stack_id)
{
	return hash_pair(stack_id, owner);
}

static struct binding *binding_find(struct aggregate *agg, uint32_t owner, uint64_t stack_id)
{
	TABLE_EACH(it, &agg->bindings, binding_hash(owner, stack_id))
	{
		struct binding *b = &agg->bindings.items[it.num];

		if (b->stack_id == stack_id && b->owner == owner)
			return b;
	}
	return NULL;
}

static bool is_outside(const struct krait_stack_rec *rec)
{
	return rec->frame_cnt == 1 && stack_frames(rec)->mark == KRAIT_MARK_OUTSIDE;
}

int tables_add_binding(struct aggregate *agg, const struct binding *binding)
{
	uint32_t num = TABLE_GROW(&agg->bindings, binding_hash(binding->owner, binding->stack_id));

	if (num == INDEX_NONE)
		return -ENOMEM;
	agg->bindings.items[num] = *binding;
	return 0;
}

static int add_stack(struct aggregate *agg, const struct krait_stack_rec *rec)
{
	struct binding fresh = {.stack_id = rec->stack_id,
				.interp_id = rec->interp_id,
				.owner = owners_find(&agg->owners, rec->pid),
				.sample_idx = INDEX_NONE,
				.is_outside = is_outside(rec)};
	struct binding *old;

	if (!fresh.owner || read_frames(agg, fresh.owner, rec) != 0)
		return -ENOMEM;
	old = binding_find(agg, fresh.owner, rec->stack_id);
	fresh.stack_idx = tables_stack(agg);
	if (fresh.stack_idx == INDEX_NONE)
		return -ENOMEM;
	if (old && old->stack_idx != fresh.stack_idx)
		*old = fresh;
	return old ? 0 : tables_add_binding(agg, &fresh);
}

/* ---- Processes and threads ---- */

static uint64_t pid_hash(uint32_t pid)
{
	return hash_pair(pid, 0);
}

uint32_t tables_process(struct aggregate *agg, uint32_t pid)
{
	TABLE_EACH(it, &agg->processes, pid_hash(pid))
	if (agg->processes.items[it.num].pid == pid)
		return it.num;
	return INDEX_NONE;
}

/* Ends the pid's lifetime, unless it has begun after that: an exec may be told when the process has
 * been looked at as what it is since. */
static void process_end(struct aggregate *agg, uint32_t pid, uint64_t time_ns)
{
	TABLE_EACH(it, &agg->processes, pid_hash(pid))
	{
		const struct profile_process *p = &agg->processes.items[it.num];

		if (p->pid != pid)
			continue;
		if (p->began_ns <= time_ns) {
			agg->lifetime++;
			index_remove(&agg->processes.index, &it);
		}
		return;
	}
}

const char *tables_safe_text(struct aggregate *agg, const char *bytes, size_t len)
{
	strbuf_reset(&agg->text);
	text_add_utf8(&agg->text, bytes, len);
	return intern_add(agg->in, strbuf_text(&agg->text), agg->text.len);
}

static const char *comm_text(struct aggregate *agg, const struct krait_process_rec *rec)
{
	return tables_safe_text(agg, rec->comm, strnlen(rec->comm, sizeof(rec->comm)));
}

/* The arguments joined by spaces; the comm where there are none. */
static const char *cmdline_text(struct aggregate *agg, const struct krait_process_rec *rec)
{
	const char *text = process_text(rec), *end = text + rec->text_bytes;

	while (end > text && end[-1] == '\0')
		end--;
	if (end == text)
		return comm_text(agg, rec);
	strbuf_reset(&agg->text);
	for (const char *arg = text; arg < end;) {
		size_t len = strnlen(arg, end - arg);

		if (arg > text)
			strbuf_add_char(&agg->text, ' ');
		text_add_utf8(&agg->text, arg, len);
		arg += len + 1;
	}
	return intern_add(agg->in, strbuf_text(&agg->text), agg->text.len);
}

uint32_t tables_add_process(struct aggregate *agg, const struct profile_process *process)
{
	uint32_t num = TABLE_GROW(&agg->processes, pid_hash(process->pid));

	if (num != INDEX_NONE)
		agg->processes.items[num] = *process;
	return num;
}

static int process_begin(struct aggregate *agg, const struct profile_process *process)
{
	process_end(agg, process->pid, process->began_ns);
	return tables_add_process(agg, process) == INDEX_NONE ? -ENOMEM : 0;
}

static int process_info(struct aggregate *agg, const struct krait_process_rec *rec)
{
	uint32_t old = tables_process(agg, rec->pid);
	struct profile_process process = {
		.pid = rec->pid,
		.py_version = rec->py_version,
		.comm = comm_text(agg, rec),
		.cmdline = cmdline_text(agg, rec),
		.began_ns = rec->time_ns,
	};

	/* Classified again in the same lifetime, or before the exec that made it so was told. */
	if (old != INDEX_NONE && agg->processes.items[old].cmdline == process.cmdline &&
	    agg->processes.items[old].py_version == process.py_version) {
		agg->processes.items[old].began_ns = process.began_ns;
		return 0;
	}
	return process_begin(agg, &process);
}

static int process_fork(struct aggregate *agg, const struct krait_process_rec *rec)
{
	uint32_t parent = tables_process(agg, rec->parent_pid);
	struct profile_process process;

	if (owners_renew(&agg->owners, rec->pid) != 0)
		return -ENOMEM;
	if (parent == INDEX_NONE)
		return 0;
	process = agg->processes.items[parent];
	process.pid = rec->pid;
	process.began_ns = rec->time_ns;
	return process_begin(agg, &process);
}

/* The process that a sample is of. One whose beginning was lost is made up from its pid alone. */
static uint32_t process_number(struct aggregate *agg, uint32_t pid)
{
	uint32_t num = tables_process(agg, pid);
	struct profile_process process = {.pid = pid};

	if (num != INDEX_NONE)
		return num;
	process.comm = process.cmdline = intern_str(agg->in, "[unknown]");
	return tables_add_process(agg, &process);
}

static uint64_t thread_hash(const struct profile_thread *t)
{
	return hash_pair(t->process_idx, t->tid ^ t->interp_id << 32);
}

uint32_t tables_add_thread(struct aggregate *agg, const struct profile_thread *thread)
{
	uint32_t num = TABLE_GROW(&agg->threads, thread_hash(thread));

	if (num != INDEX_NONE)
		agg->threads.items[num] = *thread;
	return num;
}

static uint32_t thread_find(struct aggregate *agg, const struct profile_thread *wanted)
{
	TABLE_EACH(it, &agg->threads, thread_hash(wanted))
	{
		const struct profile_thread *t = &agg->threads.items[it.num];

		if (t->process_idx == wanted->process_idx && t->tid == wanted->tid &&
		    t->interp_id == wanted->interp_id)
			return it.num;
	}
	return INDEX_NONE;
}

/* NOLINTNEXTLINE(misc-no-recursion): once, for an interpreter that is not the main one */
static uint32_t thread_number(struct aggregate *agg, uint32_t pid, uint32_t tid, uint64_t interp_id)
{
	struct profile_thread thread = {
		.process_idx = process_number(agg, pid), .tid = tid, .interp_id = interp_id};
	uint32_t num;

	if (thread.process_idx == INDEX_NONE)
		return INDEX_NONE;
	num = thread_find(agg, &thread);
	if (num != INDEX_NONE)
		return num;
	/* The thread's name is kept in its entry for the main interpreter. */
	thread.main_idx = interp_id ? thread_number(agg, pid, tid, 0) : agg->threads.cnt;
	if (thread.main_idx == INDEX_NONE)
		return INDEX_NONE;
	thread.name = intern_str(agg->in, "");
	return tables_add_thread(agg, &thread);
}

static int thread_named(struct aggregate *agg, const struct krait_process_rec *rec)
{
	uint32_t num = thread_number(agg, rec->pid, rec->tid, 0);

	if (num == INDEX_NONE)
		return -ENOMEM;
	if (!agg->threads.items[num].is_py_named)
		agg->threads.items[num].name = comm_text(agg, rec);
	return 0;
}

/* Python's name of a thread comes late: its lifetime may be over, and begins none. */
static void thread_py_named(struct aggregate *agg, const struct krait_process_rec *rec)
{
	struct profile_thread thread = {.process_idx = tables_process(agg, rec->pid),
					.tid = rec->tid};
	uint32_t num = thread_find(agg, &thread);

	if (num == INDEX_NONE || !rec->text_bytes)
		return;
	agg->threads.items[num].name = tables_safe_text(agg, process_text(rec), rec->text_bytes);
	agg->threads.items[num].is_py_named = true;
}

static int add_process(struct aggregate *agg, const struct krait_process_rec *rec)
{
	switch (rec->what) {
	case KRAIT_PROCESS_INFO:
		return process_info(agg, rec);
	case KRAIT_PROCESS_FORK:
		return process_fork(agg, rec);
	case KRAIT_PROCESS_THREAD:
		return thread_named(agg, rec);
	case KRAIT_PROCESS_NAME:
		thread_py_named(agg, rec);
		return 0;
	case KRAIT_PROCESS_EXEC:
		process_end(agg, rec->pid, rec->time_ns);
		return owners_renew(&agg->owners, rec->pid);
	case KRAIT_PROCESS_EXIT:
		process_end(agg, rec->pid, rec->time_ns);
		owners_end(&agg->owners, rec->pid);
		return 0;
	default:
		return 0;
	}
}

/* ---- Samples ---- */

static uint64_t sample_hash(const struct profile_sample *s)
{
	return hash_pair(s->thread_idx, s->stack_idx | (uint64_t)s->event_idx << 32);
}

/* Makes the index of the samples anew after they were sorted. 0 or -ENOMEM. */
static int index_samples(struct aggregate *agg)
{
	for (uint32_t i = 0; i < agg->samples.cnt; i++)
		if (index_add(&agg->samples.index, sample_hash(&agg->samples.items[i]), i) != 0) {
			index_release(&agg->samples.index);
			return -ENOMEM;
		}
	return 0;
}

static bool is_same(const struct profile_sample *a, const struct profile_sample *b)
{
	return a->thread_idx == b->thread_idx && a->stack_idx == b->stack_idx &&
	       a->event_idx == b->event_idx;
}

static uint32_t sample_number(struct aggregate *agg, const struct profile_sample *wanted)
{
	uint64_t hash = sample_hash(wanted);
	uint32_t num;

	if (!agg->samples.index.live && index_samples(agg) != 0)
		return INDEX_NONE;
	TABLE_EACH(it, &agg->samples, hash)
	if (is_same(&agg->samples.items[it.num], wanted))
		return it.num;
	num = TABLE_GROW(&agg->samples, hash);
	if (num != INDEX_NONE)
		agg->samples.items[num] = *wanted;
	return num;
}

/* Has the binding know where this sample is counted. 0 or -ENOMEM. */
static int binding_count_at(struct aggregate *agg, struct binding *binding,
			    const struct krait_sample_rec *rec, uint32_t event_idx)
{
	struct profile_sample sample = {.stack_idx = binding->stack_idx, .event_idx = event_idx};

	sample.thread_idx = thread_number(agg, rec->pid, rec->tid, binding->interp_id);
	if (sample.thread_idx == INDEX_NONE)
		return -ENOMEM;
	binding->sample_idx = sample_number(agg, &sample);
	if (binding->sample_idx == INDEX_NONE)
		return -ENOMEM;
	binding->tid = rec->tid;
	binding->lifetime = agg->lifetime;
	binding->event_idx = event_idx;
	return 0;
}

/* When it came. 0 or -ENOMEM. */
static int add_time(struct aggregate *agg, uint64_t time_ns, const struct profile_sample *sample,
		    uint64_t value)
{
	const struct timeline_count count = {.cnt = value,
					     .thread_idx = sample->thread_idx,
					     .stack_idx = sample->stack_idx,
					     .event_idx = sample->event_idx};

	return value ? timeline_add(&agg->when, time_ns, &count) : 0;
}

static int add_sample(struct aggregate *agg, const struct krait_sample_rec *rec)
{
	uint32_t owner = owners_find(&agg->owners, rec->pid);
	struct binding *binding = binding_find(agg, owner, rec->stack_id);
	uint32_t event_idx = events_number(agg, sample_event(rec));
	uint64_t value = sample_value(rec);
	struct profile_event *event;

	if (event_idx == INDEX_NONE)
		return -ENOMEM;
	event = &agg->events[event_idx];
	if (!binding) {
		event->unnamed_cnt += value;
		return 0;
	}
	if ((binding->tid != rec->tid || binding->lifetime != agg->lifetime ||
	     binding->sample_idx == INDEX_NONE || binding->event_idx != event_idx) &&
	    binding_count_at(agg, binding, rec, event_idx) != 0)
		return -ENOMEM;
	agg->samples.items[binding->sample_idx].cnt += value;
	event->total_cnt += value;
	if (binding->is_outside)
		event->outside_cnt += value;
	return add_time(agg, rec->time_ns, &agg->samples.items[binding->sample_idx], value);
}

static int add_code(struct aggregate *agg, const struct krait_code_rec *rec)
{
	uint32_t owner = owners_find(&agg->owners, rec->pid);

	return owner ? frames_add_code(agg->frames, owner, rec) : -ENOMEM;
}

int aggregate_add(struct aggregate *agg, const struct krait_hdr *rec)
{
	switch (rec->kind) {
	case KRAIT_PROCESS:
		return add_process(agg, (const void *)rec);
	case KRAIT_CODE:
		return add_code(agg, (const void *)rec);
	case KRAIT_STACK:
		return add_stack(agg, (const void *)rec);
	case KRAIT_SAMPLE:
		return add_sample(agg, (const void *)rec);
	case KRAIT_EVENT:
		return events_describe(agg, (const void *)rec);
	default:
		return 0;
	}
}

/* ---- The profile ---- */

static int by_thread_stack_event(const void *a, const void *b)
{
	const struct profile_sample *x = a, *y = b;

	if (x->thread_idx != y->thread_idx)
		return x->thread_idx < y->thread_idx ? -1 : 1;
	if (x->stack_idx != y->stack_idx)
		return x->stack_idx < y->stack_idx ? -1 : 1;
	return (x->event_idx > y->event_idx) - (x->event_idx < y->event_idx);
}

/* In place. Their numbers change: the index and what bindings remember are made anew if more of
 * them come. */
static void sort_samples(struct aggregate *agg)
{
	index_release(&agg->samples.index);
	agg->lifetime++;
	if (agg->samples.cnt)
		qsort(agg->samples.items, agg->samples.cnt, sizeof(*agg->samples.items),
		      by_thread_stack_event);
}

static struct profile_meta safe_meta(struct aggregate *agg, const struct profile_meta *meta)
{
	struct profile_meta safe = *meta;

	safe.host = tables_safe_text(agg, meta->host, strlen(meta->host));
	safe.kernel = tables_safe_text(agg, meta->kernel, strlen(meta->kernel));
	safe.target = tables_safe_text(agg, meta->target, strlen(meta->target));
	return safe;
}

const struct profile *aggregate_profile(struct aggregate *agg, const struct profile_meta *meta,
					const uint64_t *counters)
{
	struct frame_arrays known = frames_arrays(agg->frames);
	struct profile *p = &agg->profile;

	if (timeline_flush(&agg->when) != 0) {
		errno = ENOMEM;
		return NULL;
	}
	sort_samples(agg);
	agg->events[0].period = meta->freq_hz ? NS_PER_S / meta->freq_hz : 0;
	memcpy(agg->events[0].counters, counters, sizeof(agg->events[0].counters));
	agg->events[0].has_ledger = true;
	for (uint32_t i = 0; i < agg->threads.cnt; i++)
		agg->threads.items[i].name =
			agg->threads.items[agg->threads.items[i].main_idx].name;
	*p = (struct profile){
		.meta = safe_meta(agg, meta),
		.functions = known.functions,
		.frames = known.frames,
		.frame_idx = agg->frame_idx,
		.stacks = agg->stacks.items,
		.processes = agg->processes.items,
		.threads = agg->threads.items,
		.samples = agg->samples.items,
		.events = agg->events,
		.timeline = agg->when.timeline,
		.function_cnt = known.function_cnt,
		.frame_cnt = known.frame_cnt,
		.stack_cnt = agg->stacks.cnt,
		.process_cnt = agg->processes.cnt,
		.thread_cnt = agg->threads.cnt,
		.sample_cnt = agg->samples.cnt,
		.event_cnt = agg->event_cnt,
		.strings = agg->in,
	};
	return p;
}
