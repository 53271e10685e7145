/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What user space and the BPF program tell each other while they run: both are of one build, so
 * nothing in here outlives it.
 *
 * Four kinds of record go the other way (bpf/abi/record.h): SAMPLE in a ring of its own for each
 * CPU, the others in one BPF ring buffer, and there also KRAIT_ABSENT, which is never stored.
 */
#ifndef KRAIT_ABI_CONTROL_H
#define KRAIT_ABI_CONTROL_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#include "bpf/abi/ledger.h"
#include "bpf/abi/record.h"

/* ---- Bounds. Each loop and each copy in the BPF program is bounded by one of these, or of
 * record.h. ---- */

#define KRAIT_MAX_DEPTH_DEFAULT 1024
/* Of CODE records a process may send so many bytes at once, and from then on so many for each stack
 * that is new: what changes all of its code objects all the time would fill the ring. */
#define KRAIT_CODE_BURST_BYTES (512 << 10)
#define KRAIT_CODE_STACK_BYTES 1024
#define KRAIT_LAYOUTS 64     /* distinct interpreter layouts alive at once */
#define KRAIT_TIMED_EVERY 16 /* ticks on targets, of which one is timed */

/*
 * ---- The rings of samples ----
 *
 * Almost all that krait sends is samples. In a BPF ring buffer each costs a lock that the CPUs
 * share and five pages that a tick needs for nothing else; a ring of its own has one writer, a
 * level of a CPU (bpf/level.h), and one reader. That of writer w is the elements from
 * w * sample_slots on of the map `samples`; its n-th sample is at n % sample_slots, and has been
 * written once samples_written > n.
 */
#define KRAIT_COUNTERS_MAX 33

/* How each writer's memory starts, which user space maps. Those of CPU c are the level_cnt from
 * c * level_cnt on. */
struct krait_writer {
	__u64 counters[KRAIT_COUNTERS_MAX]; /* by enum krait_counter: of the CPU's clock */
	__u64 samples_written;
	__u64 samples_read; /* user space: it has read so many */
	__u64 sample_slots; /* user space: the ring's length, a power of two */
	__u64 ticks;	    /* and events: as they come, */
	__u64 target_ticks; /* of them on targets, and */
	__u64 timed_ns;	    /* what one in KRAIT_TIMED_EVERY of them has taken */
	__u32 number;	    /* user space: which writer this is */
	__u32 pad;
};

/*
 * ---- What the walker asks for ----
 *
 * A tick could not read what it needed: the innermost frame that it lacks, or a code object, or
 * neither, and then it was the thread state or the way to it. No record of a recording: it is about
 * this moment. A kind that none of those will have.
 */
#define KRAIT_ABSENT 0xff00

struct krait_absent_rec {
	struct krait_hdr h;
	__u64 frame_addr;  /* or 0 */
	__u64 code_addr;   /* or 0 */
	__u64 tstate_addr; /* the thread state, or where the search for it was; or 0 */
	__u32 pid;
	__u32 pad;
};

/* ---- What user space tells the walker ---- */

/* Where a frame keeps its place in the code: what the value at fr_instr_off is. */
enum krait_instr_kind {
	KRAIT_INSTR_LASTI_BYTES = 1, /* 3.6 to 3.9: int, in bytes, two of which are a code unit */
	KRAIT_INSTR_LASTI_UNITS = 2, /* 3.10, and up to 3.5, whose unit is a byte: in code units */
	KRAIT_INSTR_PTR = 3,	     /* 3.11 and later: a pointer into the code */
};

/* How to tell which thread runs a state, in a process that has several interpreters: runner.h. */
enum krait_runner_kind {
	KRAIT_RUNNER_ID = 1,	/* its ts_thread_id is the thread's: up to 3.7, and from 3.13 on */
	KRAIT_RUNNER_LOOP = 2,	/* nothing in the state, but the evaluation loop: 3.8, 3.9 */
	KRAIT_RUNNER_STACK = 3, /* ts_stack_off points into the thread's C stack: 3.10 to 3.12 */
};

