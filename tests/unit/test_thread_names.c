// SPDX-License-Identifier: BSD-2-Clause
/*
 * Names of threads, over an interpreter made by hand in this program's own memory, which is read as
 * any target's is. One of each form that dicts, instances and ints have had. Then every word of it
 * is replaced in turn by what it must not be: the right name or none may come out, in bounded time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_threads.h"
#include "user/python/pyversion.h"
#include "user/session/thread_names.h"

/* The name of this program's thread `tid`, to be freed. */
static char *name_of(const struct fake *f, pid_t tid, uint64_t ident)
{
	struct named_thread threads[2] = {{.tid = tid, .ident = ident}, {.tid = 1, .ident = 7}};
	const struct cpython python = {
		.version = f->minor < 0 ? pyversion_hex(2, 7, 18) : pyversion_hex(3, f->minor, 0),
		.interp_modules_off = MODULES_OFF,
		.addrs.interp_head = (uintptr_t)&f->head,
		.walk = f->walk,
	};

	assert_int_equal(thread_names_read(getpid(), &python, threads, 2), 0);
	assert_int_equal(threads[0].tid, 1); /* by ident */
	assert_null(threads[0].name);
	return threads[1].name;
}

static void expect(const struct fake *f, pid_t tid, uint64_t ident, const char *name)
{
	char *found = name_of(f, tid, ident);

	assert_int_equal(found != NULL, name != NULL);
	if (found)
		assert_string_equal(found, name);
	free(found);
}

/* ---- A thread beside the main one ---- */

struct other {
	pthread_t thread;
	pid_t tid;
	int ready[2], end[2];
};

static void *be_other(void *arg)
{
	struct other *o = arg;
	pid_t tid = syscall(SYS_gettid);
	char c;

	if (write(o->ready[1], &tid, sizeof(tid)) != sizeof(tid))
		abort();
	return read(o->end[0], &c, 1) < 0 ? o : NULL;
}

static void other_start(struct other *o)
{
	assert_int_equal(pipe(o->ready), 0);
	assert_int_equal(pipe(o->end), 0);
	assert_int_equal(pthread_create(&o->thread, NULL, be_other, o), 0);
	assert_int_equal(read(o->ready[0], &o->tid, sizeof(o->tid)), sizeof(o->tid));
}

/* Returns once the kernel, too, knows that it has ended. */
static void other_end(struct other *o)
{
	close(o->end[1]);
	pthread_join(o->thread, NULL);
	while (syscall(SYS_tgkill, getpid(), o->tid, 0) == 0)
		sched_yield();
	close(o->end[0]);
	close(o->ready[0]);
	close(o->ready[1]);
}

/* ---- Tests ---- */

static void test_names(void **state)
{
	struct fake f = {};

	(void)state;
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		fake_init(&f, minors[i], 1);
		expect(&f, getpid(), IDENT, "worker");
		expect(&f, getpid(), IDENT + 8, NULL);
		fake_release(&f);
	}
}

/* The ident alone may be the next thread's. */
static void test_other_threads(void **state)
{
	struct fake right = {}, wrong = {};
	struct other o;

	(void)state;
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		other_start(&o);
		fake_init(&right, minors[i], o.tid);
		fake_init(&wrong, minors[i], o.tid + 1);
		expect(&right, o.tid, IDENT, "worker");
		expect(&wrong, o.tid, IDENT, minors[i] < 8 ? "worker" : NULL);
		strcpy(*(char **)(right.thread + 24), "_Dummy"); /* tp_name */
		expect(&right, o.tid, IDENT, "worker");
		other_end(&o);
		expect(&right, o.tid, IDENT, NULL);
		fake_release(&right);
		fake_release(&wrong);
	}
}

/* What threading makes for C threads stays behind: without a native id nobody knows whose it is. */
static void test_dummies(void **state)
{
	static char dummy[] = "_DummyThread";
	struct fake f = {};
	struct other o;

	(void)state;
	other_start(&o);
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		fake_init(&f, minors[i], o.tid);
		put((char *)f.thread, 24, (uintptr_t)dummy);
		expect(&f, o.tid, IDENT, minors[i] < 8 ? NULL : "worker");
		fake_release(&f);
	}
	other_end(&o);
}

/* Nothing that is of another type than it must be is believed. */
static void test_types(void **state)
{
	struct fake f = {};

	(void)state;
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		fake_init(&f, minors[i], 1);
		for (int k = 0; k < 3; k++) {
			char *type = (char *)(k == 0 ? f.str : k == 1 ? f.dict : f.integer);
			uint64_t flags;

			memcpy(&flags, type + 168, 8);
			put(type, 168, ~flags);
			expect(&f, getpid(), IDENT, NULL);
			put(type, 168, flags);
		}
		expect(&f, getpid(), IDENT, "worker");
		**(char **)(f.module + 24) = 'M';
		expect(&f, getpid(), IDENT, NULL);
		fake_release(&f);
	}
}

