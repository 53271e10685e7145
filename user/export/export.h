/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The output formats: one exporter, one .c file each; export.c is the table of them.
 *
 * To add a format: write user/export/NAME.c with a `const struct exporter export_NAME`, name it in
 * export.c's table. --help, the suffix rule and `-f` follow from the table.
 */
#ifndef KRAIT_EXPORT_EXPORT_H
#define KRAIT_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "user/aggregate/profile.h"

enum export_lines {
	EXPORT_LINES_EXECUTING, /* the line of the executing instruction (the default) */
	EXPORT_LINES_FUNCTION,	/* --function: the function's first line, so that its lines merge */
	EXPORT_LINES_NONE,	/* --no-lineno */
};

struct export_opts {
	bool threads;	/* -t: a root frame per thread */
	bool full_path; /* --full-path: co_filename whole, instead of shortened */
	enum export_lines lines;
};

/* The event that formats with one number a stack have: the CPU's clock. */
#define EXPORT_EVENT 0

struct exporter {
	const char *name; /* what -f takes: "folded" */
	const char *const
		*suffixes; /* NULL-terminated, with the dot, longest match wins: ".pb.gz" */
	bool has_threads_by_option; /* it tells of threads with -t only */
	bool is_binary;		    /* not for a terminal */
	const char *help; /* for --help: "folded stacks, for flamegraph.pl and speedscope" */
	/* 0 or -errno. Checks ferror itself only where it must; the caller does before it commits.
	 * NULL: a recording (the session writes it as records come). */
	int (*write)(const struct profile *profile, const struct export_opts *opts, FILE *out);
};

/* The table, for --help; ends with a NULL. */
extern const struct exporter *const exporters[];

/* The table in words, for the end of a command's --help. */
void export_help(FILE *out);

/* By the name given to -f where not NULL, else by path's suffix ("-" is folded). NULL if nobody
 * knows it. */
const struct exporter *export_find(const char *path, const char *format);

/* The text table of top functions (self and total, samples and %), as `krait report` prints it: at
 * most `rows` rows (0: all). Not a format of -o. 0 or -errno. */
int export_table(const struct profile *profile, const struct export_opts *opts, unsigned int rows,
		 FILE *out);

#endif
