/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF program and user space say to each other: the one header both sides include.
 *
 * Four kinds of record cross, and the same bytes are what a recording (.krait) holds: SAMPLE in a
 * ring of its own for each CPU, the others in one BPF ring buffer. Every record starts with struct
 * krait_hdr, is a multiple of 8 bytes long, and has fixed-width fields and explicit padding, so
 * that a recording made on one machine reads on another of the same endianness.
 *
 * Identities:
 *   code_id   a code object as it was when last verified: address, owner's address space and
 * fingerprint hashed together. Freed and reallocated code gets another id, so an id never changes
 * meaning. stack_id  the hash of the stack's (code address, instruction) pairs and the process's
 * seed. A STACK record binds it; the latest STACK of that id counts. Re-sent at least once an
 * epoch. A STACK follows the CODE records that it names, and a SAMPLE is in its ring only after the
 * STACK that it names is in the other.
 */
#ifndef KRAIT_ABI_H
#define KRAIT_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Raised whenever a record changes shape; a recording of another version is refused. */
#define KRAIT_ABI_VERSION 3

/* ---- Bounds. Each loop and each copy in the BPF program is bounded by one of these. ---- */

#define KRAIT_MAX_DEPTH_LIMIT 8192 /* --max-depth at most: 128 KB of frames per CPU */
#define KRAIT_MAX_DEPTH_DEFAULT 1024
#define KRAIT_NAME_BYTES 1024 /* of a name or qualified name; longer ones are cut and say so */
#define KRAIT_FILE_BYTES 4096 /* of a file name: PATH_MAX */
#define KRAIT_LINES_CHUNK_BYTES                                                                    \
	16384		      /* of a line table per CODE record; longer tables take several */
#define KRAIT_LINES_CHUNKS 32 /* 512 KB; the standard library's largest table is 37 KB */
/* Of CODE records a process may send so many bytes at once, and from then on so many for each stack
 * that is new: what changes all of its code objects all the time would fill the ring. */
#define KRAIT_CODE_BURST_BYTES (512 << 10)
#define KRAIT_CODE_STACK_BYTES 1024
#define KRAIT_COMM_BYTES 16  /* TASK_COMM_LEN, include/linux/sched.h */
#define KRAIT_LAYOUTS 64     /* distinct interpreter layouts alive at once */
#define KRAIT_TIMED_EVERY 16 /* ticks on targets, of which one is timed */
#define KRAIT_NO_OFF 0xffff  /* an offset that this version does not have */
#define KRAIT_STR_BYTES                                                                            \
	0xff /* names are byte strings (2.7), whose text starts at str_ascii_bytes */

/* ---- Records ---- */

enum krait_kind {
	KRAIT_PROCESS = 1,
	KRAIT_CODE = 2,
	KRAIT_STACK = 3,
	KRAIT_SAMPLE = 4,
};

struct krait_hdr {
	__u16 kind;  /* enum krait_kind */
	__u16 flags; /* per kind, below */
	__u32 bytes; /* of the whole record, this header included; a multiple of 8 */
};

enum krait_process_what {
	KRAIT_PROCESS_SEEN = 1, /* kernel: a tick hit a process that user space has not judged */
	KRAIT_PROCESS_EXEC = 2, /* kernel: it runs another program now */
	KRAIT_PROCESS_FORK =
		3, /* kernel: pid is the new child of parent_pid, and inherits its target */
	KRAIT_PROCESS_EXIT = 4, /* kernel: its last thread has ended */
	KRAIT_PROCESS_THREAD =
		5, /* kernel: thread tid of pid is named comm (first tick, or a new name) */
	KRAIT_PROCESS_INFO = 6, /* user space: this is a Python; version and command line follow */
	KRAIT_PROCESS_NAME = 7, /* user space: what Python calls thread tid of pid follows */
};

struct krait_process_rec {
	struct krait_hdr h;
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 pid;     /* thread group id; pids and tids are those of krait's pid namespace */
	__u32 tid;     /* THREAD, NAME: the thread; else equal to pid */
	union {
		struct {
			__u32 parent_pid; /* FORK */
			__u32 py_version; /* INFO: PY_VERSION_HEX of the target; else 0 */
		};
		__u64 ident; /* THREAD: PyThreadState.thread_id, which is threading.get_ident() */
	};
	__u16 what; /* enum krait_process_what */
	__u16 pad;
	__u32 text_bytes; /* INFO: bytes of command line that follow, arguments separated by NUL;
			     NAME: bytes of UTF-8; else 0 */
	char comm[KRAIT_COMM_BYTES];
	/* then text_bytes of text, then padding to 8 */
};

