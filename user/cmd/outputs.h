/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a profile goes: the -o files of record and report, each in its format, and the options both
 * commands share.
 */
#ifndef KRAIT_CMD_OUTPUTS_H
#define KRAIT_CMD_OUTPUTS_H

#include "user/aggregate/profile.h"
#include "user/cli/cli.h"
#include "user/drain/recording.h"
#include "user/export/export.h"

/* Options of output, as record and report take them. `lines` is an enum export_lines. */
struct output_opts {
	struct cli_list paths;
	const char *format;
	bool threads, full_path, quiet, verbose;
	int lines;
};

/* NOLINTBEGIN(bugprone-macro-parentheses): offsetof takes none */
/* The rows of an option table for them; `opts_struct` is the command's struct, `field` its struct
 * output_opts. */
#define OUTPUT_OPTS(opts_struct, field)                                                            \
	{.short_name = 'o',                                                                        \
	 .long_name = "output",                                                                    \
	 .type = CLI_LIST,                                                                         \
	 .offset = offsetof(opts_struct, field.paths),                                             \
	 .metavar = "FILE",                                                                        \
	 .help = "write FILE, in the format of its name (see below); repeatable; - is stdout",     \
	 .group = "Output"},                                                                       \
		{.short_name = 'f',                                                                \
		 .long_name = "format",                                                            \
		 .type = CLI_STRING,                                                               \
		 .offset = offsetof(opts_struct, field.format),                                    \
		 .metavar = "FORMAT",                                                              \
		 .help = "the format of every -o, whatever its name",                              \
		 .group = "Output"},                                                               \
		{.short_name = 't',                                                                \
		 .long_name = "threads",                                                           \
		 .type = CLI_FLAG,                                                                 \
		 .offset = offsetof(opts_struct, field.threads),                                   \
		 .help = "a root frame per thread: its name in Python, else the kernel's",         \
		 .group = "Output"},                                                               \
		{.long_name = "function",                                                          \
		 .type = CLI_SET,                                                                  \
		 .offset = offsetof(opts_struct, field.lines),                                     \
		 .value = EXPORT_LINES_FUNCTION,                                                   \
		 .help = "merge the lines of a function: show its first line",                     \
		 .group = "Output"},                                                               \
		{.long_name = "no-lineno",                                                         \
		 .type = CLI_SET,                                                                  \
		 .offset = offsetof(opts_struct, field.lines),                                     \
		 .value = EXPORT_LINES_NONE,                                                       \
		 .help = "no line numbers",                                                        \
		 .group = "Output"},                                                               \
		{.long_name = "full-path",                                                         \
		 .type = CLI_FLAG,                                                                 \
		 .offset = offsetof(opts_struct, field.full_path),                                 \
		 .help = "whole file names, not shortened",                                        \
		 .group = "Output"},                                                               \
		{.short_name = 'q',                                                                \
		 .long_name = "quiet",                                                             \
		 .type = CLI_FLAG,                                                                 \
		 .offset = offsetof(opts_struct, field.quiet),                                     \
		 .help = "say nothing but errors",                                                 \
		 .group = "Output"},                                                               \
	{                                                                                          \
		.short_name = 'v', .long_name = "verbose", .type = CLI_FLAG,                       \
		.offset = offsetof(opts_struct, field.verbose),                                    \
		.help = "say what is decided, and why", .group = "Output"                          \
	}
/* NOLINTEND(bugprone-macro-parentheses) */

/* Sets the log level that --quiet or --verbose asks for. */
void output_set_log_level(const struct output_opts *opts);

struct export_opts output_export_opts(const struct output_opts *opts);

struct output {
	const char *path;
	char *own_path;	    /* of a default name; else NULL, and path is borrowed */
	const char *suffix; /* it must be a new file, and its name ends so (outfile_open_new) */
	const struct exporter *exporter;
	bool is_stdout, is_written;
	struct outfile *file;		    /* of a recording, open during the run; else NULL */
	char *part;			    /* its name meanwhile; NULL: it has none */
	struct recording_writer *recording; /* from start to finish */
	int err;			    /* why there will be no recording, -errno */
};

struct outputs {
	struct output *v; /* cnt of them */
	uint32_t cnt;
};

/*
 * Looks up the formats and checks that each file can be written. Where there is no -o it is one new
 * file, `default_stem` with the suffix of its format (NULL: none). KRAIT_EXIT_OK, or the exit
 * status; one line has been printed then. The caller releases it in any case.
 */
int outputs_init(struct outputs *outs, const struct cmd *cmd, const struct output_opts *opts,
		 const char *default_stem);
/* Drops recordings that were not finished. */
void outputs_release(struct outputs *outs);

/* Whether one of the outputs tells of threads. */
bool outputs_have_threads(const struct outputs *outs, const struct output_opts *opts);
/* Whether one of them is what stdout is for. */
bool outputs_have_stdout(const struct outputs *outs);

/* Recordings among the outputs: their head at the start, each record as it comes, the tail. One
 * that fails is said, and given up, at once; outputs_record_add fails where no other output is
 * left. 0 or -errno, logged. */
int outputs_record_start(struct outputs *outs, const struct krait_head_rec *head);
int outputs_record_add(struct outputs *outs, const struct krait_hdr *rec);
/* To be called each second: what has come since is in the file soon, even if nothing follows. */
int outputs_record_tick(struct outputs *outs, uint64_t now_ns);
/* What has come so far is in the files soon; outputs_snapshot waits for it. */
void outputs_record_flush(struct outputs *outs);
/* CPU time that the recordings have taken in threads of their own. */
uint64_t outputs_record_cpu_ns(const struct outputs *outs);
int outputs_record_finish(struct outputs *outs, uint64_t duration_ns, const uint64_t *counters);

/* Writes every other format. 0 or the first -errno, logged; the others are written all the same. */
int outputs_write(struct outputs *outs, const struct profile *profile,
		  const struct export_opts *opts);
/* Writes and announces what can be written more than once, which stdout can't; of recordings it
 * says where they are, once what outputs_record_flush was called for is there. In whatever thread,
 * while another adds to the recordings. */
void outputs_snapshot(struct outputs *outs, const struct profile *profile,
		      const struct export_opts *opts);
/* Says what was written since the last time ("wrote x.folded (folded)"). */
void outputs_announce(struct outputs *outs);

#endif
