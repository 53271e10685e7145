/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the walker remembers: within a tick (struct scratch, one per CPU), between the ticks of a
 * thread (struct thread_memo, in task storage) and between those of all (which ids user space has).
 */
#ifndef KRAIT_STATE_H
#define KRAIT_STATE_H

#include "bpf/platform.h"

/* Powers of two, so that a mask bounds an index for the verifier. */
#define WINDOW_BYTES                                                                               \
	16384		/* the size of a data-stack chunk: Include/internal/pycore_frame.h,        \
			   DATA_STACK_CHUNK_SIZE */
#define FRAME_BYTES 256 /* of one frame's header at most; the largest is 96 (3.14t) */
#define TSTATE_BYTES                                                                               \
	512 /* of a thread state at most, up to the last field of use; the largest is 304 (3.11)   \
	     */
#define CODE_HEAD_BYTES 512 /* of a code object at most; the largest is 232 (3.14t) */

/* Where the one frame lies that was read by itself, behind the window. */
#define SINGLE_OFF WINDOW_BYTES

/*
 * Whether the innermost frame has been proven to be current. 3.11 and 3.12 keep the current frame
 * in a _PyCFrame on the C stack, and the evaluation loop makes that known (tstate->cframe =
 * &cframe) before it fills it in: a tick in between finds a frame pointer that an earlier call left
 * there (Python/ceval.c, _PyEval_EvalFrameDefault). What tells: the outermost frame of this C call
 * must lead to the current frame of the _PyCFrame before.
 */
enum walk_entry {
	ENTRY_UNPROVEN,
	ENTRY_PROVEN, /* or this version needs no proof */
	ENTRY_STALE,
};

/* A walk in progress. Addresses are the target's. */
struct walk {
	__u64 frame;	/* the next frame */
	__u64 tortoise; /* where an earlier step began, to know a circle by (Brent) */
	__u64 hash;
	__u64 win_lo;	/* address of window[0]; win_bytes are valid */
	__u64 chunk_lo; /* the data-stack chunk that the walk is in: [chunk_lo, chunk_hi) */
	__u64 chunk_hi;
	__u64 chunk_prev;   /* the chunk below it, or 0 */
	bool chunk_is_read; /* else chunk_hi is what any chunk has, and chunk_prev is not known yet
			     */
	__u64 bytecode_off; /* how far from its code object the frame's bytecode lies */
	__u64 odd_marks;    /* what marks a frame that is not plain */
	__u64 entry_from;   /* to where the first entry frame must lead: see walk_entry */
	__u32 win_bytes;
	__u32 is_kept;	 /* the frames go into the STACK record; else only into the hash */
	__u32 step_cnt;	 /* steps taken */
	__u32 next_mark; /* step count at which the tortoise moves */
	__u32 cnt;	 /* frames taken, */
	__u32 cnt_max;	 /* of at most so many */
	__u32 entry;	 /* enum walk_entry */
	__u16 flags;	 /* KRAIT_STACK_* */
	__u16 fault;	 /* of the frame that ended the walk, or 0 */
};

/* What a step of the walk needs of the layout: offsets as locals, whose bounds the verifier keeps;
 * the rest in the scratch (see frames_take_plain). */
struct frame_view {
	__u32 first, need;		       /* the bytes of a frame to be read */
	__u32 code, prev, instr, owner, entry; /* where its fields are in them */
	__u32 marks;			       /* the word that has the owner and the entry byte */
	__u32 shim_owner;		       /* 256: there are none */
	__u64 shim_mask, entry_mask; /* of that word: not zero in a shim, in an entry frame */
};

/* How a thread is recognised in the list. */
struct thread_key {
	__u64 thread_id; /* pthread_self(); 0: compare native_id (arm64, where libc decides what
			    lies below the pointer) */
	__u64 native_id; /* the tid in the thread's own pid namespace */
};

/* The head of a CODE record and its text, built here before it is sent. */
#define CODE_TEXT_BYTES (2 * KRAIT_NAME_BYTES + KRAIT_FILE_BYTES + KRAIT_LINES_CHUNK_BYTES)

struct code_build {
	struct krait_code_rec rec;
	__u8 text[CODE_TEXT_BYTES + 8];
};

/*
 * What the last ticks on this CPU found out about a thread and its process, so that the next one
 * needs none of the maps for it. True as long as the results (process.h, `generation`) and the
 * epoch are the same; the thread state's address is no more than a place to look first.
 */
