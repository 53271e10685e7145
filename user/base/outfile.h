/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output files that appear whole or not at all: written in the goal's folder without a name (under
 * a temporary one where the file system can't), synced, renamed. One that is worth something before
 * it is whole may be written in sight (outfile_show).
 *
 * "-" is stdout, and a path that exists and is no regular file (/dev/null, a pipe) is written in
 * place: there is nothing to keep whole there; so is the file that stdout goes to (/dev/stdout). A
 * symbolic link is followed where outpath.h allows it: the file it names is replaced. Until
 * outfile_commit succeeds an older file of that name is untouched. A new file belongs to who called
 * sudo, where he could have made it himself (outpath.h).
 */
#ifndef KRAIT_BASE_OUTFILE_H
#define KRAIT_BASE_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

struct outfile;

/*
 * Opens for writing. On failure NULL with errno set, and the reason has been logged ("can't write
 * DIR/x: ...; make the folder first"). The caller ends it with outfile_commit or outfile_abandon,
 * each of which frees it.
 */
struct outfile *outfile_open(const char *path);
/*
 * The same for a file of the current folder that never replaces another: if there is one when it is
 * committed it gets the next free name. `name` ends in `suffix` (borrowed until the commit): of
 * "x.pb.gz" and ".pb.gz" the next is "x-2.pb.gz". Two that are committed at once get two names.
 */
struct outfile *outfile_open_new(const char *name, const char *suffix);
/*
 * From now on what is written goes to the disk piece by piece, and then out of the page cache. For
 * a large file that is written in one go: hundreds of megabytes in the cache would push out what
 * the host works with, count as memory of krait's container, and take more CPU time, for pages that
 * are new each time. Writing then waits for the disk, as outfile_commit does. No effect on what is
 * written in place.
 */
void outfile_let_go(struct outfile *of);
/*
 * From now on the file can be seen: as "x.part" beside the goal "x", or "x-2.part" and so on if
 * there is one of that name, of a run that was killed or still goes on; it is never replaced.
 * Whoever kills us leaves it. It belongs to whom the goal will belong to. To be called before
 * anything is written; no effect on what is written in place. 0 or -errno (logged); then it can
 * only be abandoned.
 */
int outfile_show(struct outfile *of);
/* Its name in the goal's folder then; NULL if it has none. Borrowed. */
const char *outfile_part(const struct outfile *of);
/* Borrowed; do not fclose. */
FILE *outfile_stream(struct outfile *of);
/* Flushes, syncs, renames. 0 or -errno (logged); on failure what was written is gone and the old
 * file stays. */
int outfile_commit(struct outfile *of);
/* The same of outfile_open_new; *name is then the name that it has, caller frees, or NULL on
 * failure. */
int outfile_commit_new(struct outfile *of, char **name);
/* Removes what was written. NULL is legal. */
void outfile_abandon(struct outfile *of);
/* 0 if outfile_open(path) could work now, else -errno (logged). Creates nothing. For a check before
 * a long run. */
int outfile_check(const char *path);
int outfile_check_new(const char *name);
/* Does what is written to path go to stdout ("-", /dev/stdout, the file that stdout was sent to)?
 */
bool outfile_is_stdout(const char *path);

#endif
