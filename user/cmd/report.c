// SPDX-License-Identifier: BSD-2-Clause
/* krait report: a recording as text, or in any format. Needs no root, no BPF and no process. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "user/aggregate/aggregate.h"
#include "user/base/log.h"
#include "user/cmd/cmds.h"
#include "user/cmd/footer.h"
#include "user/cmd/outputs.h"
#include "user/drain/recording.h"

#define TABLE_ROWS 40

struct report_opts {
	uint32_t rows;
	struct output_opts out;
};

/* A recording as it is read. */
struct replay {
	struct aggregate *agg;
	struct krait_head_rec head;
	struct recording_tail tail;
	bool is_cut;
};

static int on_head(const struct krait_head_rec *head, void *arg)
{
	((struct replay *)arg)->head = *head;
	return 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	return aggregate_add(((struct replay *)arg)->agg, rec);
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	((struct replay *)arg)->tail = *tail;
	return 0;
}

/* It has lasted at least until then. */
static int on_cut(uint64_t until_ns, void *arg)
{
	struct replay *replay = arg;

	replay->is_cut = true;
	replay->tail.duration_ns =
		until_ns > replay->head.start_mono_ns ? until_ns - replay->head.start_mono_ns : 0;
	return 0;
}

static const struct profile *replay_profile(struct replay *replay)
{
	struct profile_meta meta = {
		.start_unix_ns = replay->head.start_unix_ns,
		.start_mono_ns = replay->head.start_mono_ns,
		.duration_ns = replay->tail.duration_ns,
		.freq_hz = replay->head.freq_hz,
		.cpu_cnt = replay->head.cpu_cnt,
		.host = replay->head.host,
		.kernel = replay->head.kernel,
		.target = replay->head.target,
	};

	return aggregate_profile(replay->agg, &meta, replay->tail.counters);
}

static int show(const struct profile *profile, const struct report_opts *opts,
		const struct export_opts *export_opts)
{
	if (export_table(profile, export_opts, opts->rows, stdout) == 0 && fflush(stdout) == 0)
		return KRAIT_EXIT_OK;
	log_error("report: write to stdout: %s", strerror(errno));
	return KRAIT_EXIT_FAILED;
}

static int write_out(const struct profile *profile, const struct report_opts *opts,
		     struct outputs *outs)
{
	struct export_opts export_opts = output_export_opts(&opts->out);
	int err;

	if (!outs->cnt)
		return show(profile, opts, &export_opts);
	err = outputs_write(outs, profile, &export_opts);
	outputs_announce(outs);
	return err ? KRAIT_EXIT_FAILED : KRAIT_EXIT_OK;
}

/* One line where the recording is to come from a person's keyboard. */
static int refuse_terminal(const char *path)
{
	if (strcmp(path, "-") != 0 || !isatty(STDIN_FILENO))
		return KRAIT_EXIT_OK;
	return cli_usage_error(&cmd_report,
			       "standard input is a terminal; pipe a recording into it");
}

static int refuse_recordings(const struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (!outs->v[i].exporter->write)
			return cli_usage_error(
				&cmd_report,
				"%s: a recording is made by krait record; cp copies one",
				outs->v[i].path);
	return KRAIT_EXIT_OK;
}

static int report(void *o, struct cli_args *args)
{
	const char *to_stdout[] = {"-"};
	const struct report_opts *opts = o;
	struct output_opts out = opts->out;
	struct replay replay = {};
	struct recording_visitor visitor = {on_head, on_record, on_tail, on_cut, &replay};
	const struct profile *profile;
	struct outputs outs;
	int status;

	output_set_log_level(&opts->out);
	/* A format alone is wanted on stdout. */
	if (out.format && !out.paths.cnt)
		out.paths = (struct cli_list){.items = to_stdout, .cnt = 1};
	status = outputs_init(&outs, &cmd_report, &out, NULL);
	if (status == KRAIT_EXIT_OK)
		status = refuse_recordings(&outs);
	if (status == KRAIT_EXIT_OK)
		status = refuse_terminal(args->argv[0]);
	if (status != KRAIT_EXIT_OK)
		goto out;
	status = KRAIT_EXIT_FAILED;
	replay.agg = aggregate_new();
	if (!replay.agg || recording_read(args->argv[0], &visitor) != 0)
		goto out;
	profile = replay_profile(&replay);
	if (!profile)
		goto out;
	status = write_out(profile, opts, &outs);
	if (replay.is_cut)
		footer_no_ledger(profile);
	else
		footer_ledger(profile);
	if (replay.is_cut && status == KRAIT_EXIT_OK)
		status = KRAIT_EXIT_CUT;
out:
	outputs_release(&outs);
	aggregate_free(replay.agg);
	return status;
}

static const struct report_opts defaults = {.rows = TABLE_ROWS};

static const struct cli_opt options[] = {
	{.short_name = 'n',
	 .long_name = "rows",
	 .type = CLI_UINT,
	 .offset = offsetof(struct report_opts, rows),
	 .max = 1000000,
	 .metavar = "N",
	 .help = "rows of the table; 0: all",
	 .group = "Output"},
	OUTPUT_OPTS(struct report_opts, out),
	{},
};

const struct cmd cmd_report = {
	.name = "report",
	.summary = "show a recording as a table, or turn it into any format",
	.usage = "FILE|- [-o FILE]...",
	.details = "Examples:\n"
		   "  krait report run.krait                     the top functions\n"
		   "  krait report run.krait -o run.pb.gz        what the live run would have "
		   "written\n"
		   "  krait report run.krait -t -o - | less\n"
		   "  ssh HOST krait record -d 10 -o - -f krait | krait report -\n"
		   "\n"
		   "Of a recording that is cut (a run that was killed leaves x.krait.part) or "
		   "damaged it\n"
		   "reports what is whole, says what is missing, and exits with 5.\n",
	.more_help = export_help,
	.opts = options,
	.opts_bytes = sizeof(struct report_opts),
	.defaults = &defaults,
	.min_args = 1,
	.max_args = 1,
	.run = report,
};
