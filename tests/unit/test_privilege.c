/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process may do after privilege_drop, tried: each case is a child that gives up what its
 * roles don't need and then makes one call. Works as root and as anybody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/session/privilege.h"

#ifdef __SANITIZE_ADDRESS__
#define IS_FILTERED false /* see seccomp_filter_set */
#else
#define IS_FILTERED true
#endif

#define S PRIVILEGE_SAMPLER
#define C (PRIVILEGE_SAMPLER | PRIVILEGE_COMMAND)
#define R PRIVILEGE_READER
#define F (PRIVILEGE_FORKER | PRIVILEGE_READER)

/* Open before the drop, as in krait. */
static int socket_fds[2], file_fd;

static long do_nothing(void)
{
	return 0;
}

static long do_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long do_writev(void)
{
	char c = 0;
	struct iovec v = {&c, 1};

	return process_vm_writev(getpid(), &v, 1, &v, 1, 0);
}

static long do_exec(void)
{
	return execl("/bin/true", "true", NULL);
}

static long do_mount(void)
{
	return mount("none", "/", "tmpfs", 0, NULL);
}

static long do_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static long do_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long do_socketpair(void)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

static long do_connect(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/nscd/socket"};

	return connect(socket_fds[0], (struct sockaddr *)&to, sizeof(to));
}

static long do_bpf_load(void)
{
	return syscall(SYS_bpf, 5 /* BPF_PROG_LOAD */, NULL, 0);
}

static long do_setuid(void)
{
	return setresuid(1, 1, 1);
}

static long do_unknown(void)
{
	return syscall(0x3fff);
}

static long do_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}

static long do_kill(void)
{
	return kill(getpid(), 0);
}

static long do_create(void)
{
	return open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
}

static long do_open_to_write(void)
{
	return open("/dev/null", O_WRONLY);
}

static long do_open(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	char c;

	return fd < 0 ? -1 : read(fd, &c, 1) + close(fd);
}

static long do_write(void)
{
	return write(file_fd, "x", 1);
}

static long do_truncate(void)
{
	return ftruncate(file_fd, 1);
}

static long do_write_stderr(void)
{
	return write(STDERR_FILENO, "", 0);
}

static long do_close_stderr(void)
{
	return close(STDERR_FILENO);
}

static long do_send(void)
{
	return send(socket_fds[0], "x", 1, MSG_NOSIGNAL);
}

static long do_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? -1
		       : 0;
}

static long do_schedule(void)
{
	struct sched_param param = {0};

	return sched_setscheduler(0, SCHED_OTHER, &param);
}

static long do_allocate(void)
{
	char *big = malloc(64 << 20);

	if (!big)
		return -1;
	memset(big, 1, 64 << 20);
	free(big);
	return 0;
}

static long do_narrow(void)
{
	return privilege_drop(R) || open("/dev/null", O_WRONLY) >= 0 ? -1 : 0;
}

#define DIES (-SIGSYS) /* instead of an errno */

static const struct {
	const char *what;
	long (*call)(void);
	unsigned int roles;
	int outcome; /* 0: works; errno; DIES */
} cases[] = {
#define DEADLY(what, call)                                                                         \
	{what, call, C, DIES}, {what, call, R, DIES},                                              \
	{                                                                                          \
		what, call, F, DIES                                                                \
	}
	DEADLY("ptrace", do_ptrace),
	DEADLY("process_vm_writev", do_writev),
	DEADLY("exec", do_exec),
	DEADLY("mount", do_mount),
	DEADLY("unshare", do_unshare),
#define REFUSED(what, call)                                                                        \
	{what, call, C, EPERM}, {what, call, R, EPERM},                                            \
	{                                                                                          \
		what, call, F, EPERM                                                               \
	}
	REFUSED("socket", do_socket),
	REFUSED("connect", do_connect),
	REFUSED("setuid", do_setuid),
#define UNKNOWN(what, call)                                                                        \
	{what, call, C, ENOSYS}, {what, call, R, ENOSYS},                                          \
	{                                                                                          \
		what, call, F, ENOSYS                                                              \
	}
	UNKNOWN("load a BPF program", do_bpf_load),
	UNKNOWN("a call that nobody knows", do_unknown),
	UNKNOWN("map code", do_map_code),
#define WORKS(what, call)                                                                          \
	{what, call, C, 0}, {what, call, R, 0},                                                    \
	{                                                                                          \
		what, call, F, 0                                                                   \
	}
	WORKS("nothing", do_nothing),
	WORKS("open", do_open),
	WORKS("send", do_send),
	WORKS("write to stderr", do_write_stderr),
	WORKS("allocate", do_allocate),
	{"fork", do_fork, C, ENOSYS},
	{"fork", do_fork, R, ENOSYS},
	{"fork", do_fork, F, 0},
	{"socketpair", do_socketpair, C, ENOSYS},
	{"socketpair", do_socketpair, R, ENOSYS},
	{"socketpair", do_socketpair, F, 0},
	{"kill", do_kill, S, ENOSYS},
	{"kill", do_kill, R, ENOSYS},
	{"kill", do_kill, C, 0},
	{"kill", do_kill, F, 0},
	{"make a file", do_create, S, 0},
	{"make a file", do_create, R, ENOSYS},
	{"open to write", do_open_to_write, S, 0},
	{"open to write", do_open_to_write, R, ENOSYS},
	{"write", do_write, S, 0},
	{"write", do_write, R, ENOSYS},
	{"truncate", do_truncate, S, 0},
	{"truncate", do_truncate, R, ENOSYS},
	{"close stderr", do_close_stderr, R, ENOSYS},
	{"schedule", do_schedule, S, 0},
	{"schedule", do_schedule, R, ENOSYS},
	/* Both roles in one process. */
	{"write", do_write, S | R, 0},
	{"open", do_open, S | R, 0},
	{"exec", do_exec, S | R, DIES},
	/* The readers that a forker forks say what they do by a second call. */
	{"drop again", do_narrow, F, 0},
};

