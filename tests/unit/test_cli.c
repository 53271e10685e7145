// SPDX-License-Identifier: BSD-2-Clause
/* The command line: each type, each error and its one line, the help texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/cli/cli.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NS_PER_MS 1000000ULL
#define NS_PER_S (1000 * NS_PER_MS)

struct demo_opts {
	bool all, threads;
	int lines;
	uint32_t freq;
	uint64_t duration_ns;
	const char *comm, *format;
	struct cli_list outputs;
	struct cli_pids pids;
};

static const struct cli_opt demo_table[] = {
	{'a', "all", CLI_FLAG, offsetof(struct demo_opts, all), .help = "everything",
	 .group = "Target"},
	{'p', "pid", CLI_PIDS, offsetof(struct demo_opts, pids), .metavar = "PID[,PID,...]",
	 .help = "these processes", .group = "Target"},
	{0, "comm", CLI_STRING, offsetof(struct demo_opts, comm), .metavar = "NAME",
	 .help = "by name", .group = "Target"},
	{'F', "freq", CLI_UINT, offsetof(struct demo_opts, freq), .min = 1, .max = 10000,
	 .metavar = "HZ",
	 .help = "how often to look, in samples per second of CPU time, and so long a text that it "
		 "takes a second line",
	 .group = "Sampling"},
	{'d', "duration", CLI_DURATION, offsetof(struct demo_opts, duration_ns),
	 .min = 100 * NS_PER_MS, .max = 24 * 3600 * NS_PER_S, .metavar = "TIME",
	 .help = "for how long", .group = "Sampling"},
	{'o', "output", CLI_LIST, offsetof(struct demo_opts, outputs), .metavar = "FILE",
	 .help = "where to", .group = "Output"},
	{'t', "threads", CLI_FLAG, offsetof(struct demo_opts, threads), .help = "per thread",
	 .group = "Output"},
	{0, "function", CLI_SET, offsetof(struct demo_opts, lines), .value = 1,
	 .help = "merge lines", .group = "Output"},
	{0, "no-lineno", CLI_SET, offsetof(struct demo_opts, lines), .value = 2, .help = "no lines",
	 .group = "Output"},
	{'f', "format", CLI_STRING, offsetof(struct demo_opts, format), .metavar = "NAME",
	 .help = "which format", .group = "Output"},
	{},
};

static const struct demo_opts demo_defaults = {
	.freq = 99, .duration_ns = 90 * NS_PER_S, .format = "folded"};

/* What the last run of a command was given. Lists are copied: cli_main frees them. */
static struct {
	int run_cnt;
	struct demo_opts opts;
	const char *outputs[4];
	pid_t pids[4];
	int argc;
	const char *args[4], *command[4];
} got;

static int demo_run(void *opts, struct cli_args *args)
{
	uint32_t i;

	got.run_cnt++;
	got.opts = *(struct demo_opts *)opts;
	for (i = 0; i < got.opts.outputs.cnt && i < 4; i++)
		got.outputs[i] = got.opts.outputs.items[i];
	for (i = 0; i < got.opts.pids.cnt && i < 4; i++)
		got.pids[i] = got.opts.pids.pids[i];
	got.argc = args->argc;
	for (i = 0; i < (uint32_t)args->argc; i++)
		got.args[i] = args->argv[i];
	assert_null(args->argv[args->argc]);
	for (i = 0; args->command && args->command[i] && i < 4; i++)
		got.command[i] = args->command[i];
	return 42;
}

static int refuse_run(void *opts, struct cli_args *args)
{
	(void)opts;
	return cli_usage_error(args->cmd, "%s and %s exclude each other", "--a", "--b\n\x1b");
}

static void demo_more_help(FILE *out)
{
	fputs("Formats:\n  folded\n", out);
}

static const struct cmd cmd_record = {
	.name = "record",
	.summary = "record things",
	.usage = "[TARGET] [-- COMMAND]",
	.details = "Examples:\n  krait record -d 5\n",
	.more_help = demo_more_help,
	.opts = demo_table,
	.opts_bytes = sizeof(struct demo_opts),
	.defaults = &demo_defaults,
	.takes_command = true,
	.run = demo_run,
};

