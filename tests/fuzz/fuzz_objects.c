/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python/pyobject.h: dicts, attributes, ints and strs of a CPython. In life they are the target's
 * memory, and their layout too from 3.13 on.
 *
 * Objects made by hand, into which the input writes words; then each reader is asked about
 * addresses of its choice. No answer is outside of what pyobject.h says; entries are those that the
 * memory holds, one after another; a text is safe; the budget of reads is kept.
 *
 * Input: which interpreter (arena.h); the writes; the budget (2); then questions of 3 bytes: of
 * what kind, and about which word of the arena or of the wide part.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fuzz/arena.h"
#include "user/base/strbuf.h"
#include "user/python/pyobject.h"

#define ENTRIES_MAX (1 << 17) /* pydict.c */
#define READS_PER_BUDGETED 18 /* a type: its keys, its name at once and byte by byte */
#define TEXT_CHARS 100
#define QUESTIONS_MAX 32

/* Entry `i` of the table, read without a piece of pydict.c. */
static struct pyentry entry_of(const struct pytable *t, uint64_t i)
{
	static const struct memory mem;
	struct pyentry entry = {};
	uint64_t at = t->entries + i * t->entry_bytes, read_cnt = arena.read_cnt;

	FUZZ_CHECK(t->entry_bytes == 16 || t->entry_bytes == 24);
	if (t->entry_bytes == 24)
		FUZZ_CHECK(memory_read(&mem, at, &entry.hash, 8) == 0);
	at += t->entry_bytes - 16;
	FUZZ_CHECK(memory_read(&mem, at, &entry.key, 16) == 0);
	if (t->values)
		FUZZ_CHECK(memory_read(&mem, t->values + i * 8, &entry.value, 8) == 0);
	arena.read_cnt = read_cnt; /* these are no reads of pydict.c's */
	return entry;
}

struct visit {
	const struct pytable *table;
	uint64_t next; /* the first entry that has not been told or passed over */
	bool is_checked;
};

static int on_entry(void *arg, const struct pyentry *entry)
{
	struct visit *v = arg;

	FUZZ_CHECK(entry->key && entry->value);
	if (!v->is_checked)
		return 0;
	while (v->next < v->table->cnt) {
		struct pyentry wanted = entry_of(v->table, v->next++);

		if (wanted.key && wanted.value) {
			FUZZ_CHECK(!memcmp(&wanted, entry, sizeof(wanted)));
			return 0;
		}
	}
	FUZZ_CHECK(!"there are that many entries");
	return 0;
}

static void check_table(struct pyreader *r, const struct pytable *table)
{
	/* What the memory holds later is not what was read, and a large table takes too long twice.
	 */
	struct visit v = {.table = table, .is_checked = !arena.later_cnt && table->cnt < 1024};
	struct pyname names[] = {{.text = "_name"}, {.text = "_active"}};
	int ret;

	FUZZ_CHECK(table->cnt <= ENTRIES_MAX);
	ret = pyreader_each(r, table, on_entry, &v);
	FUZZ_CHECK(ret <= 0);
	while (!ret && v.is_checked && v.next < table->cnt) {
		struct pyentry left = entry_of(table, v.next++);

		FUZZ_CHECK(!left.key || !left.value);
	}
	FUZZ_CHECK(pyreader_find(r, table, names, 2) <= 0);
	for (int i = 0; i < 2; i++)
		FUZZ_CHECK(!names[i].value || names[i].key);
}

static void check_str(struct pyreader *r, uint64_t addr)
{
	struct strbuf text = {};
	int err;

	strbuf_add_str(&text, "> ");
	err = pyreader_str(r, addr, TEXT_CHARS, &text);
	FUZZ_CHECK(!text.failed && !memcmp(text.buf, "> ", 2) && (!err || text.len == 2));
	FUZZ_CHECK(text.len <= 2 + 6 * TEXT_CHARS + 3);
	FUZZ_CHECK(fuzz_is_safe_text(text.buf, text.len));
	strbuf_release(&text);
}

static void ask(struct pyreader *r, uint8_t what, uint64_t addr)
{
	struct pytable table;
	struct pytype type;
	uint64_t number;

	switch (what % 5) {
	case 0:
		if (pyreader_type(r, addr, &type) == 0)
			FUZZ_CHECK(memchr(type.name, 0, sizeof(type.name)));
		return;
	case 1:
		if (pyreader_int(r, addr, &number) == 0)
			FUZZ_CHECK(number <= INT64_MAX);
		return;
	case 2:
		check_str(r, addr);
		return;
	case 3:
		if (pyreader_dict(r, addr, &table) == 0)
			check_table(r, &table);
		return;
	default:
		if (pyreader_attrs(r, addr, &table) == 0)
			check_table(r, &table);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct memory mem;
	struct pyreader r = {.mem = &mem, .walk = &arena.fake.walk};
	uint16_t budget;

	if (!arena_take_fake(&data, &size, 1))
		return 0;
	arena_take_writes(&data, &size);
	fuzz_take(&data, &size, &budget, sizeof(budget));
	r.reads_left = budget;
	r.objects = arena.fake.minor < 0 ? pyobject_layout_of_version(2, 7)
					 : pyobject_layout_of_version(3, arena.fake.minor);
	for (int i = 0; i < QUESTIONS_MAX && size; i++) {
		uint8_t what = fuzz_take_byte(&data, &size);
		uint16_t word;

		fuzz_take(&data, &size, &word, sizeof(word));
		ask(&r, what, ARENA_ADDR + (word & 0x8000 ? WIDE_OFF : 0) + word % ARENA_WORDS * 8);
		FUZZ_CHECK(r.reads_left <= budget);
		FUZZ_CHECK(arena.read_cnt <=
			   READS_PER_BUDGETED * (budget - r.reads_left + 1UL) + i);
	}
	return 0;
}
