// SPDX-License-Identifier: BSD-2-Clause
/*
 * Three processes: krait, a keeper and a worker.
 *
 * The keeper is forked before krait has loaded anything, so it and the workers that it forks hold
 * none of krait's BPF objects, files and memory: whatever hangs, krait dies clean. The keeper forks
 * a worker, waits for it to die or for krait to give it up, and forks the next one.
 *
 * Request and result lie in memory that the three share; a message on a socket says that there is
 * one. A worker may be made to do anything by what it parses, so krait takes a copy of its result
 * and checks the lengths in it.
 *
 * SIGKILL does not end a process that waits in the kernel for a server of FUSE that has taken its
 * request (fs/fuse/dev.c, request_wait_answer). Such workers are left behind, WORKERS_HUNG_MAX at
 * most: then there are no more scans until one of them has ended. They die with krait as soon as
 * the kernel lets them.
 */
#include "user/session/scanner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/proc/procfs.h"
#include "user/session/pages.h"
#include "user/session/privilege.h"

/* A scan takes a millisecond; of 60,000 mappings 50. */
#define SCAN_CPU_MAX_NS 500000000ULL
/* One that waits for a file is given up after so long, and one that waits for a CPU later. */
#define SCAN_WAIT_MAX_NS 1000000000ULL
#define SCAN_STARVED_MAX_NS 10000000000ULL
#define CHECK_NS 100000000ULL
#define WORKERS_HUNG_MAX 8
#define DEATH_MS 100 /* a process that does not hang dies sooner */

#define KEEPER_FD 3 /* its numbers of the sockets */
#define WORK_FD 4

/* Shared by the three. */
struct page {
	volatile pid_t worker_pid;
	struct scan_request request;
	struct scan_result result;
};

/* On the work socket. From krait: do the request. From the worker: it is done. From the keeper,
 * with seq 0: this generation's worker is dead. */
struct message {
	uint32_t seq, generation;
};

struct scanner {
	struct page *page;
	struct scan_result *result; /* krait's own copy */
	int work_fd;		    /* to the worker, */
	int keeper_fd;		    /* and to the keeper */
	pid_t keeper_pid;
	uint32_t seq, generation;
	bool is_scanning;
	bool is_replaced; /* no worker until the keeper says so */
	uint64_t began_ns, began_cpu_ns;
	uint64_t check_ns;	/* when to look after the scan */
	uint64_t dead_cpu_ns;	/* of earlier workers */
	uint64_t worker_cpu_ns; /* of this one, as last read */
	uint32_t failed_cnt;
};

/* ---- The worker ---- */

static void copy_names(const struct named_thread *threads, uint32_t cnt, struct scan_result *r)
{
	char *names[SCAN_THREADS] = {};

	for (uint32_t i = 0; i < cnt; i++)
		if (threads[i].num < cnt)
			names[threads[i].num] = threads[i].name;
	for (uint32_t i = 0; i < cnt; i++) {
		size_t len = names[i] ? strnlen(names[i], THREAD_NAME_BYTES - 1) : 0;

		memcpy(r->text + r->text_bytes, names[i] ?: "", len);
		r->text[r->text_bytes + len] = '\0';
		r->text_bytes += len + 1;
	}
	for (uint32_t i = 0; i < cnt; i++)
		free(threads[i].name);
}

/* No process, not readable: no names, which is no error. */
static void scan_names(const struct scan_request *q, struct scan_result *r)
{
	uint32_t cnt = q->thread_cnt < SCAN_THREADS ? q->thread_cnt : SCAN_THREADS;
	struct named_thread threads[SCAN_THREADS];

	for (uint32_t i = 0; i < cnt; i++)
		threads[i] = (struct named_thread){
			.tid = q->threads[i].tid, .ident = q->threads[i].ident, .num = i};
	thread_names_read(q->pid, &q->python, threads, cnt);
	copy_names(threads, cnt, r);
}

/* Of the others nobody wants the command line. */
static bool target_is_python(const struct target *t)
{
	return t->state == TARGET_READY || t->state == TARGET_STARTING ||
	       t->state == TARGET_UNSUPPORTED || t->state == TARGET_FORBIDDEN;
}

static void scan_process(struct discover *d, pid_t pid, struct scan_result *r)
{
	ssize_t len;

	r->err = discover_process(d, pid, &r->target);
	if (r->err || !target_is_python(&r->target))
		return;
	len = procfs_cmdline(pid, r->text, SCAN_CMDLINE_BYTES);
	r->text_bytes = len > 0 ? len : 0;
}

