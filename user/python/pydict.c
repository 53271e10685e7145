// SPDX-License-Identifier: BSD-2-Clause
/*
 * What dicts and instances hold. Sources:
 *   PyDictObject      Include/cpython/dictobject.h, in 2.7 Include/dictobject.h
 *   PyDictKeysObject  3.6 to 3.10 Objects/dict-common.h, then Include/internal/pycore_dict.h
 *   PyDictValues      Include/internal/pycore_dict.h
 *   instances         Include/internal/pycore_object.h
 */
#include <errno.h>
#include <string.h>

#include "user/python/pyobject.h"

/* Bounds of what can be true. A dict of more entries (the modules of a program, or its threads) is
 * refused; a split table has at most 30 keys from 3.11 on (SHARED_KEYS_MAX_SIZE), and seldom more
 * before. */
#define ENTRIES_MAX (1 << 17)
#define SPLIT_MAX 256
#define LOG2_BYTES_MAX 24
#define DICTOFFSET_MAX 4096
#define CHUNK_BYTES 3072 /* whole entries of either size */

/* DictKeysKind, pycore_dict.h. */
enum { KEYS_GENERAL = 0, KEYS_UNICODE = 1, KEYS_SPLIT = 2 };

static int check_table(struct pytable *t)
{
	return t->cnt <= (t->values ? SPLIT_MAX : ENTRIES_MAX) ? 0 : -EINVAL;
}

/* Hash tables of 2.7: ma_mask + 1 slots. */
static int open_slots(struct pyreader *r, uint64_t addr, struct pytable *out)
{
	uint64_t words[2];
	int err =
		pyreader_read(r, addr + pyreader_head(r) + PYOBJECT_MA_MASK, words, sizeof(words));

	if (err)
		return err;
	if (words[0] >= ENTRIES_MAX || (words[0] & (words[0] + 1)))
		return -EINVAL;
	*out = (struct pytable){.entries = words[1], .cnt = words[0] + 1, .entry_bytes = 24};
	return 0;
}

/* {dk_refcnt, dk_size, dk_lookup, dk_usable, dk_nentries, dk_indices}: an index is as wide as
 * dk_size needs (DK_IXSIZE). */
static int open_sized(struct pyreader *r, uint64_t keys, struct pytable *out)
{
	uint64_t words[5], size;
	int err = pyreader_read(r, keys, words, sizeof(words));

	if (err)
		return err;
	size = words[1];
	if (size > 2UL * ENTRIES_MAX || size < 8 || (size & (size - 1)) || words[4] > size)
		return -EINVAL;
	out->entries = keys + 40 + size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
	out->cnt = words[4];
	out->entry_bytes = 24;
	return check_table(out);
}

/* {dk_refcnt, u8 dk_log2_size, u8 dk_log2_index_bytes, u8 dk_kind, u8, dk_version, dk_usable,
 * dk_nentries, dk_indices}. */
static int open_kinds(struct pyreader *r, uint64_t keys, struct pytable *out)
{
	uint64_t words[4];
	uint8_t sizes[3];
	int err = pyreader_read(r, keys, words, sizeof(words));

	if (err)
		return err;
	memcpy(sizes, &words[1], sizeof(sizes));
	if (sizes[0] > LOG2_BYTES_MAX || sizes[1] > LOG2_BYTES_MAX || sizes[2] > KEYS_SPLIT ||
	    words[3] > 1UL << sizes[0] || (sizes[2] == KEYS_SPLIT) != (out->values != 0))
		return -EINVAL;
	out->entries = keys + 32 + (1UL << sizes[1]);
	out->cnt = words[3];
	out->entry_bytes = sizes[2] == KEYS_GENERAL ? 24 : 16;
	return check_table(out);
}

static int open_keys(struct pyreader *r, uint64_t keys, struct pytable *out)
{
	return r->objects->dict == PYDICT_KINDS ? open_kinds(r, keys, out)
						: open_sized(r, keys, out);
}

/* PyDictValues has a word of sizes before the values from 3.13 on. */
static uint32_t values_off(const struct pyreader *r)
{
	return r->objects->attrs == PYATTRS_INLINE ? 8 : 0;
}

