// SPDX-License-Identifier: BSD-2-Clause
/* Loading, sizing, attaching and reading the BPF side, with libbpf and bpftool's skeleton. */
#include "user/session/sampler.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "krait.skel.h"
#include "user/base/log.h"
#include "user/base/strbuf.h"
#include "user/drain/records.h"
#include "user/drain/ring.h"
#include "user/drain/samples.h"
#include "user/proc/pid_ns.h"
#include "user/session/cpus.h"
#include "user/session/features.h"
#include "user/session/kernel_btf.h"
#include "user/session/map_sizes.h"

struct cpu_timer {
	struct bpf_link *link; /* NULL: the CPU is offline */
	int event_fd;	       /* the link's */
	uint64_t run_ns;       /* how long the event had run when it was last asked */
};

struct sampler {
	struct krait_bpf *skel;
	struct ring ring;
	struct cpu_timer *timers; /* cpu_cnt of them */
	struct samples samples;
	uint32_t freq_hz;
	bool has_told_no_room;
	struct cpus cpus;
	int cpu_cnt;  /* those below have room */
	int stats_fd; /* open: the kernel times BPF programs; -1: it does not */
	struct krait_layout layouts[KRAIT_LAYOUTS];
	uint32_t layout_cnt;
	raw_record_fn fn;
	void *fn_arg;
	uint32_t weight; /* each sample stands for so many ticks of freq_hz */
	/* A drain under way: which of its steps comes next, and where it ends in the ring. */
	enum { DRAIN_NONE, DRAIN_RECORDS, DRAIN_SAMPLES } drain_step;
	uint64_t drain_end_pos;
};

/* A message may have many lines: what the kernel says of a program that it refuses is one. */
static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	struct strbuf text = {0};
	char *rest, *line;

	if (level == LIBBPF_DEBUG || log_get_level() < LOG_VERBOSE)
		return 0;
	strbuf_vaddf(&text, fmt, args);
	if (!text.failed)
		for (rest = text.buf; (line = strsep(&rest, "\n")) && (*line || rest);)
			log_verbose("%s", line);
	strbuf_release(&text);
	return 0;
}

/* What the programs know from the start. */
static int set_constants(struct krait_bpf *skel, const struct sampler_opts *opts)
{
	uint64_t secret[2];

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return -errno;
	for (int i = 0; i < 2; i++)
		skel->rodata->secret[i] = secret[i];
	memcpy((void *)&skel->rodata->selection, &opts->selection, sizeof(opts->selection));
	skel->rodata->in_pid_ns = pid_ns_is_own();
	bpf_program__set_autoload(skel->progs.krait_learn_ns, pid_ns_is_own());
	return 0;
}

/* The end of a pid's lifetime passes its samples on first. So does the question what a process is:
 * a tick on the new program of an exec may ask for one before the exec is told. */
static int on_ring_record(void *data, size_t size, void *arg)
{
	const struct krait_process_rec *rec = data;
	struct sampler *s = arg;
	int err = 0;

	if (record_check(data, size) && rec->h.kind == KRAIT_PROCESS &&
	    (rec->what == KRAIT_PROCESS_EXEC || rec->what == KRAIT_PROCESS_EXIT ||
	     rec->what == KRAIT_PROCESS_SEEN))
		err = samples_take_before(&s->samples, rec->pid, rec->time_ns, s->fn, s->fn_arg);
	return err ?: s->fn(data, size, s->fn_arg);
}