/* How to tell which thread collects garbage, when its interpreter does. */
enum krait_collector_kind {
	/* Its state is at krait_addrs.current, so it has the GIL: up to 3.11. */
	KRAIT_COLLECTOR_CURRENT = 1,
	/* It holds its interpreter's GIL: gil_holder_off in what interp_gil_off points to
	 * (PyInterpreterState.ceval.gil, last_holder), 3.12 to 3.14. */
	KRAIT_COLLECTOR_GIL = 2,
	/* Without a GIL, up to 3.14: it was seen to have stopped the others, so to be at
	 * interp_gil_off (PyInterpreterState.stoptheworld.requester), in this same collection. How
	 * many of each generation have ended is at interp_gc_stats_off (.gc.generation_stats). */
	KRAIT_COLLECTOR_STOPPER = 3,
	/* Its innermost frame is the one at interp_gc_frame_off (PyInterpreterState.gc.frame),
	 * which began the collection: 3.15. */
	KRAIT_COLLECTOR_FRAME = 4,
};

/*
 * One CPython build, as data: the walker branches on no version. Facts are 1 or 0, and where one
 * is 0 the fields that it names are not to be used. Offsets and sizes are in bytes.
 * user/python/layout.c makes these and cites the source of each. (Aligned, as a tick copies it.)
 */
struct krait_layout {
	__u8 has_interp_id;	/* interp_id_off: 3.7 and later */
	__u8 interp_collects;	/* each interpreter says whether it collects garbage, at
				   interp_collecting_off: 3.9 and later; else krait_addrs.collecting
				 */
	__u8 has_prev;		/* ts_prev_off: all but 2.7, where no state is kept from a tick */
	__u8 fork_keeps_states; /* in a child the states of threads that it has not are left: 2.7 */
	__u8 has_native_id;	/* ts_native_id_off: 3.11 and later */
	__u8 has_cframe;	/* ts_frame_off is a _PyCFrame's; ts_cframe_ and fr_entry_ fields:
				   3.11, 3.12 */
	__u8 has_base_frame;	/* ts_base_frame_off: 3.15 */
	__u8 has_chunks;	/* frames lie in chunks, ts_chunk_off: 3.11 and later; else they are
				   objects of their own */
	__u8 has_shims;		/* some frames are no Python's, by fr_owner_off and shim_owner: 3.12
				   and later */
	__u8 has_tlbc;		/* a frame may run a copy of the bytecode, fr_tlbc_off and
				   co_tlbc_off: free-threaded, 3.14 and later */
	__u8 has_qualname;	/* co_qualname_off: 3.11 and later */
	__u8 names_are_bytes;	/* strs are byte strings, whose text is at str_ascii_bytes: 2.7 */
	__u8 runner_kind;	/* enum krait_runner_kind */
	__u8 collector_kind;	/* enum krait_collector_kind */
	__u8 instr_kind;	/* enum krait_instr_kind */
	__u8 lines_kind;	/* enum krait_lines_kind */
	__u32 interp_next_off;	/* PyInterpreterState.next */
	__u32 interp_threads_off;    /* PyInterpreterState.threads.head (tstate_head up to 3.10) */
	__u16 interp_id_off;	     /* PyInterpreterState.id */
	__u16 interp_collecting_off; /* PyInterpreterState.gc.collecting */
	__u16 interp_gil_off;	     /* this and the next three: enum krait_collector_kind */
	__u16 gil_holder_off;
	__u16 interp_gc_frame_off;
	__u16 interp_gc_stats_off;
	__u16 ts_read_bytes; /* reading so much of a PyThreadState takes in every ts_ field */
	__u16 ts_prev_off;
	__u16 ts_next_off;
	__u16 ts_interp_off;
	__u16 ts_thread_id_off;
	__u16 ts_native_id_off;
	__u16 ts_frame_off;	   /* frame, cframe or current_frame */
	__u16 ts_cframe_frame_off; /* _PyCFrame.current_frame */
	__u16 ts_cframe_prev_off;  /* _PyCFrame.previous */
	__u16 ts_stack_off;	   /* KRAIT_RUNNER_STACK: cframe */
	__u16 ts_base_frame_off;   /* what ts_frame is while no frame runs */
	__u16 ts_chunk_off;	   /* datastack_chunk */
	__u16 fr_first_off;	   /* the least of the fr_ offsets below */
	__u16 fr_read_bytes;	   /* reading so much from fr_first_off takes in every fr_ field */
	__u16 fr_code_off;
	__u16 fr_prev_off;
	__u16 fr_instr_off;
	__u16 fr_owner_off;
	__u16 fr_entry_off;  /* the byte that marks ... */
	__u16 fr_tlbc_off;   /* which copy of the bytecode it runs, an int */
	__u16 co_read_bytes; /* reading so much of a PyCodeObject takes in every co_ field */
	__u16 co_first_line_off;
	__u16 co_name_off;
	__u16 co_qualname_off;
	__u16 co_file_off;
	__u16 co_lines_off;
	__u16 co_bytecode_off; /* KRAIT_INSTR_PTR: where the instructions start */
	__u16 co_tlbc_off;     /* the array of the copies */
	__u16 ob_type_off;
	__u16 str_state_off;
	__u16 str_length_off;
	__u16 str_ascii_bytes;	 /* header before the text of a compact ASCII str */
	__u16 str_compact_bytes; /* header before the text of another compact str */
	__u16 bytes_size_off;	 /* ob_size of a bytes object */
	__u16 bytes_data_off;	 /* ob_sval */
	__u8 shim_owner;	 /* an owner byte from here up is a shim's */
	__u8 fr_entry_min;   /* ... the outermost frame of a C call of the interpreter, from this
				value up */
	__u8 str_kind_shift; /* of PyUnicode_KIND in the word at str_state_off */
	__u8 pad[3];
} __attribute__((aligned(8)));