static const struct cmd cmd_report = {
	.name = "report",
	.summary = "report things",
	.usage = "FILE [FILE]",
	.opts = demo_table,
	.opts_bytes = sizeof(struct demo_opts),
	.min_args = 1,
	.max_args = 2,
	.run = demo_run,
};

static const struct cmd cmd_bare = {
	.name = "bare", .summary = "no options", .usage = "", .run = refuse_run};

static const struct cmd *const cmds[] = {&cmd_record, &cmd_report, &cmd_bare, NULL};

struct said {
	char out[8192], err[1024];
};

/* Sends fd to a new file until restored; returns what it was. */
static int redirect(int fd, FILE *to)
{
	int saved = dup(fd);

	assert_true(saved >= 0);
	assert_true(dup2(fileno(to), fd) >= 0);
	return saved;
}

static void restore(int fd, int saved, FILE *from, char *text, size_t size)
{
	size_t len;

	assert_true(dup2(saved, fd) >= 0);
	close(saved);
	rewind(from);
	len = fread(text, 1, size - 1, from);
	text[len] = 0;
	fclose(from);
}

/* Runs "krait WORD...", the words given one after another, with a NULL at the end. */
static int run_words(struct said *said, const char *const *words)
{
	char *argv[16] = {"krait"};
	FILE *out = tmpfile(), *err = tmpfile();
	int argc = 1, status, saved_out, saved_err;

	memset(&got, 0, sizeof(got));
	while (*words)
		argv[argc++] = (char *)*words++;
	fflush(stdout);
	saved_out = redirect(STDOUT_FILENO, out);
	saved_err = redirect(STDERR_FILENO, err);
	status = cli_main(cmds, argc, argv);
	fflush(stdout);
	restore(STDOUT_FILENO, saved_out, out, said->out, sizeof(said->out));
	restore(STDERR_FILENO, saved_err, err, said->err, sizeof(said->err));
	return status;
}

#define RUN(said, ...) run_words(said, (const char *const[]){__VA_ARGS__, NULL})

/* The command ran, and nothing was said. */
#define ASSERT_RUNS(...)                                                                           \
	do {                                                                                       \
		struct said said_;                                                                 \
                                                                                                   \
		assert_int_equal(RUN(&said_, __VA_ARGS__), 42);                                    \
		assert_int_equal(got.run_cnt, 1);                                                  \
		assert_string_equal(said_.out, "");                                                \
		assert_string_equal(said_.err, "");                                                \
	} while (0)

/* Nothing ran, and just this was said, on stderr. */
#define ASSERT_USAGE(message, ...)                                                                 \
	do {                                                                                       \
		struct said said_;                                                                 \
                                                                                                   \
		assert_int_equal(RUN(&said_, __VA_ARGS__), KRAIT_EXIT_USAGE);                      \
		assert_int_equal(got.run_cnt, 0);                                                  \
		assert_string_equal(said_.out, "");                                                \
		assert_string_equal(said_.err, message "\n");                                      \
	} while (0)

#define SEE_RECORD " (krait record --help)"
#define SEE_REPORT " (krait report --help)"

static void test_defaults(void **state)
{
	(void)state;
	ASSERT_RUNS("record");
	assert_int_equal(got.opts.freq, 99);
	assert_true(got.opts.duration_ns == 90 * NS_PER_S);
	assert_string_equal(got.opts.format, "folded");
	assert_false(got.opts.all);
	assert_int_equal(got.argc, 0);
	assert_null(got.command[0]);
	/* Without defaults everything is zero. */
	ASSERT_RUNS("report", "x");
	assert_int_equal(got.opts.freq, 0);
	assert_null(got.opts.format);
}

static void test_option_forms(void **state)
{
	(void)state;
	ASSERT_RUNS("record", "--freq", "7");
	assert_int_equal(got.opts.freq, 7);
	ASSERT_RUNS("record", "--freq=8");
	assert_int_equal(got.opts.freq, 8);
	ASSERT_RUNS("record", "-F", "9");
	assert_int_equal(got.opts.freq, 9);
	ASSERT_RUNS("record", "-F10");
	assert_int_equal(got.opts.freq, 10);
	ASSERT_RUNS("record", "-atF11");
	assert_int_equal(got.opts.freq, 11);
	assert_true(got.opts.all && got.opts.threads);
	ASSERT_RUNS("record", "-F1", "-F2");
	assert_int_equal(got.opts.freq, 2);
	/* A value may start with a dash, be empty, and hold '='. */
	ASSERT_RUNS("record", "--comm", "-bash");
	assert_string_equal(got.opts.comm, "-bash");
	ASSERT_RUNS("record", "--comm=");
	assert_string_equal(got.opts.comm, "");
	ASSERT_RUNS("record", "--comm=a=b");
	assert_string_equal(got.opts.comm, "a=b");
	ASSERT_RUNS("record", "--function");
	assert_int_equal(got.opts.lines, 1);
	ASSERT_RUNS("record", "--function", "--no-lineno");
	assert_int_equal(got.opts.lines, 2);
}

