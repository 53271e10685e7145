/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file is written without a name in the goal's own folder (open(2), O_TMPFILE), synced, given a
 * temporary name, renamed over the goal, and then the folder is synced: after a crash there is the
 * old file or the new one, whole. Whatever ends the process before (a second Ctrl-C, kill -9), the
 * kernel removes what has no name. A link can't replace a file, so the rename is needed; a file
 * that must be new is linked to its name at once.
 *
 * On a file system without O_TMPFILE (NFS, FAT) it has the temporary name from the start, and a
 * signal that kills leaves it behind; the name says what it is.
 *
 * A recording is in sight while it is written (outfile_show): it reads up to where it was cut, and
 * of a run that is killed it is all there is. Only its name differs from the above.
 *
 * The stream is a fopencookie one over our own write(2) loop, because stdio forgets *why* a buffer
 * flush failed: by the time of outfile_commit, ENOSPC or EPIPE of a write in the middle would be
 * gone.
 *
 * A symbolic link is followed, as the shell's `>` does, where outpath.h allows it: the file it
 * names is replaced, the link stays. Mode and owner of an older file are not carried over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fopencookie */
#endif
#include "user/base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/base/fd_write.h"
#include "user/base/log.h"
#include "user/base/outpath.h"
#include "user/base/strbuf.h"

#define TMP_NAME_BYTES 200  /* of the goal's name; with the rest it stays below NAME_MAX */
#define PART_NAME_BYTES 240 /* the same, with "-10000.part" */
#define TMP_TRIES 100
#define NEW_TRIES 10000	      /* names "x-2" to "x-10000" beside "x" */
#define BUFFER_BYTES 65536    /* a stream of a cookie has BUFSIZ: eight times the system calls */
#define PIECE_BYTES (8 << 20) /* that are written out at once */

struct outfile {
	FILE *stream;
	int fd;
	int err;	    /* the first write that failed, -errno; everything later is dropped */
	char *shown;	    /* the path as it was given, for messages */
	struct outpath to;  /* to.name NULL: written in place */
	const char *suffix; /* of to.name; NULL: may replace a file */
	char *tmp;	    /* its name in that folder until then; NULL while it has none */
	bool is_shown;	    /* it has that name for people */
	bool is_let_go;
	off_t len, piece;	   /* what is written; where the piece that is filled begins */
	char buffer[BUFFER_BYTES]; /* the stream's */
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
	{ESTALE, "while it was written its .part was moved, replaced or removed"},
	{ELOOP, "the link leads nowhere: remove it, or choose another name"},
	{OUTPATH_LINK, "give the path without it"},
	{EEXIST, "choose another name"},
	{EMFILE, "raise the limit of open files (ulimit -n)"},
	{ETIMEDOUT, "the reader has stopped; let it read on"},
	{EPIPE, "the reader has gone; let it read to the end"},
	{EBADF, "it is closed or not open for writing; give -o a file name"},
};

/* One line: what, why, and what to do about it. Returns -err and leaves it in errno. */
static int complain(const char *shown, int err)
{
	const char *fix = NULL, *why = strerror(err);

	for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++)
		if (fixes[i].err == err)
			fix = fixes[i].fix;
	if (!strcmp(shown, "-"))
		shown = "standard output";
	if (err == OUTPATH_LINK)
		why = "on its way is a symbolic link that another user may have put there";
	log_error("can't write %s: %s%s%s", shown, why, fix ? "; " : "", fix ? fix : "");
	errno = err;
	return -err;
}

/*
 * In a sticky folder (/tmp) others' files can't be replaced: rename would fail, at the end of a
 * long run. 0 or -errno.
 */
static int check_replace(const struct outpath *to)
{
	struct stat folder;

	if (fstat(to->folder_fd, &folder))
		return -errno;
	if (!(folder.st_mode & S_ISVTX) || !geteuid())
		return 0;
	return to->st.st_uid == geteuid() || folder.st_uid == geteuid() ? 0 : -EPERM;
}

/* Could a file be made there, or the one there be replaced? 0 or -errno. */
static int check_folder(const struct outpath *to)
{
	if (faccessat(to->folder_fd, ".", W_OK | X_OK, AT_EACCESS))
		return -errno;
	return to->exists ? check_replace(to) : 0;
}

