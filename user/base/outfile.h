/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output files that appear whole or not at all: written in the goal's folder without a name (under
 * a temporary one where the file system can't), synced, renamed.
 *
 * "-" is stdout, and a path that exists and is no regular file (/dev/null, a pipe) is written in
 * place: there is nothing to keep whole there; so is the file that stdout goes to (/dev/stdout). A
 * symbolic link is followed: the file it names is replaced. Until outfile_commit succeeds an older
 * file of that name is untouched.
 */
#ifndef KRAIT_BASE_OUTFILE_H
#define KRAIT_BASE_OUTFILE_H

#include <stdio.h>

struct outfile;

/*
 * Opens for writing. On failure NULL with errno set, and the reason has been logged ("can't write
 * DIR/x: ...; make the folder first"). The caller ends it with outfile_commit or outfile_abandon,
 * each of which frees it.
 */
struct outfile *outfile_open(const char *path);
/*
 * From now on what is written goes to the disk piece by piece, and then out of the page cache. For
 * a large file that is written in one go: hundreds of megabytes in the cache would push out what
 * the host works with, count as memory of krait's container, and take more CPU time, for pages that
 * are new each time. Writing then waits for the disk, as outfile_commit does. No effect on what is
 * written in place.
 */
void outfile_let_go(struct outfile *of);
/* Borrowed; do not fclose. */
FILE *outfile_stream(struct outfile *of);
/* Flushes, syncs, renames. 0 or -errno (logged); on failure what was written is gone and the old
 * file stays. */
int outfile_commit(struct outfile *of);
/* Removes what was written. NULL is legal. */
void outfile_abandon(struct outfile *of);
/* 0 if outfile_open(path) could work now, else -errno (logged). Creates nothing. For a check before
 * a long run. */
int outfile_check(const char *path);

#endif
