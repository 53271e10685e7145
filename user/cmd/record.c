// SPDX-License-Identifier: BSD-2-Clause
/*
 * krait record: a live run, into files and a table.
 *
 * Everything that can be wrong with the wish (formats, files, processes) is found out before the
 * run starts; after it only the disk can fail, and then the other files are written all the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bpf/abi/control.h"
#include "user/aggregate/aggregate.h"
#include "user/base/background.h"
#include "user/base/clock.h"
#include "user/base/fd_write.h"
#include "user/base/log.h"
#include "user/base/outfile.h"
#include "user/base/strbuf.h"
#include "user/cmd/cmds.h"
#include "user/cmd/footer.h"
#include "user/cmd/live.h"
#include "user/cmd/outputs.h"
#include "user/proc/pid_ns.h"
#include "user/session/governor.h"
#include "user/session/session.h"

#define FREQ_ALL_HZ 99	    /* a prime-ish distance from 100 Hz timers, and from what they do */
#define FREQ_COMMAND_HZ 999 /* one program on a developer's machine can bear more */
#define FREQ_MAX_HZ 20000
#define TABLE_ROWS 15
#define DURATION_MAX_NS (365ULL * 24 * 3600 * 1000 * NS_PER_MS)

struct record_opts {
	bool all, no_children, stats, realtime;
	struct cli_pids pids;
	const char *comm;
	uint32_t freq_hz;	  /* 0: by default */
	uint32_t max_cpu_percent; /* of the host; 0: by default */
	uint64_t duration_ns;
	uint32_t max_depth;
	struct output_opts out;
};

/* A run and what it fills. */
struct run {
	struct session_opts opts;
	struct session *session;	     /* NULL: it could not be made */
	const struct session_result *result; /* of it */
	struct outputs outs;
	struct export_opts export_opts;
	struct aggregate *agg;
	struct background writing; /* of a snapshot */
	struct profile *snapshot;  /* the writing's */
	bool is_snapshot_wanted;   /* another one, after that */
	struct krait_head_rec head;
	char *target;
};

/* ---- While it runs ---- */

static int on_record(const struct krait_hdr *rec, void *arg)
{
	struct run *run = arg;

	return outputs_record_add(&run->outs, rec) ?: aggregate_add(run->agg, rec);
}

static uint64_t recording_ns(void *arg)
{
	struct run *run = arg;

	return outputs_record_cpu_ns(&run->outs);
}

static struct profile_meta meta_of(const struct krait_head_rec *head, uint64_t duration_ns)
{
	return (struct profile_meta){
		.start_unix_ns = head->start_unix_ns,
		.start_mono_ns = head->start_mono_ns,
		.duration_ns = duration_ns,
		.freq_hz = head->freq_hz,
		.cpu_cnt = head->cpu_cnt,
		.host = head->host,
		.kernel = head->kernel,
		.target = head->target,
	};
}

static void on_stop(void *arg)
{
	(void)arg;
	fd_write_hurry();
}

/* In the second thread. */
static void write_snapshot(void *arg)
{
	struct run *run = arg;

	outputs_snapshot(&run->outs, run->snapshot, &run->export_opts);
	profile_free(run->snapshot);
	run->snapshot = NULL;
}

/* One is written at a time; what is asked for meanwhile comes after it, once. */
static void on_snapshot(void *arg)
{
	struct run *run = arg;
	struct profile_meta meta;
	const struct profile *profile;
	uint64_t counters[KRAIT_CNT_CNT];

	run->is_snapshot_wanted = background_is_busy(&run->writing);
	if (run->is_snapshot_wanted)
		return;
	background_wait(&run->writing);
	outputs_record_flush(&run->outs);
	session_counters(run->session, counters);
	meta = meta_of(&run->head, clock_ns(CLOCK_REALTIME) - run->head.start_unix_ns);
	profile = aggregate_profile(run->agg, &meta, counters);
	run->snapshot = profile ? profile_copy(profile) : NULL;
	if (!run->snapshot || background_start(&run->writing, write_snapshot, run) != 0) {
		log_warn("record: no memory for a snapshot; the run goes on");
		profile_free(run->snapshot);
		run->snapshot = NULL;
	}
}

static int on_second(uint64_t now_ns, void *arg)
{
	struct run *run = arg;
	int err = 0;

	if (run->is_snapshot_wanted && !background_is_busy(&run->writing)) {
		err = session_drain(run->session);
		if (!err)
			on_snapshot(run);
	}
	return err ?: outputs_record_tick(&run->outs, now_ns);
}