/* A pipe or a device: written in place. */
static bool is_special(const struct outpath *to)
{
	return to->exists && !S_ISREG(to->st.st_mode);
}

/* Could it be written in place? One that another user has put into a folder for all (a FIFO in
 * /tmp) would give him the profile, or keep us waiting. 0 or -errno. */
static int check_special(const struct outpath *to)
{
	struct stat folder;

	if (fstat(to->folder_fd, &folder))
		return -errno;
	if (folder.st_mode & S_IWOTH && !outpath_is_trusted(to->st.st_uid))
		return -EPERM;
	return faccessat(to->folder_fd, to->name, W_OK, AT_EACCESS) ? -errno : 0;
}

static int check_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || (flags & O_ACCMODE) == O_RDONLY ? -EBADF : 0;
}

/* Where path leads, and whether it could be written now. 0 or -errno; `to` is the caller's to
 * release either way. */
static int resolve(const char *path, struct outpath *to)
{
	int err = outpath_init(to, path);

	if (err)
		return err;
	if (to->fd >= 0)
		return check_fd(to->fd);
	return is_special(to) ? check_special(to) : check_folder(to);
}

/* The same of a file in the current folder, whatever has its name now. */
static int resolve_new(const char *name, struct outpath *to)
{
	int err = outpath_init_new(to, name);

	return err ?: check_folder(to);
}

