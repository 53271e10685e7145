/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names come from other people's processes, so the hash is keyed with random bytes: whoever can
 * choose names still can't choose names that collide, and make each look-up walk a chain of all of
 * them.
 */
#include "user/base/intern.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/base/table.h"

struct entry {
	char *text; /* whose address never changes */
	size_t len;
};

/* The one empty text, which is also what comes back when there is no memory. */
static const char empty[] = "";

struct intern {
	TABLE(struct entry) entries;
	uint64_t key[2];
	atomic_uint holders;
};

static uint64_t rotl(uint64_t value, unsigned int bits)
{
	return value << bits | value >> (64 - bits);
}

/* SipRound of SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), 2.2. */
static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* SipHash-1-3, which CPython (3.11+) uses against the same attack. */
static uint64_t keyed_hash(const uint64_t key[2], const char *text, size_t len)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
			 key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
	uint64_t word, last = (uint64_t)len << 56;
	size_t at = 0;

	for (; len - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, text + at, sizeof(word));
		sip_word(v, word);
	}
	for (unsigned int i = 0; at + i < len; i++)
		last |= (uint64_t)(uint8_t)text[at + i] << (8 * i);
	sip_word(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct intern *intern_new(void)
{
	struct intern *in = calloc(1, sizeof(*in));

	if (in)
		atomic_init(&in->holders, 1);
	/* Without random bytes (no kernel since 3.17 refuses them) only the defence is gone. */
	if (in && getrandom(in->key, sizeof(in->key), GRND_NONBLOCK) < 0)
		in->key[0] = (uintptr_t)in;
	return in;
}

struct intern *intern_hold(struct intern *in)
{
	atomic_fetch_add(&in->holders, 1);
	return in;
}

void intern_free(struct intern *in)
{
	if (!in || atomic_fetch_sub(&in->holders, 1) > 1)
		return;
	for (uint32_t i = 0; i < in->entries.cnt; i++)
		free(in->entries.items[i].text);
	TABLE_FREE(&in->entries);
	free(in);
}

static const char *add_new(struct intern *in, const char *text, size_t len, uint64_t hash)
{
	char *copy = strndup(text, len);
	uint32_t num = copy ? TABLE_GROW(&in->entries, hash) : INDEX_NONE;

	if (num == INDEX_NONE) {
		free(copy);
		return empty;
	}
	in->entries.items[num] = (struct entry){.text = copy, .len = len};
	return copy;
}

const char *intern_add(struct intern *in, const char *text, size_t len)
{
	uint64_t hash;

	len = strnlen(text, len);
	if (!len)
		return empty;
	hash = keyed_hash(in->key, text, len);
	TABLE_EACH(it, &in->entries, hash)
	{
		const struct entry *entry = &in->entries.items[it.num];

		if (entry->len == len && !memcmp(entry->text, text, len))
			return entry->text;
	}
	return add_new(in, text, len, hash);
}

const char *intern_str(struct intern *in, const char *text)
{
	return intern_add(in, text, strlen(text));
}