static size_t array_bytes(const struct bpf_map *map)
{
	return (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
}

/* The whole of an array map, or NULL with errno. */
static void *map_array(const struct bpf_map *map)
{
	void *at = mmap(NULL, array_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int map_samples(struct sampler *s)
{
	uint32_t cnt = s->cpu_cnt * s->skel->rodata->level_cnt;
	size_t slot_bytes = bpf_map__value_size(s->skel->maps.samples);

	s->samples = (struct samples){
		.writers = map_array(s->skel->maps.scratches),
		.writer_stride = bpf_map__value_size(s->skel->maps.scratches),
		.writer_cnt = cnt,
		.rings = map_array(s->skel->maps.samples),
		.slot_bytes = slot_bytes,
		.slot_cnt = samples_slot_cnt(s->freq_hz, cnt, slot_bytes),
	};
	return s->samples.writers && s->samples.rings ? samples_init(&s->samples) : -errno;
}

static void unmap_samples(struct sampler *s)
{
	if (s->samples.writers)
		munmap(s->samples.writers, array_bytes(s->skel->maps.scratches));
	if (s->samples.rings)
		munmap(s->samples.rings, array_bytes(s->skel->maps.samples));
	samples_release(&s->samples);
}

/*
 * Puts in place of the open file btf_fd, the kernel's BTF, one with only what our program reads of
 * it. Where that can't be made, libbpf reads it all, through the same path.
 */
static void shrink_btf(const struct krait_bpf *skel, int btf_fd)
{
	int part_fd = kernel_btf_part(btf_fd, bpf_object__btf(skel->obj));

	if (part_fd < 0) {
		log_verbose("record: all of the kernel's BTF is read: %s", strerror(-part_fd));
		return;
	}
	dup3(part_fd, btf_fd, O_CLOEXEC);
	close(part_fd);
}

/* Opens and loads the skeleton. Without the kernel's BTF libbpf looks for one by itself. */
static int load_skel(struct sampler *s, const struct sampler_opts *opts)
{
	LIBBPF_OPTS(bpf_object_open_opts, open_opts);
	const struct map_sizes sizes = {s->cpu_cnt, opts->freq_hz, opts->max_depth};
	int btf_fd = open(KERNEL_BTF_PATH, O_RDONLY | O_CLOEXEC), err;
	char path[32];

	if (btf_fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", btf_fd);
		open_opts.btf_custom_path = path;
	}
	s->skel = krait_bpf__open_opts(&open_opts);
	err = s->skel ? set_constants(s->skel, opts) : -errno;
	err = err ?: map_sizes_set(s->skel, &sizes);
	if (!err && btf_fd >= 0)
		shrink_btf(s->skel, btf_fd);
	err = err ?: krait_bpf__load(s->skel);
	if (btf_fd >= 0)
		close(btf_fd);
	return err;
}

/* Has the programs learn which pid namespace is ours. */
static int learn_ns(const struct krait_bpf *skel)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int fd = bpf_program__fd(skel->progs.krait_learn_ns);

	return skel->rodata->in_pid_ns ? bpf_prog_test_run_opts(fd, &run) : 0;
}

static int load(struct sampler *s, const struct sampler_opts *opts)
{
	int err = load_skel(s, opts);

	err = err ?: learn_ns(s->skel);
	err = err ?: map_samples(s);
	err = err ?: ring_open(&s->ring, sampler_fd(s), bpf_map__max_entries(s->skel->maps.ring));
	return err ?: krait_bpf__attach(s->skel);
}

static int make_timers(struct sampler *s)
{
	s->cpu_cnt = cpus_room(&s->cpus);
	s->timers = calloc(s->cpu_cnt, sizeof(*s->timers));
	return s->timers ? 0 : -ENOMEM;
}

struct sampler *sampler_new(const struct sampler_opts *opts)
{
	struct sampler *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return NULL;
	libbpf_set_print(print_libbpf);
	s->cpus.online_fd = -1;
	s->stats_fd = opts->measure ? bpf_enable_stats(BPF_STATS_RUN_TIME) : -1;
	s->freq_hz = opts->freq_hz;
	s->weight = 1;
	err = features_kernel_is_bad() ? -EOPNOTSUPP : cpus_init(&s->cpus);
	err = err ?: make_timers(s);
	err = err ?: load(s, opts);
	if (!err)
		return s;
	features_explain(err);
	sampler_free(s);
	/* Whatever the kernel's word was (ESRCH for missing BTF, say): it does not let us. */
	errno = err == -ENOMEM || err == -EPERM ? -err : EOPNOTSUPP;
	return NULL;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	if (s->timers)
		sampler_stop(s);
	if (s->stats_fd >= 0)
		close(s->stats_fd);
	unmap_samples(s);
	ring_close(&s->ring);
	krait_bpf__destroy(s->skel);
	cpus_release(&s->cpus);
	free(s->timers);
	free(s);
}

static uint64_t period_ns(const struct sampler *s)
{
	return 1000000000ULL * s->weight / s->freq_hz;
}

/* A timer on one CPU: a software clock (hrtimer), so it runs in every VM; idle CPUs stay asleep. */
static int start_cpu(struct sampler *s, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = period_ns(s),
		.exclude_idle = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	struct cpu_timer *t = &s->timers[cpu];

	if (fd < 0)
		return -errno;
	t->link = bpf_program__attach_perf_event(s->skel->progs.krait_tick, fd);
	t->event_fd = fd;
	t->run_ns = 0;
	if (t->link)
		return 0;
	close(fd);
	return -errno;
}

static void stop_cpu(struct sampler *s, int cpu)
{
	bpf_link__destroy(s->timers[cpu].link);
	s->timers[cpu].link = NULL;
}

/* Whether the event has run since it was last asked: a clock does whenever its CPU is online. */
static bool timer_runs(struct cpu_timer *t)
{
	uint64_t run_ns, before = t->run_ns;

	if (!t->link || read(t->event_fd, &run_ns, sizeof(run_ns)) != sizeof(run_ns))
		return false;
	t->run_ns = run_ns;
	return run_ns != before;
}

int sampler_start(struct sampler *s)
{
	int started = 0;

	for (int cpu = 0; cpu < s->cpu_cnt; cpu++) {
		int err = s->cpus.online[cpu] ? start_cpu(s, cpu) : -ENODEV;

		if (err == -ENODEV) /* possible, but not online */
			continue;
		if (err) {
			features_explain(err);
			return err;
		}
		started++;
	}
	log_verbose("record: %d CPUs at %u Hz", started, s->freq_hz);
	return started ? 0 : -ENODEV;
}

void sampler_stop(struct sampler *s)
{
	for (int cpu = 0; cpu < s->cpu_cnt; cpu++)
		stop_cpu(s, cpu);
}

/* Of CPUs that came online and for which no room was made; once. */
static void tell_no_room(struct sampler *s)
{
	if (s->has_told_no_room)
		return;
	for (int cpu = s->cpu_cnt; cpu < s->cpus.possible; cpu++)
		s->has_told_no_room |= s->cpus.online_fd >= 0 && s->cpus.online[cpu];
	if (s->has_told_no_room)
		log_warn("record: more CPUs came online than there was room made for; those from "
			 "%d on are not sampled (start krait anew)",
			 s->cpu_cnt);
}

void sampler_revive(struct sampler *s)
{
	cpus_refresh(&s->cpus);
	for (int cpu = 0; cpu < s->cpu_cnt; cpu++) {
		if (timer_runs(&s->timers[cpu]))
			continue;
		if (s->timers[cpu].link)
			log_warn("record: CPU %d went offline", cpu);
		stop_cpu(s, cpu);
		if (s->cpus.online[cpu] && start_cpu(s, cpu) == 0)
			log_warn("record: CPU %d is back and sampled again", cpu);
	}
	tell_no_room(s);
}

int sampler_fd(const struct sampler *s)
{
	return bpf_map__fd(s->skel->maps.ring);
}

/* The end of a drain is what had been written at its start, so that it has one. */
static void drain_begin(struct sampler *s)
{
	samples_poll(&s->samples);
	s->drain_end_pos = ring_written(&s->ring);
	s->drain_step = DRAIN_RECORDS;
}

int sampler_drain(struct sampler *s, uint32_t max, raw_record_fn fn, void *arg)
{
	int ret;

	s->fn = fn;
	s->fn_arg = arg;
	if (s->drain_step == DRAIN_NONE)
		drain_begin(s);
	if (s->drain_step == DRAIN_RECORDS) {
		ret = ring_take(&s->ring, s->drain_end_pos, max, on_ring_record, s);
		if (ret)
			return ret;
		s->drain_step = DRAIN_SAMPLES;
	}
	ret = samples_take(&s->samples, max, fn, arg);
	if (!ret)
		s->drain_step = DRAIN_NONE;
	return ret;
}

void sampler_set_weight(struct sampler *s, uint32_t weight)
{
	uint64_t period;

	s->weight = weight;
	period = period_ns(s);
	for (int cpu = 0; cpu < s->cpu_cnt; cpu++)
		if (s->timers[cpu].link)
			ioctl(s->timers[cpu].event_fd, PERF_EVENT_IOC_PERIOD, &period);
	__atomic_store_n(&s->skel->data->tick_weight, weight, __ATOMIC_RELAXED);
}

/* A tick that is rejected is not timed: `make bench` says what it takes; this has a margin. */
#define REJECTED_TICK_NS 1000

uint64_t sampler_bpf_ns(const struct sampler *s)
{
	uint64_t ns = 0;

	for (uint32_t i = 0; i < s->samples.writer_cnt; i++) {
		const struct krait_writer *w =
			(const void *)(s->samples.writers + i * s->samples.writer_stride);

		ns += w->timed_ns * KRAIT_TIMED_EVERY +
		      (w->ticks - w->target_ticks) * REJECTED_TICK_NS;
	}
	return ns;
}

/* Writes an entry of the process map and makes every CPU forget what it remembers of any. */
static int put_entry(struct sampler *s, pid_t pid, const struct krait_proc *entry, uint64_t flags)
{
	uint32_t key = pid;
	int err = bpf_map__update_elem(s->skel->maps.procs, &key, sizeof(key), entry,
				       sizeof(*entry), flags);

	__atomic_add_fetch(&s->skel->data->generation, 1, __ATOMIC_SEQ_CST);
	return err;
}

int sampler_watch(struct sampler *s, pid_t pid)
{
	return put_entry(s, pid, &(struct krait_proc){}, BPF_ANY);
}

bool sampler_has_processes(const struct sampler *s)
{
	uint32_t key;

	return bpf_map__get_next_key(s->skel->maps.procs, NULL, &key, sizeof(key)) == 0;
}

int sampler_entry(const struct sampler *s, pid_t pid, struct krait_proc *out)
{
	uint32_t key = pid;

	return bpf_map__lookup_elem(s->skel->maps.procs, &key, sizeof(key), out, sizeof(*out), 0);
}

int sampler_classify(struct sampler *s, pid_t pid, const struct krait_proc *entry)
{
	/* BPF_EXIST: a process that has ended meanwhile stays deleted. */
	return put_entry(s, pid, entry, BPF_EXIST);
}

int sampler_layout(struct sampler *s, const struct krait_layout *layout)
{
	uint32_t i = 0;
	int err;

	while (i < s->layout_cnt && memcmp(&s->layouts[i], layout, sizeof(*layout)) != 0)
		i++;
	if (i < s->layout_cnt)
		return i;
	if (i == KRAIT_LAYOUTS)
		return -ENOSPC;
	err = bpf_map__update_elem(s->skel->maps.layouts, &i, sizeof(i), layout, sizeof(*layout),
				   BPF_ANY);
	if (err)
		return err;
	s->layouts[s->layout_cnt++] = *layout;
	return i;
}

void sampler_next_epoch(struct sampler *s)
{
	s->skel->data->epoch++;
}

void sampler_tick_cost(const struct sampler *s, uint64_t *total_ns, uint64_t *cnt)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	*total_ns = *cnt = 0;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(s->skel->progs.krait_tick), &info, &size) != 0)
		return;
	*total_ns = info.run_time_ns;
	*cnt = info.run_cnt;
}

