// SPDX-License-Identifier: BSD-2-Clause
/* The -o files: found out and checked before the run, so that nothing is lost after it. */
#include "user/cmd/outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/base/outfile.h"
#include "user/base/strbuf.h"

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

/* The one that is written where there is no -o. 0 or -ENOMEM. */
static int set_default(struct output *o, const char *stem, const char *format)
{
	struct strbuf name = {};

	o->exporter = format ? export_find(NULL, format) : exporters[0];
	o->suffix = o->exporter->suffixes[0];
	strbuf_addf(&name, "%s%s", stem, o->suffix);
	o->path = o->own_path = name.buf;
	return name.failed ? -ENOMEM : 0;
}

/* KRAIT_EXIT_OK, or KRAIT_EXIT_USAGE after one line. */
static int set_asked(struct output *o, const char *path, const struct cmd *cmd, const char *format)
{
	o->path = path;
	o->exporter = export_find(path, format);
	o->is_stdout = outfile_is_stdout(path);
	return o->exporter ? KRAIT_EXIT_OK : unknown_format(cmd, path, format);
}

/* What stdout can't take: two profiles, or on a terminal what is no text. */
static int check_stdout(const struct outputs *outs, const struct cmd *cmd)
{
	int cnt = 0;

	for (uint32_t i = 0; i < outs->cnt; i++) {
		const struct output *o = &outs->v[i];

		if (!o->is_stdout)
			continue;
		if (cnt++)
			return cli_usage_error(cmd, "standard output can take one of the -o alone");
		if (o->exporter->is_binary && isatty(STDOUT_FILENO))
			return cli_usage_error(
				cmd, "a terminal can't show %s; give -o a file, or pipe it",
				o->exporter->name);
	}
	return KRAIT_EXIT_OK;
}

static int check_files(const struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++) {
		const struct output *o = &outs->v[i];

		if ((o->suffix ? outfile_check_new(o->path) : outfile_check(o->path)) != 0)
			return KRAIT_EXIT_FAILED;
	}
	return KRAIT_EXIT_OK;
}

int outputs_init(struct outputs *outs, const struct cmd *cmd, const struct output_opts *opts,
		 const char *default_stem)
{
	const struct cli_list *paths = &opts->paths;
	int status = KRAIT_EXIT_OK;

	*outs = (struct outputs){.v = calloc(paths->cnt + 1, sizeof(*outs->v))};
	if (!outs->v)
		return KRAIT_EXIT_FAILED;
	if (opts->format && !export_find(NULL, opts->format))
		return unknown_format(cmd, NULL, opts->format);
	for (uint32_t i = 0; status == KRAIT_EXIT_OK && i < paths->cnt; i++)
		status = set_asked(&outs->v[outs->cnt++], paths->items[i], cmd, opts->format);
	if (!paths->cnt && default_stem &&
	    set_default(&outs->v[outs->cnt++], default_stem, opts->format))
		return KRAIT_EXIT_FAILED;
	if (status == KRAIT_EXIT_OK)
		status = check_stdout(outs, cmd);
	return status == KRAIT_EXIT_OK ? check_files(outs) : status;
}

void outputs_release(struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++) {
		recording_free(outs->v[i].recording); /* it uses the file */
		outfile_abandon(outs->v[i].file);
		free(outs->v[i].part);
		free(outs->v[i].own_path);
	}
	free(outs->v);
	*outs = (struct outputs){0};
}

bool outputs_have_stdout(const struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (outs->v[i].is_stdout)
			return true;
	return false;
}

bool outputs_have_threads(const struct outputs *outs, const struct output_opts *opts)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (opts->threads || !outs->v[i].exporter->has_threads_by_option)
			return true;
	return false;
}

static struct outfile *open_file(const struct output *o)
{
	return o->suffix ? outfile_open_new(o->path, o->suffix) : outfile_open(o->path);
}

static int start_recording(struct output *o, const struct krait_head_rec *head)
{
	const char *part;

	o->file = open_file(o);
	if (!o->file || outfile_show(o->file) != 0)
		return -errno;
	part = outfile_part(o->file);
	o->part = part ? strdup(part) : NULL;
	o->recording = recording_start(outfile_stream(o->file), head);
	return o->recording ? 0 : -errno;
}

int outputs_record_start(struct outputs *outs, const struct krait_head_rec *head)
{
	int err = 0;

	for (uint32_t i = 0; i < outs->cnt && !err; i++)
		if (is_recording(&outs->v[i]))
			err = start_recording(&outs->v[i], head);
	return err;
}

/* Keeps what was written; a file that had to be new then has its name, and is replaced from now on.
 * 0 or -errno, logged. */
static int commit(struct output *o, struct outfile *file)
{
	char *name;
	int err = o->suffix ? outfile_commit_new(file, &name) : outfile_commit(file);

	if (!err && o->suffix) {
		free(o->own_path);
		o->path = o->own_path = name;
		o->suffix = NULL;
	}
	o->is_written = !err;
	return err;
}

