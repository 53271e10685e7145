// SPDX-License-Identifier: BSD-2-Clause
/*
 * From argv to a command's struct, by its table; see cli.h for the rules.
 *
 * Not getopt_long: it accepts abbreviations, prints its own messages, and its tables know neither
 * types nor fields, so each command would again need a switch that can disagree with its --help.
 */
#include "user/cli/cli.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/strbuf.h"
#include "user/base/text.h"
#include "user/cli/value.h"

struct parser {
	const struct cmd *cmd;
	void *opts;
	char **argv; /* the next word */
	struct cli_args *args;
};

int cli_usage_error(const struct cmd *cmd, const char *fmt, ...)
{
	struct strbuf line = {};
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	text_add_utf8(&line, message, strlen(message));
	if (cmd)
		fprintf(stderr, "krait %s: %s (krait %s --help)\n", cmd->name, strbuf_text(&line),
			cmd->name);
	else
		fprintf(stderr, "krait: %s (krait --help)\n", strbuf_text(&line));
	strbuf_release(&line);
	return KRAIT_EXIT_USAGE;
}

static const struct cli_opt *find_long(const struct cmd *cmd, const char *name, size_t len)
{
	const struct cli_opt *opt;

	for (opt = cmd->opts; opt && opt->long_name; opt++)
		if (strlen(opt->long_name) == len && !memcmp(opt->long_name, name, len))
			return opt;
	return NULL;
}

static const struct cli_opt *find_short(const struct cmd *cmd, char name)
{
	const struct cli_opt *opt;

	for (opt = cmd->opts; opt && opt->long_name; opt++)
		if (opt->short_name == name)
			return opt;
	return NULL;
}

static int unknown_long(const struct cmd *cmd, const char *word, size_t len)
{
	char *name = strndup(word, len);
	struct cli_nearest nearest = {.word = name ? name : ""};
	const struct cli_opt *opt;
	int status;

	for (opt = cmd->opts; opt && opt->long_name; opt++)
		cli_nearest_try(&nearest, opt->long_name);
	cli_nearest_try(&nearest, "help");
	if (nearest.best)
		status = cli_usage_error(cmd, "unknown option '--%s'; did you mean '--%s'?",
					 nearest.word, nearest.best);
	else
		status = cli_usage_error(cmd, "unknown option '--%s'", nearest.word);
	free(name);
	return status;
}

static bool takes_value(const struct cli_opt *opt)
{
	return opt->type != CLI_FLAG && opt->type != CLI_SET;
}

static int set_value(struct parser *p, const struct cli_opt *opt, const char *value)
{
	struct strbuf why = {};
	int status = 0;

	if (cli_value_set(opt, value, (char *)p->opts + opt->offset, &why))
		status = cli_usage_error(p->cmd, "--%s: %s", opt->long_name, strbuf_text(&why));
	strbuf_release(&why);
	return status;
}

/* Sets opt from `value`, or where that is NULL from the next word. */
static int take_option(struct parser *p, const struct cli_opt *opt, const char *value)
{
	if (!takes_value(opt))
		return set_value(p, opt, NULL);
	/* A "--" here is far more likely a value forgotten than a file of that name. */
	if (!value && (!*p->argv || !strcmp(*p->argv, "--")))
		return cli_usage_error(p->cmd, "option '--%s' needs a value (%s)", opt->long_name,
				       opt->metavar);
	return set_value(p, opt, value ? value : *p->argv++);
}

/* A word "--name" or "--name=value". */
static int parse_long(struct parser *p, const char *word)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct cli_opt *opt = find_long(p->cmd, word, len);

	if (!opt)
		return unknown_long(p->cmd, word, len);
	if (equals && !takes_value(opt))
		return cli_usage_error(p->cmd, "option '--%s' takes no value", opt->long_name);
	return take_option(p, opt, equals ? equals + 1 : NULL);
}

/* A word "-abc", "-n5" or "-n": flags, and at the end one that may take a value. */
static int parse_short(struct parser *p, const char *word)
{
	int status = 0;

	for (; *word && !status; word++) {
		const struct cli_opt *opt = find_short(p->cmd, *word);

		/* Whole words in the message: a single byte may be a part of a character. */
		if (!opt)
			return isascii(*word)
				       ? cli_usage_error(p->cmd, "unknown option '-%c'", *word)
				       : cli_usage_error(p->cmd, "unknown option '-%s'", word);
		if (takes_value(opt))
			return take_option(p, opt, word[1] ? word + 1 : NULL);
		status = take_option(p, opt, NULL);
	}
	return status;
}

static int take_argument(struct parser *p, char *word)
{
	if (p->args->argc < p->cmd->max_args) {
		p->args->argv[p->args->argc++] = word;
		return 0;
	}
	if (p->cmd->takes_command)
		return cli_usage_error(
			p->cmd, "unexpected argument '%s'; a command to run goes after '--'", word);
	return cli_usage_error(p->cmd, "unexpected argument '%s'", word);
}

