/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All that a session stands on, made by hand: the kernel (fake_sampler.h, and here its rings and
 * timers), the process that scans, the privileges and the time. A test says what is there and what
 * the time is; nothing happens by itself, and nothing waits.
 *
 * The functions here are those of sampler.h, scanner.h, privilege.h and priority.h that session.c
 * and scans.c call, so the linker leaves the library's alone; and libc's that tells the time.
 * Include after cmocka.h, in one file of a program.
 */
#ifndef KRAIT_TESTS_UNIT_FAKE_SESSION_H
#define KRAIT_TESTS_UNIT_FAKE_SESSION_H

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/fake_sampler.h"
#include "user/base/clock.h"
#include "user/session/priority.h"
#include "user/session/privilege.h"
#include "user/session/scanner.h"

#define QUEUE_MAX 1024
#define FAKE_START_NS (1000 * NS_PER_S + 7)
#define PATIENCE_MS 60000 /* with what other processes do; a test fails after it */

union queued {
	struct krait_hdr h;
	struct krait_process_rec process;
	struct krait_sample_rec sample;
};

struct scanner {
	struct scan_request request;
	struct scan_result result;
	bool is_busy, is_done;
	int fd;
};

static struct {
	uint64_t now_ns, cpu_ns;

	/* The kernel. */
	union queued queue[QUEUE_MAX];
	uint32_t queued_cnt, taken_cnt, drain_end;
	bool is_drain;		/* one is under way */
	uint64_t drain_step_ns; /* what each of its steps takes */
	uint64_t drain_cpu_ns;	/* of CPU, too */
	int drain_err;		/* what it ends with */
	int ring_fd;
	union queued last; /* what still comes when the ticks are stopped; kind 0: nothing */
	struct sampler_opts opts;
	uint64_t counters[KRAIT_CNT_CNT], bpf_ns;
	uint64_t drain_counters[KRAIT_CNT_CNT]; /* when the last drain began */
	uint32_t epochs, revivals, weight;
	bool is_loaded, is_started, is_stopped;
	int load_errno, start_err, watch_err;

	/* The process that scans: what it finds. */
	struct scanner scanner;
	pid_t target_pid;		/* a process that is no NOT_PYTHON, */
	enum target_state target_state; /* but this */
	const char *comm;		/* its name; that of others is empty */
	const char *name;		/* of each thread, before its tid */
	bool is_stuck;			/* a scan comes to no end, */
	uint64_t stuck_until_ns;	/* before this, */
	uint64_t stuck_look_ns;		/* and each look whether it has takes so much time */
	uint64_t scan_ns, run_ns;	/* what a scan costs; what one that is waited for takes */
	uint32_t scan_cnt, run_cnt;
	uint32_t given_up_cnt; /* of the next runs of the scanner */
	char kinds[256];       /* of the scans so far: N names, P processes */
	bool is_scanner;
	int scanner_errno;

	/* Privileges and priority. */
	unsigned int roles;
	int drop_err;
	bool was_command_waiting; /* for its exec, when the privileges were given up */
	uint32_t raised_cnt, lowered_cnt;
} fake;

/* ---- Time ---- */

static inline void fake_pass(uint64_t ns)
{
	fake.now_ns += ns;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = clock == CLOCK_MONOTONIC ? fake.now_ns : fake.cpu_ns;

	if (clock != CLOCK_MONOTONIC && clock != CLOCK_THREAD_CPUTIME_ID)
		return syscall(SYS_clock_gettime, clock, ts);
	*ts = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
	return 0;
}

static inline void fake_init(void)
{
	kernel_init();
	memset(&fake, 0, sizeof(fake));
	fake.now_ns = FAKE_START_NS;
	fake.name = "t";
	fake.weight = 1;
	fake.scan_ns = 1000;
	fake.ring_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake.scanner.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fake.ring_fd >= 0 && fake.scanner.fd >= 0);
}

static inline void fake_release(void)
{
	close(fake.ring_fd);
	close(fake.scanner.fd);
}

static inline void fake_signal(int fd)
{
	eventfd_write(fd, 1);
}

static inline void fake_unsignal(int fd)
{
	eventfd_t value;

	eventfd_read(fd, &value);
}

/* ---- The rings ---- */

