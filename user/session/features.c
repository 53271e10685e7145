// SPDX-License-Identifier: BSD-2-Clause
/*
 * The checks. Each asks the kernel for the thing itself, by trying it; a version is looked at only
 * for a bug that can't be seen before it bites.
 */
#include "user/session/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/base/strbuf.h"
#include "user/proc/pid_ns.h"
#include "user/proc/procfs.h"
#include "user/session/kernel_btf.h"
#include "user/session/privilege.h"

/* The inode of the initial user namespace: include/linux/proc_ns.h, PROC_USER_INIT_INO. */
#define INITIAL_USER_NS_INODE 0xeffffffdU

static void found(struct feature *f, enum feature_state state, const char *text)
{
	f->state = state;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

/* ---- What is refused, and which capability it takes ---- */

/* What krait is to be given for all that it does. */
static const int all_caps[] = {CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};

#define CAPS_CNT(caps) (sizeof(caps) / sizeof(*(caps)))

/* "cap_bpf, cap_perfmon": those that krait has not. */
static void add_missing(struct strbuf *names, const int *caps, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		const char *name = capng_capability_to_name(caps[i]);

		if (name && !privilege_has(caps[i]))
			strbuf_addf(names, "%scap_%s", names->len ? ", " : "", name);
	}
}

static bool is_in_user_ns(void)
{
	struct stat st;

	return stat("/proc/self/ns/user", &st) == 0 && st.st_ino != INITIAL_USER_NS_INODE;
}

/* `what` was refused, which takes some of `caps`. One that krait has is not the fix, even so. */
static void refused(struct feature *f, enum feature_state state, const char *what, const int *caps,
		    size_t cnt)
{
	struct strbuf names = {};
	const char *fix;

	add_missing(&names, caps, cnt);
	f->state = state;
	if (is_in_user_ns())
		fix = ": a user namespace (a rootless container) has no say in it: run krait on "
		      "the host";
	else if (!names.len)
		fix = " by a seccomp filter, a security module or kernel lockdown (docker: "
		      "--privileged)";
	else if (geteuid())
		fix = ": run krait as root (sudo krait ...), or give it ";
	else
		fix = ": root has not all capabilities here (docker: --privileged, or --cap-add): "
		      "give it ";
	snprintf(f->text, sizeof(f->text), "%s not permitted%s%s", what, fix,
		 is_in_user_ns() ? "" : strbuf_text(&names));
	strbuf_release(&names);
}

/* ---- The checks ---- */

const char *features_kernel_trouble(const char *release)
{
	unsigned int major = 0, minor = 0;

	sscanf(release, "%u.%u", &major, &minor);
	if (major < 5 || (major == 5 && minor < 15))
		return ": krait needs 5.15 or later";
	if ((major == 5 && minor == 19) || (major == 6 && minor == 0))
		return " can lock up under sampling BPF programs: use 6.1 or later";
	return NULL;
}

static void check_kernel(struct feature *f)
{
	struct utsname un = {};
	const char *trouble;

	uname(&un);
	trouble = features_kernel_trouble(un.release);
	if (trouble)
		f->state = FEATURE_MISSING;
	snprintf(f->text, sizeof(f->text), "Linux %.64s%s", un.release, trouble ? trouble : "");
}

/* What bpf(2) says to an array map: 0 or -errno. */
static int try_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "krait_probe", 4, 8, 1, NULL);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* And to the least program of the kind that krait loads. */
static int try_program(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_PERF_EVENT, "krait_probe", "GPL", insns, 2, NULL);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int try_bpf(void)
{
	return try_map() ?: try_program();
}

static void check_bpf(struct feature *f)
{
	int err = try_bpf();

	if (err == -EPERM || err == -EACCES)
		refused(f, FEATURE_MISSING, "loading BPF programs is", all_caps,
			privilege_has(CAP_BPF) || privilege_has(CAP_PERFMON) ? 2
									     : CAPS_CNT(all_caps));
	else if (err)
		found(f, FEATURE_MISSING, "the kernel has no bpf(2): enable CONFIG_BPF_SYSCALL");
	else
		found(f, FEATURE_OK, "BPF programs may be loaded");
}

static void check_btf(struct feature *f)
{
	if (access(KERNEL_BTF_PATH, R_OK) == 0)
		found(f, FEATURE_OK, KERNEL_BTF_PATH);
	else
		found(f, FEATURE_MISSING,
		      "no " KERNEL_BTF_PATH ": use a kernel built with "
		      "CONFIG_DEBUG_INFO_BTF=y");
}

static void check_map(struct feature *f, enum bpf_map_type type, const char *ok,
		      const char *missing)
{
	if (try_bpf() != 0)
		found(f, FEATURE_NOTE, "can't be asked without bpf(2)");
	else if (libbpf_probe_bpf_map_type(type, NULL) == 1)
		found(f, FEATURE_OK, ok);
	else
		found(f, FEATURE_MISSING, missing);
}

static void check_ring(struct feature *f)
{
	check_map(f, BPF_MAP_TYPE_RINGBUF, "BPF ring buffer",
		  "no BPF ring buffer: krait needs Linux 5.15 or later");
}

static void check_task_storage(struct feature *f)
{
	check_map(f, BPF_MAP_TYPE_TASK_STORAGE, "BPF task storage",
		  "no BPF task storage: krait needs Linux 5.15 or later");
}

/*
 * Debian's kernels, and others', have a third level of kernel.perf_event_paranoid (and a fourth),
 * where CAP_PERFMON does not do: "security,perf: Allow further restriction of perf_event_open".
 */