/* ---- Before ---- */

/* What is said of the run in a recording. The clock is read here: the run starts now. */
static void fill_head(struct run *run)
{
	struct krait_head_rec *head = &run->head;
	struct utsname un = {};

	uname(&un);
	head->freq_hz = run->opts.freq_hz;
	head->start_unix_ns = clock_ns(CLOCK_REALTIME);
	head->start_mono_ns = clock_ns(CLOCK_MONOTONIC);
	head->cpu_cnt = sysconf(_SC_NPROCESSORS_ONLN);
	snprintf(head->host, sizeof(head->host), "%.63s", un.nodename);
	snprintf(head->kernel, sizeof(head->kernel), "%.63s", un.release);
	snprintf(head->target, sizeof(head->target), "%.255s", run->target);
}

/* krait-<target>-<UTC time>, to which a suffix comes; what the target says is cut down to what is
 * harmless in a file name. */
static void default_stem(const struct run *run, char *stem, size_t size)
{
	char what[32] = "", when[32];
	const char *from = run->opts.command ? run->opts.command[0] : run->target;
	const char *slash = strrchr(from, '/');
	time_t now = time(NULL);
	size_t n = 0;

	for (from = slash ? slash + 1 : from; *from && n < sizeof(what) - 1; from++)
		what[n++] = (*from >= '0' && *from <= '9') || (*from >= 'a' && *from <= 'z') ||
					    (*from >= 'A' && *from <= 'Z') || *from == '.'
				    ? *from
				    : '-';
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", gmtime(&now));
	snprintf(stem, size, "krait-%s-%s", what, when);
}

static int check_target(const struct record_opts *opts, const struct cli_args *args)
{
	int cnt = opts->all + (opts->pids.cnt > 0) + (opts->comm != NULL) + (args->command != NULL);

	if (cnt > 1)
		return cli_usage_error(args->cmd,
				       "--all, --pid, --comm and -- COMMAND exclude each other");
	if (args->command && !args->command[0])
		return cli_usage_error(args->cmd, "a command is missing behind --");
	return KRAIT_EXIT_OK;
}

/* Nothing that follows is true of another namespace's processes. */
static int check_pid_ns(void)
{
	const char *trouble = pid_ns_trouble();

	if (!trouble)
		return KRAIT_EXIT_OK;
	log_error("record: pid namespace: %s", trouble);
	return KRAIT_EXIT_DENIED;
}

static struct session_opts session_opts_of(const struct record_opts *opts,
					   const struct cli_args *args)
{
	return (struct session_opts){
		.freq_hz = opts->freq_hz
				   ?: args->command ? FREQ_COMMAND_HZ
						    : FREQ_ALL_HZ,
		.max_depth = opts->max_depth,
		.duration_ns = opts->duration_ns,
		.who = {.pids = opts->pids.pids,
			.pid_cnt = opts->pids.cnt,
			.comm = opts->comm,
			.is_command = args->command != NULL,
			.with_children = !opts->no_children},
		.command = args->command,
		.measure = opts->stats,
		.realtime = opts->realtime,
		.max_cpu_ns =
			governor_ceiling_ns(opts->max_cpu_percent, sysconf(_SC_NPROCESSORS_ONLN)),
	};
}

