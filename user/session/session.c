// SPDX-License-Identifier: BSD-2-Clause
/*
 * One epoll, three files: the ring buffer (which wakes us only for what can't wait), the command's
 * pidfd, and the process that scans. Whatever has a time (draining, the next epoch, a scan, the
 * end) is a deadline, and the nearest one is the timeout with which the owner waits. Samples never
 * wake us: they are drained DRAIN_NS after the last time. When krait wakes up its code has left the
 * caches, so a system call more costs microseconds: a step that nothing but the time has come for
 * makes none of its own.
 *
 * Nothing here takes long: a drain goes on for DRAIN_SLICE_NS and then gives way to the rest, scans
 * are another process's, and what a second may take is limited (governor.h).
 */
#include "user/session/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/drain/records.h"
#include "user/proc/procfs.h"
#include "user/session/child.h"
#include "user/session/classify.h"
#include "user/session/governor.h"
#include "user/session/namer.h"
#include "user/session/pager.h"
#include "user/session/priority.h"
#include "user/session/privilege.h"
#include "user/session/processes.h"
#include "user/session/sampler.h"
#include "user/session/scanner.h"
#include "user/session/scans.h"

/* Four wake-ups a second: nothing beside what they carry, and the rings hold two seconds of samples
 * at least. */
#define DRAIN_NS (NS_PER_S / 4)
#define DRAIN_SLICE_NS (10 * NS_PER_MS)
#define DRAIN_STEP 128 /* records, and samples, between two readings of the clock */
#define EPOCH_NS NS_PER_S
/* For the threads that are not named yet when the run ends. */
#define LAST_NAMES_NS (NS_PER_S / 4)
/* For the question whether any Python runs here, if no tick hit one. */
#define LAST_SCANS_NS (2 * NS_PER_S)

struct session {
	struct session_opts opts;
	struct session_sink sink;
	struct session_result result;
	struct sampler *sampler;
	struct processes *processes;
	struct namer *namer; /* NULL: nobody wants the names of threads */
	struct classifier *classifier;
	struct pager *pager;
	struct scanner *scanner;
	struct scans scans;
	struct governor governor;
	uint64_t others_cpu_ns;	      /* of this thread's CPU time, what is not sampling's */
	uint64_t drained_cpu_ns;      /* when session_drain returned; 0: a step came since */
	uint64_t told_ns, told_at_ns; /* what had been taken when the governor was last told */
	struct child child;
	int epoll_fd;
	bool is_scanner_ready; /* a scan has come to its end, or the scanner */
	uint64_t drain_at_ns, epoch_at_ns, end_at_ns;
	uint64_t sample_cnt;
	bool is_over;
	int err;
};

/* ---- Records ---- */

static int emit(const struct krait_hdr *rec, void *arg)
{
	struct session *s = arg;

	return s->sink.on_record(rec, s->sink.arg);
}

/* What a process event asks of us, besides being passed on. */
static void act_on_process(struct session *s, const struct krait_process_rec *rec)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	if (rec->what == KRAIT_PROCESS_SEEN)
		classifier_ask(s->classifier, rec->pid, now_ns);
	if (rec->what == KRAIT_PROCESS_FORK)
		classifier_forked(s->classifier, rec->parent_pid, rec->pid, now_ns);
	if (rec->what == KRAIT_PROCESS_THREAD && s->namer)
		namer_thread(s->namer, rec);
	if (rec->what == KRAIT_PROCESS_EXEC || rec->what == KRAIT_PROCESS_EXIT) {
		processes_ended(s->processes, rec->pid);
		pager_ended(s->pager, rec->pid);
	}
}

/* Whether the record is one of those that only the session wants. */
static bool is_ours(struct session *s, const struct krait_hdr *h, size_t avail)
{
	if (avail < sizeof(struct krait_absent_rec) || h->kind != KRAIT_ABSENT)
		return false;
	pager_absent(s->pager, (const struct krait_absent_rec *)h, clock_ns(CLOCK_MONOTONIC));
	return true;
}

static int on_record(void *record, size_t avail, void *arg)
{
	const struct krait_hdr *h = record;
	struct session *s = arg;

	if (is_ours(s, h, avail))
		return 0;
	if (!record_check(record, avail)) {
		s->result.records_malformed++;
		return 0;
	}
	if (h->kind == KRAIT_SAMPLE) {
		const struct krait_sample_rec *sample = record;
		uint64_t after_ns = sample->time_ns - s->result.start_mono_ns;

		if (!s->sample_cnt++ || after_ns < s->result.first_sample_ns)
			s->result.first_sample_ns = after_ns;
	}
	s->err = emit(h, s);
	if (!s->err && h->kind == KRAIT_PROCESS)
		act_on_process(s, record);
	return s->err;
}

