// SPDX-License-Identifier: BSD-2-Clause
/* --help, from the same tables that parsing uses. Lines fit an 80-column terminal. */
#include <string.h>

#include "user/base/strbuf.h"
#include "user/cli/cli.h"
#include "user/cli/value.h"

#define WIDTH 79
#define HELP_COLUMN 26 /* of the explanation of an option */

static const char exit_codes[] =
	"Exit status:\n"
	"  0  done\n"
	"  1  failed; stderr says why\n"
	"  2  wrong usage; nothing was done\n"
	"  3  no Python process matched\n"
	"  4  the kernel or the permissions do not allow it; stderr has the fix\n"
	"  With '-- COMMAND', a run that succeeds ends with the command's own status;\n"
	"  127: there is no such command, 126: it can't be run.\n";

/* Shown are those whose command is in the table. */
static const struct example {
	const char *cmd, *text;
} examples[] = {
	{"top", "sudo krait top                      what every Python of this host does now"},
	{"record", "sudo krait record -d 10             ten seconds of it, into a file"},
	{"record", "sudo krait record -p 1234 -d 10     one process, with its children"},
	{"record", "sudo krait record -- python3 a.py   one program, from start to end"},
	{"dump", "sudo krait dump -p 1234             where each of its threads is"},
	{"ps", "sudo krait ps                       the Python processes that krait sees"},
	{"doctor", "krait doctor                        what this host allows, and the fixes"},
};

/* Writes text, which starts at HELP_COLUMN, wrapped at WIDTH. */
static void put_wrapped(const char *text, FILE *out)
{
	int column = HELP_COLUMN;

	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column > HELP_COLUMN && column + 1 + len > WIDTH) {
			fprintf(out, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		} else if (column > HELP_COLUMN) {
			putc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", len, text);
		column += len;
		text += len + strspn(text + len, " ");
	}
	putc('\n', out);
}

/* One entry: what to type, and behind it (below it, where it is too long) the explanation. */
static void put_entry(const char *left, const char *text, FILE *out)
{
	int used = fprintf(out, "%s", left);

	if (used + 2 > HELP_COLUMN)
		fprintf(out, "\n%*s", HELP_COLUMN, "");
	else
		fprintf(out, "%*s", HELP_COLUMN - used, "");
	put_wrapped(text, out);
}

static void put_option(const struct cli_opt *opt, const void *defaults, FILE *out)
{
	struct strbuf left = {}, text = {}, value = {};

	if (opt->short_name)
		strbuf_addf(&left, "  -%c, --%s", opt->short_name, opt->long_name);
	else
		strbuf_addf(&left, "      --%s", opt->long_name);
	if (opt->metavar)
		strbuf_addf(&left, " %s", opt->metavar);
	strbuf_add_str(&text, opt->help);
	if (defaults)
		cli_value_add(opt, (const char *)defaults + opt->offset, &value);
	if (value.len)
		strbuf_addf(&text, " (default: %s)", strbuf_text(&value));
	put_entry(strbuf_text(&left), strbuf_text(&text), out);
	strbuf_release(&left);
	strbuf_release(&text);
	strbuf_release(&value);
}

static const char *group_of(const struct cli_opt *opt)
{
	return opt->group ? opt->group : "Options";
}

static void put_options(const struct cmd *cmd, FILE *out)
{
	const struct cli_opt *opt;
	const char *group = "";

	for (opt = cmd->opts; opt && opt->long_name; opt++) {
		if (strcmp(group, group_of(opt))) {
			group = group_of(opt);
			fprintf(out, "\n%s:\n", group);
		}
		put_option(opt, cmd->defaults, out);
	}
	if (!*group)
		fputs("\nOptions:\n", out);
	put_entry("  -h, --help", "this text", out);
}

void cli_help_cmd(const struct cmd *cmd, FILE *out)
{
	fprintf(out, "krait %s: %s\n\nUsage: krait %s %s\n", cmd->name, cmd->summary, cmd->name,
		cmd->usage);
	put_options(cmd, out);
	if (cmd->more_help) {
		putc('\n', out);
		cmd->more_help(out);
	}
	if (cmd->details)
		fprintf(out, "\n%s", cmd->details);
	fputs("\nExit status, and the other commands: krait --help\n", out);
}

static void put_examples(const struct cmd *const *cmds, FILE *out)
{
	size_t i, j;

	fputs("To start with:\n", out);
	for (i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		for (j = 0; cmds[j]; j++)
			if (!strcmp(cmds[j]->name, examples[i].cmd))
				fprintf(out, "  %s\n", examples[i].text);
}

void cli_help_krait(const struct cmd *const *cmds, FILE *out)
{
	size_t i;

	fputs("krait: a sampling profiler for every Python process of a Linux host, without a\n"
	      "restart, a change or a stop of any of them\n\n"
	      "Usage: krait COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
	      out);
	for (i = 0; cmds[i]; i++)
		fprintf(out, "  %-8s  %s\n", cmds[i]->name, cmds[i]->summary);
	fputs("\nOptions:\n"
	      "  -h, --help     this text; after a command, its options and examples\n"
	      "  -V, --version  krait's version\n\n",
	      out);
	put_examples(cmds, out);
	putc('\n', out);
	fputs(exit_codes, out);
}