static bool is_too_paranoid(void)
{
	FILE *in = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
	int level = 0;

	if (in) {
		if (fscanf(in, "%d", &level) != 1)
			level = 0;
		fclose(in);
	}
	return level > 2 && privilege_has(CAP_PERFMON) && !privilege_has(CAP_SYS_ADMIN);
}

static void check_perf(struct feature *f)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = 10000000,
		.disabled = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		found(f, FEATURE_OK, "perf_event cpu-clock on every CPU");
	} else if (errno == EACCES && is_too_paranoid()) {
		found(f, FEATURE_MISSING,
		      "this kernel lets only root use perf_event_open: sysctl "
		      "kernel.perf_event_paranoid=2, or run krait as root, or give it "
		      "cap_sys_admin");
	} else if (errno == EACCES || errno == EPERM) {
		refused(f, FEATURE_MISSING, "perf_event_open on every CPU is", (int[]){CAP_PERFMON},
			1);
	} else {
		found(f, FEATURE_MISSING, "no perf_event cpu-clock: enable CONFIG_PERF_EVENTS");
	}
}

static void check_jit(struct feature *f)
{
	FILE *in = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	int c = in ? fgetc(in) : EOF;

	if (in)
		fclose(in);
	if (c == '0')
		found(f, FEATURE_NOTE,
		      "BPF is interpreted, so a sample costs ten times more: sysctl "
		      "net.core.bpf_jit_enable=1");
	else
		found(f, FEATURE_OK, "BPF is compiled to machine code");
}

static void check_pid_ns(struct feature *f)
{
	const char *trouble = pid_ns_trouble();

	if (trouble)
		found(f, FEATURE_MISSING, trouble);
	else if (pid_ns_is_own())
		found(f, FEATURE_NOTE,
		      "krait sees the processes of its own pid namespace only; --pid=host "
		      "(docker, podman) shows the host's");
	else
		found(f, FEATURE_OK, "initial pid namespace");
}

/*
 * A child that is as another user's to us: not dumpable, so its files in /proc are root's and it
 * takes CAP_SYS_PTRACE to read it (kernel/ptrace.c, __ptrace_may_access). It ends when *end_fd is
 * closed. Its pid, or -1.
 */
static pid_t start_stranger(int *end_fd)
{
	int fds[2];
	char c = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		/* Says that it is so, and waits for the end. */
		_exit(write(fds[1], &c, 1) == 1 && read(fds[1], &c, 1) == 0 ? 0 : 1);
	}
	close(fds[1]);
	*end_fd = fds[0];
	if (pid > 0 && read(fds[0], &c, 1) == 1)
		return pid;
	close(fds[0]);
	return -1;
}

static bool can_open(pid_t pid, const char *name)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Without it krait still has those processes that are its user's own. */
static void check_memory(struct feature *f)
{
	static const int caps[] = {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};
	int end_fd = -1;
	pid_t pid = start_stranger(&end_fd);

	if (pid > 0 && can_open(pid, "maps") && can_open(pid, "mem"))
		found(f, FEATURE_OK, "other users' processes may be read");
	else
		refused(f, FEATURE_NOTE, "reading other users' processes is", caps, CAPS_CNT(caps));
	if (pid > 0) {
		close(end_fd);
		waitpid(pid, NULL, 0);
	}
}

/* Asked of krait's own program: the rule is the same for it. */
static void check_map_files(struct feature *f)
{
	struct modules mods = {};
	char name[MAP_FILE_BYTES];
	struct procfs self;
	int fd = -1;

	if (procfs_open(&self, getpid()) == 0) {
		if (procfs_read_modules(&self, &mods) == 0 && mods.cnt) {
			procfs_map_file_name(&mods.v[0], name);
			fd = openat(self.dir_fd, name, O_RDONLY | O_CLOEXEC);
		}
		modules_release(&mods);
		procfs_close(&self);
	}
	if (fd >= 0)
		found(f, FEATURE_OK, "libraries deleted or replaced while in use can be read");
	else
		refused(f, FEATURE_NOTE,
			"reading libraries that were deleted or replaced while in use is",
			(int[]){CAP_CHECKPOINT_RESTORE}, 1);
	if (fd >= 0)
		close(fd);
}

/* In the order in which one failing explains the next. */
static const struct {
	const char *name;
	void (*check)(struct feature *f);
} checks[] = {
	{"kernel", check_kernel},
	{"bpf", check_bpf},
	{"btf", check_btf},
	{"ring buffer", check_ring},
	{"task storage", check_task_storage},
	{"perf events", check_perf},
	{"pid namespace", check_pid_ns},
	{"memory", check_memory},
	{"map_files", check_map_files},
	{"jit", check_jit},
};

#define CHECK_CNT (sizeof(checks) / sizeof(*checks))

static int silence(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

void features_check(void (*fn)(const struct feature *f, void *arg), void *arg)
{
	libbpf_set_print(silence);
	for (size_t i = 0; i < CHECK_CNT; i++) {
		struct feature f = {.name = checks[i].name};

		checks[i].check(&f);
		fn(&f, arg);
	}
}

bool features_kernel_is_bad(void)
{
	struct feature f = {};

	check_kernel(&f);
	return f.state == FEATURE_MISSING;
}

void features_explain(int err)
{
	libbpf_print_fn_t before = libbpf_set_print(silence);

	for (size_t i = 0; i < CHECK_CNT; i++) {
		struct feature f = {.name = checks[i].name};

		checks[i].check(&f);
		if (f.state == FEATURE_MISSING) {
			log_error("record: %s: %s", f.name, f.text);
			goto out;
		}
	}
	log_error("record: load BPF: %s (krait record --verbose shows the kernel's words; krait "
		  "doctor checks this "
		  "host)",
		  strerror(-err));
out:
	libbpf_set_print(before);
}
