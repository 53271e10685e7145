/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file is written without a name in the goal's own folder (open(2), O_TMPFILE), synced, given a
 * temporary name, renamed over the goal, and then the folder is synced: after a crash there is the
 * old file or the new one, whole. Whatever ends the process before (a second Ctrl-C, kill -9), the
 * kernel removes what has no name. A link can't replace a file, so the rename is needed.
 *
 * On a file system without O_TMPFILE (NFS, FAT) it has the temporary name from the start, and a
 * signal that kills leaves it behind; the name says what it is.
 *
 * The stream is a fopencookie one over our own write(2) loop, because stdio forgets *why* a buffer
 * flush failed: by the time of outfile_commit, ENOSPC or EPIPE of a write in the middle would be
 * gone.
 *
 * A symbolic link is followed, as the shell's `>` does: the file it names is replaced, the link
 * stays. Ownership and mode of an older file are not carried over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fopencookie */
#endif
#include "user/base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/base/log.h"
#include "user/base/strbuf.h"

#define TMP_NAME_BYTES 200 /* of the goal's name; with the rest it stays below NAME_MAX */
#define TMP_TRIES 100
#define BUFFER_BYTES 65536    /* a stream of a cookie has BUFSIZ: eight times the system calls */
#define PIECE_BYTES (8 << 20) /* that are written out at once */

struct outfile {
	FILE *stream;
	int fd;
	int err;     /* the first write that failed, -errno; everything later is dropped */
	char *shown; /* the path as it was given, for messages */
	char *goal;  /* where to rename to; NULL when written in place */
	char *tmp;   /* its name until then; NULL while it has none */
	bool is_let_go;
	off_t len, piece;	   /* what is written; where the piece that is filled begins */
	char buffer[BUFFER_BYTES]; /* the stream's */
};

/* Where a path leads. */
struct goal {
	char *path; /* links resolved; NULL for standard output */
	bool in_place;
};

static const struct {
	int err;
	const char *fix;
} fixes[] = {
	{ENOENT, "make the folder first"},
	{ENOTDIR, "a part of the path is a file; choose another"},
	{EISDIR, "add a file name"},
	{EACCES, "choose a folder that you may write to"},
	{EPERM, "choose a folder that you may write to"},
	{EROFS, "choose another folder"},
	{ENOSPC, "free some, or choose a folder on another file system"},
	{EDQUOT, "free some, or choose a folder on another file system"},
	{EFBIG, "raise the file size limit (ulimit -f)"},
	{EIO, "check the disk, or choose a folder on another one"},
	{ENAMETOOLONG, "choose a shorter name"},
	{ELOOP, "the link leads nowhere: remove it, or choose another name"},
	{EMFILE, "raise the limit of open files (ulimit -n)"},
	{EPIPE, "the reader has gone; let it read to the end"},
	{EBADF, "it is closed or not open for writing; give -o a file name"},
};

/* One line: what, why, and what to do about it. Returns -err and leaves it in errno. */
static int complain(const char *shown, int err)
{
	const char *fix = NULL;

	for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++)
		if (fixes[i].err == err)
			fix = fixes[i].fix;
	if (!strcmp(shown, "-"))
		shown = "standard output";
	log_error("can't write %s: %s%s%s", shown, strerror(err), fix ? "; " : "", fix ? fix : "");
	errno = err;
	return -err;
}

/* The folder of path, caller frees. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/*
 * In a sticky folder (/tmp) others' files can't be replaced: rename would fail, at the end of a
 * long run. 0 or -errno.
 */
static int check_replace(const char *folder, const struct stat *old)
{
	struct stat st;

	if (stat(folder, &st))
		return -errno;
	if (!(st.st_mode & S_ISVTX) || !geteuid())
		return 0;
	return old->st_uid == geteuid() || st.st_uid == geteuid() ? 0 : -EPERM;
}

/* Could a file be made in path's folder (and *old, if there is one, be replaced)? 0 or -errno. */
static int check_folder(const char *path, const struct stat *old)
{
	char *folder = folder_of(path);
	int err = 0;

	if (!folder)
		return -ENOMEM;
	if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS))
		err = -errno;
	else if (old)
		err = check_replace(folder, old);
	free(folder);
	return err;
}

/*
 * The file behind a symbolic link. It is opened first, because only the kernel knows whether this
 * link may be followed (fs.protected_symlinks, Documentation/admin-guide/sysctl/fs.rst): realpath
 * alone would let a link that somebody planted in /tmp choose which file is replaced.
 */
static int follow_link(const char *path, char **real)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	close(fd);
	*real = realpath(path, NULL);
	return *real ? 0 : -errno;
}

static int resolve_stdout(struct goal *goal)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	goal->in_place = true;
	return flags < 0 || (flags & O_ACCMODE) == O_RDONLY ? -EBADF : 0;
}