int pyreader_dict(struct pyreader *r, uint64_t addr, struct pytable *out)
{
	uint64_t words[2];
	int err = pyreader_check(r, addr, PYTYPE_DICT);

	if (err)
		return err;
	if (r->objects->dict == PYDICT_SLOTS)
		return open_slots(r, addr, out);
	err = pyreader_read(r, addr + pyreader_head(r) + PYOBJECT_MA_KEYS, words, sizeof(words));
	if (err)
		return err;
	*out = (struct pytable){.values = words[1] ? words[1] + values_off(r) : 0};
	return open_keys(r, words[0], out);
}

/* ---- Attributes ---- */

/* Attributes that lie in values, named by the type's keys. */
static int open_values(struct pyreader *r, const struct pytype *type, uint64_t values,
		       struct pytable *out)
{
	*out = (struct pytable){.values = values};
	return open_keys(r, type->cached_keys, out);
}

/* PyDictValues {u8 capacity, size, embedded, valid; values}. */
static int open_inline(struct pyreader *r, const struct pytype *type, uint64_t addr,
		       struct pytable *out)
{
	uint64_t values = addr + type->basicsize;
	uint8_t sizes[4];
	int err;

	if (!(type->flags & PYTYPE_INLINE_VALUES) || type->basicsize < pyreader_head(r) ||
	    type->basicsize > DICTOFFSET_MAX)
		return -EINVAL;
	err = pyreader_read(r, values, sizes, sizeof(sizes));
	if (err)
		return err;
	if (sizes[3] != 1)
		return -EINVAL;
	err = open_values(r, type, values + values_off(r), out);
	if (!err && out->cnt > sizes[0])
		out->cnt = sizes[0]; /* the type has learned more names since */
	return err;
}

int pyreader_attrs(struct pyreader *r, uint64_t addr, struct pytable *out)
{
	/* MANAGED_DICT_OFFSET: a free-threaded build has no list of the collector in between. */
	uint32_t back = pyreader_head(r) > 16 ? 8 : 24;
	struct pytype type;
	uint64_t words[2]; /* of which the second is at -back */
	int err = pyreader_type(r, addr, &type);

	if (err)
		return err;
	if (r->objects->attrs == PYATTRS_DICT || !(type.flags & PYTYPE_MANAGED_DICT)) {
		if (type.dictoffset <= 0 || type.dictoffset > DICTOFFSET_MAX)
			return -EINVAL;
		err = pyreader_read(r, addr + type.dictoffset, &words[1], 8);
		return err ?: pyreader_dict(r, words[1], out);
	}
	err = pyreader_read(r, addr - back - 8, words, sizeof(words));
	if (err)
		return err;
	if (r->objects->attrs == PYATTRS_BESIDE && words[0])
		return open_values(r, &type, words[0], out);
	if (r->objects->attrs == PYATTRS_TAGGED && words[1] & 1)
		return open_values(r, &type, words[1] + 1, out);
	if (r->objects->attrs == PYATTRS_INLINE && !words[1])
		return open_inline(r, &type, addr, out);
	return pyreader_dict(r, words[1], out);
}

/* ---- Entries ---- */

static struct pyentry entry_at(const struct pytable *t, const char *chunk, const uint64_t *values,
			       uint32_t i)
{
	const char *at = chunk + (size_t)i * t->entry_bytes;
	struct pyentry entry = {};

	if (t->entry_bytes == 24)
		memcpy(&entry, at, sizeof(entry));
	else
		memcpy(&entry.key, at, 16);
	if (t->values)
		entry.value = values[i];
	return entry;
}

int pyreader_each(struct pyreader *r, const struct pytable *table,
		  int (*fn)(void *arg, const struct pyentry *entry), void *arg)
{
	uint32_t per_chunk = CHUNK_BYTES / table->entry_bytes;
	uint64_t values[CHUNK_BYTES / 16];
	char chunk[CHUNK_BYTES];

	for (uint32_t from = 0; from < table->cnt; from += per_chunk) {
		size_t left = table->cnt - from, cnt = left < per_chunk ? left : per_chunk;
		int ret = pyreader_read(r, table->entries + (uint64_t)from * table->entry_bytes,
					chunk, cnt * table->entry_bytes);

		if (!ret && table->values)
			ret = pyreader_read(r, table->values + (uint64_t)from * 8, values, cnt * 8);
		for (uint32_t i = 0; !ret && i < cnt; i++) {
			struct pyentry entry = entry_at(table, chunk, values, i);

			if (entry.key && entry.value)
				ret = fn(arg, &entry);
		}
		if (ret)
			return ret;
	}
	return 0;
}