static inline void fake_queue(const union queued *rec)
{
	assert_true(fake.queued_cnt < QUEUE_MAX);
	fake.queue[fake.queued_cnt++] = *rec;
}

static inline union queued fake_sample(uint64_t time_ns)
{
	return (union queued){
		.sample = {.h = {.kind = KRAIT_SAMPLE, .bytes = sizeof(struct krait_sample_rec)},
			   .time_ns = time_ns,
			   .weight = 1}};
}

static inline void fake_queue_samples(uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++) {
		union queued rec = fake_sample(fake.now_ns + fake.queued_cnt);

		fake_queue(&rec);
	}
}

static inline void fake_queue_process(enum krait_process_what what, pid_t pid, uint32_t tid)
{
	const union queued rec = {
		.process = {.h = {.kind = KRAIT_PROCESS, .bytes = sizeof(struct krait_process_rec)},
			    .time_ns = fake.now_ns,
			    .what = what,
			    .pid = pid,
			    .tid = tid}};

	fake_queue(&rec);
}

static inline void fake_queue_fork(pid_t parent, pid_t child)
{
	fake_queue_process(KRAIT_PROCESS_FORK, child, child);
	fake.queue[fake.queued_cnt - 1].process.parent_pid = parent;
}

int sampler_fd(const struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	return fake.ring_fd;
}

int sampler_drain(struct sampler *s, uint32_t max, raw_record_fn fn, void *arg)
{
	uint32_t step_end;

	assert_ptr_equal(s, &kernel);
	if (fake.drain_err)
		return fake.drain_err;
	if (!fake.is_drain) {
		fake.drain_end = fake.queued_cnt;
		memcpy(fake.drain_counters, fake.counters, sizeof(fake.counters));
	}
	fake.is_drain = true;
	fake_pass(fake.drain_step_ns);
	fake.cpu_ns += fake.drain_cpu_ns;
	step_end = fake.taken_cnt + max < fake.drain_end ? fake.taken_cnt + max : fake.drain_end;
	while (fake.taken_cnt < step_end) {
		union queued *rec = &fake.queue[fake.taken_cnt++];
		int err = fn(rec, rec->h.bytes, arg);

		if (err < 0)
			return err;
	}
	if (fake.taken_cnt < fake.drain_end)
		return 1;
	fake.is_drain = false;
	fake_unsignal(fake.ring_fd);
	return 0;
}

/* ---- The rest of the kernel ---- */

struct sampler *sampler_new(const struct sampler_opts *opts)
{
	/* What is opened later is not the scanner's. */
	assert_true(fake.is_scanner);
	errno = fake.load_errno;
	if (errno)
		return NULL;
	fake.opts = *opts;
	fake.is_loaded = true;
	return &kernel;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	s->proc_cnt = 0;
	fake.is_loaded = false;
}

int sampler_start(struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	fake.is_started = !fake.start_err;
	return fake.start_err;
}

void sampler_stop(struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	if (fake.last.h.kind)
		fake_queue(&fake.last);
	fake.is_stopped = true;
}

void sampler_revive(struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	fake.revivals++;
}

void sampler_set_weight(struct sampler *s, uint32_t weight)
{
	assert_ptr_equal(s, &kernel);
	assert_int_not_equal(weight, fake.weight); /* or it would be for nothing */
	fake.weight = weight;
}

uint64_t sampler_bpf_ns(const struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	return fake.bpf_ns;
}

int sampler_watch(struct sampler *s, pid_t pid)
{
	assert_ptr_equal(s, &kernel);
	if (!fake.watch_err)
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
	return fake.watch_err;
}

bool sampler_has_processes(const struct sampler *s)
{
	return s->proc_cnt > 0;
}

void sampler_next_epoch(struct sampler *s)
{
	assert_ptr_equal(s, &kernel);
	fake.epochs++;
}

void sampler_tick_cost(const struct sampler *s, uint64_t *total_ns, uint64_t *cnt)
{
	assert_ptr_equal(s, &kernel);
	*total_ns = 6000;
	*cnt = 2;
}

void sampler_usage(const struct sampler *s, struct usage *out)
{
	*out = (struct usage){.procs = {.used = s->proc_cnt, .room = KERNEL_PROCS}};
}

void sampler_counters(const struct sampler *s, uint64_t *counters)
{
	assert_ptr_equal(s, &kernel);
	memcpy(counters, fake.drain_counters, sizeof(fake.counters));
}

