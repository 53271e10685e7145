/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading /proc/PID. Formats: proc(5), and fs/proc/{array,task_mmu,base}.c of Linux.
 *
 * maps is read in pieces and only the modules are kept, so its size (65,530 mappings with long
 * paths are 300 MB) costs time but no memory.
 */
#include "user/proc/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/base/array.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define MAPS_BUF_BYTES 32768  /* a line: 100 bytes and a path of PATH_MAX, each byte maybe \ooo */

int procfs_open(struct procfs *p, pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	p->pid = pid;
	p->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir_fd < 0 ? -errno : 0;
}

void procfs_close(struct procfs *p)
{
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	p->dir_fd = -1;
}

/* Reads the start of a small file below /proc/PID as a string. Its length or -errno. */
static ssize_t read_text(int dir_fd, const char *name, char *buf, size_t cap)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	err = errno;
	close(fd);
	if (n < 0)
		return -err;
	buf[n] = 0;
	return n;
}

int procfs_parse_stat(const char *text, struct procfs_stat *out)
{
	const char *from = strchr(text, '('), *end = strrchr(text, ')');
	unsigned int flags;
	long threads;
	size_t len;

	memset(out, 0, sizeof(*out));
	/* comm may hold anything, ')' too: it ends at the last one. */
	if (!from || !end || end < from)
		return -EINVAL;
	len = end - from - 1;
	if (len >= sizeof(out->comm))
		len = sizeof(out->comm) - 1;
	memcpy(out->comm, from + 1, len);
	/* Fields 3 (state), 9 (flags) and 20 (num_threads) of proc(5). */
	if (sscanf(end + 1,
		   " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld",
		   &out->state, &flags, &threads) != 3)
		return -EINVAL;
	out->is_kthread = flags & PF_KTHREAD;
	out->thread_cnt = threads > 0 ? threads : 0;
	return 0;
}

int procfs_read_stat(const struct procfs *p, struct procfs_stat *out)
{
	char buf[1024];
	ssize_t n = read_text(p->dir_fd, "stat", buf, sizeof(buf));

	return n < 0 ? (int)n : procfs_parse_stat(buf, out);
}

/* ---- maps ---- */

struct mapping {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	bool is_exec, is_readable;
	const char *path;
};

/* Takes the digits at *at, of base 10 or 16, and the character behind them. A process may have tens
 * of thousands of lines, of which sscanf took half of the time of a scan. */
static bool take_number(const char **at, unsigned int base, char behind, uint64_t *out)
{
	const char *start = *at;
	unsigned int digit;

	for (*out = 0;; *out = *out * base + digit, ++*at) {
		char c = **at;

		digit = c >= 'a' ? c - 'a' + 10U : c - '0' + 0U;
		if ((c > '9' && c < 'a') || digit >= base)
			break;
	}
	if (*at == start || **at != behind)
		return false;
	++*at;
	return true;
}

/* "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH", proc(5). */
static int parse_mapping(const char *line, struct mapping *out)
{
	uint64_t dev_major, dev_minor;
	const char *at = line;
	size_t inode_len;

	if (!take_number(&at, 16, '-', &out->start) || !take_number(&at, 16, ' ', &out->end) ||
	    out->start >= out->end || strcspn(at, " ") != 4)
		return -EINVAL;
	out->is_exec = at[2] == 'x';
	out->is_readable = at[0] == 'r';
	if (at[4] != ' ')
		return -EINVAL;
	at += 5;
	if (!take_number(&at, 16, ' ', &out->offset) || !take_number(&at, 16, ':', &dev_major) ||
	    !take_number(&at, 16, ' ', &dev_minor))
		return -EINVAL;
	inode_len = strspn(at, "0123456789");
	if (!take_number(&at, 10, at[inode_len], &out->inode))
		return -EINVAL;
	out->dev_major = dev_major;
	out->dev_minor = dev_minor;
	out->path = at - !at[-1]; /* a line may end with the inode */
	while (*out->path == ' ')
		out->path++;
	return 0;
}

/* The last part of the path, safe to print. A deleted file keeps its " (deleted)": it tells. */
static void module_set_name(struct module *m, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t i;

	if (slash)
		path = slash + 1;
	for (i = 0; i < sizeof(m->name) - 1 && path[i]; i++)
		m->name[i] = isprint((unsigned char)path[i]) ? path[i] : '?';
	m->name[i] = 0;
}

static void module_of(const struct mapping *map, struct module *out)
{
	*out = (struct module){.start = map->start,
			       .end = map->end,
			       .offset = map->offset,
			       .inode = map->inode,
			       .dev_major = map->dev_major,
			       .dev_minor = map->dev_minor,
			       .is_loaded = map->is_exec};
	module_set_name(out, map->path);
}

