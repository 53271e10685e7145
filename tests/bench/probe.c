// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the benchmark cannot do from Python. One small program with several modes, so that it is
 * built once:
 *
 *	probe empty HZ		the baseline: an empty BPF program on the timer that krait uses
 *	probe limit HZ PID TSTATE FILE
 *				the least that a sample takes, limit.bpf.c: for each line of stdin,
 *				how many it has had of that process
 *	probe stats		keeps the kernel's BPF run-time statistics on
 *	probe watch PID		for each line of stdin, what the perf_event program of PID has cost
 *	probe switch PID	for each line of stdin, 0 or 1, puts the timers of PID off or on
 *	probe run CMD [ARG]...	runs CMD: when it was executed, how it ended, memory, CPU
 *	probe spin		a busy process that is no Python
 *
 * Each says one line of JSON at a time, and ends when its stdin is closed or its parent is gone: a
 * benchmark that is killed leaves nothing behind. The statistics are switched on by a file
 * descriptor (BPF_ENABLE_STATS, Linux 5.8), not by the sysctl, for the same reason.
 *
 * `run` forks from this small process because Linux counts the memory of the process image before
 * exec into the ru_maxrss of the one after it (fs/exec.c, exec_mmap): started from Python, every
 * program has at least Python's peak.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The walker's memory as a host sees it. */
#define KRAIT_HOST
#include "bpf/state.h"

#define TICK "krait_tick" /* bpf/krait.bpf.c */
#define EMPTY "bench_empty"
#define LIMIT "bench_limit" /* limit.bpf.c */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	return 1;
}

static void say(const char *line)
{
	puts(line);
	fflush(stdout);
}

static void wait_for_end(void)
{
	char byte[64];

	while (read(STDIN_FILENO, byte, sizeof(byte)) > 0)
		;
}

/* ---- The baselines ---- */

/* `return 0;`, as a compiler would write it. */
static int load_empty(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_PERF_EVENT, EMPTY, "BSD", insns, 2, NULL);
}

/* The same timer as in user/session/sampler.c, start_cpu(). */
static int attach_cpu(int prog_fd, int cpu, unsigned int freq_hz)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = 1000000000ULL / freq_hz,
		.exclude_idle = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return errno == ENODEV ? 0 : -errno; /* the CPU is offline */
	return bpf_link_create(prog_fd, fd, BPF_PERF_EVENT, NULL) < 0 ? -errno : 0;
}

static bool attach(int prog_fd, unsigned int freq_hz)
{
	long cpu_cnt = sysconf(_SC_NPROCESSORS_CONF);

	for (int cpu = 0; cpu < cpu_cnt; cpu++)
		if (attach_cpu(prog_fd, cpu, freq_hz) != 0)
			return false;
	return true;
}

static int empty(unsigned int freq_hz)
{
	int prog_fd = load_empty();

	if (prog_fd < 0)
		return fail("load the empty program");
	if (!attach(prog_fd, freq_hz))
		return fail("attach the empty program");
	say("{}");
	wait_for_end();
	return 0;
}

/* The program of FILE, its target set. Its object stays until this process ends. */
static struct bpf_object *load_limit(uint64_t pid, uint64_t tstate, const char *file)
{
	struct bpf_object *object = bpf_object__open_file(file, NULL);
	const uint64_t target[2] = {pid, tstate};
	struct bpf_map *rodata;

	if (!object)
		return NULL;
	rodata = bpf_object__find_map_by_name(object, ".rodata");
	if (!rodata || bpf_map__set_initial_value(rodata, target, sizeof(target)) != 0 ||
	    bpf_object__load(object) != 0)
		return NULL;
	return object;
}

/* struct copy begins with the count. */
static int say_samples(struct bpf_map *copies)
{
	uint64_t copy[1024] = {0};
	uint32_t slot = 0;
	char line[64];

	if (bpf_map__value_size(copies) > sizeof(copy) ||
	    bpf_map_lookup_elem(bpf_map__fd(copies), &slot, copy) != 0)
		return fail("read the count of the limit program");
	snprintf(line, sizeof(line), "{\"samples\": %llu}", (unsigned long long)copy[0]);
	say(line);
	return 0;
}

