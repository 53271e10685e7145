// SPDX-License-Identifier: BSD-2-Clause
/*
 * The event loop of a run.
 *
 * One thread, one epoll, four files: the ring buffer (which wakes us only for what can't wait), the
 * signals, the command's pidfd, the process that scans. Whatever has a time (draining, the next
 * epoch, the progress line, a scan, the end) is a deadline, and the nearest one is epoll's timeout.
 * Samples never wake us: they are drained DRAIN_NS after the last time.
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
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/base/strbuf.h"
#include "user/drain/records.h"
#include "user/session/child.h"
#include "user/session/classify.h"
#include "user/session/family.h"
#include "user/session/governor.h"
#include "user/session/namer.h"
#include "user/session/priority.h"
#include "user/session/privilege.h"
#include "user/session/progress.h"
#include "user/session/sampler.h"
#include "user/session/scanner.h"
#include "user/session/scans.h"

/* Four wake-ups a second: nothing beside what they carry, and the rings hold two seconds of samples
 * at least. */
#define DRAIN_NS (NS_PER_S / 4)
#define DRAIN_SLICE_NS (10 * NS_PER_MS)
#define DRAIN_STEP 128 /* records, and samples, between two looks at the clock */
#define EPOCH_NS NS_PER_S
/* For the threads that are not named yet when the run ends. */
#define LAST_NAMES_NS (NS_PER_S / 4)
/* For the question whether any Python runs here, if no tick hit one. */
#define LAST_SCANS_NS (2 * NS_PER_S)

struct session {
	const struct session_opts *opts;
	const struct session_sink *sink;
	struct session_result *result;
	struct sampler *sampler;
	struct namer *namer; /* NULL: nobody wants the names of threads */
	struct classifier *classifier;
	struct scanner *scanner;
	struct scans scans;
	struct governor governor;
	/* krait's CPU time when the governor was last told, that of the BPF side with it; and what
	 * is none of its business: writing a snapshot. */
	uint64_t told_ns, told_at_ns, writing_ns;
	struct child child;
	struct progress progress;
	int epoll_fd, signal_fd;
	sigset_t old_mask;
	uint64_t drain_at_ns, epoch_at_ns, end_at_ns;
	uint64_t sample_cnt;
	bool is_over;
	int err;
};

/* ---- Records ---- */

static int emit(const struct krait_hdr *rec, void *arg)
{
	struct session *s = arg;

	return s->sink->on_record(rec, s->sink->arg);
}

/* What a process event asks of us, besides being passed on. */
static void act_on_process(struct session *s, const struct krait_process_rec *rec)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	if (rec->what == KRAIT_PROCESS_SEEN)
		classifier_ask(s->classifier, rec->pid, now_ns);
	if (rec->what == KRAIT_PROCESS_FORK)
		classifier_forked(s->classifier, rec->pid, now_ns);
	if (rec->what == KRAIT_PROCESS_THREAD && s->namer)
		namer_thread(s->namer, rec);
}

static int on_record(void *arg, void *record, size_t avail)
{
	const struct krait_hdr *h = record;
	struct session *s = arg;

	if (!record_check(record, avail)) {
		s->result->records_malformed++;
		return 0;
	}
	if (h->kind == KRAIT_SAMPLE) {
		const struct krait_sample_rec *sample = record;
		uint64_t after_ns = sample->time_ns - s->result->start_mono_ns;

		if (!s->sample_cnt++ || after_ns < s->result->first_sample_ns)
			s->result->first_sample_ns = after_ns;
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

static uint64_t own_cpu_ns(struct session *s)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - s->writing_ns + scanner_cpu_ns(s->scanner) +
	       sampler_bpf_ns(s->sampler);
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

/* ---- The end, and what comes before it ---- */

/* Sends the signal on to the command: one from the terminal it has got already. */
static void forward_signal(struct session *s, const struct signalfd_siginfo *info)
{
	if (s->child.pid && s->child.status < 0 && info->ssi_code == SI_USER)
		kill(s->child.pid, info->ssi_signo);
}

/* As an ordinary task, and not on the account of sampling: it was asked for. */
static void write_snapshot(struct session *s)
{
	uint64_t began_ns;

	drain_all(s);
	began_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (s->opts->realtime)
		priority_lower();
	if (s->sink->on_snapshot)
		s->sink->on_snapshot(s->sink->arg);
	if (s->opts->realtime)
		priority_raise();
	s->writing_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began_ns;
}

static void on_signal(struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1) {
			write_snapshot(s);
			continue;
		}
		forward_signal(s, &info);
		if (s->sink->on_stop)
			s->sink->on_stop(s->sink->arg);
		s->is_over = true;
	}
}

