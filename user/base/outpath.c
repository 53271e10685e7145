/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A walk along a path in user space, because the kernel's own refuses links in sticky folders only
 * where fs.protected_symlinks says so (Documentation/admin-guide/sysctl/fs.rst), and openat2 knows
 * all links or none.
 *
 * Limits: a folder that is another user's, but not for everyone to write, is trusted as far as its
 * links are root's, ours, or those of who called sudo. Of access lists and of more groups than the
 * one in SUDO_GID nothing is known: a file in such a folder stays root's.
 */
#include "user/base/outpath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>

#define LINKS_MAX 40 /* as the kernel's MAXSYMLINKS, include/linux/namei.h */
#define ID_DIGITS 10

/* ---- Whose ---- */

/* A uid or gid of an environment variable: digits alone, not root, not (uid_t)-1. */
static bool read_id(const char *name, unsigned int *id)
{
	const char *text = secure_getenv(name);
	size_t len = text ? strspn(text, "0123456789") : 0;
	unsigned long long number;

	if (!len || len > ID_DIGITS || text[len])
		return false;
	number = strtoull(text, NULL, 10);
	*id = (unsigned int)number;
	return number > 0 && number < UINT_MAX;
}

/* Who called sudo, if we are root by that. */
static bool read_sudo_caller(uid_t *uid, gid_t *gid)
{
	return !getuid() && !geteuid() && read_id("SUDO_UID", uid) && read_id("SUDO_GID", gid);
}

bool outpath_is_trusted(uid_t owner)
{
	uid_t uid;
	gid_t gid;

	return !owner || owner == geteuid() || (read_sudo_caller(&uid, &gid) && owner == uid);
}

bool outpath_owner(const struct outpath *path, uid_t *uid, gid_t *gid)
{
	struct stat folder, old;
	bool may_write;

	if (!read_sudo_caller(uid, gid) || fstat(path->folder_fd, &folder))
		return false;
	may_write = folder.st_uid == *uid || folder.st_mode & S_IWOTH ||
		    (folder.st_gid == *gid && folder.st_mode & S_IWGRP);
	/* In a sticky folder one may not replace the files of others. */
	if (folder.st_mode & S_ISVTX && folder.st_uid != *uid &&
	    !fstatat(path->folder_fd, path->name, &old, AT_SYMLINK_NOFOLLOW) && old.st_uid != *uid)
		may_write = false;
	if (folder.st_mode & S_ISGID)
		*gid = (gid_t)-1;
	return may_write;
}

/* ---- The walk ---- */

struct walk {
	struct outpath *path;
	char *text;	  /* owned */
	const char *rest; /* of it: what is still to be walked, from path->folder_fd on */
	unsigned int link_cnt;
	bool is_linked; /* it was a link that had the last name */
};

/* The walk goes on in this folder, whose descriptor it takes. Not a second open by its name: that
 * could have become a link. */
static int enter(struct walk *w, int fd)
{
	if (fd < 0)
		return -errno;
	if (w->path->folder_fd >= 0)
		close(w->path->folder_fd);
	w->path->folder_fd = fd;
	return 0;
}

