/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table: an array of things that are each there once, known by number, and an index of their
 * keys. All zero is a valid empty one. Numbers never change; addresses do, with the next one that
 * is added.
 */
#ifndef KRAIT_BASE_TABLE_H
#define KRAIT_BASE_TABLE_H

#include <stdlib.h>

#include "user/base/array.h"
#include "user/base/index.h"

#define TABLE(type)                                                                                \
	struct {                                                                                   \
		type *items;                                                                       \
		uint32_t cnt, cap;                                                                 \
		struct index index;                                                                \
	}

/* Makes room for one more item of item_bytes and enters its number under `hash`: that number, whose
 * item the caller fills in; INDEX_NONE without memory. */
static inline uint32_t table_grow(void **items, uint32_t *cnt, uint32_t *cap, size_t item_bytes,
				  struct index *index, uint64_t hash)
{
	if (array_reserve(items, cap, *cnt + 1, item_bytes) != 0 ||
	    index_add(index, hash, *cnt) != 0)
		return INDEX_NONE;
	return (*cnt)++;
}

/* The same of a TABLE; `table` has no side effects. */
#define TABLE_GROW(table, hash)                                                                    \
	table_grow((void **)&(table)->items, &(table)->cnt, &(table)->cap,                         \
		   sizeof(*(table)->items), &(table)->index, hash)

/* NOLINTBEGIN(bugprone-macro-parentheses): `it` is declared */
/* Walks the candidates for `hash`: it.num is an item's number, whose key the caller compares. */
#define TABLE_EACH(it, table, hash)                                                                \
	for (struct index_iter it = index_first(&(table)->index, hash); it.num != INDEX_NONE;      \
	     index_next(&(table)->index, &it))
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void table_free(void *items, struct index *index)
{
	free(items);
	index_release(index);
}

#define TABLE_FREE(table) table_free((table)->items, &(table)->index)

#endif