/* Ends a file: keeps it if what was written into it is whole. Why a write failed the file knows
 * best. */
static int settle(struct output *o, struct outfile *file, int err)
{
	if (!err || ferror(outfile_stream(file)))
		return commit(o, file);
	log_error("export: write %s: %s", o->path, strerror(-err));
	outfile_abandon(file);
	return err;
}

/* Somebody may be in recording_sync still. */
static int give_up(struct output *o)
{
	o->err = settle(o, o->file, recording_stop(o->recording)) ?: -EIO;
	o->file = NULL;
	return o->err;
}

/* Is there a file that may still become one? */
static bool have_hope(const struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (!outs->v[i].err)
			return true;
	return false;
}

/* What was written last is in the recording, or else this gives it up. */
static int check_recording(struct outputs *outs, struct output *o)
{
	return recording_err(o->recording) && give_up(o) && !have_hope(outs) ? -EIO : 0;
}

int outputs_record_add(struct outputs *outs, const struct krait_hdr *rec)
{
	int err = 0;

	for (uint32_t i = 0; i < outs->cnt && !err; i++) {
		if (!outs->v[i].file)
			continue;
		recording_add(outs->v[i].recording, rec);
		err = check_recording(outs, &outs->v[i]);
	}
	return err;
}

int outputs_record_tick(struct outputs *outs, uint64_t now_ns)
{
	int err = 0;

	for (uint32_t i = 0; i < outs->cnt && !err; i++) {
		if (!outs->v[i].file)
			continue;
		recording_tick(outs->v[i].recording, now_ns);
		err = check_recording(outs, &outs->v[i]);
	}
	return err;
}

static void finish_recording(struct output *o, uint64_t duration_ns, const uint64_t *counters)
{
	uint64_t held_ms = recording_held_ns(o->recording) / NS_PER_MS;

	o->err = settle(o, o->file, recording_finish(o->recording, duration_ns, counters));
	o->file = NULL;
	if (held_ms)
		log_warn("%s took data so slowly that samples waited %.1f s for it",
			 o->is_stdout ? "standard output" : o->path, held_ms / 1e3);
}

int outputs_record_finish(struct outputs *outs, uint64_t duration_ns, const uint64_t *counters)
{
	int first_err = 0;

	for (uint32_t i = 0; i < outs->cnt; i++) {
		struct output *o = &outs->v[i];

		if (o->file)
			finish_recording(o, duration_ns, counters);
		recording_free(o->recording); /* the other formats take memory too */
		o->recording = NULL;
		first_err = first_err ?: o->err;
	}
	return first_err;
}

static int write_one(struct output *o, const struct profile *profile,
		     const struct export_opts *opts)
{
	struct outfile *file = open_file(o);

	if (!file)
		return -errno;
	outfile_let_go(file);
	return settle(o, file, o->exporter->write(profile, opts, outfile_stream(file)));
}

int outputs_write(struct outputs *outs, const struct profile *profile,
		  const struct export_opts *opts)
{
	int first_err = 0;

	for (uint32_t i = 0; i < outs->cnt; i++) {
		int err = is_recording(&outs->v[i]) ? 0 : write_one(&outs->v[i], profile, opts);

		first_err = first_err ?: err;
	}
	return first_err;
}

void outputs_record_flush(struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		if (outs->v[i].file)
			recording_flush(outs->v[i].recording);
}

uint64_t outputs_record_cpu_ns(const struct outputs *outs)
{
	uint64_t sum_ns = 0;

	for (uint32_t i = 0; i < outs->cnt; i++)
		if (outs->v[i].recording)
			sum_ns += recording_cpu_ns(outs->v[i].recording);
	return sum_ns;
}

/* Once: it may be written again. */
static void announce(struct output *o)
{
	if (o->is_written && !o->is_stdout)
		log_info("wrote %s (%s)", o->path, o->exporter->name);
	o->is_written = false;
}

static void announce_part(const struct output *o)
{
	if (recording_sync(o->recording) == 0 && o->part)
		log_info("%s is in %s until the end", o->path, o->part);
}

void outputs_snapshot(struct outputs *outs, const struct profile *profile,
		      const struct export_opts *opts)
{
	for (uint32_t i = 0; i < outs->cnt; i++) {
		struct output *o = &outs->v[i];

		if (is_recording(o)) {
			announce_part(o);
			continue;
		}
		if (o->is_stdout) {
			log_info("standard output is written at the end alone");
			continue;
		}
		write_one(o, profile, opts);
		announce(o);
	}
}

void outputs_announce(struct outputs *outs)
{
	for (uint32_t i = 0; i < outs->cnt; i++)
		announce(&outs->v[i]);
}
