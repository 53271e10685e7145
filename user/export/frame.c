// SPDX-License-Identifier: BSD-2-Clause
/* The wording of frames and root frames. */
#include "user/export/frame.h"

#include <ctype.h>
#include <string.h>

/* The length of "/lib/pythonX.Y/" or "/lib64/pythonX.Y/" at text, else 0. The 't' of a
 * free-threaded build's folder is part of it: sysconfig.get_path("stdlib") is lib/python3.13t. */
static size_t stdlib_len(const char *text)
{
	const char *p = text;

	if (!strncmp(p, "/lib/python", 11))
		p += 11;
	else if (!strncmp(p, "/lib64/python", 13))
		p += 13;
	else
		return 0;
	if (!isdigit((unsigned char)*p))
		return 0;
	while (isdigit((unsigned char)*p) || *p == '.')
		p++;
	if (*p == 't')
		p++;
	return *p == '/' ? (size_t)(p + 1 - text) : 0;
}

static size_t library_len(const char *text)
{
	if (!strncmp(text, "/site-packages/", 15) || !strncmp(text, "/dist-packages/", 15))
		return 15;
	return stdlib_len(text);
}

static const char *last_two_components(const char *file)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return file;
	while (slash > file && slash[-1] != '/')
		slash--;
	return slash;
}

const char *frame_short_path(const char *file)
{
	const char *tail = NULL, *p;
	size_t len = strlen(file);

	if (len > 1 && file[0] == '<' && file[len - 1] == '>')
		return file;
	for (p = strchr(file, '/'); p; p = strchr(p + 1, '/')) {
		size_t skip = library_len(p);

		if (skip && p[skip])
			tail = p + skip;
	}
	return tail ? tail : last_two_components(file);
}

static void add_location(struct strbuf *out, const struct profile_function *function, int32_t line,
			 bool has_line, const struct export_opts *opts)
{
	strbuf_add_str(out, function->name);
	if (function->kind == FRAME_MARKER)
		return;
	strbuf_add_str(out, " (");
	strbuf_add_str(out, opts->full_path ? function->file : frame_short_path(function->file));
	if (has_line && line > 0)
		strbuf_addf(out, ":%d", line);
	else if (has_line)
		strbuf_add_str(out, ":[line unknown]");
	strbuf_add_char(out, ')');
}

void frame_add(struct strbuf *out, const struct profile *profile, uint32_t frame_idx,
	       const struct export_opts *opts)
{
	const struct profile_frame *frame = &profile->frames[frame_idx];
	const struct profile_function *function = &profile->functions[frame->function_idx];
	int32_t line = opts->lines == EXPORT_LINES_FUNCTION ? function->first_line : frame->line;

	add_location(out, function, line, opts->lines != EXPORT_LINES_NONE, opts);
}

void frame_add_function(struct strbuf *out, const struct profile_function *function,
			const struct export_opts *opts)
{
	add_location(out, function, function->first_line, true, opts);
}

void frame_add_process(struct strbuf *out, const struct profile_process *process)
{
	const char *p;

	strbuf_addf(out, "process %u:\"", process->pid);
	for (p = process->cmdline; *p; p++)
		strbuf_add_char(out, *p == '"' ? '\'' : *p);
	strbuf_add_char(out, '"');
}

void frame_add_thread(struct strbuf *out, const struct profile_thread *thread)
{
	strbuf_addf(out, "thread (%u)", thread->tid);
	if (thread->name[0]) {
		strbuf_add_str(out, ": ");
		strbuf_add_str(out, thread->name);
	}
	if (thread->interp_id)
		strbuf_addf(out, " [interpreter %llu]", (unsigned long long)thread->interp_id);
}
