// SPDX-License-Identifier: BSD-2-Clause
/* The table of the output formats, and how a file name picks one. */
#include "user/export/export.h"

#include <errno.h>
#include <string.h>

extern const struct exporter export_folded, export_pprof;

/* Written by the session while the records come in: there is no profile to write it from. */
static const struct exporter export_recording = {
	.name = "krait",
	.suffixes = (const char *const[]){".krait", NULL},
	.is_binary = true,
	.help = "a recording: every sample, to be reported later in any format",
};

const struct exporter *const exporters[] = {&export_folded, &export_pprof, &export_recording, NULL};

static const struct exporter *find_name(const char *name)
{
	int i;

	for (i = 0; exporters[i]; i++)
		if (!strcmp(exporters[i]->name, name))
			return exporters[i];
	return NULL;
}

/* How many bytes of path's end EXPORTER's longest matching suffix takes; 0 if none matches. */
static size_t match_len(const struct exporter *exporter, const char *path)
{
	size_t path_len = strlen(path), best = 0;
	int i;

	for (i = 0; exporter->suffixes[i]; i++) {
		size_t len = strlen(exporter->suffixes[i]);

		if (len > best && len <= path_len &&
		    !strcmp(path + path_len - len, exporter->suffixes[i]))
			best = len;
	}
	return best;
}

const struct exporter *export_find(const char *path, const char *format)
{
	const struct exporter *found = NULL;
	size_t best = 0;
	int i;

	if (format)
		return find_name(format);
	if (!path)
		return NULL;
	if (!strcmp(path, "-"))
		return &export_folded;
	for (i = 0; exporters[i]; i++) {
		size_t len = match_len(exporters[i], path);

		if (len > best) {
			best = len;
			found = exporters[i];
		}
	}
	return found;
}

void export_help(FILE *out)
{
	int i, j;

	fputs("Formats (-f NAME, or the end of the file's name):\n", out);
	for (i = 0; exporters[i]; i++) {
		fprintf(out, "  %-8s  %s\n  %-8s  ", exporters[i]->name, exporters[i]->help, "");
		for (j = 0; exporters[i]->suffixes[j]; j++)
			fprintf(out, "%s%s", j ? " " : "", exporters[i]->suffixes[j]);
		fputs(exporters[i] == &export_folded ? " and \"-\", stdout\n" : "\n", out);
	}
}
