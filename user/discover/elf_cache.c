/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was learned of ELF files. A host runs the same few hundred files again and again; each is
 * parsed once. Bounded: when it is full it starts anew, which costs only time.
 *
 * The time is the inode's change time: it moves with every write, and unlike the modification time
 * nobody can set it back (package managers and reproducible images do that).
 */
#include "user/discover/elf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Without memory an insertion is dropped, and the file parsed again next time. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define CACHE_MAX 16384 /* files; about 3 MB */

/* Hashed and compared as bytes, so there must be no padding in it. */
struct key {
	uint64_t dev, inode, size, ctime_sec, ctime_nsec, is_program;
};

struct entry {
	struct key key;
	struct elf_info info;
	UT_hash_handle hh;
};

struct elf_cache {
	struct entry *entries;
	struct elf_info last; /* answer when there is no memory for an entry */
};

struct elf_cache *elf_cache_new(void)
{
	return calloc(1, sizeof(struct elf_cache));
}

static void clear(struct elf_cache *c)
{
	struct entry *e, *next;

	HASH_ITER (hh, c->entries, e, next) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): uthash's list is lost on it */
		HASH_DEL(c->entries, e);
		free(e);
	}
}

void elf_cache_free(struct elf_cache *c)
{
	if (!c)
		return;
	clear(c);
	free(c);
}

static void remember(struct elf_cache *c, const struct key *key, const struct elf_info *info)
{
	struct entry *e;

	if (HASH_COUNT(c->entries) >= CACHE_MAX)
		clear(c);
	e = malloc(sizeof(*e));
	if (!e)
		return;
	e->key = *key;
	e->info = *info;
	HASH_ADD(hh, c->entries, key, sizeof(e->key), e);
	if (!e->hh.tbl)
		free(e);
}

int elf_cache_look(struct elf_cache *c, int fd, bool is_program, const struct elf_info **out)
{
	struct stat st;
	struct entry *e;
	struct key key;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	key = (struct key){.dev = st.st_dev,
			   .inode = st.st_ino,
			   .size = st.st_size,
			   .ctime_sec = st.st_ctim.tv_sec,
			   .ctime_nsec = st.st_ctim.tv_nsec,
			   .is_program = is_program};
	HASH_FIND(hh, c->entries, &key, sizeof(key), e);
	if (e) {
		*out = &e->info;
		return 0;
	}
	err = elf_read(fd, is_program, &c->last);
	if (err)
		return err;
	remember(c, &key, &c->last);
	*out = &c->last;
	return 0;
}