/* Is it what stdout was sent to (`-o /dev/stdout > file`)? A rename would take that name from under
 * whoever else writes there. */
static bool is_stdout(const struct stat *st)
{
	struct stat out;

	return !fstat(STDOUT_FILENO, &out) && out.st_dev == st->st_dev && out.st_ino == st->st_ino;
}

static int resolve_existing(const char *path, bool is_link, struct goal *goal)
{
	struct stat st;
	int err;

	if (stat(path, &st))
		return errno == ENOENT ? -ELOOP : -errno; /* a link that leads nowhere */
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (is_stdout(&st))
		return resolve_stdout(goal);
	if (S_ISREG(st.st_mode) && is_link) {
		err = follow_link(path, &goal->path);
		return err ? err : check_folder(goal->path, &st);
	}
	goal->path = strdup(path);
	if (!goal->path)
		return -ENOMEM;
	if (S_ISREG(st.st_mode))
		return check_folder(path, &st);
	goal->in_place = true;
	return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) ? -errno : 0;
}

static int resolve_file(const char *path, struct goal *goal)
{
	struct stat st;

	if (!*path)
		return -ENOENT;
	if (!lstat(path, &st))
		return resolve_existing(path, S_ISLNK(st.st_mode), goal);
	if (errno != ENOENT)
		return -errno;
	if (!*name_of(path))
		return -EISDIR;
	goal->path = strdup(path);
	return goal->path ? check_folder(path, NULL) : -ENOMEM;
}

/* Where path leads, and whether it could be written now. 0 or -errno; goal->path is the caller's to
 * free either way. */
static int goal_resolve(const char *path, struct goal *goal)
{
	*goal = (struct goal){0};
	return strcmp(path, "-") ? resolve_file(path, goal) : resolve_stdout(goal);
}