static int limit(unsigned int freq_hz, uint64_t pid, uint64_t tstate, const char *file)
{
	struct bpf_object *object = load_limit(pid, tstate, file);
	struct bpf_program *prog = object ? bpf_object__find_program_by_name(object, LIMIT) : NULL;
	struct bpf_map *copies = object ? bpf_object__find_map_by_name(object, "copies") : NULL;
	char line[64];

	if (!prog || !copies)
		return fail("load the limit program");
	if (!attach(bpf_program__fd(prog), freq_hz))
		return fail("attach the limit program");
	say("{}");
	while (fgets(line, sizeof(line), stdin))
		if (say_samples(copies) != 0)
			return 1;
	return 0;
}

static int stats(void)
{
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		return fail("enable BPF run-time statistics");
	say("{}");
	wait_for_end();
	return 0;
}

/* ---- Watching ---- */

/* What a process holds of BPF. */
struct held {
	int prog_fd;			 /* its program on the timer, or -1 */
	const struct scratch *scratches; /* krait's memory, one for each possible CPU, or NULL */
	uint32_t scratch_cnt;
	uint64_t maps_bytes;
};

static void take_prog(struct held *held, uint32_t id)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	/* By name: while libbpf loads, it tries out small programs of its own. */
	if (fd >= 0 && held->prog_fd < 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	    (strcmp(info.name, TICK) == 0 || strcmp(info.name, EMPTY) == 0 ||
	     strcmp(info.name, LIMIT) == 0))
		held->prog_fd = fd;
	else if (fd >= 0)
		close(fd);
}

static void take_map(struct held *held, uint32_t id)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_map_get_fd_by_id(id);
	void *at;

	if (fd < 0)
		return;
	if (!held->scratches && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	    strcmp(info.name, "scratches") == 0 && info.value_size == sizeof(struct scratch)) {
		at = mmap(NULL, (size_t)info.max_entries * sizeof(struct scratch), PROT_READ,
			  MAP_SHARED, fd, 0);
		held->scratches = at == MAP_FAILED ? NULL : at;
		held->scratch_cnt = info.max_entries;
	}
	close(fd);
}

/* One file of /proc/PID/fdinfo: Documentation/filesystems/proc.rst; the fields of BPF files are in
 * kernel/bpf/syscall.c, bpf_map_show_fdinfo() and bpf_prog_show_fdinfo(). */
static void take_fdinfo(struct held *held, FILE *in)
{
	unsigned long long memlock = 0;
	unsigned int prog_id = 0, map_id = 0;
	char line[256];

	while (fgets(line, sizeof(line), in)) {
		sscanf(line, "memlock: %llu", &memlock);
		sscanf(line, "prog_id: %u", &prog_id);
		sscanf(line, "map_id: %u", &map_id);
	}
	if (prog_id)
		take_prog(held, prog_id);
	if (map_id) {
		take_map(held, map_id);
		held->maps_bytes += memlock;
	}
}

static void look(struct held *held, const char *pid)
{
	char path[512];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo", pid);
	dir = opendir(path);
	held->maps_bytes = 0;
	while (dir && (entry = readdir(dir))) {
		FILE *in;

		snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, entry->d_name);
		in = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (in)
			take_fdinfo(held, in);
		if (in)
			fclose(in);
	}
	if (dir)
		closedir(dir);
}

static void read_counters(const struct held *held, uint64_t *sums)
{
	memset(sums, 0, KRAIT_CNT_CNT * sizeof(*sums));
	for (uint32_t cpu = 0; held->scratches && cpu < held->scratch_cnt; cpu++)
		for (int i = 0; i < KRAIT_CNT_CNT; i++)
			sums[i] +=
				*(const volatile __u64 *)&held->scratches[cpu].writer.counters[i];
}

static void say_reading(const struct held *held)
{
	uint64_t c[KRAIT_CNT_CNT];
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	char line[512];

	read_counters(held, c);
	if (held->prog_fd >= 0)
		bpf_obj_get_info_by_fd(held->prog_fd, &info, &len);
	snprintf(line, sizeof(line),
		 "{\"has_counters\": %s, \"time_ns\": %llu, \"run_ns\": %llu, \"runs\": %llu, "
		 "\"targets\": %llu, \"unknown\": %llu, \"samples\": %llu, \"stacks\": %llu, "
		 "\"codes\": %llu, \"ring_bytes\": %llu, \"maps_bytes\": %llu}",
		 held->scratches ? "true" : "false", (unsigned long long)now_ns(),
		 (unsigned long long)info.run_time_ns, (unsigned long long)info.run_cnt,
		 (unsigned long long)c[KRAIT_CNT_TARGET_TICKS],
		 (unsigned long long)c[KRAIT_CNT_UNKNOWN_TICKS],
		 (unsigned long long)c[KRAIT_CNT_SAMPLES], (unsigned long long)c[KRAIT_CNT_STACKS],
		 (unsigned long long)c[KRAIT_CNT_CODES],
		 (unsigned long long)c[KRAIT_CNT_RING_BYTES], (unsigned long long)held->maps_bytes);
	say(line);
}

