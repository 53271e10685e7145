// SPDX-License-Identifier: BSD-2-Clause
/*
 * Capabilities, kept by a table. Two are kept only where this kernel asks for more than it should,
 * which is found out by trying without them.
 */
#include "user/session/privilege.h"

#include <bpf/bpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/session/seccomp_filter.h"

static const struct {
	int cap;
	unsigned int roles;
} kept[] = {
	{CAP_PERFMON, PRIVILEGE_SAMPLER}, /* a CPU that comes online gets a timer */
	{CAP_SYS_NICE, PRIVILEGE_SAMPLER},
	/* The folders of users that root writes to, and files that become theirs. */
	{CAP_DAC_OVERRIDE, PRIVILEGE_SAMPLER},
	{CAP_CHOWN, PRIVILEGE_SAMPLER},
	{CAP_FOWNER, PRIVILEGE_SAMPLER},
	{CAP_KILL, PRIVILEGE_COMMAND}, /* a command that has become another user */
	{CAP_SYS_PTRACE, PRIVILEGE_READER | PRIVILEGE_FORKER},
	{CAP_DAC_READ_SEARCH, PRIVILEGE_READER | PRIVILEGE_FORKER},
	{CAP_CHECKPOINT_RESTORE, PRIVILEGE_READER | PRIVILEGE_FORKER},
};

/* Up to Linux 5.18 kernel.unprivileged_bpf_disabled shuts off every command of bpf(2), also for a
 * map that one has (kernel/bpf/syscall.c, __sys_bpf). No such descriptor: EBADF when asked. */
static bool bpf_is_refused(void)
{
	struct bpf_map_info info;
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(-1, &info, &size) == -EPERM;
}

/* Some distributions' kernels ask CAP_SYS_ADMIN where CAP_PERFMON should do. */
static bool perf_is_refused(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.disabled = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd < 0 && (errno == EACCES || errno == EPERM);
}

static const struct {
	int cap;
	bool (*is_refused)(void); /* what the sampler does, without it */
} kept_if_refused[] = {
	{CAP_BPF, bpf_is_refused},
	{CAP_SYS_ADMIN, perf_is_refused},
};

#define KEPT_CNT (sizeof(kept) / sizeof(*kept))
#define KEPT_IF_CNT (sizeof(kept_if_refused) / sizeof(*kept_if_refused))

/* Of capabilities, as in linux/capability.h: bit CAP_x. */
typedef uint64_t cap_set;

static cap_set bit(int cap)
{
	return (cap_set)1 << cap;
}

bool privilege_has(int cap)
{
	return !capng_get_caps_process() && capng_have_capability(CAPNG_EFFECTIVE, cap);
}

static cap_set permitted_now(void)
{
	cap_set set = 0;

	if (capng_get_caps_process())
		return 0;
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (capng_have_capability(CAPNG_PERMITTED, cap))
			set |= bit(cap);
	return set;
}

static int set_caps(cap_set effective, cap_set permitted)
{
	capng_clear(CAPNG_SELECT_CAPS);
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (effective & bit(cap))
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, cap);
		if (permitted & bit(cap))
			capng_update(CAPNG_ADD, CAPNG_PERMITTED, cap);
	}
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

/* What an exec could get. The bounding set takes CAP_SETPCAP; without it no_new_privs has to do. */
static void forget_for_exec(void)
{
	capng_clear(CAPNG_SELECT_BOUNDS | CAPNG_SELECT_AMBIENT);
	capng_apply(CAPNG_SELECT_BOUNDS);
	capng_apply(CAPNG_SELECT_AMBIENT);
}

static int drop_caps(unsigned int roles)
{
	cap_set permitted = permitted_now(), on_trial = 0, wanted = 0;
	int err;

	forget_for_exec();
	for (size_t i = 0; i < KEPT_CNT; i++)
		if (kept[i].roles & roles)
			wanted |= bit(kept[i].cap) & permitted;
	for (size_t i = 0; i < KEPT_IF_CNT && roles & PRIVILEGE_SAMPLER; i++)
		on_trial |= bit(kept_if_refused[i].cap) & permitted;
	err = set_caps(wanted, wanted | on_trial);
	for (size_t i = 0; !err && i < KEPT_IF_CNT; i++) {
		if (!(on_trial & bit(kept_if_refused[i].cap)) || !kept_if_refused[i].is_refused())
			continue;
		wanted |= bit(kept_if_refused[i].cap);
		log_verbose("record: this kernel wants %s still",
			    capng_capability_to_name(kept_if_refused[i].cap));
	}
	return err ?: set_caps(wanted, wanted);
}

int privilege_drop(unsigned int roles)
{
	int err = drop_caps(roles);

	if (err) {
		log_error("record: give up capabilities: %s", strerror(-err));
		return err;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		log_warn("record: set no_new_privs: %s", strerror(errno));
	err = seccomp_filter_set(roles);
	if (err)
		log_warn("record: no system call filter: %s", strerror(-err));
	return 0;
}
