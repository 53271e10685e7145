/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proc/procfs.h: the texts maps, stat and task/TID/status of /proc/PID. In life the kernel
 * writes them, around names and paths of anybody's choice.
 *
 * Any text: what comes out is within its bounds. The modules are those that the lines give one by
 * one: the pieces that maps is read in make no difference.
 *
 * Input: a byte that says which of the three; the text.
 */
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"
#include "user/proc/procfs.h"

#define TID 7
#define LINE_MAX_BYTES                                                                             \
	32768 /* of a line of maps: longer ones, which there are not, are dropped                  \
	       */

/* A folder like /proc/PID, whose files all are the input. */
static int make_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[256], file[32];
	int fd;

	snprintf(path, sizeof(path), "%s/krait-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	FUZZ_CHECK(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fuzz_file("", 0));
	FUZZ_CHECK(fd >= 0 && mkdirat(fd, "task", 0700) == 0 && mkdirat(fd, "task/7", 0700) == 0);
	FUZZ_CHECK(symlinkat(file, fd, "maps") == 0 && symlinkat(file, fd, "stat") == 0);
	FUZZ_CHECK(symlinkat(file, fd, "task/7/status") == 0);
	return fd;
}

static void check_modules(const struct modules *m)
{
	FUZZ_CHECK(m->cnt <= MODULES_MAX);
	for (size_t i = 0; i < m->cnt; i++) {
		const struct module *mod = &m->v[i];

		FUZZ_CHECK(mod->start < mod->end && mod->is_loaded && mod->inode);
		FUZZ_CHECK(memchr(mod->name, 0, sizeof(mod->name)));
		for (const char *c = mod->name; *c; c++)
			FUZZ_CHECK(isprint((unsigned char)*c));
	}
}

/* Line by line; a beginning of one at the end is none. */
static void add_lines(struct modules *m, const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size), *line = text, *end;

	while ((end = memchr(line, '\n', text + size - line))) {
		*end = 0;
		if (end - line < LINE_MAX_BYTES)
			maps_add_line(m, line);
		line = end + 1;
	}
	maps_finish(m);
	free(text);
}

static bool has_long_line(const uint8_t *data, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < size && len < LINE_MAX_BYTES; i++)
		len = data[i] == '\n' ? 0 : len + 1;
	return len >= LINE_MAX_BYTES;
}

static void read_maps(const struct procfs *p, const uint8_t *data, size_t size)
{
	struct modules whole, lines = {};

	FUZZ_CHECK(procfs_read_modules(p, &whole) == 0);
	check_modules(&whole);
	/* Of a line that is too long the rest counts as one, so there is nothing to compare. */
	if (!has_long_line(data, size)) {
		add_lines(&lines, data, size);
		FUZZ_CHECK(lines.cnt == whole.cnt && lines.has_lines == whole.has_lines);
		FUZZ_CHECK(!lines.cnt || !memcmp(lines.v, whole.v, lines.cnt * sizeof(*lines.v)));
	}
	modules_release(&lines);
	modules_release(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct procfs p = {.dir_fd = -1};
	uint8_t which = fuzz_take_byte(&data, &size) % 3;
	struct procfs_stat st;

	if (p.dir_fd < 0)
		p.dir_fd = make_folder();
	fuzz_file(data, size);
	if (which == 0)
		read_maps(&p, data, size);
	else if (which == 1 && procfs_read_stat(&p, &st) == 0)
		FUZZ_CHECK(memchr(st.comm, 0, sizeof(st.comm)));
	else if (which == 2)
		procfs_ns_tid(&p, TID);
	return 0;
}