static void test_lists(void **state)
{
	(void)state;
	ASSERT_RUNS("record", "-o", "a.folded", "--output=b.pb.gz", "-o-");
	assert_int_equal(got.opts.outputs.cnt, 3);
	assert_string_equal(got.outputs[0], "a.folded");
	assert_string_equal(got.outputs[1], "b.pb.gz");
	assert_string_equal(got.outputs[2], "-");
	ASSERT_RUNS("record", "-p", "1,20", "--pid=4194304");
	assert_int_equal(got.opts.pids.cnt, 3);
	assert_int_equal(got.pids[0], 1);
	assert_int_equal(got.pids[1], 20);
	assert_int_equal(got.pids[2], 4194304);
}

static void test_uint(void **state)
{
	(void)state;
	ASSERT_RUNS("record", "-F10000");
	ASSERT_USAGE("krait record: --freq: '10001' is not a number from 1 to 10000" SEE_RECORD,
		     "record", "-F10001");
	ASSERT_USAGE("krait record: --freq: '0' is not a number from 1 to 10000" SEE_RECORD,
		     "record", "-F0");
	ASSERT_USAGE("krait record: --freq: 'abc' is not a number from 1 to 10000" SEE_RECORD,
		     "record", "--freq", "abc");
	ASSERT_USAGE("krait record: --freq: '' is not a number from 1 to 10000" SEE_RECORD,
		     "record", "--freq=");
	ASSERT_USAGE("krait record: --freq: '-1' is not a number from 1 to 10000" SEE_RECORD,
		     "record", "-F", "-1");
	/* 2^64 + 1 */
	ASSERT_USAGE("krait record: --freq: '18446744073709551617' is not a number from 1 to "
		     "10000" SEE_RECORD,
		     "record", "-F", "18446744073709551617");
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"10", 10 * NS_PER_S},		 {"10s", 10 * NS_PER_S},
		{"5m", 300 * NS_PER_S},		 {"2h", 7200 * NS_PER_S},
		{"500ms", 500 * NS_PER_MS},	 {"1.5s", 1500 * NS_PER_MS},
		{"0.25", 250 * NS_PER_MS},	 {"1.5h", 5400 * NS_PER_S},
		{"100ms", 100 * NS_PER_MS},	 {"24h", 86400 * NS_PER_S},
		{"1.123456789s", 1123456000ULL},
	};
	static const char *const bad[] = {"",
					  "s",
					  "5x",
					  "1.",
					  ".5",
					  "1.s",
					  "1e3",
					  "-1",
					  "1 s",
					  "10S",
					  "1.2.3",
					  "1,5",
					  "99999999999999999999",
					  "9999999999999999h"};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		ASSERT_RUNS("record", "-d", good[i].text);
		assert_true(got.opts.duration_ns == good[i].ns);
	}
	for (i = 0; i < COUNT(bad); i++) {
		struct said said;

		assert_int_equal(RUN(&said, "record", "-d", bad[i]), KRAIT_EXIT_USAGE);
		assert_non_null(strstr(said.err, "is not a time; use 10, 10s, 5m, 2h, 500ms or "
						 "1.5s" SEE_RECORD "\n"));
	}
	ASSERT_USAGE("krait record: --duration: '99ms' is too short; at least 100ms" SEE_RECORD,
		     "record", "-d", "99ms");
	ASSERT_USAGE("krait record: --duration: '25h' is too long; at most 24h" SEE_RECORD,
		     "record", "-d25h");
}

