/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One attempt walks interpreters, threads and frames, each list with a bound. The target runs
 * meanwhile, so a broken link may be a race: only what is broken in every attempt, in a runtime
 * that calls itself initialised, is held against the layout.
 */
#include "user/python/prove.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS 20
#define QUICK_ATTEMPTS 5 /* at once; after them a pause before each */
#define PAUSE_NS 200000	 /* a frame is pushed in well under a microsecond */
#define INTERPS_MAX 64	 /* looked at: one that is proven is enough */
#define THREADS_MAX 512	 /* of an interpreter: as above */
#define FRAMES_MAX 128	 /* of a thread, innermost first */
/* Each list ends somewhere; a hostile process makes the most of all of them at once. An interpreter
 * of 512 idle threads takes 2,000. Some 50 ms. */
#define READS_MAX 65536
#define READ_MAX_BYTES 4096	/* of a thread state or frame: what layouts may ask for */
#define TAG_MASK (~(uint64_t)7) /* f_executable is a tagged _PyStackRef from 3.14 */
#define ADDR_MIN 4096		/* below lies no mapping (vm.mmap_min_addr) */

struct attempt {
	const struct prove_args *args;
	const struct krait_layout *walk;
	uint32_t *reads_left;	  /* of all attempts together */
	struct krait_addrs addrs; /* code_type: 0 until it is known */
	bool has_thread;	  /* a thread state names a thread that exists */
	bool has_frame;		  /* some thread runs a Python frame */
	bool has_code;		  /* and it led to a code object */
};

/* How attempts ended: as enum proof, with the race told apart. */
enum attempt_result { GOOD, EMPTY, RACE, BROKEN };

static bool is_pointer(uint64_t addr)
{
	return addr >= ADDR_MIN && addr < (uint64_t)1 << 56 && addr % 8 == 0;
}

static uint64_t u64_at(const void *buf, size_t off)
{
	uint64_t v;

	memcpy(&v, (const char *)buf + off, sizeof(v));
	return v;
}

static int read_memory(const struct attempt *a, uint64_t addr, void *buf, size_t len)
{
	if (!*a->reads_left)
		return -E2BIG;
	--*a->reads_left;
	return memory_read(a->args->mem, addr, buf, len);
}

static int read_u64(const struct attempt *a, uint64_t addr, uint64_t *out)
{
	return read_memory(a, addr, out, sizeof(*out));
}

/* ---- Code objects ---- */

/* PyCode_Type.tp_name is "code": Objects/codeobject.c, every version. */
static bool is_code_type(const struct attempt *a, uint64_t type_addr)
{
	uint64_t name_addr;
	char name[5];

	if (!is_pointer(type_addr) ||
	    read_u64(a, type_addr + a->args->layout->tp_name_off, &name_addr))
		return false;
	return !read_memory(a, name_addr, name, sizeof(name)) && !memcmp(name, "code", 5);
}

static bool is_code(struct attempt *a, uint64_t addr)
{
	uint64_t type_addr;

	addr &= TAG_MASK;
	if (!is_pointer(addr) || read_u64(a, addr + a->walk->ob_type_off, &type_addr))
		return false;
	if (a->addrs.code_type)
		return type_addr == a->addrs.code_type;
	if (!is_code_type(a, type_addr))
		return false;
	a->addrs.code_type = type_addr;
	return true;
}

/* ---- Frames ---- */

static int read_frame(const struct attempt *a, uint64_t addr, char *buf)
{
	const struct krait_layout *w = a->walk;

	return read_memory(a, addr + w->fr_first_off, buf + w->fr_first_off, w->fr_read_bytes);
}

static bool is_shim(const struct krait_layout *w, const char *frame)
{
	return w->has_shims && (uint8_t)frame[w->fr_owner_off] >= w->shim_owner;
}

/* From the innermost frame outwards until one leads to a code object: the outer ones hold still. */
static void walk_frames(struct attempt *a, uint64_t addr)
{
	char frame[READ_MAX_BYTES];

	for (int i = 0; i < FRAMES_MAX && addr && !a->has_code; i++) {
		if (!is_pointer(addr) || read_frame(a, addr, frame)) {
			a->has_frame = true; /* it ought to be one */
			return;
		}
		if (!is_shim(a->walk, frame)) {
			a->has_frame = true;
			a->has_code = is_code(a, u64_at(frame, a->walk->fr_code_off));
		}
		addr = u64_at(frame, a->walk->fr_prev_off);
	}
}

static void walk_thread_frames(struct attempt *a, const char *ts)
{
	uint64_t addr = u64_at(ts, a->walk->ts_frame_off);

	if (a->walk->has_cframe) {
		if (!is_pointer(addr) || read_u64(a, addr + a->walk->ts_cframe_frame_off, &addr))
			return;
	}
	walk_frames(a, addr);
}

/* ---- Threads ---- */