struct recent {
	__u32 host_tid; /* whose this is about, with the address space in proc.mm */
	__u32 generation;
	__u32 epoch; /* 0: nothing */
	__u16 state; /* of proc, on the same cache line */
	__u8 needs_own;
	__u8 is_named; /* user space has been told the thread's name in this epoch */
	__u32 pid;     /* as krait's pid namespace has them (process.h): */
	__u32 tid;     /* what maps and records say */
	__u64 tstate;
	__u64 newest_until_ns; /* as in struct thread_memo */
	struct krait_proc proc;
};

_Static_assert(sizeof(struct recent) == 128, "state: recent");

/*
 * The id of a stack that a tick on this CPU has met lately. What all CPUs know of stacks is spread
 * over the many pages of a map, and one that the last tick did not touch takes a tenth of a tick.
 */
struct recent_stack {
	__u64 key; /* as of struct stack_set, with the epoch in it; 0: none */
	__u64 id;
};

/* A power of two; what fits. */
#define RECENT_STACK_CNT 32

/* Threads that a CPU remembers so, by the low bits of their ids. */
#define RECENT_CNT 16
#define PAGE_BYTES 4096

/*
 * One per CPU and level (level.h), on pages of its own. What a tick costs when the last one was
 * long ago is not its instructions but the cache lines and the TLB entries that it must fetch, some
 * 50 ns each; so what every tick touches is on the first page, and the window behind it.
 */
struct scratch {
	union {
		struct {
			struct krait_writer writer; /* first */
			struct recent recents[RECENT_CNT];
			__u32 host_tid; /* of the tick's thread: its place among the recents */
			__u32 epoch;
			__u64 mm;
			__u64 value;	/* what the event stands for, and which it is: */
			__u32 event;	/* as in a SAMPLE */
			__u32 is_taken; /* the level: level.h */
			__u64 now_ns;	/* of this event */
			/* This stack holds a frame with a fault, or a code object that is not
			 * trusted yet: look again at the next tick. */
			__u32 is_unsettled;
			__u32 code_bytes; /* of the process, as in struct krait_proc */
			__u64 stack_key;
			__u64 stack_id;
			__u64 interp_id;  /* of the stack being learnt */
			__u64 print;	  /* a code object's fingerprint in the making */
			__u32 needs_own;  /* a state counts only once it is proven to be the
					     thread's: ts_is_own */
			__u32 layout_num; /* its index + 1: the last tick on this CPU may have
					     needed the same */
			struct thread_key key;
			__u64 tstate; /* the thread state in ts: found, or where the search is */
			__u64 frame;  /* its innermost frame */
			__u64 cframe_prev; /* the _PyCFrame before its innermost, where the version
					      has them; or 0 */
			__u64 interp;	   /* the search: whose list it is in, */
			__u64 looked_at;   /* the last thread state it looked at, */
			__u64 idle_tstate; /* and the thread's state that runs no frame, if any */
			__u64 own_tstate;  /* and one that runs a frame, but is not proven */
			/* Whether ids do not tell which thread runs a state (runner.h); what does:
			 * the thread's stack from its pointer on, the state that has the GIL. */
			bool is_shared;
			/* The thread itself executes Python's bytecode, no C function that it
			 * called. */
			bool is_in_eval;
			__u32 word_cnt;	     /* of what runner_take_words took */
			__u64 proven_tstate; /* which this thread was seen to run */
			__u64 stack_lo, stack_bytes, current, current_id;
			struct krait_layout layout;
			struct frame_view view;
			struct walk walk;
			__u8 ts[TSTATE_BYTES + 8];
			struct recent_stack recent_stacks[RECENT_STACK_CNT];
		};
		__u8 hot_page[PAGE_BYTES];
	};
	__u8 window[WINDOW_BYTES + 2 * FRAME_BYTES];
	__u8 code[CODE_HEAD_BYTES + 8];
	struct code_build build;
	__u8 pad[-(WINDOW_BYTES + 2 * FRAME_BYTES + CODE_HEAD_BYTES + 8 +
		   sizeof(struct code_build)) %
		 PAGE_BYTES];
};

/* The place for what is remembered of the tick's thread. */
static __always_inline struct recent *recent_of(struct scratch *s)
{
	return &s->recents[s->host_tid & (RECENT_CNT - 1)];
}

/* The tick's process. */
static __always_inline const struct krait_proc *proc_of(const struct scratch *s)
{
	return &s->recents[s->host_tid & (RECENT_CNT - 1)].proc;
}