/* A process that is gone, or may not be read, lacks nothing any more. */
static void scan_pages(const struct scan_request *q, struct scan_result *r)
{
	int cnt = pages_bring_back(&q->python, &q->absent);

	r->page_cnt = cnt > 0 ? cnt : 0;
}

static void scan(struct discover *d, struct page *page)
{
	struct scan_result *r = &page->result;
	uint64_t began_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	r->err = 0;
	r->text_bytes = 0;
	r->page_cnt = 0;
	if (page->request.kind == SCAN_NAMES)
		scan_names(&page->request, r);
	else if (page->request.kind == SCAN_PAGES)
		scan_pages(&page->request, r);
	else
		scan_process(d, page->request.pid, r);
	r->cost_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began_ns;
}

static _Noreturn void work(struct page *page, uint32_t generation)
{
	struct discover *d = discover_new();
	struct message m;

	close(KEEPER_FD);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	privilege_drop(PRIVILEGE_READER);
	page->worker_pid = getpid();
	while (d && recv(WORK_FD, &m, sizeof(m), 0) == sizeof(m)) {
		scan(d, page);
		m.generation = generation;
		if (send(WORK_FD, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
			break;
	}
	_exit(0);
}

/* ---- The keeper ---- */

static void say_dead(uint32_t generation)
{
	struct message m = {.generation = generation};

	send(WORK_FD, &m, sizeof(m), MSG_NOSIGNAL);
}

static pid_t start_worker(struct page *page, uint32_t generation)
{
	pid_t pid = fork();

	if (pid == 0)
		work(page, generation);
	return pid;
}

/* Waits until the worker has died (true), or krait has given it up (true) or has ended (false). */
static bool wait_for_worker(pid_t pid)
{
	struct pollfd fds[2] = {{.fd = KEEPER_FD, .events = POLLIN},
				{.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}};
	bool is_wanted = true;
	char c;

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents)
		is_wanted = read(KEEPER_FD, &c, 1) == 1;
	kill(pid, SIGKILL); /* our child, not yet waited for: nobody else can have its pid */
	poll(&fds[1], 1, DEATH_MS);
	if (fds[1].fd >= 0)
		close(fds[1].fd);
	return is_wanted;
}

/* Takes the dead off; waits while so many hang that there may be no more. False: krait has ended.
 */
static bool reap(uint32_t *alive_cnt)
{
	struct pollfd krait = {.fd = KEEPER_FD, .events = POLLIN};

	for (;;) {
		while (*alive_cnt && waitpid(-1, NULL, WNOHANG) > 0)
			--*alive_cnt;
		if (*alive_cnt < WORKERS_HUNG_MAX)
			return true;
		if (poll(&krait, 1, 100) > 0)
			return false;
	}
}

/* Forked by krait: keeps nothing of its open files. */
static _Noreturn void keep(struct page *page, int keeper_fd, int work_fd)
{
	uint32_t alive_cnt = 0, generation = 0;
	bool goes_on = true;
	int null_fd = open("/dev/null", O_RDWR);

	/* First out of the way, then to their places. */
	keeper_fd = fcntl(keeper_fd, F_DUPFD, WORK_FD + 1);
	work_fd = fcntl(work_fd, F_DUPFD, WORK_FD + 1);
	if (keeper_fd < 0 || work_fd < 0 || null_fd < 0)
		_exit(1);
	for (int fd = 0; fd <= 2; fd++)
		dup2(null_fd, fd); /* a worker that hangs holds no pipe or terminal of the user's */
	dup2(keeper_fd, KEEPER_FD);
	dup2(work_fd, WORK_FD);
	syscall(SYS_close_range, WORK_FD + 1, ~0U, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "krait-scan");
	/* Ctrl-C goes to all of the terminal's processes; krait still needs names then. */
	for (int i = 0; i < 4; i++)
		signal((int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT}[i], SIG_IGN);
	privilege_drop(PRIVILEGE_FORKER);
	while (goes_on) {
		pid_t pid = start_worker(page, ++generation);

		alive_cnt += pid > 0;
		goes_on = pid > 0 && wait_for_worker(pid) && reap(&alive_cnt);
		if (goes_on)
			say_dead(generation);
	}
	_exit(0);
}

/* ---- Starting and ending ---- */

static int start_keeper(struct scanner *s)
{
	int requests[2], keeper[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, requests) != 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, keeper) != 0) {
		int err = -errno;

		close(requests[0]);
		close(requests[1]);
		return err;
	}
	s->keeper_pid = fork();
	if (s->keeper_pid == 0)
		keep(s->page, keeper[1], requests[1]);
	close(requests[1]);
	close(keeper[1]);
	s->work_fd = requests[0];
	s->keeper_fd = keeper[0];
	return s->keeper_pid < 0 ? -errno : 0;
}