/* Gives `name` to the file that of->fd is, or else makes a new one of that name. 0 or -errno. */
static int make_name(struct outfile *of, const char *name)
{
	char self[32];

	if (of->fd < 0) {
		of->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
		return of->fd < 0 ? -errno : 0;
	}
	/* As open(2) says to; by the descriptor itself (AT_EMPTY_PATH) only root may. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", of->fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/* Sets of->tmp to a new name beside goal, that of->fd then has. 0 or -errno. */
static int name_tmp(struct outfile *of, const char *goal)
{
	int folder_len = (int)(name_of(goal) - goal), err;

	for (int i = 0; i < TMP_TRIES; i++) {
		struct strbuf name = {0};
		uint32_t random = 0;

		/* Only to make a clash unlikely: that a name must be new is what makes it harmless.
		 */
		if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
			random = (uint32_t)getpid() + (uint32_t)i;
		strbuf_addf(&name, "%.*s.%.*s.%08x.tmp", folder_len, goal, TMP_NAME_BYTES,
			    name_of(goal), (unsigned int)random);
		if (name.failed)
			return -ENOMEM;
		err = make_name(of, name.buf);
		if (!err) {
			of->tmp = name.buf;
			return 0;
		}
		strbuf_release(&name);
		if (err != -EEXIST)
			return err;
	}
	return -EEXIST;
}

/* Opens a new file in goal's folder, without a name where that can be. 0 or -errno. */
static int open_tmp(struct outfile *of, const char *goal)
{
	char *folder = folder_of(goal);

	if (!folder)
		return -ENOMEM;
	of->fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
	free(folder);
	/* Why it failed, if that was not for want of O_TMPFILE, the other way will say as well. */
	return of->fd < 0 ? name_tmp(of, goal) : 0;
}

/* Opens what goal leads to; takes goal->path. 0 or -errno. */
static int open_goal(struct outfile *of, struct goal *goal)
{
	if (!goal->path) {
		fflush(stdout); /* what was printed before comes before */
		of->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	} else if (goal->in_place) {
		of->fd = open(goal->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	} else {
		of->goal = goal->path;
		goal->path = NULL;
		return open_tmp(of, of->goal);
	}
	return of->fd < 0 ? -errno : 0;
}

/* 0 or -errno. Somebody else's O_NONBLOCK on a shared stdout is waited out. */
static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, bytes, len);

		if (done >= 0) {
			bytes += done;
			len -= (size_t)done;
		} else if (errno == EAGAIN) {
			struct pollfd pfd = {.fd = fd, .events = POLLOUT};

			poll(&pfd, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Starts writing out the piece that is full, and lets go of the one before it, which should be on
 * the disk by now. 0 or -errno. */
static int let_go(struct outfile *of)
{
	off_t last = of->piece - PIECE_BYTES;

	sync_file_range(of->fd, of->piece, PIECE_BYTES, SYNC_FILE_RANGE_WRITE);
	of->piece += PIECE_BYTES;
	if (last < 0)
		return 0;
	/* What it reports of the disk here, fsync won't again (file_check_and_advance_wb_err in the
	 * kernel's mm/filemap.c). Other errors say that this file can't be treated so. */
	if (sync_file_range(of->fd, last, PIECE_BYTES,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				    SYNC_FILE_RANGE_WAIT_AFTER) &&
	    (errno == EIO || errno == ENOSPC || errno == EDQUOT))
		return -errno;
	posix_fadvise(of->fd, last, PIECE_BYTES, POSIX_FADV_DONTNEED);
	return 0;
}

/* cookie_write_function_t: 0 means failure. */
static ssize_t stream_write(void *cookie, const char *bytes, size_t len)
{
	struct outfile *of = cookie;

	if (!of->err)
		of->err = write_all(of->fd, bytes, len);
	of->len += len;
	while (!of->err && of->is_let_go && of->len - of->piece >= PIECE_BYTES)
		of->err = let_go(of);
	return of->err ? 0 : (ssize_t)len;
}

/* Closes what is open, removes the temporary file if it is still there, and frees. */
static void outfile_free(struct outfile *of)
{
	if (of->stream)
		fclose(of->stream);
	if (of->fd >= 0)
		close(of->fd);
	if (of->tmp)
		unlink(of->tmp);
	free(of->tmp);
	free(of->goal);
	free(of->shown);
	free(of);
}

static int outfile_init(struct outfile *of, const char *path)
{
	const cookie_io_functions_t io = {.write = stream_write};
	struct goal goal;
	int err;

	of->fd = -1;
	of->shown = strdup(path);
	if (!of->shown)
		return -ENOMEM;
	err = goal_resolve(path, &goal);
	if (!err)
		err = open_goal(of, &goal);
	free(goal.path);
	if (err)
		return err;
	of->stream = fopencookie(of, "w", io);
	return of->stream && !setvbuf(of->stream, of->buffer, _IOFBF, sizeof(of->buffer)) ? 0
											  : -ENOMEM;
}

struct outfile *outfile_open(const char *path)
{
	struct outfile *of = calloc(1, sizeof(*of));
	int err = of ? outfile_init(of, path) : -ENOMEM;

	if (!err)
		return of;
	if (of)
		outfile_free(of);
	complain(path, -err);
	return NULL;
}

void outfile_let_go(struct outfile *of)
{
	of->is_let_go = of->goal != NULL;
}

FILE *outfile_stream(struct outfile *of)
{
	return of->stream;
}

/* Everything written has reached write(2) without an error. 0 or -errno. */
static int finish_stream(struct outfile *of)
{
	bool failed = ferror(of->stream);

	failed |= fclose(of->stream) != 0;
	of->stream = NULL;
	if (of->err)
		return of->err;
	return failed ? -EIO : 0;
}

/* Makes the rename last. The new file is in place by now, so trouble here is only worth a word. */
static void sync_folder(const struct outfile *of)
{
	char *folder = folder_of(of->goal);
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0 && fsync(fd) && errno != EINVAL)
		log_warn("%s is written, but may be lost if the machine stops now: fsync: %s",
			 of->shown, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(folder);
}

/* Data first, then the name: the other way round a crash could leave the name on an empty file. */
static int put_in_place(struct outfile *of)
{
	int fd = of->fd, err;

	if (fsync(fd))
		return -errno;
	err = of->tmp ? 0 : name_tmp(of, of->goal);
	if (err)
		return err;
	of->fd = -1;
	if (close(fd))
		return -errno;
	if (rename(of->tmp, of->goal))
		return -errno;
	free(of->tmp);
	of->tmp = NULL;
	sync_folder(of);
	return 0;
}

int outfile_commit(struct outfile *of)
{
	int err = finish_stream(of);

	if (!err && of->goal)
		err = put_in_place(of);
	if (err)
		complain(of->shown, -err);
	outfile_free(of);
	return err;
}

void outfile_abandon(struct outfile *of)
{
	if (!of)
		return;
	of->err = -ECANCELED; /* what fclose still wants to flush is dropped */
	outfile_free(of);
}

/* Whether a file can be made beside the goal: root passes every access(2), also where nobody can
 * create (/proc). */
static int try_tmp(const char *goal)
{
	struct outfile of = {.fd = -1};
	int err = open_tmp(&of, goal);

	if (!err && !of.tmp)
		err = name_tmp(&of, goal);
	if (of.tmp)
		unlink(of.tmp);
	free(of.tmp);
	if (of.fd >= 0)
		close(of.fd);
	return err;
}

int outfile_check(const char *path)
{
	struct goal goal;
	int err = goal_resolve(path, &goal);

	if (!err && goal.path && !goal.in_place)
		err = try_tmp(goal.path);
	free(goal.path);
	return err ? complain(path, -err) : 0;
}
