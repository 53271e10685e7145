/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was learned of ELF files. A host runs the same few hundred files again and again; each is
 * parsed once. Bounded: when it is full it starts anew, which costs only time.
 *
 * The time is the inode's change time: it moves with every write, and unlike the modification time
 * nobody can set it back (package managers and reproducible images do that).
 */
#include "user/elf/elf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "user/base/table.h"

#define CACHE_MAX 16384 /* files; about 3 MB */

/* Hashed and compared as bytes, so there must be no padding in it. */
struct key {
	uint64_t dev, inode, size, ctime_sec, ctime_nsec, is_program;
};

struct entry {
	struct key key;
	struct elf_info info;
};

struct elf_cache {
	TABLE(struct entry) entries;
	struct elf_info last; /* answer when there is no memory for an entry */
};

struct elf_cache *elf_cache_new(void)
{
	return calloc(1, sizeof(struct elf_cache));
}

static void clear(struct elf_cache *c)
{
	TABLE_FREE(&c->entries);
	memset(&c->entries, 0, sizeof(c->entries));
}

void elf_cache_free(struct elf_cache *c)
{
	if (!c)
		return;
	clear(c);
	free(c);
}

/* Without memory it is not, and the file parsed again next time. */
static void remember(struct elf_cache *c, const struct key *key, uint64_t hash,
		     const struct elf_info *info)
{
	uint32_t num;

	if (c->entries.cnt >= CACHE_MAX)
		clear(c);
	num = TABLE_GROW(&c->entries, hash);
	if (num != INDEX_NONE)
		c->entries.items[num] = (struct entry){.key = *key, .info = *info};
}

static const struct elf_info *find(const struct elf_cache *c, const struct key *key, uint64_t hash)
{
	TABLE_EACH(it, &c->entries, hash)
	{
		const struct entry *e = &c->entries.items[it.num];

		if (!memcmp(&e->key, key, sizeof(*key)))
			return &e->info;
	}
	return NULL;
}

int elf_cache_get(struct elf_cache *c, int fd, bool is_program, const struct elf_info **out)
{
	struct stat st;
	struct key key;
	uint64_t hash;
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
	hash = hash_bytes(&key, sizeof(key));
	*out = find(c, &key, hash);
	if (*out)
		return 0;
	err = elf_read(fd, is_program, &c->last);
	if (err)
		return err;
	remember(c, &key, hash, &c->last);
	*out = &c->last;
	return 0;
}
