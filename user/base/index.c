// SPDX-License-Identifier: BSD-2-Clause
/* A hash index over an array: open addressing, linear probing, at most three quarters full. */
#include "user/base/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MIN_SLOTS 64
#define SLOT_REMOVED UINT32_MAX

/*
 * Numbers are 32 bits and the tag is the hash's upper half, so that growing can rebuild the place
 * from nothing but the slot: the home slot is derived from the tag, scaled to the number of slots.
 * That need be no power of two: an index touches all its memory, and one that doubled would be more
 * than half empty each time.
 */
static uint32_t home_slot(uint32_t tag, uint32_t cnt)
{
	return (uint64_t)(tag * 0x9e3779b1U) * cnt >> 32;
}

static uint32_t next_slot(const struct index *ix, uint32_t slot)
{
	return slot + 1 < ix->cnt ? slot + 1 : 0;
}

void index_release(struct index *ix)
{
	free(ix->slots);
	*ix = (struct index){0};
}

static void iter_settle(const struct index *ix, struct index_iter *it)
{
	for (;; it->slot = next_slot(ix, it->slot)) {
		const struct index_slot *slot = &ix->slots[it->slot];

		if (!slot->num) {
			it->num = INDEX_NONE;
			return;
		}
		if (slot->tag == it->tag && slot->num != SLOT_REMOVED) {
			it->num = slot->num - 1;
			return;
		}
	}
}

struct index_iter index_first(const struct index *ix, uint64_t hash)
{
	struct index_iter it = {.tag = hash >> 32, .num = INDEX_NONE};

	if (!ix->slots)
		return it;
	it.slot = home_slot(it.tag, ix->cnt);
	iter_settle(ix, &it);
	return it;
}

void index_next(const struct index *ix, struct index_iter *it)
{
	it->slot = next_slot(ix, it->slot);
	iter_settle(ix, it);
}

static void slot_put(struct index *ix, uint32_t tag, uint32_t stored)
{
	uint32_t i = home_slot(tag, ix->cnt);

	while (ix->slots[i].num)
		i = next_slot(ix, i);
	ix->slots[i] = (struct index_slot){.tag = tag, .num = stored};
	ix->used++;
	ix->live++;
}

static int index_grow(struct index *ix)
{
	uint32_t old_cnt = ix->slots ? ix->cnt : 0;
	/* Mostly removed ones: the same size will do, without them. */
	uint32_t cnt = ix->live * 2 < old_cnt ? old_cnt : old_cnt + old_cnt / 2;
	struct index_slot *old = ix->slots;
	struct index_slot *slots;

	if (!cnt)
		cnt = INDEX_MIN_SLOTS;
	slots = calloc(cnt, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	ix->slots = slots;
	ix->cnt = cnt;
	ix->used = ix->live = 0;
	for (uint32_t i = 0; i < old_cnt; i++)
		if (old[i].num && old[i].num != SLOT_REMOVED)
			slot_put(ix, old[i].tag, old[i].num);
	free(old);
	return 0;
}

int index_add(struct index *ix, uint64_t hash, uint32_t num)
{
	if ((!ix->slots || ix->used >= ix->cnt / 4 * 3) && index_grow(ix) != 0)
		return -ENOMEM;
	slot_put(ix, hash >> 32, num + 1);
	return 0;
}

void index_remove(struct index *ix, const struct index_iter *it)
{
	ix->slots[it->slot].num = SLOT_REMOVED;
	ix->live--;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

uint64_t hash_pair(uint64_t a, uint64_t b)
{
	return mix(mix(a) + b + 0x9e3779b97f4a7c15ULL);
}

uint64_t hash_bytes(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t h = len, word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = mix(h ^ word) + 0x9e3779b97f4a7c15ULL;
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(h ^ word);
}
