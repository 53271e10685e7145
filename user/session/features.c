// SPDX-License-Identifier: BSD-2-Clause
/*
 * The checks. Each asks the kernel for the thing itself, by trying it; a version is looked at only
 * for a bug that can't be seen before it bites.
 */
#include "user/session/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/session/kernel_btf.h"

/* The inode of the initial pid namespace: include/linux/proc_ns.h, PROC_PID_INIT_INO. */
#define INITIAL_PID_NS_INODE 0xeffffffcU

struct finding {
	enum feature_state state;
	char text[160]; /* what was found, and the fix */
};

static void found(struct finding *f, enum feature_state state, const char *text)
{
	f->state = state;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

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

static void check_kernel(struct finding *f)
{
	struct utsname un = {};
	const char *trouble;

	uname(&un);
	trouble = features_kernel_trouble(un.release);
	if (trouble)
		f->state = FEATURE_MISSING;
	snprintf(f->text, sizeof(f->text), "Linux %.64s%s", un.release, trouble ? trouble : "");
}

/* What bpf(2) says to the least that can be asked of it: 0 or -errno. */
static int try_bpf(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "krait_probe", 4, 8, 1, NULL);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void check_bpf(struct finding *f)
{
	int err = try_bpf();

	if (err == -EPERM)
		found(f, FEATURE_MISSING,
		      "not permitted: run krait as root (sudo krait ...), or give it cap_bpf, "
		      "cap_perfmon, cap_sys_ptrace and cap_dac_read_search");
	else if (err)
		found(f, FEATURE_MISSING, "the kernel has no bpf(2): enable CONFIG_BPF_SYSCALL");
	else
		found(f, FEATURE_OK, "bpf(2) is permitted");
}

static void check_btf(struct finding *f)
{
	if (access(KERNEL_BTF_PATH, R_OK) == 0)
		found(f, FEATURE_OK, KERNEL_BTF_PATH);
	else
		found(f, FEATURE_MISSING,
		      "no " KERNEL_BTF_PATH ": use a kernel built with "
		      "CONFIG_DEBUG_INFO_BTF=y");
}

static void check_map(struct finding *f, enum bpf_map_type type, const char *ok,
		      const char *missing)
{
	if (try_bpf() != 0)
		found(f, FEATURE_NOTE, "can't be asked without bpf(2)");
	else if (libbpf_probe_bpf_map_type(type, NULL) == 1)
		found(f, FEATURE_OK, ok);
	else
		found(f, FEATURE_MISSING, missing);
}

static void check_ring(struct finding *f)
{
	check_map(f, BPF_MAP_TYPE_RINGBUF, "BPF ring buffer",
		  "no BPF ring buffer: krait needs Linux 5.15 or later");
}

static void check_task_storage(struct finding *f)
{
	check_map(f, BPF_MAP_TYPE_TASK_STORAGE, "BPF task storage",
		  "no BPF task storage: krait needs Linux 5.15 or later");
}

static void check_perf(struct finding *f)
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
	} else if (errno == EACCES || errno == EPERM) {
		found(f, FEATURE_MISSING,
		      "perf_event_open is not permitted: run krait as root, or give it "
		      "cap_perfmon");
	} else {
		found(f, FEATURE_MISSING, "no perf_event cpu-clock: enable CONFIG_PERF_EVENTS");
	}
}

static void check_jit(struct finding *f)
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

static void check_pid_ns(struct finding *f)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != INITIAL_PID_NS_INODE)
		found(f, FEATURE_MISSING,
		      "krait runs in a pid namespace of its own: run it on the host (docker: "
		      "--pid=host)");
	else
		found(f, FEATURE_OK, "initial pid namespace");
}

static void check_memory(struct finding *f)
{
	/* A file that only the reader of others' memory may open; init is always there, and never
	 * ours. */
	if (access("/proc/1/mem", R_OK | W_OK) == 0 &&
	    access("/proc/1/map_files", R_OK | X_OK) == 0)
		found(f, FEATURE_OK, "other processes' memory maps may be read");
	else
		found(f, FEATURE_MISSING,
		      "other processes' memory may not be read: run krait as root, or give it "
		      "cap_sys_ptrace");
}

/* In the order in which one failing explains the next. */
static const struct {
	const char *name;
	void (*check)(struct finding *f);
} checks[] = {
	{"kernel", check_kernel},
	{"bpf", check_bpf},
	{"btf", check_btf},
	{"ring buffer", check_ring},
	{"task storage", check_task_storage},
	{"perf events", check_perf},
	{"pid namespace", check_pid_ns},
	{"memory", check_memory},
	{"jit", check_jit},
};

#define CHECK_CNT (sizeof(checks) / sizeof(*checks))

static int silence(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

bool features_print(FILE *out)
{
	static const char *const words[] = {"ok", "note", "MISSING"};
	bool can_run = true;

	libbpf_set_print(silence);
	for (size_t i = 0; i < CHECK_CNT; i++) {
		struct finding f = {};

		checks[i].check(&f);
		fprintf(out, "%-8s %-14s %s\n", words[f.state], checks[i].name, f.text);
		can_run = can_run && f.state != FEATURE_MISSING;
	}
	return can_run;
}

bool features_kernel_is_bad(void)
{
	struct finding f = {};

	check_kernel(&f);
	return f.state == FEATURE_MISSING;
}

void features_explain(int err)
{
	libbpf_print_fn_t before = libbpf_set_print(silence);

	for (size_t i = 0; i < CHECK_CNT; i++) {
		struct finding f = {};

		checks[i].check(&f);
		if (f.state == FEATURE_MISSING) {
			log_error("record: %s: %s", checks[i].name, f.text);
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