static bool targets_are_gone(const struct session *s)
{
	return s->opts->pid_cnt && !sampler_has_processes(s->sampler);
}

static void on_time(struct session *s)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now >= s->drain_at_ns) {
		drain(s);
		if (targets_are_gone(s)) {
			log_info("record: the processes have ended");
			s->is_over = true;
		}
	}
	if (!s->err)
		s->err = scans_step(&s->scans, now);
	if (now >= s->epoch_at_ns) {
		sampler_next_epoch(s->sampler);
		sampler_revive(s->sampler);
		if (s->sink->on_second && !s->err)
			s->err = s->sink->on_second(now, s->sink->arg);
		apply_ceiling(s, now);
		s->epoch_at_ns = now + EPOCH_NS;
		progress_show(&s->progress, now - s->result->start_mono_ns, s->sample_cnt,
			      s->result->python_cnt);
	}
	if (now >= s->end_at_ns)
		s->is_over = true;
}

static int timeout_ms(const struct session *s)
{
	uint64_t at = s->drain_at_ns < s->epoch_at_ns ? s->drain_at_ns : s->epoch_at_ns;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (s->end_at_ns < at)
		at = s->end_at_ns;
	if (scans_next_ns(&s->scans, now) < at)
		at = scans_next_ns(&s->scans, now);
	return at <= now ? 0 : (at - now + 999999) / 1000000;
}

static void loop(struct session *s)
{
	struct epoll_event events[4];

	while (!s->is_over && !s->err) {
		int cnt = epoll_wait(s->epoll_fd, events, 4, timeout_ms(s));

		if (cnt < 0 && errno != EINTR)
			s->err = -errno;
		for (int i = 0; i < cnt; i++) {
			int fd = events[i].data.fd;

			if (fd == s->signal_fd)
				on_signal(s);
			else if (fd == s->child.pid_fd)
				s->is_over = child_reap(&s->child, false) || s->is_over;
			else if (fd == s->opts->reader_fd)
				s->is_over = true; /* what is written then fails, and says why */
			else if (fd == sampler_fd(s->sampler))
				drain(s);
			/* else a scan has come to its end: on_time */
		}
		on_time(s);
	}
}

/* ---- Setting up ---- */

/* For a reader that goes (EPOLLERR, EPOLLHUP) nothing has to be asked. */
static int watch_fd(struct session *s, int fd)
{
	uint32_t events = fd == s->opts->reader_fd ? 0 : EPOLLIN;
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* What ends the run, and what asks for a snapshot. A SIGHUP that is ignored (nohup) stays so: while
 * it is blocked, the kernel would keep one for us all the same. */
static void fill_mask(sigset_t *mask)
{
	struct sigaction hangup;

	sigemptyset(mask);
	sigaddset(mask, SIGINT);
	sigaddset(mask, SIGQUIT);
	sigaddset(mask, SIGTERM);
	sigaddset(mask, SIGUSR1);
	if (sigaction(SIGHUP, NULL, &hangup) || hangup.sa_handler != SIG_IGN)
		sigaddset(mask, SIGHUP);
}

static int open_files(struct session *s)
{
	sigset_t mask;
	int err;

	fill_mask(&mask);
	sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
	s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->signal_fd < 0 || s->epoll_fd < 0)
		return -errno;
	err = watch_fd(s, s->signal_fd);
	err = err ?: watch_fd(s, scanner_fd(s->scanner));
	if (!err && s->opts->reader_fd >= 0)
		err = watch_fd(s, s->opts->reader_fd);
	return err ?: watch_fd(s, sampler_fd(s->sampler));
}

