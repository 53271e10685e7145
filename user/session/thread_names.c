// SPDX-License-Identifier: BSD-2-Clause
/*
 * The way: PyInterpreterState's modules, "threading", its dict `_active` of the Thread objects by
 * threading.get_ident() (Lib/threading.py, every version), and their `_name`. The ident is
 * pthread_self(), PyThreadState.thread_id, and the walker has it of the thread that it sampled. So
 * this works before 3.8 too, where a Thread doesn't know its native id.
 *
 * The process runs meanwhile, and the thread may have ended, and another have got its ident, since
 * it was sampled. A name is one because
 *   - the key in `_active` and the object's own `_ident` are both that ident,
 *   - `_native_id`, from 3.8 on, is the thread's id in its own pid namespace,
 *     before 3.8 the thread still lives after the reading, so nobody else has had its ident, and
 *     the object is none of those that threading makes for C threads and then leaves behind,
 *   - two passes, each from the interpreter on, said the same.
 * The main thread's native id is not asked: up to 3.12 it is the parent's in a forked child. But
 * nobody gets the main thread's ident while there is a process.
 *
 * A subinterpreter has a threading of its own. Threads are looked for in the main interpreter
 * first; the other ones call whoever imported the module there "MainThread", which is no name.
 */
#include "user/session/thread_names.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "user/proc/memory.h"
#include "user/proc/procfs.h"
#include "user/python/pyobject.h"
#include "user/python/pyversion.h"

#define INTERPS_MAX 64 /* as many are looked through; the main one is the last of the list */
/* What a pass may read: a module that is another one is a read, and a thread takes some ten. */
#define READS_MAX (1 << 14)
#define THREAD_READS_MAX 32
#define NATIVE_ID_MINOR 8 /* of 3: the first whose Threads have a _native_id */

enum attr { ATTR_NAME, ATTR_IDENT, ATTR_NATIVE_ID, ATTR_CNT };
enum name { NAME_THREADING, NAME_ACTIVE, NAME_CNT };

/* One pass. */
struct pass {
	struct pyreader reader;
	struct procfs proc;
	struct memory mem;
	pid_t pid;
	const struct cpython *python;
	bool has_native_id, is_main_interp;
	struct pyname attrs[ATTR_CNT], names[NAME_CNT];
	uint64_t names_of;	      /* the interpreter whose strs they are */
	struct named_thread *threads; /* by ident */
	uint32_t cnt;
	struct strbuf text;
};

/* ---- A Thread object ---- */

/* Whether the object that says it is the thread `t` is the one of that thread. */
static bool is_of_thread(struct pass *p, const struct named_thread *t, const struct pytype *type)
{
	uint64_t ident, native_id, ns_tid;

	if (pyreader_int(&p->reader, p->attrs[ATTR_IDENT].value, &ident) || ident != t->ident)
		return false;
	if (!p->is_main_interp && !strcmp(type->name, "_MainThread"))
		return false;
	if ((pid_t)t->tid == p->pid)
		return true;
	if (!p->has_native_id)
		return strcmp(type->name, "_DummyThread") && procfs_ns_tid(&p->proc, t->tid);
	if (pyreader_int(&p->reader, p->attrs[ATTR_NATIVE_ID].value, &native_id))
		return false;
	ns_tid = procfs_ns_tid(&p->proc, t->tid);
	return ns_tid && native_id == ns_tid;
}

/* Reads the name of the object into t, if it is the thread's. */
static void name_thread(struct pass *p, struct named_thread *t, uint64_t object)
{
	uint32_t attr_cnt = p->has_native_id ? ATTR_CNT : ATTR_NATIVE_ID;
	struct pytable attrs;
	struct pytype type;

	if (pyreader_type(&p->reader, object, &type) ||
	    pyreader_attrs(&p->reader, object, &attrs) ||
	    pyreader_find(&p->reader, &attrs, p->attrs, attr_cnt))
		return;
	strbuf_reset(&p->text);
	if (pyreader_str(&p->reader, p->attrs[ATTR_NAME].value, THREAD_NAME_CHARS, &p->text) ||
	    !p->text.len || !is_of_thread(p, t, &type))
		return;
	t->name = strdup(strbuf_text(&p->text));
}

/* ---- threading._active ---- */