/* A CPython str object's text, as its bytes lie in the target. */
struct krait_str {
	__u32 bytes; /* copied; a multiple of width */
	__u8 width;  /* 1, 2 or 4 bytes a character (PyUnicode_KIND); 0: no string could be read */
	__u8 is_ascii;
	__u8 is_cut;   /* the target's string is longer than what was copied */
	__u8 is_bytes; /* 2.7: of no encoding, by custom UTF-8; width is 1 */
};

/* How a code object's line table is to be read. */
enum krait_lines_kind {
	KRAIT_LINES_LNOTAB = 1, /* 3.6 to 3.9: co_lnotab, Objects/lnotab_notes.txt */
	KRAIT_LINES_PEP626 = 2, /* 3.10: co_linetable, Objects/lnotab_notes.txt of 3.10 */
	KRAIT_LINES_PEP657 = 3, /* 3.11 and later: Objects/locations.md */
	/* Up to 3.5: line deltas have no sign, and instructions lie at any byte: code units are
	 * bytes. */
	KRAIT_LINES_LNOTAB_UNSIGNED = 4,
};

/*
 * A code object. A line table longer than KRAIT_LINES_CHUNK_BYTES comes as several CODE records of
 * one code_id with rising lines_off; only the one with lines_off 0, sent last, carries the names,
 * so a code object is known once that one has come, and whole if every byte of its table has.
 */
struct krait_code_rec {
	struct krait_hdr h;
	__u64 code_id;
	__u64 code_addr;
	__u32 pid;
	__s32 first_line;
	struct krait_str name, qualname, file; /* qualname.width 0: the version has none */
	__u32 lines_off;		       /* of this chunk in the table */
	__u32 lines_bytes;		       /* in this record */
	__u32 lines_total;		       /* of the whole table */
	__u16 lines_kind;		       /* enum krait_lines_kind */
	__u16 pad;
	/* then the bytes of name, qualname, file and line table one after another, then padding to
	 * 8 */
};

struct krait_frame {
	__u64 code_id; /* in the BPF program's scratch: the code object's address */
	__s32 unit; /* index of the executing instruction in code units (of 2 bytes; up to 3.5, of
		       one); -1: before the first */
	__u32 mark; /* 0, or the enum krait_loss that says why this frame could not be read; or
		       KRAIT_MARK_OUTSIDE */
};

/* krait_frame.mark of the one frame of a stack that has no Python frame: the thread was on a CPU
 * all the same. No enum krait_loss, for those are the positions of a recording's counters. */
#define KRAIT_MARK_OUTSIDE 0x8000

#define KRAIT_STACK_TRUNCATED                                                                      \
	1 /* hdr.flags: deeper than --max-depth; the innermost frames were kept */

#define KRAIT_STACK_GC                                                                             \
	2 /* hdr.flags: the thread is collecting garbage, or in C code that a finalizer or         \
	     callback calls, whose frames are on top then */

struct krait_stack_rec {
	struct krait_hdr h;
	__u64 stack_id;
	__u64 interp_id; /* of the interpreter in the process: 0 the main one; 0 too where unknown
			  */
	__u32 pid;
	__u32 frame_cnt;
	/* then frame_cnt struct krait_frame, innermost first */
};

struct krait_sample_rec {
	struct krait_hdr h; /* flags: those of its STACK */
	__u64 time_ns;	    /* CLOCK_MONOTONIC */
	__u64 stack_id;
	__u32 pid;
	__u32 tid;
	__u32 cpu;
	__u32 weight; /* ticks this sample stands for */
};

/*
 * ---- The ledger ----
 *
 * One line per way in which a tick on a target can fail to become a sample: X(NAME, sentence). The
 * line makes the enum, the counter and the sentence of the footer. Ticks on targets = samples + the
 * sum of these, exactly. LOST says what kind of line it is: 1 a sample that was lost, 0 a tick that
 * had no Python stack to give. The walker ends with one of the latter; it is a sample nowadays, of
 * a KRAIT_MARK_OUTSIDE, and counted as a loss in older recordings only.
 */