/* The processes asked for by pid, checked, and those that descend from them. */
static int watch_pids(struct session *s)
{
	const struct session_opts *o = s->opts;
	struct family family = {};
	int err = family_init(&family, o->pids, o->pid_cnt);

	for (uint32_t i = 0; !err && i < o->pid_cnt; i++) {
		bool has_children = false;

		for (uint32_t k = 0; k < family.cnt; k++)
			has_children |= family.members[k].root == o->pids[i] &&
					family.members[k].pid != o->pids[i];
		err = classifier_check(scanner_run(s->scanner, o->pids[i]),
				       has_children && o->follow_children);
	}
	for (uint32_t k = 0; !err && k < family.cnt; k++) {
		const struct family_member *m = &family.members[k];

		if (m->root && (o->follow_children || m->pid == m->root))
			err = sampler_watch(s->sampler, m->pid);
	}
	family_release(&family);
	return err;
}

static int start_command(struct session *s)
{
	int err = child_start(&s->child, s->opts->command, s->opts->owns_stdout);

	err = err ?: watch_fd(s, s->child.pid_fd);
	return err ?: sampler_watch(s->sampler, s->child.pid);
}

static int set_up(struct session *s)
{
	const struct session_opts *o = s->opts;
	struct sampler_opts sampler_opts = {
		.freq_hz = o->freq_hz,
		.max_depth = o->max_depth,
		.ask_unknown = !o->pid_cnt && !o->command,
		.follow_children = o->follow_children,
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
	if (o->name_threads)
		s->namer = namer_new(s->sampler, emit, s);
	s->classifier = classifier_new(s->sampler, s->namer, o, s->result, emit, s);
	if (!s->classifier || (o->name_threads && !s->namer))
		return -ENOMEM;
	err = open_files(s);
	if (!err && o->pid_cnt)
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

static int start(struct session *s)
{
	uint64_t now;
	int err;

	if (s->opts->realtime) /* the command, forked before, is as who started krait */
		raise_priority();
	s->result->start_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	s->result->start_mono_ns = now = clock_ns(CLOCK_MONOTONIC);
	s->drain_at_ns = now + DRAIN_NS;
	s->epoch_at_ns = now + EPOCH_NS;
	s->end_at_ns = s->opts->duration_ns ? now + s->opts->duration_ns : UINT64_MAX;
	governor_init(&s->governor, s->opts->max_cpu_ns);
	scans_init(&s->scans, s->scanner, s->classifier, s->namer, governor_scan_ns(&s->governor),
		   now);
	s->told_ns = own_cpu_ns(s);
	s->told_at_ns = now;
	err = sampler_start(s->sampler);
	err = err
		      ?: privilege_drop(s->child.pid ? PRIVILEGE_SAMPLER | PRIVILEGE_COMMAND
						     : PRIVILEGE_SAMPLER);
	if (err || !s->child.pid)
		return err;
	err = child_go(&s->child);
	s->result->has_no_command = err && s->child.status >= 0;
	return err;
}

static void take_measures(const struct session *s)
{
	struct session_result *r = s->result;

	r->end_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	sampler_tick_cost(s->sampler, &r->tick_total_ns, &r->tick_cnt);
	sampler_usage(s->sampler, &r->usage);
}

static void take_costs(struct session *s)
{
	struct session_result *r = s->result;

	r->scan_cpu_ns = scanner_cpu_ns(s->scanner);
	r->scan_peak_kb = scanner_peak_kb(s->scanner);
	r->bpf_ns = sampler_bpf_ns(s->sampler);
	r->max_weight = 1U << (s->governor.max_step > 1 ? s->governor.max_step - 1 : 0);
	r->slow_s = s->governor.slow_s;
	r->scans_failed = scanner_failed_cnt(s->scanner);
	r->lost_realtime = priority_was_revoked();
}

/* ---- A run that met no Python ---- */

struct search {
	struct session *s;
	uint64_t end_ns;
};

static int stop_at_python(pid_t pid, void *arg)
{
	const struct search *search = arg;
	const struct scan_result *r;

	if (clock_ns(CLOCK_MONOTONIC) > search->end_ns)
		return -ETIME;
	r = scanner_run(search->s->scanner, pid);
	return !r->err && r->target.state == TARGET_READY;
}

/* Were they all idle, or are there none? */
static void look_for_idle(struct session *s)
{
	struct search search = {.s = s, .end_ns = clock_ns(CLOCK_MONOTONIC) + LAST_SCANS_NS};

	if (s->result->python_cnt || s->opts->command || s->opts->comm)
		return;
	s->result->has_idle_python =
		s->opts->pid_cnt || discover_each_pid(stop_at_python, &search) == 1;
}

/* Moves the ticks that came before their process was classified to where they belong. */
static void settle_ledger(struct session_result *r)
{
	r->counters[KRAIT_CNT_UNKNOWN_TICKS] -= r->early_ticks + r->rejected_ticks;
	r->counters[KRAIT_CNT_OTHER_TICKS] += r->rejected_ticks;
	r->counters[KRAIT_CNT_TARGET_TICKS] += r->early_ticks;
	r->counters[KRAIT_LOSS_STARTING] += r->early_ticks;
}

/* Ends the sampling, takes what still waits, and the ledger. */
static void finish(struct session *s)
{
	struct session_result *r = s->result;

	if (!r->start_mono_ns)
		return;
	sampler_stop(s->sampler);
	r->duration_ns = clock_ns(CLOCK_MONOTONIC) - r->start_mono_ns;
	drain_all(s);
	if (s->opts->realtime)
		priority_lower();
	sampler_counters(s->sampler, r->counters);
	settle_ledger(r);
	if (!s->err)
		s->err = scans_finish(&s->scans, clock_ns(CLOCK_MONOTONIC) + LAST_NAMES_NS);
	if (!s->err)
		look_for_idle(s);
	take_costs(s);
	if (s->opts->measure)
		take_measures(s);
	progress_clear(&s->progress);
}

static void tear_down(struct session *s)
{
	child_release(&s->child);
	classifier_free(s->classifier);
	namer_free(s->namer);
	sampler_free(s->sampler);
	scanner_free(s->scanner);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	if (s->signal_fd >= 0) {
		close(s->signal_fd);
		/* From here on a signal has its default effect: a second one abandons what is being
		 * written. Not so SIGHUP: a login that ends sends several. */
		signal(SIGHUP, SIG_IGN);
		sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
	}
}

int session_run(const struct session_opts *opts, const struct session_sink *sink,
		struct session_result *result)
{
	struct session s = {
		.opts = opts,
		.sink = sink,
		.result = result,
		.epoll_fd = -1,
		.signal_fd = -1,
		.child = {.pid_fd = -1, .go_fd = -1, .status = -1},
	};

	*result = (struct session_result){.command_status = -1};
	progress_init(&s.progress, opts->show_progress, opts->duration_ns);
	s.err = set_up(&s);
	s.err = s.err ?: start(&s);
	if (!s.err)
		loop(&s);
	finish(&s);
	result->command_pid = s.child.pid;
	result->command_status = s.child.status;
	tear_down(&s);
	return s.err;
}

int session_wait_command(struct session_result *result)
{
	struct child child = {.pid = result->command_pid, .status = result->command_status};

	if (!child.pid)
		return 0;
	if (child.status < 0)
		log_verbose("record: the command still runs; waiting for it");
	child_reap(&child, true);
	result->command_status = child.status;
	return child.status;
}

char *session_target_text(const struct session_opts *opts)
{
	struct strbuf text = {};

	if (opts->command) {
		for (char *const *arg = opts->command; *arg; arg++)
			strbuf_addf(&text, "%s%s", arg == opts->command ? "" : " ", *arg);
	} else if (opts->pid_cnt) {
		for (uint32_t i = 0; i < opts->pid_cnt; i++)
			strbuf_addf(&text, "%s%d", i ? "," : "pid ", opts->pids[i]);
	} else if (opts->comm) {
		strbuf_addf(&text, "comm %s", opts->comm);
	} else {
		strbuf_add_str(&text, "all");
	}
	return text.failed ? (strbuf_release(&text), NULL) : text.buf;
}
