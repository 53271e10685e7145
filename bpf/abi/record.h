/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is stored for ever: the records that cross from the BPF program to user space, which are
 * what a recording (.krait) holds. docs/recording.md says how they lie in the file.
 *
 * Every record starts with struct krait_hdr, is a multiple of 8 bytes long, and has fixed-width
 * fields and explicit padding, so that a recording made on one machine reads on another of the same
 * endianness.
 *
 * Identities:
 *   code_id   a code object as it was when last verified: address, owner's address space and
 * fingerprint hashed together. Freed and reallocated code gets another id, so an id never changes
 * meaning. stack_id  the hash of the stack's (code address, instruction) pairs and the process's
 * seed. A STACK record binds it; the latest STACK of that id counts. Re-sent at least once an
 * epoch. A STACK follows the CODE records that it names, and a SAMPLE is in its ring only after the
 * STACK that it names is in the other.
 */
#ifndef KRAIT_ABI_RECORD_H
#define KRAIT_ABI_RECORD_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * The version of recordings as they are written now. These need no new one: a new kind of record, a
 * new number of anything that has one (bpf/abi/released), a new flag, and more bytes at the end of
 * a record, behind what it may have of variable length. So a reader takes every size here as the
 * least, passes over what it does not know, and counts it. Whatever else changes what an older
 * krait would make of a file does.
 */
#define KRAIT_RECORDING_VERSION 4

/* ---- Bounds of what a record holds; each loop and copy that makes one is bounded by these. ----
 */

#define KRAIT_MAX_DEPTH_LIMIT 8192 /* --max-depth at most: 128 KB of frames per CPU then */
#define KRAIT_NAME_BYTES 1024	   /* of a name or qualified name; longer ones are cut and say so */
#define KRAIT_FILE_BYTES 4096	   /* of a file name: PATH_MAX */
#define KRAIT_LINES_CHUNK_BYTES                                                                    \
	16384		      /* of a line table per CODE record; longer tables take several */
#define KRAIT_LINES_CHUNKS 32 /* 512 KB; the standard library's largest table is 37 KB */
#define KRAIT_COMM_BYTES 16   /* TASK_COMM_LEN, include/linux/sched.h */

/* ---- Records ---- */

enum krait_kind {
	KRAIT_PROCESS = 1,
	KRAIT_CODE = 2,
	KRAIT_STACK = 3,
	KRAIT_SAMPLE = 4,
	/* In a recording alone: its first record, and its last. */
	KRAIT_HEAD = 5,
	KRAIT_TAIL = 6,
	KRAIT_EVENT = 7, /* what is sampled besides the CPU's clock */
};

struct krait_hdr {
	__u16 kind;  /* enum krait_kind */
	__u16 flags; /* per kind, below */
	__u32 bytes; /* of the whole record, this header included; a multiple of 8 */
};

enum krait_process_what {
	KRAIT_PROCESS_SEEN =
		1, /* kernel: a tick hit a process that user space has not classified */
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
 * all the same. No enum krait_loss: there is no counter of it. */
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

/* Every sample is of an event. This one, a tick of a CPU's clock, needs no description, and a
 * sample of it does not say so. Its period is that of the HEAD's freq_hz. */
#define KRAIT_EVENT_CPU_CLOCK 0

struct krait_sample_rec {
	struct krait_hdr h; /* flags: those of its STACK */
	__u64 time_ns;	    /* CLOCK_MONOTONIC */
	__u64 stack_id;
	__u32 pid;
	__u32 tid;
	__u32 cpu;
	__u32 weight; /* ticks of the CPU's clock that it stands for; 0: it is of another event */
};

/* A sample of another event. */
struct krait_event_sample_rec {
	struct krait_sample_rec sample; /* whose h.bytes are those of all of this */
	__u32 event;
	__u32 pad;
	__u64 value; /* periods of the event that it stands for */
};

/* A counter of the ledger. */
struct krait_pair {
	__u16 number; /* bpf/abi/ledger.h */
	__u16 part;   /* enum krait_part: what to do with a number that is not known */
	__u32 pad;
	__u64 value;
};

/*
 * An event other than the CPU's clock: comes before its first sample, and again when its ledger is
 * known. Its number means something within one recording only.
 */
struct krait_event_rec {
	struct krait_hdr h;
	__u32 event; /* not 0, and below KRAIT_EVENTS_MAX */
	__u32 pair_cnt;
	__u64 period;  /* how much of the unit a value of 1 is */
	char name[32]; /* "page-faults", say; NUL-terminated, as is the unit */
	char unit[16]; /* "count", "nanoseconds", "bytes": as pprof calls them */
		       /* then pair_cnt struct krait_pair: the ledger, in values */
};

#define KRAIT_EVENTS_MAX 256 /* with the CPU's clock */

/* ---- What only a recording has: docs/recording.md ---- */

/* How and where the run was made. */
struct krait_head_rec {
	struct krait_hdr h;
	__u64 start_unix_ns; /* UTC */
	__u64 start_mono_ns; /* CLOCK_MONOTONIC at the same moment; what records carry */
	__u32 freq_hz;	     /* not 0 */
	__u32 cpu_cnt;
	char host[64];	  /* uname nodename; NUL-terminated, as all texts here */
	char kernel[64];  /* uname release */
	char target[256]; /* "all", "pid 12", "comm x", or the command */
};

struct krait_tail_rec {
	struct krait_hdr h;
	__u64 duration_ns;
	__u32 pair_cnt;
	__u32 pad;
	/* then pair_cnt struct krait_pair; a number that is not among them is 0 */
};

/* What a recording starts with. */
struct krait_recording_start {
	char magic[8];
	__u32 version; /* KRAIT_RECORDING_VERSION */
	__u32 crc32;   /* of the bytes before it */
};

/* What each block of it starts with; packed_bytes of deflated records follow. */
struct krait_block {
	__u32 packed_bytes;
	__u32 raw_bytes; /* once inflated: of whole records */
	__u32 number;	 /* its place among the blocks, from 0 on */
	__u32 crc32;	 /* of the rest of this struct, then the packed bytes */
	__u64 until_ns;	 /* CLOCK_MONOTONIC when it was gathered */
};

/* raw_bytes at most. A writer's blocks are smaller; what reads needs no more memory than this. */
#define KRAIT_BLOCK_BYTES (1 << 20)

_Static_assert(sizeof(struct krait_hdr) == 8, "abi: hdr");
_Static_assert(sizeof(struct krait_process_rec) == 56, "abi: process");
_Static_assert(sizeof(struct krait_str) == 8, "abi: str");
_Static_assert(sizeof(struct krait_code_rec) == 72, "abi: code");
_Static_assert(sizeof(struct krait_frame) == 16, "abi: frame");
_Static_assert(sizeof(struct krait_stack_rec) == 32, "abi: stack");
_Static_assert(sizeof(struct krait_sample_rec) == 40, "abi: sample");
_Static_assert(sizeof(struct krait_event_sample_rec) == 56, "abi: event sample");
_Static_assert(sizeof(struct krait_pair) == 16, "abi: pair");
_Static_assert(sizeof(struct krait_event_rec) == 72, "abi: event");
_Static_assert(sizeof(struct krait_head_rec) == 416, "abi: head");
_Static_assert(sizeof(struct krait_tail_rec) == 24, "abi: tail");
_Static_assert(sizeof(struct krait_recording_start) == 16, "abi: recording");
_Static_assert(sizeof(struct krait_block) == 24, "abi: block");

#endif