/* Goes on with the drain until it has ended (true), or until end_ns. */
static bool drain_until(struct session *s, uint64_t end_ns)
{
	int ret;

	do
		ret = sampler_drain(s->sampler, DRAIN_STEP, on_record, s);
	while (ret == 1 && clock_ns(CLOCK_MONOTONIC) < end_ns);
	if (ret < 0 && !s->err)
		s->err = ret;
	return ret != 1;
}

static void drain(struct session *s)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	bool has_ended = drain_until(s, now_ns + DRAIN_SLICE_NS);

	s->drain_at_ns = now_ns + (has_ended ? DRAIN_NS : 0);
}

/* All that has been written until now. */
static void drain_all(struct session *s)
{
	/* The drain that may be under way began before now. */
	for (int i = 0; i < 2 && !s->err; i++)
		drain_until(s, UINT64_MAX);
}

/* ---- What it takes ---- */

/* What its owner makes of what session_drain brought is not on the account of sampling. Only that:
 * to read this clock before and after each step is two system calls more. */
static void end_owners_turn(struct session *s)
{
	if (s->drained_cpu_ns)
		s->others_cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - s->drained_cpu_ns;
	s->drained_cpu_ns = 0;
}

static uint64_t own_cpu_ns(struct session *s)
{
	uint64_t sink_ns = s->sink.cpu_ns ? s->sink.cpu_ns(s->sink.arg) : 0;

	return clock_ns(CLOCK_THREAD_CPUTIME_ID) - s->others_cpu_ns + sink_ns +
	       scanner_cpu_ns(s->scanner) + sampler_bpf_ns(s->sampler);
}

static void apply_ceiling(struct session *s, uint64_t now_ns)
{
	uint64_t took_ns = own_cpu_ns(s);
	uint32_t weight = governor_weight(&s->governor);

	if (governor_tell(&s->governor, took_ns - s->told_ns, now_ns - s->told_at_ns)) {
		log_verbose("record: %.1f %% of a CPU taken in the last second: step %u",
			    (took_ns - s->told_ns) * 100.0 / (now_ns - s->told_at_ns),
			    s->governor.step);
		s->scans.ns_per_s = governor_scan_ns(&s->governor);
		if (governor_weight(&s->governor) != weight)
			sampler_set_weight(s->sampler, governor_weight(&s->governor));
	}
	s->told_ns = took_ns;
	s->told_at_ns = now_ns;
}

/* ---- A step ---- */

static bool targets_are_gone(const struct session *s)
{
	return s->opts.who.pid_cnt && !sampler_has_processes(s->sampler);
}

static void on_time(struct session *s)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	bool is_epoch = now >= s->epoch_at_ns;

	/* One at each epoch: else every fourth would be due somewhere near it, and it is what is
	 * dear to wake up. */
	if (now >= s->drain_at_ns || is_epoch) {
		drain(s);
		if (targets_are_gone(s)) {
			log_info("record: the processes have ended");
			s->is_over = true;
		}
	}
	if (!s->err)
		s->err = scans_step(&s->scans, now, s->is_scanner_ready);
	s->is_scanner_ready = false;
	if (is_epoch) {
		sampler_next_epoch(s->sampler);
		sampler_revive(s->sampler);
		apply_ceiling(s, now);
		s->epoch_at_ns = now + EPOCH_NS;
	}
	if (now >= s->end_at_ns)
		s->is_over = true;
}

static uint64_t next_ns(const struct session *s)
{
	uint64_t at = s->drain_at_ns < s->epoch_at_ns ? s->drain_at_ns : s->epoch_at_ns;
	uint64_t scan_at = scans_next_ns(&s->scans, clock_ns(CLOCK_MONOTONIC));

	if (s->end_at_ns < at)
		at = s->end_at_ns;
	return scan_at < at ? scan_at : at;
}

static void on_events(struct session *s)
{
	struct epoll_event events[3];
	int cnt = epoll_wait(s->epoll_fd, events, 3, 0);

	if (cnt < 0 && errno != EINTR)
		s->err = -errno;
	for (int i = 0; i < cnt; i++) {
		int fd = events[i].data.fd;

		if (fd == s->child.pid_fd)
			s->is_over = child_reap(&s->child, false) || s->is_over;
		else if (fd == sampler_fd(s->sampler))
			drain(s);
		else
			s->is_scanner_ready = true;
	}
}

int session_fd(const struct session *s)
{
	return s->epoll_fd;
}