#define KRAIT_LOSSES(X)                                                                            \
	X(NO_PYTHON_THREAD, 0, "on a thread without a Python thread state")                        \
	X(NO_FRAME, 0, "on a thread that was running no Python frame")                             \
	X(STARTING, 1, "while the interpreter was starting or not yet verified")                   \
	X(UNSUPPORTED, 1, "in an interpreter that krait can't profile (see krait ps)")             \
	X(LAYOUT_MISSING, 1, "without a layout for the interpreter")                               \
	X(RUNTIME_UNREADABLE, 1, "because the interpreter's state was not readable")               \
	X(THREAD_UNREADABLE, 1, "because the thread's state was not readable")                     \
	X(THREAD_SEARCH, 1, "while a long thread list was being searched")                         \
	X(THREAD_UNPROVEN, 1, "in a forked CPython 2.7, on a thread not yet seen with the GIL")    \
	X(RING_FULL, 1, "because the ring buffer was full")                                        \
	X(STACK_NOT_SENT, 1, "because the ring buffer had no room for the stack")

/* Reasons why a single frame could not be read: X(NAME, sentence). The stack is kept, with a marker
 * frame. */
#define KRAIT_FRAME_FAULTS(X)                                                                      \
	X(FRAME_UNREADABLE, "frame not readable")                                                  \
	X(FRAME_CYCLE, "frame list goes in a circle")                                              \
	X(CODE_UNREADABLE, "code object not readable")                                             \
	X(CODE_NOT_CODE, "not a code object")                                                      \
	X(CODE_NOT_SENT, "code object lost")                                                       \
	X(CODE_TOO_MUCH, "too much new code at once")

enum krait_loss {
	KRAIT_LOSS_NONE = 0,
#define X(name, lost, sentence) KRAIT_LOSS_##name,
	KRAIT_LOSSES(X)
#undef X
		KRAIT_LOSS_CNT,
	KRAIT_FAULT_FIRST = KRAIT_LOSS_CNT - 1,
#define X(name, sentence) KRAIT_FAULT_##name,
	KRAIT_FRAME_FAULTS(X)
#undef X
		KRAIT_REASON_CNT,
};

/* The per-CPU counters: the reasons above, and behind them the totals that they must add up to.
 * Ticks are those of the rate that was asked for, also while only one in several is taken. */
enum krait_counter {
	KRAIT_CNT_TARGET_TICKS = KRAIT_REASON_CNT, /* ticks on targets */
	KRAIT_CNT_SAMPLES,			   /* SAMPLE records sent */
	KRAIT_CNT_TRUNCATED,			   /* of them, with a stack cut at --max-depth */
	KRAIT_CNT_OTHER_TICKS,			   /* ticks on processes that are no targets */
	KRAIT_CNT_UNKNOWN_TICKS, /* ticks on processes that were not classified yet */
	KRAIT_CNT_PROCS_FULL,	 /* processes not followed because the process map was full */
	KRAIT_CNT_EVENTS_LOST,	 /* PROCESS records that the ring did not take */
	KRAIT_CNT_STACKS,	 /* STACK records sent */
	KRAIT_CNT_CODES,	 /* CODE records sent */
	KRAIT_CNT_RING_BYTES,	 /* bytes of all other records sent */
	KRAIT_CNT_CNT,
};

/*
 * ---- The rings of samples ----
 *
 * Almost all that krait sends is samples. In a BPF ring buffer each costs a lock that the CPUs
 * share and five pages that a tick needs for nothing else; a ring per CPU has one writer, the tick,
 * and one reader. CPU c's is the elements from c * sample_slots on of the map `samples`; the n-th
 * sample of the CPU is at n % sample_slots, and has been written once samples_written > n.
 */
#define KRAIT_COUNTERS_MAX 34

/* How each CPU's memory starts, which user space maps. */
struct krait_cpu {
	__u64 counters[KRAIT_COUNTERS_MAX]; /* by enum krait_counter */
	__u64 samples_written;
	__u64 samples_read; /* user space: it has read so many */
	__u64 sample_slots; /* user space: the ring's length, a power of two */
	__u64 ticks;	    /* as they come, */
	__u64 target_ticks; /* of them on targets, and */
	__u64 timed_ns;	    /* what one in KRAIT_TIMED_EVERY of them has taken */
};

/* ---- What user space tells the walker ---- */