static struct module *modules_append(struct modules *m)
{
	if (m->cnt == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct module *v = realloc(m->v, cap * sizeof(*v));

		if (!v)
			return NULL;
		m->v = v;
		m->cap = cap;
	}
	memset(&m->v[m->cnt], 0, sizeof(m->v[0]));
	return &m->v[m->cnt++];
}

static bool is_same_file(const struct module *m, const struct mapping *map)
{
	return m->inode == map->inode && m->dev_major == map->dev_major &&
	       m->dev_minor == map->dev_minor;
}

/* The module that grows ends here; a data file gives its place back. */
static void end_run(struct modules *m)
{
	if (m->is_open && !m->v[m->cnt - 1].is_loaded)
		m->cnt--;
	m->is_open = false;
}

static int start_run(struct modules *m, const struct mapping *map)
{
	struct module *mod;

	end_run(m);
	if (m->cnt >= MODULES_MAX)
		return 0;
	mod = modules_append(m);
	if (!mod)
		return -ENOMEM;
	module_of(map, mod);
	m->is_open = true;
	return 0;
}

int maps_add_line(struct modules *m, const char *line)
{
	struct mapping map;
	int err = 0;

	if (parse_mapping(line, &map))
		return -EINVAL;
	m->has_lines = true;
	if (!map.inode)
		return 0; /* anonymous: .bss lies between a module's mappings */
	/* A loader maps a file's segments in the order of the file; an offset that does not rise
	 * starts another copy of it (or is a program that maps the file as data). */
	if (m->is_open && is_same_file(&m->v[m->cnt - 1], &map) && map.offset > m->run_offset)
		m->v[m->cnt - 1].is_loaded = true;
	else
		err = start_run(m, &map);
	m->run_offset = map.offset;
	return err;
}

void maps_finish(struct modules *m)
{
	end_run(m);
}

void modules_release(struct modules *m)
{
	free(m->v);
	memset(m, 0, sizeof(*m));
}

/* Takes a line of maps. An error other than -ENOMEM is that line's. */
typedef int (*line_fn)(void *arg, const char *line);

static int add_to_modules(void *arg, const char *line)
{
	return maps_add_line(arg, line);
}

/* Takes the whole lines off buf[0, len); returns how many bytes are left, moved to the front. */
static ssize_t take_lines(line_fn fn, void *arg, char *buf, size_t len)
{
	char *line = buf, *end;

	while ((end = memchr(line, '\n', buf + len - line))) {
		*end = 0;
		if (fn(arg, line) == -ENOMEM)
			return -ENOMEM;
		line = end + 1;
	}
	len -= line - buf;
	memmove(buf, line, len);
	return len;
}

static int read_lines(int fd, char *buf, line_fn fn, void *arg)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, MAPS_BUF_BYTES - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		n = take_lines(fn, arg, buf, len + n);
		if (n < 0)
			return n;
		len = n == MAPS_BUF_BYTES ? 0 : n; /* no such line exists: drop it */
	}
	return 0;
}

static int read_maps(const struct procfs *p, line_fn fn, void *arg)
{
	int fd = openat(p->dir_fd, "maps", O_RDONLY | O_CLOEXEC);
	char *buf;
	int err;

	if (fd < 0)
		return -errno;
	buf = malloc(MAPS_BUF_BYTES);
	err = buf ? read_lines(fd, buf, fn, arg) : -ENOMEM;
	free(buf);
	close(fd);
	return err;
}

int procfs_read_modules(const struct procfs *p, struct modules *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = read_maps(p, add_to_modules, out);
	maps_finish(out);
	if (err)
		modules_release(out);
	return err;
}

void ranges_init(struct ranges *r)
{
	struct module mine = {};
	void *shared = mmap(NULL, 1, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*r = (struct ranges){};
	if (shared == MAP_FAILED)
		return;
	if (procfs_own_mapping((uintptr_t)shared, &mine) == 0)
		r->shared_major = mine.dev_major, r->shared_minor = mine.dev_minor;
	munmap(shared, 1);
}

void ranges_release(struct ranges *r)
{
	free(r->v);
	r->v = NULL;
	r->cnt = r->cap = 0;
}

/* Of a file system without a block device the kernel's own for shared memory alone is known to
 * answer. */
static bool is_local(const struct ranges *r, const struct mapping *map)
{
	if (!map->inode || map->dev_major)
		return true;
	return r->shared_minor && map->dev_major == r->shared_major &&
	       map->dev_minor == r->shared_minor;
}

int ranges_add_line(struct ranges *r, const char *line)
{
	struct range *last = r->cnt ? &r->v[r->cnt - 1] : NULL;
	struct mapping map;

	if (parse_mapping(line, &map))
		return -EINVAL;
	if (!map.is_readable || !is_local(r, &map))
		return 0;
	if (last && last->end == map.start) {
		last->end = map.end;
		return 0;
	}
	if (array_reserve((void **)&r->v, &r->cap, r->cnt + 1, sizeof(*r->v)))
		return -ENOMEM;
	r->v[r->cnt++] = (struct range){map.start, map.end};
	return 0;
}

static int add_to_ranges(void *arg, const char *line)
{
	return ranges_add_line(arg, line);
}

int procfs_read_ranges(const struct procfs *p, struct ranges *r)
{
	r->cnt = 0;
	return read_maps(p, add_to_ranges, r);
}

bool ranges_have(const struct ranges *r, uint64_t addr)
{
	uint32_t from = 0, to = r->cnt;

	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (addr >= r->v[mid].end)
			from = mid + 1;
		else
			to = mid;
	}
	return from < r->cnt && addr >= r->v[from].start;
}

