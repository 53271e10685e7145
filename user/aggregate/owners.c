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
	return owner ? owner->num : 0;
}

int owners_renew(struct owners *owners, uint32_t pid)
{
	struct owner *owner = find(owners, pid);

	if (!owner)
		return add(owners, pid) ? 0 : -ENOMEM;
	owner->num = ++owners->given;
	return 0;
}