int session_timeout_ms(const struct session *s)
{
	uint64_t at_ns = next_ns(s), now_ns = clock_ns(CLOCK_MONOTONIC);

	return at_ns > now_ns ? (at_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
}

int session_step(struct session *s, bool is_ready)
{
	end_owners_turn(s);
	if (is_ready)
		on_events(s);
	on_time(s);
	return s->err ?: !s->is_over;
}

int session_drain(struct session *s)
{
	end_owners_turn(s);
	drain_all(s);
	s->drained_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return s->err;
}

void session_forward(struct session *s, int signo)
{
	if (s->child.pid && s->child.status < 0)
		kill(s->child.pid, signo);
}

/* ---- Setting up ---- */

static int watch_fd(struct session *s, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int open_files(struct session *s)
{
	int err;

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return -errno;
	err = watch_fd(s, scanner_fd(s->scanner));
	return err ?: watch_fd(s, sampler_fd(s->sampler));
}

static bool has_descendants(const struct selected_list *list, pid_t root)
{
	for (uint32_t i = 0; i < list->cnt; i++)
		if (list->v[i].root == root && list->v[i].pid != root)
			return true;
	return false;
}

/* On a crowded host a scan may be given up for want of a CPU, and this one decides about the run.
 */
static const struct scan_result *scan_twice(struct session *s, pid_t pid)
{
	const struct scan_result *r = scanner_run(s->scanner, pid);

	return r->err == -ETIME ? scanner_run(s->scanner, pid) : r;
}

/* The processes asked for by pid, checked, and those that descend from them. */
static int watch_pids(struct session *s)
{
	const struct selection *who = &s->opts.who;
	struct selected_list list;
	int err = selection_find(who, &list);

	for (uint32_t i = 0; !err && i < who->pid_cnt; i++)
		err = classifier_check(scan_twice(s, who->pids[i]),
				       has_descendants(&list, who->pids[i]));
	for (uint32_t i = 0; !err && i < list.cnt; i++)
		err = sampler_watch(s->sampler, list.v[i].pid);
	selected_release(&list);
	return err;
}

static int start_command(struct session *s)
{
	int err = child_start(&s->child, s->opts.command, s->opts.owns_stdout);

	err = err ?: watch_fd(s, s->child.pid_fd);
	return err ?: sampler_watch(s->sampler, s->child.pid);
}

/* What works upon the records and the scans. */
static int make_parts(struct session *s)
{
	const struct session_opts *o = &s->opts;

	s->processes = processes_new(s->sampler);
	s->classifier = classifier_new(s->sampler, s->processes, &o->who, &s->result, emit, s);
	s->pager = pager_new(s->processes);
	if (o->name_threads)
		s->namer = namer_new(s->processes, emit, s);
	if (o->name_threads && !s->namer)
		return -ENOMEM;
	return s->processes && s->classifier && s->pager ? 0 : -ENOMEM;
}

static int set_up(struct session *s)
{
	const struct session_opts *o = &s->opts;
	struct sampler_opts sampler_opts = {
		.freq_hz = o->freq_hz,
		.max_depth = o->max_depth,
		.selection = selection_of_kernel(&o->who),
		.measure = o->measure,
	};
	int err;

	/* First of all: what is opened later is not the scanner's. */
	s->scanner = scanner_new();
	if (!s->scanner)
		return -errno;
	s->sampler = sampler_new(&sampler_opts);
	if (!s->sampler)
		return -errno;
	err = make_parts(s) ?: open_files(s);
	if (!err && o->who.pid_cnt)
		err = watch_pids(s);
	if (!err && o->command)
		err = start_command(s);
	return err;
}

static void raise_priority(void)
{
	int err = priority_raise();

	if (err)
		log_warn("record: --realtime: %s (it takes CAP_SYS_NICE); going on as an ordinary "
			 "task",
			 strerror(-err));
}

int session_start(struct session *s)
{
	uint64_t now;
	int err;

	if (s->opts.realtime) /* the command, forked before, is as who started krait */
		raise_priority();
	s->result.start_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	s->result.start_mono_ns = now = clock_ns(CLOCK_MONOTONIC);
	s->drain_at_ns = now + DRAIN_NS;
	s->epoch_at_ns = now + EPOCH_NS;
	s->end_at_ns = s->opts.duration_ns ? now + s->opts.duration_ns : UINT64_MAX;
	governor_init(&s->governor, s->opts.max_cpu_ns);
	scans_init(&s->scans, s->scanner, s->classifier, s->namer, s->pager,
		   governor_scan_ns(&s->governor), now);
	s->told_ns = own_cpu_ns(s);
	s->told_at_ns = now;
	err = sampler_start(s->sampler);
	err = err
		      ?: privilege_drop(s->child.pid ? PRIVILEGE_SAMPLER | PRIVILEGE_COMMAND
						     : PRIVILEGE_SAMPLER);
	if (err || !s->child.pid)
		return err;
	err = child_go(&s->child);
	s->result.command_status = s->child.status;
	s->result.has_no_command = err && s->child.status >= 0;
	return err;
}

static void take_measures(struct session *s)
{
	struct session_result *r = &s->result;

	r->end_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	sampler_tick_cost(s->sampler, &r->tick_total_ns, &r->tick_cnt);
	sampler_usage(s->sampler, &r->usage);
}

static void take_costs(struct session *s)
{
	struct session_result *r = &s->result;

	r->scan_cpu_ns = scanner_cpu_ns(s->scanner);
	r->scan_peak_kb = scanner_peak_kb(s->scanner);
	r->bpf_ns = sampler_bpf_ns(s->sampler);
	r->max_weight = 1U << (s->governor.max_step > 1 ? s->governor.max_step - 1 : 0);
	r->slow_s = s->governor.slow_s;
	r->scans_failed = scanner_failed_cnt(s->scanner);
	r->lost_realtime = priority_was_revoked();
}

/* ---- A run that met no Python ---- */

static bool is_python(struct session *s, pid_t pid)
{
	const struct scan_result *r = scanner_run(s->scanner, pid);

	return !r->err && r->target.state == TARGET_READY &&
	       selection_has_comm(&s->opts.who, r->target.comm);
}

/* Were those that are selected idle, or are there none? Of pids it is known since the start. */
static void find_idle(struct session *s)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + LAST_SCANS_NS;
	struct session_result *r = &s->result;
	struct selected_list list;

	if (r->python_cnt)
		return;
	r->has_idle_python = s->opts.who.pid_cnt;
	if (selection_find(&s->opts.who, &list) != 0)
		list.cnt = 0; /* and what there is of it is not worth an error */
	for (uint32_t i = 0; !r->has_idle_python && i < list.cnt; i++) {
		if (clock_ns(CLOCK_MONOTONIC) > end_ns)
			break;
		r->has_idle_python = is_python(s, list.v[i].pid);
	}
	selected_release(&list);
}

/* The ticks that came before their process was classified are moved to where they belong. */
void session_counters(const struct session *s, uint64_t *counters)
{
	const struct session_result *r = &s->result;

	sampler_counters(s->sampler, counters);
	counters[KRAIT_CNT_UNKNOWN_TICKS] -= r->early_ticks + r->rejected_ticks;
	counters[KRAIT_CNT_OTHER_TICKS] += r->rejected_ticks;
	counters[KRAIT_CNT_TARGET_TICKS] += r->early_ticks;
	counters[KRAIT_LOSS_STARTING] += r->early_ticks;
}

static void release_bpf(struct session *s)
{
	classifier_free(s->classifier);
	namer_free(s->namer);
	pager_free(s->pager);
	processes_free(s->processes);
	sampler_free(s->sampler);
	scanner_free(s->scanner);
	s->classifier = NULL;
	s->namer = NULL;
	s->pager = NULL;
	s->processes = NULL;
	s->sampler = NULL;
	s->scanner = NULL;
}

/* Ends the sampling, takes what still waits, and the ledger. */
static void take_rest(struct session *s)
{
	struct session_result *r = &s->result;

	sampler_stop(s->sampler);
	r->duration_ns = clock_ns(CLOCK_MONOTONIC) - r->start_mono_ns;
	drain_all(s);
	if (s->opts.realtime)
		priority_lower();
	session_counters(s, r->counters);
	if (!s->err)
		s->err = scans_finish(&s->scans, clock_ns(CLOCK_MONOTONIC) + LAST_NAMES_NS);
	if (!s->err)
		find_idle(s);
	take_costs(s);
	if (s->opts.measure)
		take_measures(s);
}

int session_finish(struct session *s)
{
	if (s->sampler && s->result.start_mono_ns)
		take_rest(s);
	s->result.command_status = s->child.status;
	release_bpf(s);
	return s->err;
}

const struct session_result *session_result(const struct session *s)
{
	return &s->result;
}

uint64_t session_sample_cnt(const struct session *s)
{
	return s->sample_cnt;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	release_bpf(s);
	child_release(&s->child);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	free(s);
}

int session_new(const struct session_opts *opts, const struct session_sink *sink,
		struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	*s = (struct session){
		.opts = *opts,
		.sink = *sink,
		.result = {.command_status = -1},
		.epoll_fd = -1,
		.child = {.pid_fd = -1, .go_fd = -1, .status = -1},
	};
	err = set_up(s);
	if (err)
		session_free(s);
	else
		*out = s;
	return err;
}

int session_wait_command(struct session *s)
{
	if (!s->child.pid)
		return 0;
	if (s->child.status < 0)
		log_verbose("record: the command still runs; waiting for it");
	child_reap(&s->child, true);
	s->result.command_status = s->child.status;
	return s->child.status;
}
