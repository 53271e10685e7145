/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three ways to the file behind a mapping, the best first.
 *
 * /proc/PID/map_files leads to the file that is mapped, whatever has become of its name; but the
 * kernel follows its links for CAP_CHECKPOINT_RESTORE and CAP_SYS_ADMIN only (fs/proc/base.c,
 * proc_map_files_get_link). /proc/PID/exe does the same for the program, and takes no more than
 * maps do. What is left is the name by which the file was mapped, looked up in the root of the
 * process.
 *
 * That name is the target's choice, so the way is: the root and the file are opened with O_PATH,
 * which touches neither; nothing on the way may be a symbolic link (the kernel gives the name with
 * all of them resolved, so one that is there now has been put there since) or lead out of the root;
 * only a regular file with something in it is opened; and it must be the one that is mapped.
 *
 * Which one is mapped is told by device and inode in maps, and those of fstat are not always the
 * same: on an overlay maps name the lower file up to Linux 6.6, and from 6.7 on the overlay's own
 * device, where fstat may name a device that stands for the layer; on btrfs fstat's device is the
 * subvolume's. So where fstat differs like is compared with like: the file is mapped here too, not
 * accessible, and maps of this process say what maps of the other one would.
 */
#include "user/proc/module_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DELETED " (deleted)" /* what the kernel adds to a name: fs/d_path.c */

/* Opens for reading what path_fd, of O_PATH, stands for, if that is a regular file with something
 * in it. To open another one might do something: a device's driver has a say in it. An fd,
 * -ENOEXEC: it is none, or -errno. */
static int open_regular(int path_fd)
{
	struct stat st;
	char self[32];
	int fd;

	if (fstat(path_fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || !st.st_size)
		return -ENOEXEC;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path_fd);
	/* O_NONBLOCK: whatever it is now, the open does not wait. */
	fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int open_map_file(const struct procfs *p, const struct module *m)
{
	char name[MAP_FILE_BYTES];
	int path_fd, fd;

	procfs_map_file_name(m, name);
	path_fd = openat(p->dir_fd, name, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	fd = open_regular(path_fd);
	close(path_fd);
	return fd;
}

/* ---- Is it the file that is mapped ---- */

static bool has_id(const struct module *m, unsigned int dev_major, unsigned int dev_minor,
		   uint64_t inode)
{
	return m->dev_major == dev_major && m->dev_minor == dev_minor && m->inode == inode;
}

/* Whether a mapping of fd looks in maps as the module does. Nothing reads the page, so a file that
 * is truncated does no harm. */
static bool maps_the_same(const struct module *m, int fd)
{
	size_t bytes = sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE, fd, 0);
	struct module mine;
	bool is_same;

	if (at == MAP_FAILED)
		return false;
	is_same = !procfs_own_mapping((uintptr_t)at, &mine) &&
		  has_id(m, mine.dev_major, mine.dev_minor, mine.inode);
	munmap(at, bytes);
	return is_same;
}

/* Opens what path_fd, of O_PATH, stands for, if that is the module's file. An fd or -errno. */
static int open_if_mapped(const struct module *m, int path_fd)
{
	int fd = open_regular(path_fd);
	struct stat st;

	if (fd < 0)
		return fd == -ENOEXEC ? -ESTALE : fd;
	if (!fstat(fd, &st) &&
	    (has_id(m, major(st.st_dev), minor(st.st_dev), st.st_ino) || maps_the_same(m, fd)))
		return fd;
	close(fd);
	return -ESTALE;
}

/* ---- The program ---- */

static int open_program(const struct procfs *p, const struct module *m)
{
	struct stat st;
	int path_fd, fd;

	if (fstatat(p->dir_fd, "exe", &st, 0))
		return -errno;
	if (st.st_ino != m->inode)
		return -ESTALE;
	path_fd = openat(p->dir_fd, "exe", O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	fd = open_if_mapped(m, path_fd);
	close(path_fd);
	return fd;
}

/* ---- By its name ---- */

static int read_link(int dir_fd, const char *name, char path[PATH_MAX])
{
	ssize_t len = readlinkat(dir_fd, name, path, PATH_MAX);

	if (len < 0)
		return -errno;
	if (len == PATH_MAX)
		return -ENAMETOOLONG;
	path[len] = 0;
	return 0;
}

/*
 * Where `path` lies in the root of the process, or NULL. Both names are told as seen from here: of
 * a process under chroot the root is a part of the path, of a container with mounts of its own it
 * is "/".
 */
static const char *below_root(const struct procfs *p, const char *path)
{
	char root[PATH_MAX];
	size_t len;

	if (path[0] != '/' || read_link(p->dir_fd, "root", root))
		return NULL;
	len = strcmp(root, "/") ? strlen(root) : 0;
	return !strncmp(path, root, len) && path[len] == '/' ? path + len + 1 : NULL;
}

static int open_below(int root_fd, const char *path, const struct module *m)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |
					  RESOLVE_NO_SYMLINKS};
	int path_fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how)), fd;

	if (path_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -ESTALE : -errno;
	fd = open_if_mapped(m, path_fd);
	close(path_fd);
	return fd;
}

/* A network file system may tell of a file as deleted that is still there, so that is tried too;
 * and a file's real name may end so. */
static int open_named(int root_fd, char *path, const struct module *m)
{
	size_t len = strlen(path), end = strlen(DELETED);
	int fd = open_below(root_fd, path, m);

	if (fd != -ESTALE || len <= end || strcmp(path + len - end, DELETED) != 0)
		return fd;
	path[len - end] = 0;
	return open_below(root_fd, path, m);
}

static int open_by_name(const struct procfs *p, const struct module *m)
{
	char link[MAP_FILE_BYTES], path[PATH_MAX];
	const char *inside;
	int err, root_fd, fd;

	/* To read a link of map_files, other than to follow it, takes no more than to read maps. */
	procfs_map_file_name(m, link);
	err = read_link(p->dir_fd, link, path);
	if (err)
		return err;
	inside = below_root(p, path);
	if (!inside)
		return -ESTALE;
	root_fd = openat(p->dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	fd = open_named(root_fd, path + (inside - path), m);
	close(root_fd);
	return fd;
}

static bool is_refusal(int err)
{
	return err == -EPERM || err == -EACCES;
}

int module_file_open(const struct procfs *p, const struct module *m)
{
	int fd = open_map_file(p, m);

	if (is_refusal(fd))
		fd = open_program(p, m);
	if (is_refusal(fd) || fd == -ESTALE)
		fd = open_by_name(p, m);
	return fd == -EPERM ? -EACCES : fd;
}