/* ---- The process that scans ---- */

static inline void fake_scan(pid_t pid)
{
	struct scan_result *r = &fake.scanner.result;

	memset(r, 0, sizeof(*r));
	r->cost_ns = fake.scan_ns;
	r->target.pid = pid;
	r->target.state = pid == fake.target_pid ? fake.target_state : TARGET_NOT_PYTHON;
	r->target.python.version = 0x030c00f0;
	if (pid == fake.target_pid && fake.comm)
		snprintf(r->target.comm, sizeof(r->target.comm), "%s", fake.comm);
}

static inline void fake_scan_names(const struct scan_request *q)
{
	struct scan_result *r = &fake.scanner.result;

	fake_scan(q->pid);
	for (uint32_t i = 0; i < q->thread_cnt; i++)
		r->text_bytes += 1 + snprintf(r->text + r->text_bytes, 32, "%s%u", fake.name,
					      q->threads[i].tid);
}

struct scanner *scanner_new(void)
{
	assert_false(fake.is_loaded);
	errno = fake.scanner_errno;
	if (errno)
		return NULL;
	fake.is_scanner = true;
	return &fake.scanner;
}

void scanner_free(struct scanner *s)
{
	if (!s)
		return;
	s->is_busy = false;
	fake.is_scanner = false;
}

int scanner_fd(const struct scanner *s)
{
	return s->fd;
}

uint64_t scanner_next_ns(const struct scanner *s)
{
	return s->is_busy && fake.is_stuck ? fake.stuck_until_ns : UINT64_MAX;
}

bool scanner_is_busy(const struct scanner *s)
{
	return s->is_busy;
}

struct scan_request *scanner_request(struct scanner *s)
{
	assert_false(s->is_busy);
	return &s->request;
}

void scanner_start(struct scanner *s, uint64_t now_ns)
{
	assert_false(s->is_busy);
	assert_true(now_ns <= fake.now_ns);
	assert_true(fake.scan_cnt + 1 < sizeof(fake.kinds));
	fake.kinds[fake.scan_cnt++] = s->request.kind == SCAN_NAMES ? 'N' : 'P';
	s->is_busy = true;
	if (s->request.kind == SCAN_NAMES)
		fake_scan_names(&s->request);
	else
		fake_scan(s->request.pid);
	if (!fake.is_stuck)
		fake_signal(s->fd);
}

const struct scan_result *scanner_take(struct scanner *s, uint64_t now_ns)
{
	if (s->is_busy && fake.is_stuck)
		fake_pass(fake.stuck_look_ns);
	if (!s->is_busy || (fake.is_stuck && now_ns < fake.stuck_until_ns))
		return NULL;
	fake_unsignal(s->fd);
	s->is_busy = false;
	return &s->result;
}

const struct scan_result *scanner_run(struct scanner *s, pid_t pid)
{
	fake.run_cnt++;
	fake_pass(fake.run_ns);
	fake_scan(pid);
	if (fake.given_up_cnt) {
		fake.given_up_cnt--;
		s->result.err = -ETIME;
	}
	return &s->result;
}

uint64_t scanner_cpu_ns(struct scanner *s)
{
	(void)s;
	return fake.scan_ns * fake.scan_cnt;
}

uint64_t scanner_peak_kb(const struct scanner *s)
{
	(void)s;
	return 4321;
}

uint32_t scanner_failed_cnt(const struct scanner *s)
{
	(void)s;
	return 3;
}

/* ---- Privileges and priority ---- */

/* Whether the process still runs this very program, so has not executed another. */
static inline bool fake_is_our_fork(pid_t pid)
{
	char path[32], ours[PATH_MAX], its[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", ours, sizeof(ours));

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return len > 0 && readlink(path, its, sizeof(its)) == len && !memcmp(ours, its, len);
}

int privilege_drop(unsigned int roles)
{
	assert_true(fake.is_started);
	fake.was_command_waiting = kernel.proc_cnt && fake_is_our_fork(kernel.procs[0].pid);
	fake.roles = roles;
	return fake.drop_err;
}

int priority_raise(void)
{
	fake.raised_cnt++;
	return 0;
}

void priority_lower(void)
{
	fake.lowered_cnt++;
}

bool priority_was_revoked(void)
{
	return fake.raised_cnt;
}

#endif