/* The first of those with this ident, or p->cnt. */
static uint32_t first_with(const struct pass *p, uint64_t ident)
{
	uint32_t low = 0, high = p->cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (p->threads[mid].ident < ident)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* An int is its own hash, up to 2^61 - 2 (Objects/longobject.c; 2.7: intobject.c), and an ident is
 * an address: only of those that are wanted the key is read. */
static int take_active(void *arg, const struct pyentry *entry)
{
	struct pass *p = arg;
	uint32_t i = first_with(p, entry->hash);
	uint64_t ident;

	if (i == p->cnt || p->threads[i].ident != entry->hash ||
	    pyreader_int(&p->reader, entry->key, &ident) || ident != entry->hash)
		return 0;
	for (; i < p->cnt && p->threads[i].ident == ident; i++)
		if (!p->threads[i].name)
			name_thread(p, &p->threads[i], entry->value);
	return 0;
}

/* The object at `addr` must be of a type that is called so. */
static bool is_called(struct pass *p, uint64_t addr, const char *name)
{
	struct pytype type;

	return !pyreader_type(&p->reader, addr, &type) && !strcmp(type.name, name);
}

static int read_u64(const struct pass *p, uint64_t addr, uint64_t *out)
{
	return addr ? memory_read_u64(&p->mem, addr, out) : -EINVAL;
}

static int find_in_dict(struct pass *p, uint64_t dict, struct pyname *name)
{
	struct pytable table;

	return pyreader_dict(&p->reader, dict, &table)
		       ?: pyreader_find(&p->reader, &table, name, 1);
}

/*
 * The second pass looks for the very strs that the first one found, and reads no others: one read
 * instead of hundreds. They are an interpreter's own.
 */
static void doubt_names(struct pass *p, uint64_t interp)
{
	struct pyname *all[ATTR_CNT + NAME_CNT] = {
		&p->attrs[ATTR_NAME], &p->attrs[ATTR_IDENT], &p->attrs[ATTR_NATIVE_ID],
		&p->names[NAME_THREADING], &p->names[NAME_ACTIVE]};

	for (size_t i = 0; i < ATTR_CNT + NAME_CNT; i++) {
		all[i]->is_doubtful = true;
		if (p->names_of != interp)
			all[i]->key = 0;
	}
	p->names_of = interp;
}

/* Names the threads that the interpreter's threading knows. Whatever is not as it must be: none. */
static void name_in_interp(struct pass *p, uint64_t interp)
{
	struct pyname *threading = &p->names[NAME_THREADING], *active = &p->names[NAME_ACTIVE];
	uint64_t dict;
	struct pytable table;

	doubt_names(p, interp);
	if (read_u64(p, interp + p->python->interp_modules_off, &dict) ||
	    find_in_dict(p, dict, threading) || !is_called(p, threading->value, "module"))
		return;
	if (read_u64(p, threading->value + p->python->walk.ob_type_off + 8 + PYOBJECT_MD_DICT,
		     &dict) ||
	    find_in_dict(p, dict, active) || pyreader_dict(&p->reader, active->value, &table))
		return;
	if (table.entry_bytes == sizeof(struct pyentry))
		pyreader_each(&p->reader, &table, take_active, p);
}

/* ---- Passes ---- */

static void run_pass(struct pass *p)
{
	uint64_t interps[INTERPS_MAX], addr;
	uint32_t cnt = 0;

	p->reader = (struct pyreader){.mem = &p->mem,
				      .walk = &p->python->walk,
				      .objects = p->reader.objects,
				      .reads_left = READS_MAX + p->cnt * THREAD_READS_MAX};
	if (read_u64(p, p->python->addrs.interp_head, &addr))
		return;
	while (addr && cnt < INTERPS_MAX) {
		interps[cnt++] = addr;
		if (read_u64(p, addr + p->python->walk.interp_next_off, &addr))
			return;
	}
	if (addr)
		return;
	p->is_main_interp = true;
	while (cnt--) {
		name_in_interp(p, interps[cnt]);
		p->is_main_interp = false;
	}
}

/* Keeps the names that both passes found. `again` is what the second one did, and is freed. */
static void keep_equal(struct named_thread *threads, struct named_thread *again, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++) {
		if (threads[i].name && (!again[i].name || strcmp(threads[i].name, again[i].name))) {
			free(threads[i].name);
			threads[i].name = NULL;
		}
		free(again[i].name);
	}
}

static int run_passes(struct pass *p, struct named_thread *threads, uint32_t cnt)
{
	struct named_thread *again = malloc(cnt * sizeof(*again));

	if (!again)
		return -ENOMEM;
	memcpy(again, threads, cnt * sizeof(*again));
	p->cnt = cnt;
	p->threads = threads;
	run_pass(p);
	p->threads = again;
	run_pass(p);
	keep_equal(threads, again, cnt);
	free(again);
	return 0;
}

/* Opens the memory; of another thread if the main one has ended and left the others. */
static int open_memory(struct pass *p)
{
	struct procfs_stat st;
	int err = procfs_open(&p->proc, p->pid);

	if (err)
		return err;
	err = procfs_read_stat(&p->proc, &st);
	if (!err && (st.state == 'Z' || st.state == 'X'))
		err = procfs_move_to_live_thread(&p->proc);
	err = err ?: memory_init(&p->mem, p->proc.dir_fd);
	if (err)
		procfs_close(&p->proc);
	return err;
}

static int by_ident(const void *a, const void *b)
{
	const struct named_thread *x = a, *y = b;

	return (x->ident > y->ident) - (x->ident < y->ident);
}

int thread_names_read(pid_t pid, const struct cpython *python, struct named_thread *threads,
		      uint32_t cnt)
{
	unsigned int major = pyversion_major(python->version);
	unsigned int minor = pyversion_minor(python->version);
	struct pass p = {
		.pid = pid,
		.python = python,
		.reader.objects = pyobject_layout_of_version(major, minor),
		.has_native_id = major == 3 && minor >= NATIVE_ID_MINOR,
		/* 2.7 writes self.__name in a class called _Thread. */
		.attrs = {{.text = major == 2 ? "_Thread__name" : "_name"},
			  {.text = major == 2 ? "_Thread__ident" : "_ident"},
			  {.text = "_native_id"}},
		.names = {{.text = "threading"}, {.text = "_active"}},
	};
	int err;

	for (uint32_t i = 0; i < cnt; i++)
		threads[i].name = NULL;
	if (!p.reader.objects || !cnt)
		return 0;
	qsort(threads, cnt, sizeof(*threads), by_ident);
	err = open_memory(&p);
	if (err)
		return err;
	err = run_passes(&p, threads, cnt);
	memory_release(&p.mem);
	procfs_close(&p.proc);
	strbuf_release(&p.text);
	return err;
}