static int outcome_in_child(long (*call)(void), unsigned int roles)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (privilege_drop(roles))
			_exit(255);
		_exit(call() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_calls(void **state)
{
	(void)state;
	if (!IS_FILTERED)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int outcome = outcome_in_child(cases[i].call, cases[i].roles);

		if (outcome != cases[i].outcome)
			fail_msg("%s, roles %u: %d instead of %d", cases[i].what, cases[i].roles,
				 outcome, cases[i].outcome);
	}
}

/* The number behind "NAME:" in /proc/self/status. */
static unsigned long long status_of(const char *name, int base)
{
	FILE *in = fopen("/proc/self/status", "re");
	unsigned long long value = ~0ULL;
	size_t len = strlen(name);
	char line[256];

	while (in && fgets(line, sizeof(line), in))
		if (!strncmp(line, name, len) && line[len] == ':')
			value = strtoull(line + len + 1, NULL, base);
	if (in)
		fclose(in);
	return value;
}

#define BIT(cap) (1ULL << (cap))

static unsigned long long may_have(unsigned int roles)
{
	unsigned long long set = 0;

	if (roles & PRIVILEGE_SAMPLER) /* two of them on some kernels only */
		set |= BIT(CAP_PERFMON) | BIT(CAP_SYS_NICE) | BIT(CAP_DAC_OVERRIDE) |
		       BIT(CAP_CHOWN) | BIT(CAP_FOWNER) | BIT(CAP_BPF) | BIT(CAP_SYS_ADMIN);
	if (roles & PRIVILEGE_COMMAND)
		set |= BIT(CAP_KILL);
	if (roles & (PRIVILEGE_READER | PRIVILEGE_FORKER))
		set |= BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_CHECKPOINT_RESTORE);
	return set;
}

static unsigned long long before;
static unsigned int roles_now;

/* 0 if the sets are as they must be, else which is not. */
static long do_check_sets(void)
{
	unsigned long long must = may_have(roles_now) & before;

	errno = 0;
	if (status_of("CapEff", 16) & ~must || status_of("CapPrm", 16) & ~must)
		errno = 1;
	else if ((must & ~BIT(CAP_BPF) & ~BIT(CAP_SYS_ADMIN)) & ~status_of("CapEff", 16))
		errno = 2;
	else if (status_of("CapInh", 16) || status_of("CapAmb", 16))
		errno = 3;
	else if (before & BIT(CAP_SETPCAP) && status_of("CapBnd", 16))
		errno = 4;
	else if (status_of("NoNewPrivs", 10) != 1)
		errno = 5;
	else if (IS_FILTERED && status_of("Seccomp", 10) != 2)
		errno = 6;
	return errno ? -1 : 0;
}

static void test_sets(void **state)
{
	static const unsigned int roles[] = {S, C, R, F, S | R};

	(void)state;
	before = status_of("CapPrm", 16);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		roles_now = roles[i];
		assert_int_equal(outcome_in_child(do_check_sets, roles_now), 0);
	}
	assert_true(status_of("CapPrm", 16) == before); /* a child's loss is its own */
}

/* ---- What the sampler goes on with ---- */

static int map_fd = -1;

static long do_timer(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_CPU_CLOCK,
				       .size = sizeof(attr),
				       .disabled = 1};

	return syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static long do_map(void)
{
	uint32_t key = 0;
	uint64_t value = 1;

	return bpf_map_update_elem(map_fd, &key, &value, BPF_ANY) ||
			       bpf_map_lookup_elem(map_fd, &key, &value) || value != 1
		       ? -1
		       : 0;
}

/* A timer for a CPU that comes online, and maps, on every kernel; where it could do so before. */
static void test_sampling_goes_on(void **state)
{
	(void)state;
	if (do_timer() < 0 || map_fd < 0)
		skip();
	assert_int_equal(do_map(), 0);
	assert_int_equal(outcome_in_child(do_timer, S), 0);
	assert_int_equal(outcome_in_child(do_map, S), 0);
	assert_int_not_equal(outcome_in_child(do_timer, R), 0);
	if (IS_FILTERED)
		assert_int_not_equal(outcome_in_child(do_map, R), 0);
}

static int open_files(void **state)
{
	(void)state;
	map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "krait_test", 4, 8, 1, NULL);
	file_fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return socketpair(AF_UNIX, SOCK_DGRAM, 0, socket_fds) || file_fd < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_sampling_goes_on),
	};

	return cmocka_run_group_tests(tests, open_files, NULL);
}
