// SPDX-License-Identifier: BSD-2-Clause
/* krait ps: every Python process that krait sees, and for each that it can't profile, why. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/base/text.h"
#include "user/cmd/cmds.h"
#include "user/discover/discover.h"

#define CMDLINE_BYTES 4096

struct listing {
	struct discover *discover;
	unsigned int ready_cnt, refused_cnt, forbidden_cnt;
};

static void add_cmdline(struct strbuf *line, const struct target *t)
{
	char raw[CMDLINE_BYTES];
	ssize_t len = discover_cmdline(t->pid, raw, sizeof(raw));

	while (len > 0 && raw[len - 1] == '\0')
		len--;
	if (len <= 0) {
		text_add_utf8(line, t->comm, strnlen(t->comm, sizeof(t->comm)));
		return;
	}
	for (ssize_t i = 0; i < len; i++)
		if (raw[i] == '\0')
			raw[i] = ' ';
	text_add_utf8(line, raw, len);
}

/* "3.11.7", or what is known of it. */
static void add_version(struct strbuf *line, uint32_t v)
{
	char text[24] = "?";

	if (v && (v >> 8 & 0xff))
		snprintf(text, sizeof(text), "%u.%u.%u", v >> 24, v >> 16 & 0xff, v >> 8 & 0xff);
	else if (v)
		snprintf(text, sizeof(text), "%u.%u", v >> 24, v >> 16 & 0xff);
	strbuf_addf(line, "%-8s ", text);
}

static void print_target(const struct target *t)
{
	struct strbuf line = {};

	strbuf_addf(&line, "%7d ", t->pid);
	add_version(&line, t->py_version);
	strbuf_addf(&line, "%7u  %-36s ", t->thread_cnt, t->state == TARGET_READY ? t->how : "-");
	add_cmdline(&line, t);
	puts(strbuf_text(&line));
	if (t->state != TARGET_READY)
		printf("        can't be profiled: %s\n", t->why);
	strbuf_release(&line);
}

static int list_pid(pid_t pid, void *arg)
{
	struct listing *l = arg;
	struct target t;
	int err = discover_look(l->discover, pid, &t);

	if (err)
		return err;
	if (t.state == TARGET_NOT_PYTHON || t.state == TARGET_GONE || t.state == TARGET_KERNEL)
		return 0;
	if (t.state == TARGET_FORBIDDEN) {
		l->forbidden_cnt++;
		return 0;
	}
	if (t.state == TARGET_READY)
		l->ready_cnt++;
	else
		l->refused_cnt++;
	print_target(&t);
	return 0;
}

static int sum_up(const struct listing *l)
{
	if (l->forbidden_cnt)
		log_warn("ps: %u process%s may not be looked at%s", l->forbidden_cnt,
			 l->forbidden_cnt == 1 ? "" : "es",
			 geteuid() ? ": run krait as root to see all" : "");
	log_info("ps: %u Python processes can be profiled, %u can't", l->ready_cnt, l->refused_cnt);
	if (l->ready_cnt + l->refused_cnt)
		return KRAIT_EXIT_OK;
	return l->forbidden_cnt ? KRAIT_EXIT_DENIED : KRAIT_EXIT_NO_PYTHON;
}

static int ps(void *opts, struct cli_args *args)
{
	struct listing l = {.discover = discover_new()};
	int err;

	(void)opts, (void)args;
	if (!l.discover)
		return KRAIT_EXIT_FAILED;
	printf("%7s %-8s %7s  %-36s %s\n", "PID", "VERSION", "THREADS", "FOUND BY", "COMMAND");
	err = discover_each_pid(list_pid, &l);
	discover_free(l.discover);
	if (err) {
		log_error("ps: read /proc: %s", strerror(-err));
		return KRAIT_EXIT_FAILED;
	}
	return sum_up(&l);
}

const struct cmd cmd_ps = {
	.name = "ps",
	.summary = "list the Python processes krait sees, and why some can't be profiled",
	.usage = "",
	.details = "Columns: process, version, threads, how its runtime was found, command line.\n"
		   "Exits with 0 if there is one, else with 3.\n",
	.run = ps,
};
