// SPDX-License-Identifier: BSD-2-Clause
/*
 * The filter is a list of what may be done. What is on no list gets ENOSYS: a C library that has
 * learned a newer call then falls back to the older one, and no run is lost for it. What a process
 * that was taken over would want gets EPERM, and what it would want most, and krait never does for
 * whatever reason, ends it: to trace others, write to their memory, execute a program, load a
 * module. With --verbose the kernel's log tells of each call that was refused.
 */
#include "user/session/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/session/privilege.h"

#define ANY (PRIVILEGE_SAMPLER | PRIVILEGE_COMMAND | PRIVILEGE_READER | PRIVILEGE_FORKER)
#define WRITERS (PRIVILEGE_SAMPLER | PRIVILEGE_FORKER)

/* libseccomp has of each call a number, a negative one where this machine does not know the call.
 */
#define CALL(name) ((int)SCMP_SYS(name))

/* ---- Calls that are made with whatever arguments ---- */

static const int memory_time_and_waiting[] = {
	CALL(brk),
	CALL(munmap),
	CALL(mremap),
	CALL(madvise),
	CALL(membarrier),
	CALL(futex),
	CALL(rseq),
	CALL(set_robust_list),
	CALL(getrandom),
	CALL(sysinfo),
	CALL(uname),
	CALL(getrusage),
	CALL(times),
	CALL(clock_gettime),
	CALL(clock_getres),
	CALL(clock_nanosleep),
	CALL(nanosleep),
	CALL(gettimeofday),
	CALL(time),
	CALL(getpid),
	CALL(getppid),
	CALL(gettid),
	CALL(getuid),
	CALL(geteuid),
	CALL(getgid),
	CALL(getegid),
	CALL(getgroups),
	CALL(getcpu),
	CALL(sched_yield),
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(rt_sigpending),
	CALL(sigaltstack),
	CALL(pause),
	CALL(restart_syscall),
	CALL(exit),
	CALL(exit_group),
	CALL(epoll_create1),
	CALL(epoll_ctl),
	CALL(epoll_wait),
	CALL(epoll_pwait),
	CALL(poll),
	CALL(ppoll),
	CALL(select),
	CALL(pselect6),
	CALL(signalfd4),
	CALL(eventfd2),
	CALL(timerfd_create),
	CALL(timerfd_settime),
	CALL(timerfd_gettime),
	CALL(alarm),
	CALL(setitimer),
	CALL(timer_create),
	CALL(timer_settime),
	CALL(timer_delete),
	CALL(rt_sigtimedwait),
	CALL(capget),
	CALL(sched_getaffinity),
};

static const int reading[] = {
	CALL(read),	CALL(readv),	  CALL(pread64),    CALL(preadv),   CALL(lseek),
	CALL(fstat),	CALL(newfstatat), CALL(stat),	    CALL(lstat),    CALL(statx),
	CALL(access),	CALL(faccessat),  CALL(faccessat2), CALL(readlink), CALL(readlinkat),
	CALL(statfs),	CALL(fstatfs),	  CALL(getdents64), CALL(getcwd),   CALL(fcntl),
	CALL(dup),	CALL(fadvise64),  CALL(sendmsg),    CALL(recvmsg),  CALL(recvfrom),
	CALL(shutdown), CALL(getsockopt),
};

static const int writing[] = {
	CALL(write), CALL(writev), CALL(close),	 CALL(close_range), CALL(dup2),
	CALL(dup3),  CALL(open),   CALL(openat), CALL(openat2),	    CALL(pipe2),
};

static const int files[] = {
	CALL(pwrite64),	 CALL(pwritev),		CALL(rename),	 CALL(renameat),  CALL(renameat2),
	CALL(link),	 CALL(linkat),		CALL(unlink),	 CALL(unlinkat),  CALL(fsync),
	CALL(fdatasync), CALL(sync_file_range), CALL(fallocate), CALL(ftruncate), CALL(fchmod),
	CALL(fchmodat),	 CALL(fchown),		CALL(fchownat),	 CALL(umask),	  CALL(flock),
	CALL(sendfile),	 CALL(copy_file_range),
};

static const int sampling[] = {
	CALL(perf_event_open),
	CALL(sched_setscheduler),
	CALL(sched_getscheduler),
	CALL(sched_setparam),
	CALL(sched_getparam),
	CALL(sched_setattr),
	CALL(sched_getattr),
	CALL(setpriority),
	CALL(getpriority),
	CALL(sched_setaffinity),
	CALL(sched_get_priority_min),
	CALL(sched_get_priority_max),
	CALL(wait4),
	CALL(waitid),
	CALL(pidfd_send_signal),
};