/*
 * thread_id is pthread_self() (Python/thread_pthread.h). On x86-64 that is the thread pointer, and
 * the word it points to is the pointer itself: "ELF Handling For Thread-Local Storage", 3.4.6, and
 * what both glibc (tcbhead_t.self) and musl (struct pthread.self) keep at %fs:0. Elsewhere the
 * kernel's id that 3.11 and later keep beside it must be one of the process's.
 */
static bool is_thread(const struct attempt *a, const char *ts)
{
#if defined(__x86_64__)
	uint64_t thread_id = u64_at(ts, a->walk->ts_thread_id_off), self;

	return is_pointer(thread_id) && !read_u64(a, thread_id, &self) && self == thread_id;
#else
	if (!a->walk->has_native_id)
		return is_pointer(u64_at(ts, a->walk->ts_thread_id_off));
	return procfs_has_ns_tid(a->args->proc, u64_at(ts, a->walk->ts_native_id_off));
#endif
}

static enum attempt_result walk_threads(struct attempt *a, uint64_t interp)
{
	const struct krait_layout *w = a->walk;
	uint64_t addr, prev = 0;
	char ts[READ_MAX_BYTES];

	if (read_u64(a, interp + w->interp_threads_off, &addr))
		return BROKEN;
	for (int i = 0; i < THREADS_MAX && addr; i++) {
		if (!is_pointer(addr) || read_memory(a, addr, ts, w->ts_read_bytes) ||
		    u64_at(ts, w->ts_interp_off) != interp)
			return BROKEN;
		if (w->has_prev && u64_at(ts, w->ts_prev_off) != prev)
			return BROKEN;
		/* A state may outlive its thread, or wait for it: one living thread is enough. */
		if (is_thread(a, ts)) {
			a->has_thread = true;
			walk_thread_frames(a, ts);
		}
		if (a->has_code)
			return GOOD;
		prev = addr;
		addr = u64_at(ts, w->ts_next_off);
	}
	return prev ? GOOD : EMPTY;
}

static enum attempt_result walk_interps(struct attempt *a)
{
	uint64_t interp;
	bool is_empty = true;

	if (read_u64(a, a->addrs.interp_head, &interp))
		return RACE; /* the address space is gone */
	for (int i = 0; i < INTERPS_MAX && interp; i++) {
		enum attempt_result v = is_pointer(interp) ? walk_threads(a, interp) : BROKEN;

		if (v == BROKEN)
			return BROKEN;
		is_empty &= v == EMPTY;
		if (a->has_code)
			return GOOD;
		if (read_u64(a, interp + a->walk->interp_next_off, &interp))
			return BROKEN;
	}
	return is_empty ? EMPTY : GOOD;
}

/* ---- The result ---- */

static enum attempt_result attempt_once(const struct prove_args *args, uint32_t *reads_left,
					struct krait_addrs *addrs, const char **why)
{
	struct attempt a = {.args = args,
			    .walk = &args->layout->walk,
			    .reads_left = reads_left,
			    .addrs = *addrs};
	enum attempt_result v = walk_interps(&a);

	if (v == EMPTY)
		*why = "the interpreter is not initialised yet";
	else if (v == BROKEN)
		*why = "its thread list does not have the structure of this version";
	else if (v == RACE)
		*why = "the process is ending";
	if (v != GOOD)
		return v;
	if (!a.has_thread) {
		*why = "its thread states name no thread of the process";
		return BROKEN;
	}
	if (a.addrs.code_type && !is_code_type(&a, a.addrs.code_type)) {
		*why = "its code type does not have the structure of this version";
		return BROKEN;
	}
	if (a.has_frame && !a.has_code) {
		*why = "its frames do not have the structure of this version";
		return BROKEN;
	}
	if (!a.addrs.code_type) {
		*why = "no Python frame has been seen running yet";
		return EMPTY;
	}
	*addrs = a.addrs;
	return GOOD;
}

static bool is_initialised(const struct prove_args *args)
{
	int32_t flag;

	if (!args->initialized_addr)
		return true;
	return !memory_read(args->mem, args->initialized_addr, &flag, sizeof(flag)) && flag == 1;
}

enum proof prove(const struct prove_args *args, struct krait_addrs *addrs, const char **why)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	uint32_t reads_left = READS_MAX;
	bool is_always_broken = true;

	for (int i = 0; i < ATTEMPTS && reads_left; i++) {
		switch (attempt_once(args, &reads_left, addrs, why)) {
		case GOOD:
			return PROOF_GOOD;
		case EMPTY:
		case RACE:
			return PROOF_NOT_YET;
		case BROKEN:
			is_always_broken &= is_initialised(args);
			break;
		}
		if (i >= QUICK_ATTEMPTS)
			nanosleep(&pause, NULL);
	}
	if (!reads_left)
		*why = "its lists of threads and frames have no end";
	return is_always_broken ? PROOF_WRONG : PROOF_NOT_YET;
}