static void test_pids(void **state)
{
	static const char *const bad[][2] = {{"", ""},
					     {"0", "0"},
					     {"1,", ""},
					     {",1", ""},
					     {"12a", "12a"},
					     {"1,-2", "-2"},
					     {"4194305", "4194305"},
					     {"1, 2", " 2"}};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		struct said said;
		char message[128];

		assert_int_equal(RUN(&said, "record", "--pid", bad[i][0]), KRAIT_EXIT_USAGE);
		snprintf(message, sizeof(message),
			 "krait record: --pid: '%s' is not a process id; use PID or "
			 "PID,PID" SEE_RECORD "\n",
			 bad[i][1]);
		assert_string_equal(said.err, message);
	}
}

static void test_arguments(void **state)
{
	(void)state;
	ASSERT_RUNS("report", "a", "-t", "-");
	assert_int_equal(got.argc, 2);
	assert_string_equal(got.args[0], "a");
	assert_string_equal(got.args[1], "-");
	assert_true(got.opts.threads);
	ASSERT_RUNS("report", "--", "-t");
	assert_string_equal(got.args[0], "-t");
	assert_false(got.opts.threads);
	ASSERT_USAGE("krait report: an argument is missing; usage: krait report FILE "
		     "[FILE]" SEE_REPORT,
		     "report");
	ASSERT_USAGE("krait report: unexpected argument 'c'" SEE_REPORT, "report", "a", "b", "c");
	ASSERT_USAGE("krait report: unexpected argument 'c'" SEE_REPORT, "report", "--", "a", "b",
		     "c");
}

static void test_command(void **state)
{
	(void)state;
	ASSERT_RUNS("record", "-t", "--", "python3", "-t", "--help");
	assert_string_equal(got.command[0], "python3");
	assert_string_equal(got.command[1], "-t");
	assert_string_equal(got.command[2], "--help");
	assert_null(got.command[3]);
	ASSERT_USAGE("krait record: no command after '--'" SEE_RECORD, "record", "--");
	ASSERT_USAGE("krait record: unexpected argument 'x.py'; a command to run goes after "
		     "'--'" SEE_RECORD,
		     "record", "x.py");
}

static void test_unknown_options(void **state)
{
	(void)state;
	ASSERT_USAGE("krait record: unknown option '--functoin'; did you mean "
		     "'--function'?" SEE_RECORD,
		     "record", "--functoin");
	ASSERT_USAGE("krait record: unknown option '--dur'; did you mean '--duration'?" SEE_RECORD,
		     "record", "--dur=5");
	ASSERT_USAGE("krait record: unknown option '--hlep'; did you mean '--help'?" SEE_RECORD,
		     "record", "--hlep");
	ASSERT_USAGE("krait record: unknown option '--xyzzy'" SEE_RECORD, "record", "--xyzzy");
	ASSERT_USAGE("krait record: unknown option '-x'" SEE_RECORD, "record", "-tx");
	ASSERT_USAGE("krait bare: unknown option '--all' (krait bare --help)", "bare", "--all");
	/* One line, whatever the words hold. */
	ASSERT_USAGE("krait record: unknown option '--\\x0a\\x1b[2J'" SEE_RECORD, "record",
		     "--\n\x1b[2J");
	ASSERT_USAGE("krait record: unknown option '-é'" SEE_RECORD, "record", "-é");
}

static void test_values_missing(void **state)
{
	(void)state;
	ASSERT_USAGE("krait record: option '--freq' needs a value (HZ)" SEE_RECORD, "record",
		     "--freq");
	ASSERT_USAGE("krait record: option '--output' needs a value (FILE)" SEE_RECORD, "record",
		     "-to");
	ASSERT_USAGE("krait record: option '--output' needs a value (FILE)" SEE_RECORD, "record",
		     "-o", "--", "python3");
	ASSERT_USAGE("krait record: option '--all' takes no value" SEE_RECORD, "record", "--all=1");
}

static void test_commands(void **state)
{
	(void)state;
	ASSERT_USAGE("krait: unknown command 'recrod'; did you mean 'record'? (krait --help)",
		     "recrod");
	ASSERT_USAGE("krait: unknown command 'frobnicate' (krait --help)", "frobnicate");
	ASSERT_USAGE("krait: unknown option '-p'; a command comes first (krait --help)", "-p",
		     "12");
	ASSERT_USAGE("krait: unknown command 'rep'; did you mean 'report'? (krait --help)", "help",
		     "rep");
	ASSERT_USAGE("krait bare: --a and --b\\x0a\\x1b exclude each other (krait bare --help)",
		     "bare");
}