static const int commanding[] = {CALL(kill), CALL(wait4), CALL(waitid)};

static const int forking[] = {
	CALL(clone),
	CALL(fork),
	CALL(vfork),
	CALL(wait4),
	CALL(waitid),
	CALL(kill),
	CALL(prctl),
	CALL(capset),
	CALL(seccomp),
	CALL(pidfd_open),
	CALL(pidfd_send_signal),
	CALL(set_tid_address),
};

#define LIST(roles, calls)                                                                         \
	{                                                                                          \
		roles, calls, sizeof(calls) / sizeof(*(calls))                                     \
	}

static const struct {
	unsigned int roles;
	const int *calls;
	size_t cnt;
} lists[] = {
	LIST(ANY, memory_time_and_waiting),
	LIST(ANY, reading),
	LIST(WRITERS, writing),
	LIST(PRIVILEGE_SAMPLER, files),
	LIST(PRIVILEGE_SAMPLER, sampling),
	LIST(PRIVILEGE_COMMAND, commanding),
	LIST(PRIVILEGE_FORKER, forking),
};

/* ---- Calls of which an argument decides ---- */

/* An int: the upper half of the register is no part of it. */
#define EQ(arg, value)                                                                             \
	{                                                                                          \
		arg, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value)                             \
	}
#define IS_NULL(arg)                                                                               \
	{                                                                                          \
		arg, SCMP_CMP_EQ, 0, 0                                                             \
	}
/* None of these bits. */
#define WITHOUT(arg, bits)                                                                         \
	{                                                                                          \
		arg, SCMP_CMP_MASKED_EQ, (uint64_t)(bits), 0                                       \
	}
/* All of these bits. */
#define WITH(arg, bits)                                                                            \
	{                                                                                          \
		arg, SCMP_CMP_MASKED_EQ, (uint64_t)(bits), (uint64_t)(bits)                        \
	}
#define ABOVE(arg, value)                                                                          \
	{                                                                                          \
		arg, SCMP_CMP_GT, (uint64_t)(value), 0                                             \
	}

#define CLONE_ARG 0 /* flags: on x86-64 and arm64 */
#define TO_WRITE (O_ACCMODE | O_CREAT | O_TRUNC)

static const struct {
	unsigned int roles;
	int call;
	struct scmp_arg_cmp when;
} rules[] = {
	{ANY, CALL(mmap), WITHOUT(2, PROT_EXEC)},
	{ANY, CALL(mprotect), WITHOUT(2, PROT_EXEC)},
	{ANY, CALL(prlimit64), EQ(0, 0)}, /* its own */
	{ANY, CALL(prctl), EQ(0, PR_SET_NAME)},
	{ANY, CALL(prctl), EQ(0, PR_SET_VMA)}, /* the C library names its arenas */
	{ANY, CALL(prctl), EQ(0, PR_CAPBSET_READ)},
	{ANY, CALL(sendto), IS_NULL(4)}, /* on what is connected: that is, send */
	{ANY, CALL(ioctl), EQ(1, TCGETS)},
	{ANY, CALL(ioctl), EQ(1, TIOCGWINSZ)},
	{ANY, CALL(ioctl), EQ(1, FIONREAD)},
	{PRIVILEGE_READER, CALL(open), WITHOUT(1, TO_WRITE)},
	{PRIVILEGE_READER, CALL(openat), WITHOUT(2, TO_WRITE)},
	{PRIVILEGE_READER, CALL(write), EQ(0, STDERR_FILENO)},
	{PRIVILEGE_READER, CALL(writev), EQ(0, STDERR_FILENO)},
	/* Nor can another file take the number of stderr. */
	{PRIVILEGE_READER, CALL(close), ABOVE(0, STDERR_FILENO)},
	{PRIVILEGE_FORKER, CALL(socketpair), EQ(0, AF_UNIX)},
	/* A thread; clone3, whose flags are in memory, is refused, and then this is taken. */
	{PRIVILEGE_SAMPLER, CALL(clone), WITH(CLONE_ARG, CLONE_VM | CLONE_THREAD)},
	{PRIVILEGE_SAMPLER, CALL(ioctl), EQ(1, PERF_EVENT_IOC_ENABLE)},
	{PRIVILEGE_SAMPLER, CALL(ioctl), EQ(1, PERF_EVENT_IOC_DISABLE)},
	{PRIVILEGE_SAMPLER, CALL(ioctl), EQ(1, PERF_EVENT_IOC_SET_BPF)},
	{PRIVILEGE_SAMPLER, CALL(ioctl), EQ(1, PERF_EVENT_IOC_PERIOD)},
	{PRIVILEGE_SAMPLER, CALL(ioctl), EQ(1, PERF_EVENT_IOC_ID)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_LOOKUP_ELEM)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_UPDATE_ELEM)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_DELETE_ELEM)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_GET_NEXT_KEY)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_LOOKUP_AND_DELETE_ELEM)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_MAP_LOOKUP_BATCH)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_OBJ_GET_INFO_BY_FD)},
	{PRIVILEGE_SAMPLER, CALL(bpf), EQ(0, BPF_LINK_CREATE)},
};

