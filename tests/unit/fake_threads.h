/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An interpreter with one named thread, made by hand in this program's own memory: one of each form
 * that dicts, instances and ints have had. Include after cmocka.h.
 */
#ifndef KRAIT_TESTS_UNIT_FAKE_THREADS_H
#define KRAIT_TESTS_UNIT_FAKE_THREADS_H

#include <string.h>
#include <sys/mman.h>

#include "user/python/layout.h"

#define ARENA_BYTES 8192
#define MODULES_OFF 16
#define IDENT 0x7f0012345678

struct fake {
	int minor;   /* of 3; -7: 2.7 */
	char *arena; /* set it before fake_init to have the arena there; else NULL */
	size_t used;
	struct krait_layout walk;
	uint64_t str, dict, integer, module, thread; /* types */
	char *interp, *module_object, *active_dict, *thread_object, *ident_key, *text;
	uint64_t head;
};

static const int minors[] = {-7, 8, 11, 12, 13};

static inline bool is_kinds(const struct fake *f)
{
	return f->minor >= 11;
}

static inline void *take(struct fake *f, size_t bytes)
{
	char *at = f->arena + f->used;

	f->used += (bytes + 7) & ~7UL;
	assert_true(f->used < ARENA_BYTES);
	return at;
}

static inline void put(void *at, size_t off, uint64_t value)
{
	memcpy((char *)at + off, &value, 8);
}

static inline void *object(struct fake *f, uint64_t type, size_t bytes)
{
	char *at = take(f, bytes);

	put(at, 0, 1);
	put(at, 8, type);
	return at;
}

static inline uint64_t make_type(struct fake *f, const char *name, uint64_t flags, size_t bytes)
{
	char *text = take(f, strlen(name) + 1), *type = object(f, 0, bytes);

	strcpy(text, name);
	put(type, 24, (uintptr_t)text);
	put(type, 32, 16); /* tp_basicsize */
	put(type, 168, flags);
	put(type, 288, 16); /* tp_dictoffset */
	return (uintptr_t)type;
}

static inline char *make_str(struct fake *f, const char *text)
{
	uint32_t data = f->minor < 0 ? 36 : f->minor < 12 ? 48 : 40;
	uint32_t state = 1 << 2 | 1 << 5 | 1 << 6; /* kind, compact, ascii */
	char *made = object(f, f->str, 80 + strlen(text));

	put(made, 16, strlen(text));
	memcpy(made + 32, &state, sizeof(state));
	strcpy(made + data, text);
	return made;
}

static inline char *make_int(struct fake *f, uint64_t value)
{
	char *number = object(f, f->integer, 40);
	uint32_t digits[2] = {value & 0x3fffffff, value >> 30};

	if (f->minor < 0) {
		put(number, 16, value);
		return number;
	}
	put(number, 16, f->minor < 12 ? 2 : 2 << 3);
	memcpy(number + 24, digits, sizeof(digits));
	return number;
}

/* The keys of a dict, with the values beside them (split) or in them. */
static inline char *make_keys(struct fake *f, bool split, bool general, const uint64_t *pairs,
			      uint32_t cnt)
{
	size_t start = is_kinds(f) ? 40 : 48, step = !is_kinds(f) || general ? 24 : 16;
	char *keys = take(f, start + cnt * step);
	uint8_t sizes[3] = {3, 3, general ? 0 : split ? 2 : 1};

	if (is_kinds(f)) {
		memcpy(keys + 8, sizes, sizeof(sizes));
		put(keys, 24, cnt);
	} else {
		put(keys, 8, 8);
		put(keys, 32, cnt);
	}
	for (uint32_t i = 0; i < cnt; i++) {
		char *entry = keys + start + i * step;

		if (step == 24)
			put(entry, 0, general ? IDENT : 99);
		put(entry, step - 16, pairs[2 * i]);
		if (!split)
			put(entry, step - 8, pairs[2 * i + 1]);
	}
	return keys;
}

static inline char *make_dict(struct fake *f, bool general, const uint64_t *pairs, uint32_t cnt)
{
	char *dict = object(f, f->dict, 56);

	if (f->minor < 0) {
		char *slots = take(f, 8 * 24);

		for (uint32_t i = 0; i < cnt; i++) {
			put(slots, i * 48, general ? IDENT : 99); /* every other slot */
			put(slots, i * 48 + 8, pairs[2 * i]);
			put(slots, i * 48 + 16, pairs[2 * i + 1]);
		}
		put(dict, 32, 7);
		put(dict, 40, (uintptr_t)slots);
		return dict;
	}
	put(dict, 32, (uintptr_t)make_keys(f, false, general, pairs, cnt));
	return dict;
}