static struct fill fill_of(int64_t used, uint64_t room)
{
	return (struct fill){.used = used > 0 ? used : 0, .room = room};
}

/* An array of ids. */
static struct fill fill_of_ids(const struct bpf_map *map)
{
	return fill_of(map_words(bpf_map__fd(map), bpf_map__value_size(map)),
		       array_bytes(map) / sizeof(uint64_t));
}

void sampler_usage(const struct sampler *s, struct usage *out)
{
	const struct bpf_map *map, *procs = s->skel->maps.procs;

	*out = (struct usage){
		.procs = fill_of(map_keys(bpf_map__fd(procs), bpf_map__value_size(procs)),
				 bpf_map__max_entries(procs)),
		.stacks = fill_of_ids(s->skel->maps.sent_stacks),
		.codes = fill_of_ids(s->skel->maps.sent_codes),
		.ring_bytes = fill_of(s->ring.peak_bytes, s->ring.bytes),
		.samples = fill_of(s->samples.peak, s->samples.slot_cnt),
	};
	bpf_object__for_each_map(map, s->skel->obj) out->maps_bytes += map_memory(bpf_map__fd(map));
}

void sampler_counters(const struct sampler *s, uint64_t *counters)
{
	memcpy(counters, s->samples.counters, KRAIT_CNT_CNT * sizeof(*counters));
}