/* ---- What is refused with another word than ENOSYS ---- */

/* The process ends: no mistake of ours leads here. */
static const int deadly[] = {
	CALL(ptrace),	       CALL(process_vm_writev),
	CALL(execve),	       CALL(execveat),
	CALL(init_module),     CALL(finit_module),
	CALL(delete_module),   CALL(kexec_load),
	CALL(kexec_file_load), CALL(mount),
	CALL(umount2),	       CALL(pivot_root),
	CALL(chroot),	       CALL(setns),
	CALL(unshare),	       CALL(reboot),
	CALL(swapon),	       CALL(open_by_handle_at),
	CALL(userfaultfd),     CALL(iopl),
	CALL(ioperm),
};

/* A name service of a C library may come by here. */
static const int refused[] = {
	CALL(socket),	   CALL(connect),   CALL(bind),		  CALL(listen),
	CALL(accept),	   CALL(accept4),   CALL(sendmmsg),	  CALL(process_vm_readv),
	CALL(setuid),	   CALL(setgid),    CALL(setreuid),	  CALL(setregid),
	CALL(setresuid),   CALL(setresgid), CALL(setgroups),	  CALL(add_key),
	CALL(request_key), CALL(keyctl),    CALL(io_uring_setup), CALL(memfd_create),
};

/* ---- Making it ---- */

/* libseccomp passes over a call that this machine has not. */
static int add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t cnt)
{
	int err = 0;

	for (size_t i = 0; !err && i < cnt; i++)
		err = seccomp_rule_add(filter, action, calls[i], 0);
	return err;
}

static int add_allowed(scmp_filter_ctx filter, unsigned int roles)
{
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].roles & roles)
			err = add_calls(filter, SCMP_ACT_ALLOW, lists[i].calls, lists[i].cnt);
	for (size_t i = 0; !err && i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].roles & roles)
			err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call, 1,
						     &rules[i].when);
	/* abort(3), and nobody else's thread. */
	err = err
		      ?: seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(tgkill), 1,
					  SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid(), 0));
	/* The flags are in memory there, where no filter sees them; where the links of map_files
	 * may be followed nothing needs it. */
	if (roles & PRIVILEGE_READER && !(roles & WRITERS) &&
	    !privilege_has(CAP_CHECKPOINT_RESTORE))
		err = err ?: seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(openat2), 0);
	return err;
}

static int add_forbidden(scmp_filter_ctx filter)
{
	int err =
		add_calls(filter, SCMP_ACT_KILL_PROCESS, deadly, sizeof(deadly) / sizeof(*deadly));

	return err
		       ?: add_calls(filter, SCMP_ACT_ERRNO(EPERM), refused,
				    sizeof(refused) / sizeof(*refused));
}

/* What an older kernel has not is done without. */
static void set_attributes(scmp_filter_ctx filter)
{
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1); /* no foreign code runs in here */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (log_get_level() >= LOG_VERBOSE)
		seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
}

/* AddressSanitizer traces its own process at the end, to find leaks. */
#ifdef __SANITIZE_ADDRESS__
#define CAN_FILTER false
#else
#define CAN_FILTER true
#endif

int seccomp_filter_set(unsigned int roles)
{
	scmp_filter_ctx filter;
	int err;

	if (!CAN_FILTER)
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!filter)
		return -ENOMEM;
	set_attributes(filter);
	err = add_forbidden(filter);
	err = err ?: add_allowed(filter, roles);
	err = err ?: seccomp_load(filter);
	seccomp_release(filter);
	return err;
}