static inline char *make_values(struct fake *f, const uint64_t *pairs, uint32_t cnt)
{
	char *values = take(f, cnt * 8);

	for (uint32_t i = 0; i < cnt; i++)
		put(values, i * 8, pairs[2 * i + 1]);
	return values;
}

/* An instance of Thread, whose attributes are where the version has them at first. */
static inline char *make_instance(struct fake *f, const uint64_t *pairs, uint32_t cnt)
{
	char *before = take(f, 32), *instance = object(f, f->thread, 24), *dict, *values;
	uint8_t sizes[4] = {(uint8_t)cnt, (uint8_t)cnt, 1, 1};

	if (f->minor < 0) {
		put(instance, 16, (uintptr_t)make_dict(f, false, pairs, cnt));
		return instance;
	}
	if (f->minor == 8) { /* split, as of any first instances of a class */
		dict = object(f, f->dict, 48);
		put(dict, 32, (uintptr_t)make_keys(f, true, false, pairs, cnt));
		put(dict, 40, (uintptr_t)make_values(f, pairs, cnt));
		put(instance, 16, (uintptr_t)dict);
		return instance;
	}
	if (f->minor == 13) {
		memcpy(instance + 16, sizes, sizeof(sizes));
		make_values(f, pairs, cnt);
	} else {
		values = make_values(f, pairs, cnt);
		put(before, f->minor == 11 ? 0 : 8, (uintptr_t)values - (f->minor == 12));
	}
	put((char *)f->thread, f->minor == 11 ? 872 : 880,
	    (uintptr_t)make_keys(f, true, false, pairs, cnt));
	return instance;
}

static inline uint64_t str(struct fake *f, const char *text)
{
	return (uintptr_t)make_str(f, text);
}

/* The page behind it is not there. */
static inline void arena_map(struct fake *f)
{
	f->arena = mmap(NULL, 2 * ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	assert_true(f->arena != MAP_FAILED);
	munmap(f->arena + ARENA_BYTES, ARENA_BYTES);
}

/* interpreter -> modules -> threading -> _active -> the Thread, who names itself "worker". */
static inline void fake_init(struct fake *f, int minor, uint64_t native_id)
{
	const struct py_layout *row =
		minor < 0 ? layout_of_version(2, 7) : layout_of_version(3, minor < 12 ? minor : 12);
	uint64_t attrs[6], names[2], active[2], modules[2];
	char *module;

	*f = (struct fake){.minor = minor, .arena = f->arena, .walk = row->walk};
	if (!f->arena)
		arena_map(f);
	f->str = make_type(f, "str", minor < 0 ? 1 << 27 : 1 << 28, 296);
	f->dict = make_type(f, "dict", 1 << 29, 296);
	f->integer = make_type(f, "int", minor < 0 ? 1 << 23 : 1 << 24, 296);
	f->module = make_type(f, "module", 0, 296);
	f->thread = make_type(f, "Thread", minor < 11 ? 0 : 1 << 4 | 1 << 2, 888);
	attrs[0] = str(f, minor < 0 ? "_Thread__ident" : "_ident");
	attrs[1] = (uintptr_t)make_int(f, IDENT);
	attrs[2] = str(f, "_native_id");
	attrs[3] = (uintptr_t)make_int(f, native_id);
	attrs[4] = str(f, minor < 0 ? "_Thread__name" : "_name");
	f->text = make_str(f, "worker");
	attrs[5] = (uintptr_t)f->text;
	f->thread_object = make_instance(f, attrs, 3);
	f->ident_key = make_int(f, IDENT);
	active[0] = (uintptr_t)f->ident_key;
	active[1] = (uintptr_t)f->thread_object;
	names[0] = str(f, "_active");
	f->active_dict = make_dict(f, true, active, 1);
	names[1] = (uintptr_t)f->active_dict;
	module = object(f, f->module, 24);
	f->module_object = module;
	put(module, 16, (uintptr_t)make_dict(f, false, names, 1));
	modules[0] = str(f, "threading");
	modules[1] = (uintptr_t)module;
	f->interp = take(f, 128);
	put(f->interp, MODULES_OFF, (uintptr_t)make_dict(f, false, modules, 1));
	f->head = (uintptr_t)f->interp;
}

static inline void fake_release(struct fake *f)
{
	munmap(f->arena, ARENA_BYTES);
	f->arena = NULL;
}

#endif
