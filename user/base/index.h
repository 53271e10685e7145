/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash index over an array: from a key to the element's number.
 *
 * Why not uthash: the things looked up per sample live in arrays and are known by number. An index
 * of numbers costs 8 bytes an element (uthash: 56 and an allocation), survives the array's growth,
 * and a look-up touches one cache line of its own. The key itself stays in the element; the caller
 * compares.
 *
 *	for (it = index_first(ix, hash); it.num != INDEX_NONE; index_next(ix, &it))
 *		if (things[it.num].key == key)
 *			return it.num;
 */
#ifndef KRAIT_BASE_INDEX_H
#define KRAIT_BASE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define INDEX_NONE UINT32_MAX

struct index_slot {
	uint32_t tag; /* the hash's upper half: most unequal keys are told apart here */
	uint32_t num; /* element number + 1; 0: free; UINT32_MAX: was removed */
};

/* `struct index ix = {}` is a valid empty index. Not thread-safe. */
struct index {
	struct index_slot *slots;
	uint32_t cnt;  /* of slots */
	uint32_t used; /* slots taken, removed ones included */
	uint32_t live; /* elements */
};

struct index_iter {
	uint32_t slot, tag;
	uint32_t num; /* the candidate's number, or INDEX_NONE */
};

void index_release(struct index *ix);
/* Candidates whose hash is alike; compare their keys. */
struct index_iter index_first(const struct index *ix, uint64_t hash);
void index_next(const struct index *ix, struct index_iter *it);
/* Adds element `num` under `hash`, unchecked. 0 or -ENOMEM. */
int index_add(struct index *ix, uint64_t hash, uint32_t num);
/* Removes what the iterator stands on. */
void index_remove(struct index *ix, const struct index_iter *it);

/* A hash of bytes; of a pair of numbers. Full avalanche; not for keys an attacker chooses against
 * other users' time. */
uint64_t hash_bytes(const void *bytes, size_t len);
uint64_t hash_pair(uint64_t a, uint64_t b);

#endif