static int watch(const char *pid)
{
	struct held held = {.prog_fd = -1};
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		/* Looked up until the program is there; from then on a reading is two system calls.
		 */
		if (held.prog_fd < 0)
			look(&held, pid);
		say_reading(&held);
	}
	return 0;
}

/* ---- Switching ---- */

#define TIMERS_MAX 1024

/* The process's file descriptor as one of ours, if it is a perf event; else -1. */
static int take_timer(int pid_fd, const char *pid, const char *fd)
{
	char path[512], what[64] = "";

	snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
	if (readlink(path, what, sizeof(what) - 1) < 0 || strcmp(what, "anon_inode:[perf_event]"))
		return -1;
	return syscall(SYS_pidfd_getfd, pid_fd, atoi(fd), 0);
}

/* All of its perf events; how many there are, or -1. */
static int take_timers(const char *pid, int *timers)
{
	int pid_fd = syscall(SYS_pidfd_open, atoi(pid), 0), cnt = 0;
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (pid_fd < 0 || !dir)
		return -1;
	while (cnt < TIMERS_MAX && (entry = readdir(dir))) {
		timers[cnt] = take_timer(pid_fd, pid, entry->d_name);
		cnt += timers[cnt] >= 0;
	}
	closedir(dir);
	close(pid_fd);
	return cnt;
}

static int switch_timers(const char *pid)
{
	int timers[TIMERS_MAX], cnt = take_timers(pid, timers);
	char line[64];

	if (cnt < 0)
		return fail("find the timers");
	snprintf(line, sizeof(line), "{\"timers\": %d}", cnt);
	say(line);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long how = line[0] == '1' ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE;

		for (int i = 0; i < cnt; i++)
			if (ioctl(timers[i], how, 0) != 0)
				return fail("switch a timer");
		say("{}");
	}
	return 0;
}

/* ---- Running ---- */

static int say_end(pid_t pid)
{
	struct rusage use;
	char line[128];
	long long cpu_us;
	int status;

	if (wait4(pid, &status, 0, &use) < 0)
		return fail("wait4");
	cpu_us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000LL + use.ru_utime.tv_usec +
		 use.ru_stime.tv_usec;
	snprintf(line, sizeof(line), "{\"exit\": %d, \"maxrss_kb\": %ld, \"cpu_us\": %lld}",
		 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), use.ru_maxrss,
		 cpu_us);
	say(line);
	return 0;
}

static int run(char **argv)
{
	uint64_t exec_ns;
	char line[128];
	pid_t pid;

	exec_ns = now_ns();
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(STDERR_FILENO, STDOUT_FILENO); /* ours speaks JSON only */
		execv(argv[0], argv);
		_exit(fail(argv[0]) ? 127 : 0);
	}
	snprintf(line, sizeof(line), "{\"pid\": %d, \"exec_ns\": %llu}", pid,
		 (unsigned long long)exec_ns);
	say(line);
	return say_end(pid);
}

static int spin(void)
{
	volatile unsigned long n = 0;

	say("{}");
	for (;;)
		n++;
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strcmp(mode, "empty") == 0 && argc == 3)
		return empty(atoi(argv[2]));
	if (strcmp(mode, "limit") == 0 && argc == 6)
		return limit(atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 0), argv[5]);
	if (strcmp(mode, "stats") == 0)
		return stats();
	if (strcmp(mode, "watch") == 0 && argc == 3)
		return watch(argv[2]);
	if (strcmp(mode, "switch") == 0 && argc == 3)
		return switch_timers(argv[2]);
	if (strcmp(mode, "run") == 0 && argc > 2)
		return run(argv + 2);
	if (strcmp(mode, "spin") == 0)
		return spin();
	fprintf(stderr, "usage: probe empty HZ | limit HZ PID TSTATE FILE | stats | watch PID | "
			"switch PID | run CMD [ARG]... | spin\n");
	return 2;
}
