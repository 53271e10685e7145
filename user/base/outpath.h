/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where an output path leads, found out without being led astray: krait runs as root, and a folder
 * on the way may be anybody's.
 *
 * The path is walked name by name. A symbolic link is followed but not in a folder that everyone
 * may write to (/tmp), and, by root, not one that belongs to another than root and who called sudo.
 * What comes out is the folder as a descriptor and a name in it: whatever is renamed meanwhile, a
 * file that is made by these is made there.
 */
#ifndef KRAIT_BASE_OUTPATH_H
#define KRAIT_BASE_OUTPATH_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

struct outpath {
	int fd; /* one of ours that the path stands for ("-", /dev/stdout), borrowed; else -1, and:
		 */
	int folder_fd; /* O_PATH */
	char *name;    /* of the file in the folder */
	bool exists;
	struct stat st; /* of the file, if it exists: no link, no folder */
};

/* What a link that is not followed is refused with (as by FreeBSD's O_NOFOLLOW). */
#define OUTPATH_LINK EMLINK

/* 0; or -errno, -OUTPATH_LINK among them. The caller releases it either way. */
int outpath_init(struct outpath *path, const char *text);
/* Of a file in the current folder (`name` has no slash), whatever has that name now. */
int outpath_init_new(struct outpath *path, const char *name);
void outpath_release(struct outpath *path);

/* Is this owner root, us, or who called sudo? */
bool outpath_is_trusted(uid_t owner);

/*
 * The owner that a new file in this folder should have instead of root: who called sudo, where he
 * could have made it himself, so that nothing is put at his hands which was out of his reach. True
 * if there is one; *gid is -1 where the folder decides on the group.
 */
bool outpath_owner(const struct outpath *path, uid_t *uid, gid_t *gid);

#endif