/* Where the text begins. */
static int enter_start(struct walk *w, const char *text)
{
	return enter(w, open(*text == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* The descriptor that /proc/self/fd/NAME is; -1: it is no such path. */
static int own_fd(const struct walk *w, const char *name)
{
	struct stat here, own;
	unsigned int fd = 0;

	for (const char *p = name; *p; p++)
		if (*p < '0' || *p > '9' || (fd = fd * 10 + (*p - '0')) > INT_MAX / 100)
			return -1;
	if (fstat(w->path->folder_fd, &here) || stat("/proc/self/fd", &own))
		return -1;
	return here.st_dev == own.st_dev && here.st_ino == own.st_ino ? (int)fd : -1;
}

static int check_link(const struct walk *w, const struct stat *link)
{
	struct stat folder;

	if (fstat(w->path->folder_fd, &folder))
		return -errno;
	if (folder.st_mode & S_IWOTH)
		return -OUTPATH_LINK;
	return geteuid() || outpath_is_trusted(link->st_uid) ? 0 : -OUTPATH_LINK;
}

/* Puts where the link leads in front of what is still to be walked. 0 or -errno. */
static int follow(struct walk *w, int link_fd, const struct stat *link)
{
	char to[PATH_MAX], *text;
	int err = check_link(w, link);
	ssize_t len;

	if (err)
		return err;
	if (++w->link_cnt > LINKS_MAX)
		return -ELOOP;
	len = readlinkat(link_fd, "", to, sizeof(to) - 1);
	if (len < 0)
		return -errno;
	to[len] = '\0';
	w->is_linked = w->is_linked || !*w->rest;
	if (asprintf(&text, "%s%s", to, w->rest) < 0)
		return -ENOMEM;
	free(w->text);
	w->rest = w->text = text;
	return *to == '/' ? enter_start(w, to) : 0;
}

/* There is nothing of that name. */
static int arrive_new(struct walk *w, const char *name)
{
	if (w->is_linked)
		return -ELOOP;
	if (*w->rest)
		return w->rest[strspn(w->rest, "/")] ? -ENOENT : -EISDIR;
	w->path->name = strdup(name);
	return w->path->name ? 1 : -ENOMEM;
}

/* `fd` is what has that name where the walk is, and no folder to go on in. */
static int arrive(struct walk *w, const char *name, int fd)
{
	struct outpath *path = w->path;

	if (fstat(fd, &path->st))
		return -errno;
	if (S_ISLNK(path->st.st_mode)) {
		path->fd = *w->rest ? -1 : own_fd(w, name);
		return path->fd >= 0 ? 1 : follow(w, fd, &path->st);
	}
	if (*w->rest || S_ISDIR(path->st.st_mode))
		return *w->rest ? -ENOTDIR : -EISDIR;
	path->exists = true;
	path->name = strdup(name);
	return path->name ? 1 : -ENOMEM;
}

/* One name further; w->rest is what follows it. 0: go on; 1: arrived; or -errno. */
static int step(struct walk *w, const char *name)
{
	int err, fd = openat(w->path->folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? arrive_new(w, name) : -errno;
	if (*w->rest && !fstat(fd, &st) && S_ISDIR(st.st_mode))
		return enter(w, fd);
	err = arrive(w, name, fd);
	close(fd);
	return err;
}

/* Takes the next name. 0: go on; 1: arrived; or -errno. */
static int walk_on(struct walk *w)
{
	const char *at = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(at, "/");
	char *name = strndup(at, len);
	int err;

	if (!name)
		return -ENOMEM;
	w->rest = at + len;
	/* Behind a last slash, and of "/" itself, there is a folder. */
	err = len ? step(w, name) : -EISDIR;
	free(name);
	return err;
}

/* Is it what stdout was sent to (`-o x > x`)? A rename would take that name from under whoever else
 * writes there. */
static bool is_what_stdout_is(const struct outpath *path)
{
	struct stat out;

	return path->exists && !fstat(STDOUT_FILENO, &out) && out.st_dev == path->st.st_dev &&
	       out.st_ino == path->st.st_ino;
}

int outpath_init(struct outpath *path, const char *text)
{
	struct walk w = {.path = path};
	int err;

	*path = (struct outpath){.folder_fd = -1, .fd = -1};
	if (!strcmp(text, "-")) {
		path->fd = STDOUT_FILENO;
		return 0;
	}
	if (!*text)
		return -ENOENT;
	w.rest = w.text = strdup(text);
	err = w.text ? enter_start(&w, text) : -ENOMEM;
	while (!err)
		err = walk_on(&w);
	free(w.text);
	if (err < 0)
		return err;
	if (path->fd < 0 && is_what_stdout_is(path))
		path->fd = STDOUT_FILENO;
	return 0;
}

int outpath_init_new(struct outpath *path, const char *name)
{
	*path = (struct outpath){.fd = -1, .name = strdup(name)};
	path->folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (path->folder_fd < 0)
		return -errno;
	return path->name ? 0 : -ENOMEM;
}

void outpath_release(struct outpath *path)
{
	if (path->folder_fd >= 0)
		close(path->folder_fd);
	free(path->name);
	*path = (struct outpath){.folder_fd = -1, .fd = -1};
}
