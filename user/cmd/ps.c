// SPDX-License-Identifier: BSD-2-Clause
/*
 * krait ps: every Python process that krait sees, and for each that it can't profile, why. Looks
 * into /proc alone: no BPF.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/base/text.h"
#include "user/cmd/cmds.h"
#include "user/proc/pid_ns.h"
#include "user/session/scanner.h"
#include "user/session/selection.h"

struct ps_opts {
	bool all, json;
	struct cli_pids pids;
	const char *comm;
};

struct listing {
	struct selection who;
	struct scanner *scanner;
	unsigned int ready_cnt, refused_cnt, forbidden_cnt;
	unsigned int failed_cnt; /* their scans came to no end */
	pid_t failed_pid;	 /* one of them */
	json_t *processes;	 /* --json; else NULL */
};

/* ---- What is said of a process ---- */

/* The command line made safe, arguments joined by spaces; the comm where there is none. */
static void add_cmdline(struct strbuf *line, const struct scan_result *r)
{
	char raw[SCAN_CMDLINE_BYTES];
	uint32_t len = r->text_bytes < sizeof(raw) ? r->text_bytes : sizeof(raw);

	memcpy(raw, r->text, len);
	while (len > 0 && raw[len - 1] == '\0')
		len--;
	if (!len) {
		text_add_utf8(line, r->target.comm, strnlen(r->target.comm, KRAIT_COMM_BYTES));
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		if (raw[i] == '\0')
			raw[i] = ' ';
	text_add_utf8(line, raw, len);
}

/* "3.11.7", or what is known of it. */
static void version_text(char *text, size_t size, uint32_t v)
{
	if (v && (v >> 8 & 0xff))
		snprintf(text, size, "%u.%u.%u", v >> 24, v >> 16 & 0xff, v >> 8 & 0xff);
	else if (v)
		snprintf(text, size, "%u.%u", v >> 24, v >> 16 & 0xff);
	else
		snprintf(text, size, "?");
}

static void print_target(const struct scan_result *r)
{
	const struct target *t = &r->target;
	struct strbuf line = {};
	char version[24];

	version_text(version, sizeof(version), t->python.version);
	strbuf_addf(&line, "%7d %-8s %7u  %-36s ", t->pid, version, t->thread_cnt,
		    t->state == TARGET_READY ? t->how : "-");
	add_cmdline(&line, r);
	puts(strbuf_text(&line));
	if (t->state != TARGET_READY)
		printf("        can't be profiled: %s\n", t->why);
	strbuf_release(&line);
}

/* An object: {"pid", "version", "threads", "ready", "found_by", "why_not", "command"}; what does
 * not apply is null. */
static void append_target(json_t *processes, const struct scan_result *r)
{
	const struct target *t = &r->target;
	bool is_ready = t->state == TARGET_READY;
	struct strbuf command = {};
	char version[24];

	version_text(version, sizeof(version), t->python.version);
	add_cmdline(&command, r);
	json_array_append_new(
		processes, json_pack("{s:i, s:s, s:i, s:b, s:s?, s:s?, s:s}", "pid", t->pid,
				     "version", version, "threads", (int)t->thread_cnt, "ready",
				     is_ready, "found_by", is_ready ? t->how : NULL, "why_not",
				     is_ready ? NULL : t->why, "command", strbuf_text(&command)));
	strbuf_release(&command);
}

/* ---- Which processes ---- */

static int list_pid(struct listing *l, pid_t pid)
{
	const struct scan_result *r;

	r = scanner_run(l->scanner, pid);
	if (r->err == -ETIME || r->err == -ECHILD) {
		l->failed_cnt++;
		l->failed_pid = pid;
		return 0;
	}
	if (r->err)
		return r->err;
	if (r->target.state == TARGET_NOT_PYTHON || r->target.state == TARGET_GONE ||
	    r->target.state == TARGET_KERNEL || !selection_has_comm(&l->who, r->target.comm))
		return 0;
	if (r->target.state == TARGET_FORBIDDEN) {
		l->forbidden_cnt++;
		return 0;
	}
	if (r->target.state == TARGET_READY)
		l->ready_cnt++;
	else
		l->refused_cnt++;
	if (l->processes)
		append_target(l->processes, r);
	else
		print_target(r);
	return 0;
}

static int list_all(struct listing *l)
{
	struct selected_list list;
	int err = selection_find(&l->who, &list);

	for (uint32_t i = 0; !err && i < list.cnt; i++)
		err = list_pid(l, list.v[i].pid);
	selected_release(&list);
	return err;
}

/* ---- The end ---- */

static void sum_up(const struct listing *l)
{
	if (l->forbidden_cnt)
		log_warn("ps: %u process%s may not be looked at%s", l->forbidden_cnt,
			 l->forbidden_cnt == 1 ? "" : "es",
			 geteuid() ? ": run krait as root to see all" : "");
	if (l->failed_cnt)
		log_warn("ps: what %u process%s (pid %d) is can't be told: its files or memory "
			 "could "
			 "not be read in time",
			 l->failed_cnt, l->failed_cnt == 1 ? "" : "es", l->failed_pid);
	log_info("ps: %u Python process%s can be profiled, %u can't", l->ready_cnt,
		 l->ready_cnt == 1 ? "" : "es", l->refused_cnt);
}

/* The list comes whole, and before what is said of it. 0 or -errno, logged. */
static int flush_list(void)
{
	int err;

	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	err = errno ? errno : EPIPE; /* of an earlier write it is gone */
	log_error("ps: write to stdout: %s", strerror(err));
	return -err;
}

static int print_json(const struct listing *l)
{
	json_t *root = json_pack("{s:O, s:i}", "processes", l->processes, "not_readable",
				 (int)l->forbidden_cnt);
	int err = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;

	json_decref(root);
	putchar('\n');
	if (!err || ferror(stdout))
		return flush_list();
	log_error("ps: no memory");
	return err;
}

static int exit_status(const struct listing *l)
{
	if (l->ready_cnt + l->refused_cnt)
		return KRAIT_EXIT_OK;
	return l->forbidden_cnt && geteuid() ? KRAIT_EXIT_DENIED : KRAIT_EXIT_NO_PYTHON;
}

static int ps(void *o, struct cli_args *args)
{
	const struct ps_opts *opts = o;
	struct listing l = {
		.who = {.pids = opts->pids.pids, .pid_cnt = opts->pids.cnt, .comm = opts->comm}};
	const char *trouble = pid_ns_trouble();
	int err = -ENOMEM;

	(void)args;
	if (trouble) {
		log_error("ps: pid namespace: %s", trouble);
		return KRAIT_EXIT_DENIED;
	}
	l.scanner = scanner_new();
	if (opts->json)
		l.processes = json_array();
	else
		printf("%7s %-8s %7s  %-36s %s\n", "PID", "VERSION", "THREADS", "FOUND BY",
		       "COMMAND");
	if (l.scanner && (l.processes || !opts->json))
		err = list_all(&l);
	scanner_free(l.scanner);
	if (err)
		log_error("ps: read /proc: %s", strerror(-err));
	else
		err = opts->json ? print_json(&l) : flush_list();
	json_decref(l.processes);
	if (err)
		return KRAIT_EXIT_FAILED;
	if (!opts->json)
		sum_up(&l);
	return exit_status(&l);
}

#define FIELD(field) offsetof(struct ps_opts, field)

static const struct cli_opt options[] = {
	{.short_name = 'a',
	 .long_name = "all",
	 .type = CLI_FLAG,
	 .offset = FIELD(all),
	 .help = "every Python process that krait sees (the default)"},
	{.short_name = 'p',
	 .long_name = "pid",
	 .type = CLI_PIDS,
	 .offset = FIELD(pids),
	 .metavar = "PID[,PID]",
	 .help = "only these processes"},
	{.long_name = "comm",
	 .type = CLI_STRING,
	 .offset = FIELD(comm),
	 .metavar = "NAME",
	 .help = "only processes of this name"},
	{.long_name = "json",
	 .type = CLI_FLAG,
	 .offset = FIELD(json),
	 .help = "as JSON: {\"processes\": [...], \"not_readable\": N}"},
	{},
};

const struct cmd cmd_ps = {
	.name = "ps",
	.summary = "list the Python processes krait sees, and why some can't be profiled",
	.usage = "[TARGET] [--json]",
	.details = "Columns: process, version, threads, how its runtime was found, command line.\n"
		   "Exits with 0 if there is one, else with 3.\n",
	.opts = options,
	.opts_bytes = sizeof(struct ps_opts),
	.run = ps,
};
