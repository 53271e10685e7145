/* SPDX-License-Identifier: BSD-2-Clause */
#include "user/aggregate/owners.h"

#include <errno.h>
#include <stdlib.h>

#include "user/base/array.h"

void owners_release(struct owners *owners)
{
	free(owners->items);
	index_release(&owners->by_pid);
}

/* The pid's entry, or NULL. Records come in runs of one pid: the last is at hand. */
static struct owner *find(struct owners *owners, uint32_t pid)
{
	struct index_iter it;

	if (owners->last < owners->cnt && owners->items[owners->last].pid == pid)
		return &owners->items[owners->last];
	it = index_first(&owners->by_pid, hash_pair(pid, 0));
	for (; it.num != INDEX_NONE; index_next(&owners->by_pid, &it))
		if (owners->items[it.num].pid == pid)
			return &owners->items[owners->last = it.num];
	return NULL;
}

static struct owner *add(struct owners *owners, uint32_t pid)
{
	if (array_reserve((void **)&owners->items, &owners->cap, owners->cnt + 1,
			  sizeof(*owners->items)) != 0 ||
	    index_add(&owners->by_pid, hash_pair(pid, 0), owners->cnt) != 0)
		return NULL;
	owners->last = owners->cnt++;
	owners->items[owners->last] = (struct owner){.pid = pid, .num = ++owners->given};
	return &owners->items[owners->last];
}

uint32_t owners_find(struct owners *owners, uint32_t pid)
{
	struct owner *owner = find(owners, pid);

	if (!owner)
		owner = add(owners, pid);
	if (!owner)
		return 0;
	owner->has_ended = false;
	return owner->num;
}

int owners_renew(struct owners *owners, uint32_t pid)
{
	struct owner *owner = find(owners, pid);

	if (!owner)
		return add(owners, pid) ? 0 : -ENOMEM;
	owner->num = ++owners->given;
	owner->has_ended = false;
	return 0;
}

void owners_end(struct owners *owners, uint32_t pid)
{
	struct owner *owner = find(owners, pid);

	if (!owner)
		return;
	owner->num = ++owners->given;
	owner->has_ended = true;
}

int owners_compact(struct owners *owners)
{
	struct owners kept = {.given = owners->given};

	for (uint32_t i = 0; i < owners->cnt; i++) {
		struct owner *owner = &owners->items[i];

		if (owner->has_ended)
			continue;
		if (!add(&kept, owner->pid)) {
			owners_release(&kept);
			return -ENOMEM;
		}
		kept.items[kept.last].num = owner->num;
	}
	kept.given = owners->given;
	owners_release(owners);
	*owners = kept;
	return 0;
}

uint32_t *owners_numbers(const struct owners *owners, uint32_t *cnt)
{
	uint32_t *numbers = malloc((owners->cnt + 1UL) * sizeof(*numbers));

	*cnt = 0;
	if (!numbers)
		return NULL;
	for (uint32_t i = 0; i < owners->cnt; i++)
		if (!owners->items[i].has_ended)
			numbers[(*cnt)++] = owners->items[i].num;
	qsort(numbers, *cnt, sizeof(*numbers), compare_u32);
	return numbers;
}