/* Gives `name` to the file that of->fd is, or else makes a new one of that name. 0 or -errno. */
static int make_name(struct outfile *of, const char *name)
{
	char self[32];

	if (of->fd < 0) {
		of->fd = openat(of->to.folder_fd, name,
				O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
				0666);
		return of->fd < 0 ? -errno : 0;
	}
	/* As open(2) says to; by the descriptor itself (AT_EMPTY_PATH) only root may. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", of->fd);
	return linkat(AT_FDCWD, self, of->to.folder_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/* Sets of->tmp to a new name beside the goal, that of->fd then has. 0 or -errno. */
static int name_tmp(struct outfile *of)
{
	int err;

	for (int i = 0; i < TMP_TRIES; i++) {
		struct strbuf name = {0};
		uint32_t random = 0;

		/* Only to make a clash unlikely: that a name must be new is what makes it harmless.
		 */
		if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
			random = (uint32_t)getpid() + (uint32_t)i;
		strbuf_addf(&name, ".%.*s.%08x.tmp", TMP_NAME_BYTES, of->to.name,
			    (unsigned int)random);
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

/* Opens a new file in the goal's folder, without a name where that can be. 0 or -errno. */
static int open_tmp(struct outfile *of)
{
	of->fd = openat(of->to.folder_fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
	/* Why it failed, if that was not for want of O_TMPFILE, the other way will say as well. */
	return of->fd < 0 ? name_tmp(of) : 0;
}

/* Opens what of->to is. 0 or -errno. */
static int open_goal(struct outfile *of)
{
	if (of->to.fd >= 0) {
		fflush(stdout); /* what was printed before comes before */
		of->fd = fcntl(of->to.fd, F_DUPFD_CLOEXEC, 0);
	} else if (is_special(&of->to)) {
		of->fd = openat(of->to.folder_fd, of->to.name,
				O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
	} else {
		return open_tmp(of);
	}
	free(of->to.name);
	of->to.name = NULL;
	return of->fd < 0 ? -errno : 0;
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
		of->err = fd_write_all(of->fd, bytes, len, !of->to.name);
	of->len += len;
	while (!of->err && of->is_let_go && of->len - of->piece >= PIECE_BYTES)
		of->err = let_go(of);
	return of->err ? 0 : (ssize_t)len;
}

/* Has the name that it was given become another file's, or nothing's? What is in sight may be
 * moved. */
static bool has_lost_name(const struct outfile *of)
{
	struct stat ours, found;

	return of->is_shown && (fstat(of->fd, &ours) ||
				fstatat(of->to.folder_fd, of->tmp, &found, AT_SYMLINK_NOFOLLOW) ||
				ours.st_dev != found.st_dev || ours.st_ino != found.st_ino);
}

/* Closes what is open, removes the temporary file if it is still there, and frees. */
static void outfile_free(struct outfile *of)
{
	if (of->stream)
		fclose(of->stream);
	if (of->tmp && !has_lost_name(of))
		unlinkat(of->to.folder_fd, of->tmp, 0);
	if (of->fd >= 0)
		close(of->fd);
	free(of->tmp);
	outpath_release(&of->to);
	free(of->shown);
	free(of);
}

static int open_stream(struct outfile *of)
{
	const cookie_io_functions_t io = {.write = stream_write};

	of->stream = fopencookie(of, "w", io);
	return of->stream && !setvbuf(of->stream, of->buffer, _IOFBF, sizeof(of->buffer)) ? 0
											  : -ENOMEM;
}

/* Takes the outfile, whose path has been resolved if `err` is 0. */
static struct outfile *open_resolved(struct outfile *of, int err)
{
	err = err ?: open_goal(of);
	err = err ?: open_stream(of);
	if (!err)
		return of;
	complain(of->shown, -err);
	outfile_free(of);
	errno = -err;
	return NULL;
}

static struct outfile *outfile_new(const char *shown)
{
	struct outfile *of = calloc(1, sizeof(*of));

	if (of) {
		of->fd = of->to.fd = of->to.folder_fd = -1;
		of->shown = strdup(shown);
	}
	if (of && of->shown)
		return of;
	free(of);
	complain(shown, ENOMEM);
	return NULL;
}

struct outfile *outfile_open(const char *path)
{
	struct outfile *of = outfile_new(path);

	return of ? open_resolved(of, resolve(path, &of->to)) : NULL;
}

struct outfile *outfile_open_new(const char *name, const char *suffix)
{
	struct outfile *of = outfile_new(name);

	if (!of)
		return NULL;
	of->suffix = suffix;
	return open_resolved(of, resolve_new(name, &of->to));
}

void outfile_let_go(struct outfile *of)
{
	of->is_let_go = of->to.name != NULL;
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
	int fd = openat(of->to.folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd) && errno != EINVAL)
		log_warn("%s is written, but may be lost if the machine stops now: fsync: %s",
			 of->shown, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* To who called sudo. By the descriptor of the file that we made, before it has its name: whatever
 * the name stands for by then can't be given away. */
static void give_away(const struct outfile *of)
{
	uid_t uid;
	gid_t gid;

	if (outpath_owner(&of->to, &uid, &gid) && fchown(of->fd, uid, gid))
		log_warn("%s stays root's: fchown: %s", of->shown, strerror(errno));
}

/* Gives the file a name that nothing has: 0 or -errno, -EEXIST if something has it. */
static int take_name(struct outfile *of, const char *name)
{
	int folder_fd = of->to.folder_fd;

	if (!of->tmp)
		return make_name(of, name);
	if (!renameat2(folder_fd, of->tmp, folder_fd, name, RENAME_NOREPLACE)) {
		free(of->tmp);
		of->tmp = NULL;
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* NFS; outfile_free then removes the other name. */
	return linkat(folder_fd, of->tmp, folder_fd, name, 0) ? -errno : 0;
}

/* Gives the file this name instead of the one that it may have had until now. Takes `name`; 0 or
 * -errno, -EEXIST if something has it. */
static int take_part(struct outfile *of, char *name)
{
	int err = take_name(of, name);

	if (err) {
		free(name);
		return err;
	}
	if (of->tmp)
		unlinkat(of->to.folder_fd, of->tmp, 0);
	free(of->tmp);
	of->tmp = name;
	of->is_shown = true;
	return 0;
}

/* Sets of->tmp to the first free name of x.part, x-2.part, ... 0 or -errno. */
static int name_part(struct outfile *of)
{
	int err = -EEXIST;

	for (unsigned int i = 1; err == -EEXIST && i <= NEW_TRIES; i++) {
		struct strbuf name = {0};

		strbuf_addf(&name, "%.*s", PART_NAME_BYTES, of->to.name);
		if (i > 1)
			strbuf_addf(&name, "-%u", i);
		strbuf_add_str(&name, ".part");
		if (name.failed) {
			strbuf_release(&name);
			return -ENOMEM;
		}
		err = take_part(of, name.buf);
		if (!err && i > 1)
			log_warn("%s.part is there already, of a run that was killed or still "
				 "goes on; writing %s",
				 of->shown, of->tmp);
	}
	return err;
}

int outfile_show(struct outfile *of)
{
	int err;

	if (!of->to.name)
		return 0;
	give_away(of);
	err = name_part(of);
	return err ? complain(of->shown, -err) : 0;
}

const char *outfile_part(const struct outfile *of)
{
	return of->is_shown ? of->tmp : NULL;
}

/* Gives the file the first free name of x.folded, x-2.folded, ... Sets of->to.name to it. */
static int put_new(struct outfile *of)
{
	struct strbuf name = {0};
	int stem_len = (int)(strlen(of->to.name) - strlen(of->suffix)), err = -EEXIST;

	strbuf_add_str(&name, of->to.name);
	for (unsigned int i = 2; err == -EEXIST && i <= NEW_TRIES; i++) {
		err = name.failed ? -ENOMEM : take_name(of, name.buf);
		if (err != -EEXIST)
			break;
		strbuf_reset(&name);
		strbuf_addf(&name, "%.*s-%u%s", stem_len, of->to.name, i, of->suffix);
	}
	if (err) {
		strbuf_release(&name);
		return err;
	}
	free(of->to.name);
	of->to.name = name.buf;
	return 0;
}

/* Gives the file its name, whatever has it. Where nothing has, it has no other name before: who
 * kills us between the two leaves no litter. */
static int put_over(struct outfile *of)
{
	int err = of->tmp ? -EEXIST : make_name(of, of->to.name);

	if (err == -EEXIST)
		err = of->tmp ? 0 : name_tmp(of);
	if (err || !of->tmp)
		return err;
	if (renameat(of->to.folder_fd, of->tmp, of->to.folder_fd, of->to.name))
		return -errno;
	free(of->tmp);
	of->tmp = NULL;
	return 0;
}

/* Data first, then the name: the other way round a crash could leave the name on an empty file. */
static int put_in_place(struct outfile *of)
{
	int err;

	give_away(of);
	if (fsync(of->fd))
		return -errno;
	if (has_lost_name(of))
		return -ESTALE;
	err = of->suffix ? put_new(of) : put_over(of);
	if (!err)
		sync_folder(of);
	return err;
}

int outfile_commit_new(struct outfile *of, char **name)
{
	int err = finish_stream(of);

	if (!err && of->to.name)
		err = put_in_place(of);
	if (err)
		complain(of->shown, -err);
	if (name) {
		*name = err ? NULL : of->to.name;
		of->to.name = err ? of->to.name : NULL;
	}
	outfile_free(of);
	return err;
}

int outfile_commit(struct outfile *of)
{
	return outfile_commit_new(of, NULL);
}

void outfile_abandon(struct outfile *of)
{
	if (!of)
		return;
	of->err = -ECANCELED; /* what fclose still wants to flush is dropped */
	outfile_free(of);
}

/* Whether a file can be made beside the goal: root passes every access(2), also where nobody can
 * create (/proc). Takes `to`. */
static int try_tmp(struct outpath *to)
{
	struct outfile *of = calloc(1, sizeof(*of));
	int err;

	if (!of)
		return -ENOMEM;
	of->fd = -1;
	of->to = *to;
	*to = (struct outpath){.fd = -1, .folder_fd = -1};
	err = open_tmp(of);
	if (!err && !of->tmp)
		err = name_tmp(of);
	outfile_free(of);
	return err;
}

/* Takes `to`, which is resolved if `err` is 0. */
static int check(const char *shown, struct outpath *to, int err)
{
	if (!err && to->fd < 0 && !is_special(to))
		err = try_tmp(to);
	outpath_release(to);
	return err ? complain(shown, -err) : 0;
}

int outfile_check(const char *path)
{
	struct outpath to = {};

	return check(path, &to, resolve(path, &to));
}

int outfile_check_new(const char *name)
{
	struct outpath to = {};

	return check(name, &to, resolve_new(name, &to));
}

bool outfile_is_stdout(const char *path)
{
	struct outpath to;
	bool is_stdout = !outpath_init(&to, path) && to.fd == STDOUT_FILENO;

	outpath_release(&to);
	return is_stdout;
}
