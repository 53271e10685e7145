// SPDX-License-Identifier: BSD-2-Clause
/* The -o files: found out and checked before the run, so that nothing is lost after it. */
#include "user/cmd/outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/log.h"
#include "user/base/outfile.h"

void output_set_log_level(const struct output_opts *opts)
{
	if (opts->quiet)
		log_set_level(LOG_ERROR);
	else if (opts->verbose)
		log_set_level(LOG_VERBOSE);
}

struct export_opts output_export_opts(const struct output_opts *opts)
{
	return (struct export_opts){
		.threads = opts->threads,
		.full_path = opts->full_path,
		.lines = opts->lines,
	};
}

static bool is_recording(const struct output *o)
{
	return o->exporter && !o->exporter->write;
}

static int unknown_format(const struct cmd *cmd, const char *path, const char *format)
{
	char names[128] = "";

	for (int i = 0; exporters[i]; i++) {
		strncat(names, i ? ", " : "", sizeof(names) - strlen(names) - 1);
		strncat(names, format ? exporters[i]->name : exporters[i]->suffixes[0],
			sizeof(names) - strlen(names) - 1);
	}
	if (format)
		return cli_usage_error(cmd, "unknown format '%s'; known are %s", format, names);
	return cli_usage_error(cmd,
			       "the name of '%s' tells no format; known are %s, or say -f FORMAT",
			       path, names);
}

int outputs_init(struct outputs *outs, const struct cmd *cmd, const struct output_opts *opts,
		 const struct cli_list *paths)
{
	*outs = (struct outputs){.v = calloc(paths->cnt + 1, sizeof(*outs->v))};
	if (!outs->v)
		return KRAIT_EXIT_FAILED;
	for (uint32_t i = 0; i < paths->cnt; i++) {
		struct output *o = &outs->v[outs->cnt++];

		o->path = paths->items[i];
		o->exporter = export_find(o->path, opts->format);
		if (!o->exporter)
			return unknown_format(cmd, o->path, opts->format);
	}
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (outfile_check(outs->v[i].path) != 0)
			return KRAIT_EXIT_FAILED;
	return KRAIT_EXIT_OK;
}

void outputs_release(struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		outfile_abandon(outs->v[i].file);
	free(outs->v);
	*outs = (struct outputs){0};
}

bool outputs_have_threads(const struct outputs *outs, const struct output_opts *opts)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (opts->threads || !outs->v[i].exporter->has_threads_by_option)
			return true;
	return false;
}

int outputs_record_start(struct outputs *outs, const struct recording_head *head)
{
	for (uint32_t i = 0; i < outs->cnt; i++) {
		struct output *o = &outs->v[i];

		if (!is_recording(o))
			continue;
		o->file = outfile_open(o->path);
		if (!o->file)
			return -errno;
		recording_start(&o->recording, outfile_stream(o->file), head);
	}
	return 0;
}

void outputs_record_add(struct outputs *outs, const struct krait_hdr *rec)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (outs->v[i].file)
			recording_add(&outs->v[i].recording, rec);
}

/* Ends a file: keeps it if what was written into it is whole. */
static int settle(struct outfile *file, const char *path, int err)
{
	if (!err)
		return outfile_commit(file);
	log_error("export: write %s: %s", path, strerror(-err));
	outfile_abandon(file);
	return err;
}

int outputs_record_finish(struct outputs *outs, uint64_t duration_ns, const uint64_t *counters)
{
	int first_err = 0;

	for (uint32_t i = 0; i < outs->cnt; i++) {
		struct output *o = &outs->v[i];
		int err;

		if (!o->file)
			continue;
		err = settle(o->file, o->path,
			     recording_finish(&o->recording, duration_ns, counters));
		o->file = NULL;
		first_err = first_err ?: err;
	}
	return first_err;
}

static int write_one(const struct output *o, const struct profile *profile,
		     const struct export_opts *opts)
{
	struct outfile *file = outfile_open(o->path);

	if (!file)
		return -errno;
	outfile_let_go(file);
	return settle(file, o->path, o->exporter->write(profile, opts, outfile_stream(file)));
}

int outputs_write(const struct outputs *outs, const struct profile *profile,
		  const struct export_opts *opts)
{
	int first_err = 0;

	for (uint32_t i = 0; i < outs->cnt; i++) {
		int err = is_recording(&outs->v[i]) ? 0 : write_one(&outs->v[i], profile, opts);

		first_err = first_err ?: err;
	}
	return first_err;
}

void outputs_announce(const struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (strcmp(outs->v[i].path, "-") != 0)
			log_info("wrote %s (%s)", outs->v[i].path, outs->v[i].exporter->name);
}
