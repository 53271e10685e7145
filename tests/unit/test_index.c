/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash index against a list that is searched from end to end: the same random additions,
 * removals and look-ups, with hashes that collide and hashes that do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdbool.h>

#include "user/base/index.h"

#define ELEMENTS 3000
#define KEYS 1000 /* fewer than elements: keys repeat */

/* Elements by number; the index finds them by key. */
struct element {
	uint32_t key;
	bool is_in;
};

struct model {
	struct index index;
	struct element elements[ELEMENTS];
	uint64_t (*hash)(uint32_t key);
};

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)n * (seed >> 8) >> 24);
}

static uint64_t good_hash(uint32_t key)
{
	return hash_pair(key, 1);
}

/* Seven tags for all keys. */
static uint64_t poor_hash(uint32_t key)
{
	return (uint64_t)(key % 7) << 32;
}

/* The tags that stand for nothing else must be no exception. */
static uint64_t edge_hash(uint32_t key)
{
	return key & 1 ? UINT64_MAX : 0;
}

static uint32_t list_count(const struct model *m, uint32_t key)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < ELEMENTS; i++)
		cnt += m->elements[i].is_in && m->elements[i].key == key;
	return cnt;
}

/* Each element of that key comes up, once; what else comes up is in the index too. */
static void check_key(const struct model *m, uint32_t key)
{
	static bool seen[ELEMENTS];
	struct index_iter it;
	uint32_t cnt = 0;

	memset(seen, 0, sizeof(seen));
	for (it = index_first(&m->index, m->hash(key)); it.num != INDEX_NONE;
	     index_next(&m->index, &it)) {
		assert_true(it.num < ELEMENTS);
		assert_true(m->elements[it.num].is_in);
		assert_false(seen[it.num]);
		seen[it.num] = true;
		cnt += m->elements[it.num].key == key;
	}
	assert_int_equal(cnt, list_count(m, key));
}

static void remove_element(struct model *m, uint32_t num)
{
	struct index_iter it = index_first(&m->index, m->hash(m->elements[num].key));

	while (it.num != num) {
		assert_int_not_equal(it.num, INDEX_NONE);
		index_next(&m->index, &it);
	}
	index_remove(&m->index, &it);
	m->elements[num].is_in = false;
}

static void compare(uint64_t (*hash)(uint32_t key), uint32_t steps)
{
	static struct model m;
	uint32_t live = 0;

	m = (struct model){.hash = hash};
	check_key(&m, 0);
	for (uint32_t step = 0; step < steps; step++) {
		uint32_t num = random_below(ELEMENTS);

		if (m.elements[num].is_in) {
			remove_element(&m, num);
			live--;
		} else {
			m.elements[num] = (struct element){random_below(KEYS), true};
			assert_int_equal(index_add(&m.index, hash(m.elements[num].key), num), 0);
			live++;
		}
		assert_int_equal(m.index.live, live);
		if (step % 16 == 0)
			check_key(&m, random_below(KEYS));
	}
	for (uint32_t key = 0; key < KEYS; key++)
		check_key(&m, key);
	index_release(&m.index);
	check_key(&m, KEYS); /* empty again, and valid */
}

static void test_like_a_list(void **state)
{
	(void)state;
	compare(good_hash, 50000);
}

static void test_like_a_list_when_hashes_collide(void **state)
{
	(void)state;
	compare(poor_hash, 8000);
	compare(edge_hash, 8000);
}

static void test_grows(void **state)
{
	struct index index = {0};
	uint32_t cnt = 200000;

	(void)state;
	for (uint32_t i = 0; i < cnt; i++)
		assert_int_equal(index_add(&index, hash_pair(i, 0), i), 0);
	assert_int_equal(index.live, cnt);
	for (uint32_t i = 0; i < cnt; i++) {
		struct index_iter it = index_first(&index, hash_pair(i, 0));

		while (it.num != i) {
			assert_int_not_equal(it.num, INDEX_NONE);
			index_next(&index, &it);
		}
	}
	index_release(&index);
}

/* What comes and goes (processes) must not make the index grow with the number that ever were. */
static void test_removed_slots_are_used_again(void **state)
{
	struct index index = {0};

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct index_iter it;

		assert_int_equal(index_add(&index, hash_pair(i, 0), 5), 0);
		it = index_first(&index, hash_pair(i, 0));
		assert_int_equal(it.num, 5);
		index_remove(&index, &it);
	}
	assert_int_equal(index.live, 0);
	assert_true(index.cnt <= 1024);
	index_release(&index);
}

static void test_number_limits(void **state)
{
	struct index index = {0};

	(void)state;
	/* INDEX_NONE, and the number before it, which is how a removed slot is kept, are no
	 * numbers; the one before those is. */
	assert_int_equal(index_add(&index, 1, 0), 0);
	assert_int_equal(index_add(&index, 1ULL << 32, UINT32_MAX - 2), 0);
	assert_int_equal(index_first(&index, 1).num, 0);
	assert_int_equal(index_first(&index, 1ULL << 32).num, UINT32_MAX - 2);
	index_release(&index);
}

/* Every byte counts, wherever it stands, and so does the length. */
static void test_hash_bytes(void **state)
{
	unsigned char bytes[40] = {0};

	(void)state;
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint64_t plain = hash_bytes(bytes, len);

		for (size_t i = 0; i < len; i++) {
			bytes[i] = 1;
			assert_true(hash_bytes(bytes, len) != plain);
			assert_true(hash_bytes(bytes, len) >> 32 != plain >> 32);
			bytes[i] = 0;
		}
		assert_true(len == 0 || hash_bytes(bytes, len - 1) != plain);
	}
	assert_true(hash_pair(1, 2) != hash_pair(2, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_a_list),
		cmocka_unit_test(test_like_a_list_when_hashes_collide),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_removed_slots_are_used_again),
		cmocka_unit_test(test_number_limits),
		cmocka_unit_test(test_hash_bytes),
	};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