/*
 * Where a CPython's own variables and functions are: in its ELF file as linked, in its process as
 * mapped. 0: it has none, or it can't be told where.
 */
struct krait_addrs {
	__u64 interp_head; /* _PyRuntime.interpreters.head; before 3.7 interp_head */
	__u64 code_type;   /* PyCode_Type */
	__u64 current;	   /* where the state that holds the GIL is (up to 3.11) */
	__u64 collecting;  /* where the collector says that it runs, if one serves all interpreters
			      (up to 3.8) */
	__u64 runtime;	   /* _PyRuntime (3.7 and later), and */
	__u64 eval;	   /* _PyEval_EvalFrameDefault, the evaluation loop; */
	__u32 runtime_bytes, eval_bytes; /* their sizes, 0 where that is not to be had */
};

/* What krait knows of a process. */
enum krait_proc_state {
	KRAIT_PROC_UNKNOWN = 0, /* user space has not classified it: ticks ask it to */
	KRAIT_PROC_IGNORED = 1, /* no Python, or not asked for; ticks ask again, ever more rarely */
	KRAIT_PROC_STARTING =
		2, /* a Python whose runtime can't be verified yet; user space is at it */
	KRAIT_PROC_UNSUPPORTED = 3, /* a Python that can't be profiled */
	KRAIT_PROC_READY = 4,	    /* a target */
};

/* Which processes a tick and a fork may make targets: user/session/selection.h. */
struct krait_selection {
	__u32 is_open;	     /* a tick on a process that is in no map asks user space about it */
	__u32 with_children; /* the children of a target are targets */
};

/*
 * A value of the process map, by pid. The kernel makes, copies (fork) and deletes entries; user
 * space fills in the result. `mm` is the address space that the result is about: a tick that
 * finds another one in the task knows that the process has called exec since, and starts over,
 * whatever user space wrote in between.
 */
struct krait_proc {
	__u64 mm;
	__u64 seed; /* mixed into every id of this process */
	union {
		__u64 ask_at_ns;    /* UNKNOWN, IGNORED: not to ask user space before */
		__u64 absent_at_ns; /* READY: not to send another KRAIT_ABSENT before */
	};
	union {
		__u64 unknown_ticks;	  /* UNKNOWN: ticks on it so far */
		struct krait_addrs addrs; /* READY */
	};
	union {
		__u32 ask_again_ms; /* UNKNOWN, IGNORED: how long to wait after the next question;
					doubles */
		__u32 code_bytes;   /* READY: sent of code, less what the stacks since allow. It
				       starts with what ask_again_ms was, which is nothing */
	};
	__u8 state;	       /* enum krait_proc_state */
	__u8 absent_doublings; /* READY: of the pause before absent_at_ns */
	__u8 layout_idx;       /* READY: into the layout map */
	__u8 is_crossed; /* READY: a thread was seen to run a state that says it is another's */
};

_Static_assert(KRAIT_CNT_CNT <= KRAIT_COUNTERS_MAX, "abi: counters");
_Static_assert(sizeof(struct krait_writer) == 320, "abi: writer");
_Static_assert(sizeof(struct krait_layout) == 112, "abi: layout");
_Static_assert(sizeof(struct krait_addrs) == 56, "abi: addrs");
_Static_assert(sizeof(struct krait_proc) == 88, "abi: proc");
_Static_assert(sizeof(struct krait_absent_rec) == 40, "abi: absent");
_Static_assert(KRAIT_LAYOUTS <= 256, "abi: layout_idx");

#endif