/* A dict of more than there can be costs no more than it may. */
static void test_budget(void **state)
{
	const uint32_t cnt = 100000;
	struct fake f = {};
	uint64_t *entries, *word;
	char *keys;

	(void)state;
	fake_init(&f, 12, 1);
	keys = calloc(1, 40 + cnt * 16);
	put(keys, 8, 17 | 3 << 8 | 1 << 16);
	put(keys, 24, cnt);
	entries = (uint64_t *)(keys + 40);
	for (uint32_t i = 0; i < 2 * cnt; i++)
		entries[i] = (uintptr_t)f.text;
	word = *(uint64_t **)(f.interp + MODULES_OFF) + 4;
	memcpy(entries, (char *)*word + 40, 16);
	*word = (uintptr_t)keys;
	expect(&f, getpid(), IDENT, "worker"); /* the first of them is threading */
	memcpy(entries + 2 * (cnt - 1), entries, 16);
	entries[0] = entries[2];
	entries[1] = entries[3];
	expect(&f, getpid(), IDENT, NULL); /* the last */
	free(keys);
	fake_release(&f);
}

/* A subinterpreter's "MainThread" is whoever imported threading there. */
static void test_interpreters(void **state)
{
	static char main_thread[] = "_MainThread";
	char second[128] = {};
	struct fake f = {};

	(void)state;
	fake_init(&f, 12, getpid());
	put((char *)f.thread, 24, (uintptr_t)main_thread);
	expect(&f, getpid(), IDENT, "worker");
	put(f.interp, 0, (uintptr_t)second); /* the main one is the last */
	expect(&f, getpid(), IDENT, NULL);
	put((char *)f.thread, 24, (uintptr_t)(main_thread + 5));
	expect(&f, getpid(), IDENT, "worker");
	put(second, 0, f.head); /* a circle */
	expect(&f, getpid(), IDENT, NULL);
	fake_release(&f);
}

/* The same names are other strs there. */
static void test_own_strs(void **state)
{
	char *second = calloc(1, 128), *module;
	uint64_t pairs[2];
	struct fake f = {};

	(void)state;
	fake_init(&f, 12, getpid());
	pairs[0] = str(&f, "_active");
	pairs[1] = (uintptr_t)make_dict(&f, true, pairs, 0);
	module = object(&f, f.module, 24);
	put(module, 16, (uintptr_t)make_dict(&f, false, pairs, 1));
	pairs[0] = str(&f, "threading");
	pairs[1] = (uintptr_t)module;
	put(second, MODULES_OFF, (uintptr_t)make_dict(&f, false, pairs, 1));
	put(f.interp, 0, (uintptr_t)second);
	expect(&f, getpid(), IDENT, "worker");
	fake_release(&f);
	free(second);
}

static void test_long_name(void **state)
{
	char text[300];
	struct fake f = {};
	char *name;

	(void)state;
	fake_init(&f, 12, 1);
	memset(text, 'n', sizeof(text));
	text[sizeof(text) - 1] = 0;
	name = make_str(&f, text);
	memcpy(f.text + 16, name + 16, 8);
	memcpy(f.text + 40, text, 24); /* what follows are other objects' bytes */
	name = name_of(&f, getpid(), IDENT);
	assert_non_null(name);
	assert_int_equal(strncmp(name, text, 24), 0);
	assert_string_equal(name + strlen(name) - 3, "…");
	assert_true(strlen(name) < THREAD_NAME_BYTES);
	free(name);
	fake_release(&f);
}

/* ---- Faults ---- */

static const uint64_t bad_words[] = {UINT64_MAX, 1, 0, 1UL << 55, 0x30003, 0x1ffff, 1UL << 63};

/* A name, if there is one, is the right one; but if the text itself has changed. */
static void check_fault(struct fake *f, char *at, uint64_t bad)
{
	uint64_t good;
	char *found;

	memcpy(&good, at, 8);
	put(at, 0, bad);
	found = name_of(f, getpid(), IDENT);
	if (found && (at < f->text + 16 || at > f->text + 48))
		assert_string_equal(found, "worker");
	free(found);
	put(at, 0, good);
}

static void sweep(struct fake *f)
{
	for (char *at = f->arena; at < f->arena + f->used; at += 8) {
		static const char zero[8];
		/* Most of what is 0 is nothing that is read. */
		size_t cnt = memcmp(at, zero, 8) ? sizeof(bad_words) / sizeof(*bad_words) : 1;

		for (size_t i = 0; i < cnt; i++)
			check_fault(f, at, bad_words[i]);
		check_fault(f, at, (uintptr_t)at); /* itself */
		check_fault(f, at, (uintptr_t)f->arena + ARENA_BYTES - 8);
	}
}

static void test_faults(void **state)
{
	struct fake f = {};

	(void)state;
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		fake_init(&f, minors[i], 1);
		sweep(&f);
		expect(&f, getpid(), IDENT, "worker");
		fake_release(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	  cmocka_unit_test(test_other_threads),
		cmocka_unit_test(test_dummies),	  cmocka_unit_test(test_types),
		cmocka_unit_test(test_budget),	  cmocka_unit_test(test_interpreters),
		cmocka_unit_test(test_long_name), cmocka_unit_test(test_own_strs),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