_Static_assert(sizeof(struct scratch) % PAGE_BYTES == 0, "state: scratch");
_Static_assert(__builtin_offsetof(struct scratch, window) == PAGE_BYTES, "state: hot page");

/* What a thread's ticks tell its next ones. */
struct thread_memo {
	__u64 seed; /* of the process it was learned in; another one: exec, or the pid was reused */
	__u64 tstate;	       /* 0: none was found */
	__u64 search_at_ns;    /* none was found: not to search before */
	__u64 cursor;	       /* a long search goes on here; 0: at the head */
	__u64 first_interp;    /* in whose list a new state would be, if there was none */
	__u64 newest_until_ns; /* tstate is of the newest interpreter; not to ask again before */
	__u64 own_tstate;      /* was seen with the GIL in this thread's hands */
	__u64 collection;      /* the last one that was seen to be this thread's: collection_num */
	__u32 search_again_ms;
	__u32 is_shared;  /* the process has several interpreters: runner.h */
	__u32 comm_epoch; /* when comm was last compared */
	char comm[KRAIT_COMM_BYTES];
};

/*
 * Which ids user space has: a two-way direct-mapped cache instead of an LRU map. A write is one
 * aligned word, there is nothing to allocate or lock, and a collision costs a record sent twice.
 */
struct sent_pair {
	__u64 id[2];
};

static __always_inline bool sent_has(const struct sent_pair *pair, __u64 id)
{
	return pair->id[0] == id || pair->id[1] == id;
}

static __always_inline void sent_add(struct sent_pair *pair, __u64 id)
{
	pair->id[1] = pair->id[0];
	pair->id[0] = id;
}

/* A half-written pair of words must be no answer instead of a wrong one: any CPU writes without a
 * lock. So an id is kept beside a check made of it and its key. */
#define KNOWN_MULTIPLIER 0x9e3779b97f4a7c15ULL
#define KNOWN_WAYS 4

static __always_inline __u64 known_check(__u64 key, __u64 id)
{
	return key ^ id * KNOWN_MULTIPLIER;
}

/* The ids of stacks by what was walked and the epoch, a cache line of them; the oldest goes. */
struct stack_set {
	struct {
		__u64 check;
		__u64 id;
	} way[KNOWN_WAYS];
};

/* The id of the stack, or 0. */
static __always_inline __u64 stack_set_find(const struct stack_set *set, __u64 key)
{
	for (int i = 0; i < KNOWN_WAYS; i++)
		if (set->way[i].check == known_check(key, set->way[i].id))
			return set->way[i].id;
	return 0;
}

static __always_inline void stack_set_add(struct stack_set *set, __u64 key, __u64 id)
{
	for (int i = KNOWN_WAYS - 1; i > 0; i--)
		set->way[i] = set->way[i - 1];
	set->way[0].id = id;
	set->way[0].check = known_check(key, id);
}

/*
 * What was found when a code object was last looked at, by its address. In sets, so that what is in
 * use seldom has to go for something else that is.
 */
struct known {
	__u64 check;
	__u64 id;
	__u64 at_ns;	   /* the tick that last verified it */
	__u32 epoch;	   /* and its epoch */
	__u32 since_epoch; /* since when it has had this id */
};

struct known_set {
	struct known way[KNOWN_WAYS];
};

static __always_inline bool known_is(const struct known *k, __u64 key)
{
	return k->check == known_check(key, k->id) && k->id;
}

/* The entry of the key; or the one to be overwritten with it: the first that no tick of this epoch
 * or the last one has used, else any. */
static __always_inline struct known *known_find(struct known_set *set, __u64 key, __u32 epoch)
{
	struct known *victim = &set->way[key >> 62 & (KNOWN_WAYS - 1)];

	for (int i = 0; i < KNOWN_WAYS; i++)
		if (known_is(&set->way[i], key))
			return &set->way[i];
	for (int i = 0; i < KNOWN_WAYS; i++)
		if (!set->way[i].id || set->way[i].epoch + 1 < epoch)
			victim = &set->way[i];
	return victim;
}

/*
 * Remembers that the key has this id in this epoch. If it had another one, or was not looked at in
 * the epoch before, it has it since now: a program that was stopped is in code that is no older for
 * it.
 */
static __always_inline void known_set_id(struct known *k, __u64 key, __u64 id, __u32 epoch,
					 __u64 now_ns)
{
	if (!known_is(k, key) || k->id != id || k->epoch + 1 < epoch)
		k->since_epoch = epoch;
	k->id = id;
	k->check = known_check(key, id);
	k->epoch = epoch;
	k->at_ns = now_ns;
}

#endif