/* Where a frame keeps its place in the code: what the value at fr_instr_off is. */
enum krait_instr_kind {
	KRAIT_INSTR_LASTI_BYTES = 1, /* 3.6 to 3.9: int, in bytes, two of which are a code unit */
	KRAIT_INSTR_LASTI_UNITS = 2, /* 3.10, and up to 3.5, whose unit is a byte: in code units */
	KRAIT_INSTR_PTR = 3,	     /* 3.11 and later: a pointer into the code */
};

/*
 * The offsets of one CPython build, as data: the walker branches on no version. Offsets and sizes
 * are in bytes. user/discover/layout.c makes these and cites the source of each.
 */
struct krait_layout {
	__u32 interp_next_off;	  /* PyInterpreterState.next */
	__u32 interp_threads_off; /* PyInterpreterState.threads.head (tstate_head up to 3.10) */
	__u16 interp_id_off;	  /* PyInterpreterState.id, or KRAIT_NO_OFF */
	/* Whether it is collecting garbage: PyInterpreterState.gc.collecting; KRAIT_NO_OFF where
	 * that is the process's (up to 3.8) or not to be had. */
	__u16 interp_collecting_off;
	/* The thread state that holds its GIL: PyInterpreterState.ceval.gil, and last_holder in
	 * there; KRAIT_NO_OFF where krait_proc.current_addr tells. Without a GIL the one that has
	 * stopped the others: PyInterpreterState.stoptheworld.requester, and KRAIT_NO_OFF. */
	__u16 interp_gil_off;
	__u16 gil_holder_off;
	/* The frame that began the collection: PyInterpreterState.gc.frame (3.15); or 0: there is
	 * none. */
	__u16 interp_gc_frame_off;
	/* How many collections of each generation have ended:
	 * PyInterpreterState.gc.generation_stats (free-threaded, up to 3.14); or 0. */
	__u16 interp_gc_stats_off;
	__u16 ts_read_bytes; /* reading so much of a PyThreadState takes in every ts_ field */
	__u16 ts_prev_off; /* or KRAIT_NO_OFF (2.7), and then a state is searched for at every tick
			    */
	__u16 ts_next_off;
	__u16 ts_interp_off;
	__u16 ts_thread_id_off;
	__u16 ts_native_id_off;	   /* or KRAIT_NO_OFF (before 3.11) */
	__u16 ts_frame_off;	   /* frame, cframe or current_frame */
	__u16 ts_cframe_frame_off; /* ts_frame is a _PyCFrame: its current_frame; else KRAIT_NO_OFF
				    */
	__u16 ts_cframe_prev_off;  /* its previous; else KRAIT_NO_OFF */
	/*
	 * How to tell which thread runs a state in a process that has several interpreters. Up to
	 * 3.12 run_string() goes into one with the state that its maker left, whose ts_thread_id is
	 * the maker's: bpf/runner.h. This field points into the C stack of the thread that runs the
	 * state (3.10 to 3.12); KRAIT_NO_OFF: no field does (3.8, 3.9); 0: ts_thread_id tells.
	 */
	__u16 ts_stack_off;
	__u16 ts_base_frame_off; /* what ts_frame is while no frame runs (3.15); or 0: NULL */
	__u16 ts_chunk_off;	 /* datastack_chunk, or KRAIT_NO_OFF (frames are heap objects) */
	__u16 fr_first_off;	 /* the least of the fr_ offsets below */
	__u16 fr_read_bytes;	 /* reading so much from fr_first_off takes in every fr_ field */
	__u16 fr_code_off;
	__u16 fr_prev_off;
	__u16 fr_instr_off;
	__u16 fr_owner_off;  /* or KRAIT_NO_OFF */
	__u16 fr_entry_off;  /* with _PyCFrame: the byte that marks ... */
	__u16 fr_tlbc_off;   /* which copy of the bytecode it runs, an int (free-threaded, 3.14 on);
				or 0: there is but one */
	__u16 co_read_bytes; /* reading so much of a PyCodeObject takes in every co_ field */
	__u16 co_first_line_off;
	__u16 co_name_off;
	__u16 co_qualname_off; /* or KRAIT_NO_OFF */
	__u16 co_file_off;
	__u16 co_lines_off;
	__u16 co_bytecode_off; /* KRAIT_INSTR_PTR: where the instructions start */
	__u16 co_tlbc_off;     /* with fr_tlbc_off: the array of the copies */
	__u16 ob_type_off;
	__u16 str_state_off;
	__u16 str_length_off;
	__u16 str_ascii_bytes;	 /* header before the text of a compact ASCII str */
	__u16 str_compact_bytes; /* header before the text of another compact str */
	__u16 bytes_size_off;	 /* ob_size of a bytes object */
	__u16 bytes_data_off;	 /* ob_sval */
	__u8 instr_kind;	 /* enum krait_instr_kind */
	__u8 lines_kind;	 /* enum krait_lines_kind */
	__u8 shim_owner;   /* an owner byte from here up is a shim, no Python frame; 255: there are
			      none */
	__u8 fr_entry_min; /* ... the outermost frame of a C call of the interpreter, from this
			      value up */
	__u8 str_kind_shift; /* of PyUnicode_KIND in the word at str_state_off; or KRAIT_STR_BYTES
			      */
	__u8 pad[1];
};