/* What follows "--". */
static int parse_rest(struct parser *p)
{
	int status = 0;

	if (p->cmd->takes_command) {
		if (!*p->argv)
			return cli_usage_error(p->cmd, "no command after '--'");
		p->args->command = p->argv;
		return 0;
	}
	while (*p->argv && !status)
		status = take_argument(p, *p->argv++);
	return status;
}

static int parse_words(struct parser *p)
{
	int status = 0;

	while (*p->argv && !status) {
		char *word = *p->argv++;

		if (!strcmp(word, "--"))
			return parse_rest(p);
		if (word[0] == '-' && word[1] == '-')
			status = parse_long(p, word + 2);
		else if (word[0] == '-' && word[1])
			status = parse_short(p, word + 1);
		else
			status = take_argument(p, word);
	}
	return status;
}

/* True if --help is among the words that are options. A wrong option next to it does not matter:
 * who asks for help gets it. */
static bool wants_help(const struct cmd *cmd, char **argv)
{
	for (; *argv && strcmp(*argv, "--"); argv++) {
		if (!strcmp(*argv, "--help"))
			return true;
		if (!strcmp(*argv, "-h") && !find_short(cmd, 'h'))
			return true;
	}
	return false;
}

/* What was printed is data: if it can't be written, that is a failure, of whatever command. */
static int finish_stdout(int status)
{
	if (status != KRAIT_EXIT_OK || (!fflush(stdout) && !ferror(stdout)))
		return status;
	fputs("krait: can't write to stdout\n", stderr);
	return KRAIT_EXIT_FAILED;
}

static int parse_and_run(struct parser *p)
{
	int status = parse_words(p);

	if (status)
		return status;
	if (p->args->argc < p->cmd->min_args)
		return cli_usage_error(p->cmd, "an argument is missing; usage: krait %s %s",
				       p->cmd->name, p->cmd->usage);
	return finish_stdout(p->cmd->run(p->opts, p->args));
}

static int no_memory(void)
{
	fputs("krait: no memory\n", stderr);
	return KRAIT_EXIT_FAILED;
}

static int run_cmd(const struct cmd *cmd, int argc, char **argv)
{
	struct cli_args args = {.cmd = cmd};
	struct parser parser = {.cmd = cmd, .argv = argv, .args = &args};
	int status;

	if (wants_help(cmd, argv)) {
		cli_help_cmd(cmd, stdout);
		return finish_stdout(KRAIT_EXIT_OK);
	}
	args.argv = calloc(argc + 1UL, sizeof(*args.argv));
	parser.opts = calloc(1, cmd->opts_bytes + 1);
	if (args.argv && parser.opts) {
		if (cmd->defaults)
			memcpy(parser.opts, cmd->defaults, cmd->opts_bytes);
		status = parse_and_run(&parser);
		cli_values_release(cmd->opts, parser.opts);
	} else {
		status = no_memory();
	}
	free(args.argv);
	free(parser.opts);
	return status;
}

static const struct cmd *find_cmd(const struct cmd *const *cmds, const char *name)
{
	for (; *cmds; cmds++)
		if (!strcmp((*cmds)->name, name))
			return *cmds;
	return NULL;
}

static int unknown_cmd(const struct cmd *const *cmds, const char *word)
{
	struct cli_nearest nearest = {.word = word};

	if (word[0] == '-')
		return cli_usage_error(NULL, "unknown option '%s'; a command comes first", word);
	for (; *cmds; cmds++)
		cli_nearest_try(&nearest, (*cmds)->name);
	if (nearest.best)
		return cli_usage_error(NULL, "unknown command '%s'; did you mean '%s'?", word,
				       nearest.best);
	return cli_usage_error(NULL, "unknown command '%s'", word);
}

static int surplus(const char *word)
{
	return cli_usage_error(NULL, "unexpected argument '%s'", word);
}

/* `words` is what follows "help". */
static int help(const struct cmd *const *cmds, char **words)
{
	const struct cmd *cmd = words[0] ? find_cmd(cmds, words[0]) : NULL;

	if (words[0] && !cmd)
		return unknown_cmd(cmds, words[0]);
	if (cmd && words[1])
		return surplus(words[1]);
	if (cmd)
		cli_help_cmd(cmd, stdout);
	else
		cli_help_krait(cmds, stdout);
	return finish_stdout(KRAIT_EXIT_OK);
}

static int version(char **words)
{
	if (words[0])
		return surplus(words[0]);
	puts("krait " KRAIT_VERSION);
	return finish_stdout(KRAIT_EXIT_OK);
}

int cli_main(const struct cmd *const *cmds, int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	const struct cmd *cmd;

	if (!word)
		return cli_usage_error(NULL, "no command; try: krait record --duration 10");
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
		return help(cmds, argv + 2);
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		return version(argv + 2);
	cmd = find_cmd(cmds, word);
	return cmd ? run_cmd(cmd, argc - 2, argv + 2) : unknown_cmd(cmds, word);
}