/* Two letters swapped are one error; the nearest wins, and of equals the first. */
static void test_nearest(void **state)
{
	struct cli_nearest swapped = {.word = "tpo"}, first = {.word = "repor"};

	(void)state;
	cli_nearest_try(&swapped, "dump");
	assert_null(swapped.best);
	cli_nearest_try(&swapped, "top");
	assert_string_equal(swapped.best, "top");
	cli_nearest_try(&first, "record");
	cli_nearest_try(&first, "report");
	cli_nearest_try(&first, "repos");
	cli_nearest_try(&first, "recor");
	assert_string_equal(first.best, "report");
}

static void test_no_words(void **state)
{
	static const char *const nothing[] = {NULL};
	struct said said;

	(void)state;
	assert_int_equal(run_words(&said, nothing), KRAIT_EXIT_USAGE);
	assert_string_equal(said.out, "");
	assert_ptr_equal(strchr(said.err, '\n'), said.err + strlen(said.err) - 1);
}

static void test_version(void **state)
{
	struct said said;

	(void)state;
	assert_int_equal(RUN(&said, "--version"), 0);
	assert_string_equal(said.out, "krait " KRAIT_VERSION "\n");
	assert_string_equal(said.err, "");
}

/* Help is on stdout, with status 0, and names each option with its default and its group. */
static void test_help_of_command(void **state)
{
	struct said said, again;
	const struct cli_opt *opt;
	char *line;

	(void)state;
	assert_int_equal(RUN(&said, "record", "--nonsense", "--help"), 0);
	assert_int_equal(got.run_cnt, 0);
	assert_string_equal(said.err, "");
	for (opt = demo_table; opt->long_name; opt++)
		assert_non_null(strstr(said.out, opt->long_name));
	assert_non_null(strstr(said.out, "\nTarget:\n  -a, --all               everything\n"));
	assert_non_null(strstr(said.out, "\n  -F, --freq HZ           how often"));
	assert_non_null(strstr(said.out, "(default: 99)\n"));
	assert_non_null(strstr(said.out, "for how long (default: 90s)\n"));
	assert_non_null(strstr(said.out, "which format (default: folded)\n"));
	assert_non_null(
		strstr(said.out, "\n  -p, --pid PID[,PID,...]\n                          the"));
	assert_non_null(strstr(said.out, "Usage: krait record [TARGET] [-- COMMAND]\n"));
	assert_non_null(strstr(said.out, "\nFormats:\n  folded\n"));
	assert_non_null(strstr(said.out, "\nExamples:\n  krait record -d 5\n"));
	assert_int_equal(RUN(&again, "record", "-h"), 0);
	assert_string_equal(again.out, said.out);
	assert_int_equal(RUN(&again, "help", "record"), 0);
	assert_string_equal(again.out, said.out);
	for (line = strtok(again.out, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) < 80);
}

static void test_help(void **state)
{
	struct said said, again;
	char *line;
	int i;

	(void)state;
	assert_int_equal(RUN(&said, "--help"), 0);
	assert_string_equal(said.err, "");
	for (i = 0; cmds[i]; i++) {
		assert_non_null(strstr(said.out, cmds[i]->name));
		assert_non_null(strstr(said.out, cmds[i]->summary));
	}
	assert_non_null(strstr(said.out, "Exit status:\n  0  done\n"));
	assert_int_equal(RUN(&again, "-h"), 0);
	assert_string_equal(again.out, said.out);
	assert_int_equal(RUN(&again, "help"), 0);
	assert_string_equal(again.out, said.out);
	for (line = strtok(again.out, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) < 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),	cmocka_unit_test(test_option_forms),
		cmocka_unit_test(test_lists),		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_duration),	cmocka_unit_test(test_pids),
		cmocka_unit_test(test_arguments),	cmocka_unit_test(test_command),
		cmocka_unit_test(test_unknown_options), cmocka_unit_test(test_values_missing),
		cmocka_unit_test(test_commands),	cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_no_words),	cmocka_unit_test(test_version),
		cmocka_unit_test(test_help_of_command), cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