/* What krait knows of a process. */
enum krait_proc_state {
	KRAIT_PROC_UNKNOWN = 0, /* user space has not judged it: ticks ask it to */
	KRAIT_PROC_IGNORED = 1, /* no Python, or not asked for; ticks ask again, ever more rarely */
	KRAIT_PROC_STARTING =
		2, /* a Python whose runtime can't be verified yet; user space is at it */
	KRAIT_PROC_UNSUPPORTED = 3, /* a Python that can't be profiled */
	KRAIT_PROC_READY = 4,	    /* a target */
};

/*
 * A value of the process map, by pid. The kernel makes, copies (fork) and deletes entries; user
 * space fills in its verdict. `mm` is the address space that the verdict is about: a tick that
 * finds another one in the task knows that the process has called exec since, and starts over,
 * whatever user space wrote in between.
 */
struct krait_proc {
	__u64 mm;
	__u64 seed;	  /* mixed into every id of this process */
	__u64 look_at_ns; /* UNKNOWN, IGNORED: not to ask user space before */
	union {
		__u64 unknown_ticks;	/* UNKNOWN: ticks on it so far */
		__u64 interp_head_addr; /* READY: &_PyRuntime.interpreters.head */
	};
	__u64 code_type_addr;  /* READY: &PyCode_Type */
	__u64 current_addr;    /* READY: where the state that holds the GIL is (up to 3.11), or 0
				*/
	__u64 collecting_addr; /* READY: where the collector says that it runs, if one serves all
				  interpreters (3.7, 3.8); else 0 */
	__u64 runtime_addr;    /* READY: _PyRuntime, and */
	__u64 eval_addr;       /* _PyEval_EvalFrameDefault, the evaluation loop; */
	__u32 runtime_bytes;   /* their sizes, 0 where that is */
	__u32 eval_bytes;      /* not to be had */
	union {
		__u32 look_again_ms; /* UNKNOWN, IGNORED: how long to wait after the next question;
					doubles */
		__u32 code_bytes;    /* READY: sent of code, less what the stacks since allow. It
					starts with what look_again_ms was, which is nothing */
	};
	__u16 state;	 /* enum krait_proc_state */
	__u8 layout_idx; /* READY: into the layout map */
	__u8 is_crossed; /* READY: a thread was seen to run a state that says it is another's */
};

_Static_assert(sizeof(struct krait_hdr) == 8, "abi: hdr");
_Static_assert(sizeof(struct krait_process_rec) == 56, "abi: process");
_Static_assert(sizeof(struct krait_str) == 8, "abi: str");
_Static_assert(sizeof(struct krait_code_rec) == 72, "abi: code");
_Static_assert(sizeof(struct krait_frame) == 16, "abi: frame");
_Static_assert(sizeof(struct krait_stack_rec) == 32, "abi: stack");
_Static_assert(sizeof(struct krait_sample_rec) == 40, "abi: sample");
_Static_assert(KRAIT_CNT_CNT <= KRAIT_COUNTERS_MAX, "abi: counters");
_Static_assert(sizeof(struct krait_cpu) == 320, "abi: cpu");
_Static_assert(sizeof(struct krait_layout) == 96, "abi: layout");
_Static_assert(sizeof(struct krait_proc) == 88, "abi: proc");
_Static_assert(KRAIT_LAYOUTS <= 256, "abi: layout_idx");

#endif /* KRAIT_ABI_H */
