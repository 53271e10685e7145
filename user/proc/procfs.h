/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What /proc says of one process: its state, and the ELF files mapped into it.
 *
 * Everything is read below one open /proc/PID directory, so a process id that is reused meanwhile
 * cannot mix two processes: the directory of a dead one answers ESRCH. Names and paths are the
 * target's choice.
 */
#ifndef KRAIT_PROC_PROCFS_H
#define KRAIT_PROC_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/record.h"

struct procfs {
	int dir_fd;
	pid_t pid;
};

struct procfs_stat {
	char comm[KRAIT_COMM_BYTES];
	char state; /* 'R', 'S', 'Z', ... */
	bool is_kthread;
	uint32_t thread_cnt;
};

/* A file as it is mapped once: a run of its mappings with rising file offsets. */
struct module {
	uint64_t start, end; /* of the first mapping of the run */
	uint64_t offset;     /* of the first mapping in the file */
	uint64_t inode;
	uint32_t dev_major, dev_minor;
	/* Has code or several mappings: no data file. Code alone does not do, since programs that
	 * move their code to huge pages leave none of it mapped. */
	bool is_loaded;
	char name[56]; /* last part of the path, cut, without control characters */
};

/* A process with more modules than this has the rest ignored: that bounds what a hostile one costs.
 */
#define MODULES_MAX 2048

struct modules {
	struct module *v;
	size_t cnt, cap;
	uint64_t run_offset; /* parser: offset of the mapping before; see maps_add_line */
	bool is_open;	     /* parser: the last module may still grow */
	bool has_lines;	     /* at least one mapping was seen */
};

/* Calls fn for each process id in /proc, ascending, until it returns nonzero; returns that or 0 or
 * -errno. */
int procfs_each_pid(int (*fn)(pid_t pid, void *arg), void *arg);

/* Reads /proc/PID/cmdline raw (NULs between arguments) into buf, at most cap bytes; returns the
 * length or -errno. */
ssize_t procfs_cmdline(pid_t pid, char *buf, size_t cap);

/* -ENOENT or -ESRCH: no such process. The caller ends it with procfs_close. */
int procfs_open(struct procfs *p, pid_t pid);
void procfs_close(struct procfs *p);

int procfs_read_stat(const struct procfs *p, struct procfs_stat *out);
/* Parses the text of /proc/PID/stat; -EINVAL if it is none. */
int procfs_parse_stat(const char *text, struct procfs_stat *out);

/* All modules that a loader may have put there, in address order, into *out (released by
 * modules_release). 0 or -errno. */
int procfs_read_modules(const struct procfs *p, struct modules *out);
void modules_release(struct modules *m);
/* One line of maps, without its newline. 0, -EINVAL for a line that is none (ignored), -ENOMEM. */
int maps_add_line(struct modules *m, const char *line);
/* After the last line. */
void maps_finish(struct modules *m);

/* "map_files/START-END": where the file behind a module is, below /proc/PID. */
#define MAP_FILE_BYTES 48
void procfs_map_file_name(const struct module *m, char name[MAP_FILE_BYTES]);

struct range {
	uint64_t start, end;
};

/* The readable memory of a process that the kernel gets without asking anybody who may not answer:
 * in address order, what adjoins as one. */
struct ranges {
	struct range *v;
	uint32_t cnt, cap;
	uint32_t shared_major, shared_minor; /* the device that shared memory is on; 0: unknown */
};

void ranges_init(struct ranges *r);
void ranges_release(struct ranges *r);
/*
 * Reads them from maps: anonymous memory, files on a block device, shared memory. What is on
 * another device (FUSE, a network's, and also overlay, btrfs and mounted tmpfs) is left out. 0 or
 * -errno.
 */
int procfs_read_ranges(const struct procfs *p, struct ranges *r);
/* One line of maps, as maps_add_line. */
int ranges_add_line(struct ranges *r, const char *line);
bool ranges_have(const struct ranges *r, uint64_t addr);

/* The mapping of this process that begins at addr. 0, -ENOENT if there is none, or -errno. */
int procfs_own_mapping(uint64_t addr, struct module *out);

/*
 * A thread of the process that still has its address space, when the main thread has ended:
 * reopens *p on it (its own /proc/TID shows the same maps). 0, -ESRCH if there is none, or -errno.
 */
int procfs_move_to_live_thread(struct procfs *p);

/* The id that thread `tid` of the process has in its own pid namespace; 0 if it has ended, or is
 * about to. */
uint64_t procfs_ns_tid(const struct procfs *p, pid_t tid);

/* True if `ns_tid` is the id that a thread of the process has in its own pid namespace. */
bool procfs_has_ns_tid(const struct procfs *p, uint64_t ns_tid);

#endif