/* Does stdout lead to another program, and not into a file or to a terminal? */
static bool is_stdout_read(void)
{
	struct stat st;

	return !fstat(STDOUT_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* What there is nothing to run without; -1: nothing. A command goes on in any case, and its status
 * is waited for. */
static int reader_fd(const struct run *run)
{
	bool is_all = run->opts.owns_stdout && run->outs.cnt == 1 && !run->opts.command;

	return is_all && is_stdout_read() ? STDOUT_FILENO : -1;
}

/* ---- After ---- */

static int exit_status(int err, const struct session_result *result)
{
	if (result && result->has_no_command)
		return result->command_status;
	switch (err) {
	case 0:
		return KRAIT_EXIT_OK;
	case -ESRCH:
		return KRAIT_EXIT_NO_PYTHON;
	case -EPERM:
	case -EACCES:
	case -EOPNOTSUPP:
		return KRAIT_EXIT_DENIED;
	default:
		return KRAIT_EXIT_FAILED;
	}
}

static bool was_forbidden_any(const struct session_result *result)
{
	for (uint32_t i = 0; i < result->refusal_cnt; i++)
		if (result->refusals[i].is_forbidden)
			return true;
	return false;
}

/* No Python was met, and none of those that may be read is idle. */
static int no_python_at_all(const struct run *run)
{
	bool was_forbidden = was_forbidden_any(run->result);

	footer_refusals(run->result);
	if (was_forbidden)
		log_error("record: no Python process was sampled, and krait was not allowed to "
			  "read every busy one (krait doctor says what is missing)");
	else if (run->opts.who.comm)
		log_error("record: no Python process named %s was busy (krait ps lists what runs)",
			  run->opts.who.comm);
	else
		log_error("record: no Python process runs %s (krait ps lists what krait sees)",
			  pid_ns_where());
	return was_forbidden ? KRAIT_EXIT_DENIED : KRAIT_EXIT_NO_PYTHON;
}

/* A run that met no Python: were they idle, or are there none? */
static int no_python_status(const struct run *run)
{
	if (run->opts.command) {
		log_warn("record: the command ran no Python that krait could profile");
		return KRAIT_EXIT_OK;
	}
	if (run->result->has_idle_python) {
		log_info("record: every Python process was idle, so there was nothing to sample");
		return KRAIT_EXIT_OK;
	}
	return no_python_at_all(run);
}

static int write_all(struct run *run, bool show_table)
{
	struct profile_meta meta = meta_of(&run->head, run->result->duration_ns);
	const struct profile *profile = aggregate_profile(run->agg, &meta, run->result->counters);
	int err, err2;

	if (!profile)
		return -ENOMEM;
	err = outputs_record_finish(&run->outs, run->result->duration_ns, run->result->counters);
	err2 = outputs_write(&run->outs, profile, &run->export_opts);
	if (show_table && profile->events[0].total_cnt) {
		export_table(profile, &run->export_opts, TABLE_ROWS, stdout);
		fflush(stdout);
	}
	footer_ledger(profile);
	footer_run(run->result);
	if (run->opts.measure)
		footer_stats(run->result);
	outputs_announce(&run->outs);
	return err ?: err2;
}

static int run_session(struct run *run, bool show_progress)
{
	const struct session_sink sink = {
		.on_record = on_record, .cpu_ns = recording_ns, .arg = run};
	const struct live_opts live = {
		.show_progress = show_progress,
		.duration_ns = run->opts.duration_ns,
		.reader_fd = reader_fd(run),
		.on_stop = on_stop,
		.on_second = on_second,
		.on_snapshot = on_snapshot,
		.arg = run,
	};
	int err;

	run->agg = aggregate_new();
	if (!run->agg)
		return -ENOMEM;
	fill_head(run);
	err = outputs_record_start(&run->outs, &run->head);
	err = err ?: session_new(&run->opts, &sink, &run->session);
	if (err)
		return err;
	run->result = session_result(run->session);
	err = live_run(run->session, &live);
	background_wait(&run->writing);
	return err;
}

static int finish(struct run *run, const struct record_opts *opts)
{
	bool show_table = !opts->out.paths.cnt && !opts->out.quiet;
	int status = KRAIT_EXIT_OK;

	if (!run->result->python_cnt && !run->result->counters[KRAIT_CNT_SAMPLES])
		status = no_python_status(run);
	if (status != KRAIT_EXIT_OK)
		return status;
	if (write_all(run, show_table) != 0)
		return KRAIT_EXIT_FAILED;
	/* With the profile on disk: the command's status is ours to pass on, however long it takes.
	 */
	return session_wait_command(run->session);
}

static int record(void *o, struct cli_args *args)
{
	struct record_opts *opts = o;
	struct run run = {.export_opts = output_export_opts(&opts->out)};
	char stem[96];
	int status = check_target(opts, args) ?: check_pid_ns(), err;

	if (status != KRAIT_EXIT_OK)
		return status;
	output_set_log_level(&opts->out);
	run.opts = session_opts_of(opts, args);
	run.target = selection_text(&run.opts.who, run.opts.command);
	status = KRAIT_EXIT_FAILED;
	if (!run.target)
		goto out;
	default_stem(&run, stem, sizeof(stem));
	status = outputs_init(&run.outs, &cmd_record, &opts->out, stem);
	if (status != KRAIT_EXIT_OK)
		goto out;
	run.opts.owns_stdout = outputs_have_stdout(&run.outs);
	run.opts.name_threads = outputs_have_threads(&run.outs, &opts->out);
	err = run_session(&run, !opts->out.quiet);
	status = err ? exit_status(err, run.result) : finish(&run, opts);
out:
	session_free(run.session);
	outputs_release(&run.outs);
	aggregate_free(run.agg);
	free(run.target);
	return status;
}

static const struct record_opts defaults = {.max_depth = KRAIT_MAX_DEPTH_DEFAULT};

#define FIELD(field) offsetof(struct record_opts, field)

static const struct cli_opt options[] = {
	{.short_name = 'a',
	 .long_name = "all",
	 .type = CLI_FLAG,
	 .offset = FIELD(all),
	 .help = "every Python process that krait sees (the default)",
	 .group = "Target"},
	{.short_name = 'p',
	 .long_name = "pid",
	 .type = CLI_PIDS,
	 .offset = FIELD(pids),
	 .metavar = "PID[,PID]",
	 .help = "these processes and their children",
	 .group = "Target"},
	{.long_name = "no-children",
	 .type = CLI_FLAG,
	 .offset = FIELD(no_children),
	 .help = "without their children",
	 .group = "Target"},
	{.long_name = "comm",
	 .type = CLI_STRING,
	 .offset = FIELD(comm),
	 .metavar = "NAME",
	 .help = "processes whose name (as in ps -o comm) is NAME",
	 .group = "Target"},
	{.short_name = 'F',
	 .long_name = "freq",
	 .type = CLI_UINT,
	 .offset = FIELD(freq_hz),
	 .min = 1,
	 .max = FREQ_MAX_HZ,
	 .metavar = "HZ",
	 .help = "samples a second of each busy CPU; 99, or 999 for -- COMMAND",
	 .group = "Sampling"},
	{.short_name = 'd',
	 .long_name = "duration",
	 .type = CLI_DURATION,
	 .offset = FIELD(duration_ns),
	 .min = NS_PER_MS,
	 .max = DURATION_MAX_NS,
	 .metavar = "TIME",
	 .help = "how long: 10, 10s, 5m; until Ctrl-C without it",
	 .group = "Sampling"},
	{.long_name = "max-depth",
	 .type = CLI_UINT,
	 .offset = FIELD(max_depth),
	 .min = 1,
	 .max = KRAIT_MAX_DEPTH_LIMIT,
	 .metavar = "N",
	 .help = "frames of a stack that are kept, the innermost first",
	 .group = "Sampling"},
	{.long_name = "max-cpu",
	 .type = CLI_UINT,
	 .offset = FIELD(max_cpu_percent),
	 .min = 1,
	 .max = 100,
	 .metavar = "PCT",
	 .help = "what krait may take of all CPUs, in the kernel too; over it krait samples less "
		 "often and counts each sample more; 1, and 5 of one CPU at least",
	 .group = "Sampling"},
	{.long_name = "realtime",
	 .type = CLI_FLAG,
	 .offset = FIELD(realtime),
	 .help = "read the samples before any ordinary task runs: on a crowded host at high rates",
	 .group = "Sampling"},
	{.long_name = "stats",
	 .type = CLI_FLAG,
	 .offset = FIELD(stats),
	 .help = "measure what the run costs, and print it",
	 .group = "Sampling"},
	OUTPUT_OPTS(struct record_opts, out),
	{},
};

const struct cmd cmd_record = {
	.name = "record",
	.summary = "sample Python processes and write a profile",
	.usage = "[TARGET] [-F HZ] [-d TIME] [-o FILE]... [-- COMMAND [ARG]...]",
	.details = "Without -o it writes krait-<target>-<UTC time>.folded, never over an older "
		   "file, and\n"
		   "prints the top functions.\n"
		   "Ctrl-C ends the run and writes what there is, as do kill and a terminal that "
		   "goes;\n"
		   "kill -USR1 writes it and goes on.\n"
		   "\n"
		   "Examples:\n"
		   "  krait record -d 10                         every Python process for 10 s\n"
		   "  krait record -p 1234 -d 30s -o app.pb.gz   one process, for go tool pprof\n"
		   "  krait record -o run.krait -- python3 app.py\n"
		   "  krait record -d 5 -o - | flamegraph.pl > flame.svg\n",
	.more_help = export_help,
	.opts = options,
	.opts_bytes = sizeof(struct record_opts),
	.defaults = &defaults,
	.takes_command = true,
	.run = record,
};
