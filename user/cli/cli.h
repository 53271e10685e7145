/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line as data: a table of commands, each with a table of options that says which field
 * of the command's own struct an option sets. Parsing and --help both come from the tables, so they
 * can't disagree.
 *
 * A command, whole:
 *
 *	struct greet_opts { bool loud; uint32_t times; };
 *	static const struct cli_opt options[] = {
 *		{'l', "loud", CLI_FLAG, offsetof(struct greet_opts, loud), .help = "shout"},
 *		{'n', "times", CLI_UINT, offsetof(struct greet_opts, times), .min = 1, .max = 9,
 *		 .metavar = "N", .help = "how often"},
 *		{},
 *	};
 *	static const struct greet_opts defaults = {.times = 1};
 *	const struct cmd cmd_greet = {
 *		.name = "greet", .summary = "say hello", .usage = "[-n N] NAME", .opts = options,
 *		.opts_bytes = sizeof(struct greet_opts), .defaults = &defaults, .min_args = 1,
 *		.max_args = 1, .run = greet,
 *	};
 *
 * Options and arguments may be mixed. Accepted: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, -ab
 * for flags -a -b, and "--", after which nothing is an option. Of an option that is repeated the
 * last one counts, except for lists, which grow. Abbreviations are not accepted: a new option would
 * break the scripts that use them; they are suggested.
 */
#ifndef KRAIT_CLI_CLI_H
#define KRAIT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "user/cli/exit.h"

/* What an option takes, and the type of the field at its offset. */
enum cli_type {
	CLI_FLAG,     /* nothing; bool, set to true */
	CLI_SET,      /* nothing; int, set to .value (so several options can share a field) */
	CLI_STRING,   /* text; const char *, borrowed from argv */
	CLI_LIST,     /* text, repeatable; struct cli_list */
	CLI_UINT,     /* min to max, a decimal number; uint32_t */
	CLI_DURATION, /* 10, 10s, 5m, 2h, 500ms, 1.5s; uint64_t, in ns; min and max in ns */
	CLI_PIDS,     /* process ids with commas between, repeatable; struct cli_pids */
};

struct cli_list {
	const char *
		*items; /* borrowed from argv; the array is cli_main's, which frees it after run */
	uint32_t cnt;
};

struct cli_pids {
	pid_t *pids; /* cli_main's, which frees it after run */
	uint32_t cnt;
};

/* A table of these ends with a {}. */
struct cli_opt {
	char short_name;       /* 0: none */
	const char *long_name; /* without the dashes */
	enum cli_type type;
	size_t offset;	     /* of the field in the command's struct */
	uint64_t min, max;   /* CLI_UINT, CLI_DURATION; max 0: no limit but the field's */
	int value;	     /* CLI_SET */
	const char *metavar; /* what --help calls the value: "HZ" */
	const char *help;    /* one line or more; --help wraps it, and adds the default */
	const char *group;   /* heading in --help; NULL: "Options". Keep a group together; -h joins
				the last. */
};

/* What is left of argv when the options are taken. Valid while run runs. */
struct cli_args {
	const struct cmd *cmd;
	int argc;
	char **argv;	/* argc of them, NULL-terminated */
	char **command; /* takes_command: what follows "--", NULL-terminated; NULL without "--" */
};

struct cmd {
	const char *name;
	const char *summary; /* one line, for `krait --help` */
	const char *usage;   /* what follows the name: "[TARGET] [-F HZ] FILE" */
	const char *details; /* text for the end of its --help, examples included; may be NULL */
	void (*more_help)(FILE *out); /* prints what comes from another table; may be NULL */
	const struct cli_opt *opts;   /* may be NULL */
	size_t opts_bytes;
	const void *defaults;	/* opts_bytes of it, lists empty; NULL: all zero */
	int min_args, max_args; /* arguments that are no options */
	bool takes_command;	/* what follows "--" is a command to run, not arguments */
	/* opts points to a struct of opts_bytes. Returns an exit status. */
	int (*run)(void *opts, struct cli_args *args);
};

/*
 * Runs what argv asks for, and returns krait's exit status: the command's own, KRAIT_EXIT_OK for
 * --help and --version (on stdout), KRAIT_EXIT_USAGE after one line on stderr. `cmds` ends with a
 * NULL.
 */
int cli_main(const struct cmd *const *cmds, int argc, char **argv);

/*
 * For what a table can't check (two options that exclude each other): one line on stderr, "krait
 * CMD: MESSAGE (krait CMD --help)", with control characters made visible. cmd NULL: krait itself.
 * Returns KRAIT_EXIT_USAGE.
 */
int cli_usage_error(const struct cmd *cmd, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Finds what a person who typed `word` may have meant: set word, then call cli_nearest_try for each
 * word there is; best is then the one to suggest, or NULL if none is near enough.
 */
struct cli_nearest {
	const char *word;
	const char *best; /* borrowed from the candidates */
	unsigned int distance;
};
void cli_nearest_try(struct cli_nearest *nearest, const char *candidate);

/* The texts of --help. `defaults` as in struct cmd. */
void cli_help_krait(const struct cmd *const *cmds, FILE *out);
void cli_help_cmd(const struct cmd *cmd, FILE *out);

#endif