struct scanner *scanner_new(void)
{
	struct scanner *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return NULL;
	s->work_fd = s->keeper_fd = -1;
	s->generation = 1;
	s->result = calloc(1, sizeof(*s->result));
	s->page = mmap(NULL, sizeof(*s->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	err = !s->result || s->page == MAP_FAILED ? -ENOMEM : start_keeper(s);
	if (!err)
		return s;
	log_error("record: start the process that scans: %s", strerror(-err));
	scanner_free(s);
	errno = -err;
	return NULL;
}

void scanner_free(struct scanner *s)
{
	if (!s)
		return;
	if (s->keeper_fd >= 0)
		close(s->keeper_fd);
	if (s->work_fd >= 0)
		close(s->work_fd);
	/* It kills its worker, and does not wait for it. */
	if (s->keeper_pid > 0)
		waitpid(s->keeper_pid, NULL, 0);
	if (s->page != MAP_FAILED)
		munmap(s->page, sizeof(*s->page));
	free(s->result);
	free(s);
}

/* ---- What krait does ---- */

int scanner_fd(const struct scanner *s)
{
	return s->work_fd;
}

uint64_t scanner_next_ns(const struct scanner *s)
{
	return s->is_scanning ? s->check_ns : UINT64_MAX;
}

bool scanner_is_busy(const struct scanner *s)
{
	return s->is_scanning || s->is_replaced;
}

struct scan_request *scanner_request(struct scanner *s)
{
	return &s->page->request;
}

/* The worker's CPU time so far. */
static uint64_t worker_cpu_ns(struct scanner *s)
{
	struct timespec ts;
	clockid_t clock;

	if (s->page->worker_pid > 0 && clock_getcpuclockid(s->page->worker_pid, &clock) == 0 &&
	    clock_gettime(clock, &ts) == 0)
		s->worker_cpu_ns = ts.tv_sec * NS_PER_S + ts.tv_nsec;
	return s->worker_cpu_ns;
}

void scanner_start(struct scanner *s, uint64_t now_ns)
{
	struct message m;

	scanner_take(s, now_ns); /* the worker may have died meanwhile, idle */
	if (s->work_fd < 0)	 /* and the keeper with it */
		return;
	if (++s->seq == 0) /* it has gone round: 0 is the keeper's */
		s->seq = 1;
	m = (struct message){.seq = s->seq, .generation = s->generation};
	s->is_scanning = true;
	s->began_ns = now_ns;
	s->began_cpu_ns = worker_cpu_ns(s);
	s->check_ns = now_ns + CHECK_NS;
	/* A worker that is dead is the keeper's to tell of. */
	send(s->work_fd, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static const struct scan_result *fail(struct scanner *s, int err)
{
	s->result->err = err;
	s->result->target = (struct target){.pid = s->page->request.pid};
	s->result->cost_ns = worker_cpu_ns(s) - s->began_cpu_ns;
	s->result->text_bytes = 0;
	s->result->page_cnt = 0;
	s->is_scanning = false;
	s->failed_cnt++;
	return s->result;
}

/* From here on the next worker is waited for. */
static void count_out_worker(struct scanner *s)
{
	s->dead_cpu_ns += s->worker_cpu_ns;
	s->worker_cpu_ns = 0;
	s->page->worker_pid = 0;
	s->generation++;
}

/* A copy of what the worker says, of which nothing but the lengths is believed. */
static const struct scan_result *take_result(struct scanner *s)
{
	const struct scan_result *from = &s->page->result;
	struct scan_result *to = s->result;

	memcpy(to, from, offsetof(struct scan_result, text));
	if (to->text_bytes > SCAN_TEXT_BYTES)
		to->text_bytes = SCAN_TEXT_BYTES;
	memcpy(to->text, from->text, to->text_bytes);
	to->target.how[sizeof(to->target.how) - 1] = '\0';
	to->target.why[sizeof(to->target.why) - 1] = '\0';
	s->is_scanning = false;
	return to;
}

/* Whether the worker waits for something else than a CPU: "R" in proc(5)'s stat. */
static bool is_waiting(pid_t pid)
{
	char path[32], text[64] = "", *end;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return true;
	if (!fgets(text, sizeof(text), in))
		text[0] = '\0';
	fclose(in);
	end = strrchr(text, ')');
	return !end || end[1] != ' ' || end[2] != 'R';
}

static bool takes_too_long(struct scanner *s, uint64_t now_ns)
{
	uint64_t wall_ns = now_ns - s->began_ns;

	if (worker_cpu_ns(s) - s->began_cpu_ns > SCAN_CPU_MAX_NS)
		return true;
	if (wall_ns > SCAN_WAIT_MAX_NS && is_waiting(s->page->worker_pid))
		return true;
	return wall_ns > SCAN_STARVED_MAX_NS;
}

/* Has the keeper replace the worker. */
static const struct scan_result *give_up(struct scanner *s)
{
	const struct scan_result *result = fail(s, -ETIME);

	if (write(s->keeper_fd, "k", 1) != 1)
		log_verbose("record: the process that scans is gone");
	count_out_worker(s);
	s->is_replaced = true;
	return result;
}

/* The keeper says that a worker is dead: the one given up, or this one by itself. */
static const struct scan_result *on_death(struct scanner *s, const struct message *m)
{
	const struct scan_result *result = NULL;

	if (m->generation + 1 == s->generation)
		s->is_replaced = false;
	if (m->generation != s->generation)
		return NULL;
	if (s->is_scanning)
		result = fail(s, -ECHILD);
	count_out_worker(s);
	return result;
}

/* Nobody is left at the other end: somebody has killed the keeper. No more scans, then; and a
 * socket that is closed wakes nobody any more. */
static const struct scan_result *on_end(struct scanner *s)
{
	log_error("record: the process that scans was killed: no further Python process will be "
		  "found");
	close(s->work_fd);
	s->work_fd = -1;
	s->is_replaced = true;
	return s->is_scanning ? fail(s, -ECHILD) : NULL;
}

/* What the messages that have come say, or NULL. */
static const struct scan_result *receive(struct scanner *s)
{
	const struct scan_result *result = NULL;
	struct message m;
	ssize_t n = 0;

	if (s->work_fd < 0)
		return NULL;
	while (!result && (n = recv(s->work_fd, &m, sizeof(m), MSG_DONTWAIT)) == sizeof(m)) {
		if (m.seq == 0)
			result = on_death(s, &m);
		else if (s->is_scanning && m.seq == s->seq && m.generation == s->generation)
			result = take_result(s);
	}
	return !result && n == 0 ? on_end(s) : result;
}

const struct scan_result *scanner_take(struct scanner *s, uint64_t now_ns)
{
	const struct scan_result *result = receive(s);

	if (result || !s->is_scanning || now_ns < s->check_ns)
		return result;
	s->check_ns = now_ns + CHECK_NS;
	if (!takes_too_long(s, now_ns))
		return NULL;
	/* On a crowded host the worker may have waited for a CPU, not for a file, and be done since
	 * receive: it waits for the next request then. */
	result = receive(s);
	return result || !s->is_scanning ? result : give_up(s);
}

const struct scan_result *scanner_run(struct scanner *s, pid_t pid)
{
	struct pollfd fd = {.fd = s->work_fd, .events = POLLIN};
	const struct scan_result *result;
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + SCAN_STARVED_MAX_NS;

	while (s->is_replaced && s->work_fd >= 0 && clock_ns(CLOCK_MONOTONIC) < end_ns) {
		poll(&fd, 1, CHECK_NS / NS_PER_MS);
		scanner_take(s, clock_ns(CLOCK_MONOTONIC));
	}
	*scanner_request(s) = (struct scan_request){.kind = SCAN_PROCESS, .pid = pid};
	if (s->is_replaced)
		return fail(s, s->work_fd < 0 ? -ECHILD : -ETIME);
	scanner_start(s, clock_ns(CLOCK_MONOTONIC));
	while (!(result = scanner_take(s, clock_ns(CLOCK_MONOTONIC))))
		poll(&fd, 1, CHECK_NS / NS_PER_MS);
	return result;
}

uint64_t scanner_cpu_ns(struct scanner *s)
{
	return s->dead_cpu_ns + worker_cpu_ns(s);
}

uint64_t scanner_peak_kb(const struct scanner *s)
{
	char path[40], line[128];
	unsigned long kb = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->page->worker_pid);
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "RssAnon: %lu kB", &kb) == 1)
			break;
	if (in)
		fclose(in);
	return kb;
}

uint32_t scanner_failed_cnt(const struct scanner *s)
{
	return s->failed_cnt;
}