void procfs_map_file_name(const struct module *m, char name[MAP_FILE_BYTES])
{
	snprintf(name, MAP_FILE_BYTES, "map_files/%" PRIx64 "-%" PRIx64, m->start, m->end);
}

int procfs_own_mapping(uint64_t addr, struct module *out)
{
	FILE *in = fopen("/proc/self/maps", "re");
	struct mapping map = {.path = ""};
	size_t cap = 0;
	char *line = NULL;

	if (!in)
		return -errno;
	while (map.start != addr && getline(&line, &cap, in) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (parse_mapping(line, &map))
			map.start = 0;
	}
	if (map.start == addr)
		module_of(&map, out);
	free(line);
	fclose(in);
	return map.start == addr ? 0 : -ENOENT;
}

/* ---- threads ---- */

/* Calls fn for each thread id until it returns nonzero; returns that, 0 at the end, or -errno. */
static int each_tid(const struct procfs *p, int (*fn)(pid_t tid, void *arg), void *arg)
{
	int fd = openat(p->dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (de = readdir(dir))) {
		if (isdigit((unsigned char)de->d_name[0]))
			ret = fn(atoi(de->d_name), arg);
	}
	closedir(dir);
	return ret;
}

/* Positive: *arg now stands on a thread that has an address space. */
static int try_thread(pid_t tid, void *arg)
{
	struct procfs *live = arg;
	struct procfs_stat st;

	if (procfs_open(live, tid))
		return 0;
	/* Another process may have got the id by now; a thread's own directory knows its group. */
	if (!procfs_read_stat(live, &st) && st.state != 'Z' && st.state != 'X')
		return 1;
	procfs_close(live);
	return 0;
}

int procfs_move_to_live_thread(struct procfs *p)
{
	struct procfs live = {.dir_fd = -1};
	int ret = each_tid(p, try_thread, &live);

	if (ret <= 0)
		return ret ? ret : -ESRCH;
	close(p->dir_fd);
	p->dir_fd = live.dir_fd;
	return 0;
}

/* "NSpid:\t<tid here>\t...\t<tid in its own namespace>" of /proc/PID/task/TID/status, proc(5). */
uint64_t procfs_ns_tid(const struct procfs *p, pid_t tid)
{
	char name[48], buf[4096], *line, *end, *last;
	ssize_t len;

	snprintf(name, sizeof(name), "task/%d/status", (int)tid);
	len = read_text(p->dir_fd, name, buf, sizeof(buf));
	/* It is still there when it has given up its address space (exit_mm), and its stack with
	 * it, which the next thread may have. */
	if (len < 0 || (len < (ssize_t)sizeof(buf) - 1 && !strstr(buf, "\nVmSize:")))
		return 0;
	line = strstr(buf, "\nNSpid:");
	if (!line)
		return tid; /* a kernel without pid namespaces */
	end = strchrnul(line + 1, '\n');
	*end = 0;
	last = strrchr(line + 1, '\t');
	return last ? strtoull(last + 1, NULL, 10) : 0;
}

struct ns_tid_query {
	const struct procfs *p;
	uint64_t ns_tid;
};

static int match_ns_tid(pid_t tid, void *arg)
{
	const struct ns_tid_query *q = arg;

	return procfs_ns_tid(q->p, tid) == q->ns_tid;
}

bool procfs_has_ns_tid(const struct procfs *p, uint64_t ns_tid)
{
	struct ns_tid_query q = {p, ns_tid};

	return ns_tid && each_tid(p, match_ns_tid, &q) > 0;
}

/* ---- All processes; a process's arguments ---- */

int procfs_each_pid(int (*fn)(pid_t pid, void *arg), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *de;
	int ret = 0;

	if (!dir)
		return -errno;
	/* The kernel lists them in ascending order: fs/proc/base.c, proc_pid_readdir. */
	while (!ret && (de = readdir(dir))) {
		if (isdigit((unsigned char)de->d_name[0]))
			ret = fn(atoi(de->d_name), arg);
	}
	closedir(dir);
	return ret;
}

ssize_t procfs_cmdline(pid_t pid, char *buf, size_t cap)
{
	char path[48];
	size_t len = 0;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < cap && (n = read(fd, buf + len, cap - len)) > 0)
		len += n;
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)len;
}
