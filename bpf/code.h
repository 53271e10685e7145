/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Code objects: what turns a walked stack into one whose names are known and true.
 *
 * Runs only for a stack that user space has not seen in this epoch. Each frame's code object is
 * read once and checked (its type is the target's PyCode_Type), fingerprinted, and its address
 * replaced by the id: the hash of address, fingerprint and the process's seed. An id that user
 * space does not have is sent as a CODE record with the bytes of the names and of the line table,
 * so that nothing has to be read from the target later, when it may be gone.
 */
#ifndef KRAIT_CODE_H
#define KRAIT_CODE_H

#include "bpf/state.h"

/* Frames per call of code_steps; see walk.h on calls. */
#define CODE_STEPS_FRAMES 64
/* Of a line table, besides its length: so much of its start goes into the fingerprint. */
#define LINES_PRINT_BYTES 16

extern KRAIT_CONFIG __u32 max_depth;

#ifndef KRAIT_HOST
static __always_inline struct sent_pair *sent_code_get(__u64 id);
static __always_inline long platform_send(void *record, __u32 n, bool wake);
static __always_inline void platform_count(__u32 counter, __u64 n);
#endif

static __always_inline __u64 code_word(const struct scratch *s, __u16 off)
{
	return word_at(s->code + (off & (CODE_HEAD_BYTES - 1)));
}

static __always_inline __u64 code_qualname(const struct scratch *s)
{
	if (s->layout.co_qualname_off == KRAIT_NO_OFF)
		return 0;
	return code_word(s, s->layout.co_qualname_off);
}

static __always_inline bool code_read(struct scratch *s, __u64 addr)
{
	__u32 n = s->layout.co_read_bytes;

	if (n > CODE_HEAD_BYTES)
		n = CODE_HEAD_BYTES;
	keep_bounds(n);
	return platform_read_user(s->code, n, addr) == 0;
}

/* The id of the code object in s->code, at addr. *lines_bytes is the length of its line table. 0 if
 * the table can't be read. */
static __always_inline __u64 code_fingerprint(const struct scratch *s, __u64 addr,
					      __u64 *lines_bytes)
{
	__u64 lines = code_word(s, s->layout.co_lines_off);
	__u64 size = 0, print[LINES_PRINT_BYTES / 8] = {};
	__u64 h = mix64(addr ^ s->proc.seed);

	if (platform_read_user(&size, sizeof(size), lines + s->layout.bytes_size_off) != 0)
		return 0;
	/* A bytes object always has a NUL behind its text, and objects are allocated in steps of 16
	 * bytes. */
	if (platform_read_user(print, sizeof(print), lines + s->layout.bytes_data_off) != 0)
		return 0;
	if (size < 8)
		print[0] &= (1ULL << (8 * size)) - 1;
	if (size < 16)
		print[1] = 0;
	h = mix64(h ^ code_word(s, s->layout.co_name_off));
	h = mix64(h ^ code_qualname(s));
	h = mix64(h ^ code_word(s, s->layout.co_file_off));
	h = mix64(h ^ lines ^ size << 48);
	h = mix64(h ^ print[0]);
	h = mix64(h ^ print[1] ^ (__u32)code_word(s, s->layout.co_first_line_off));
	*lines_bytes = size;
	return h | 1;
}

/*
 * Copies a str's text behind what s->build.text already holds, up to `max` bytes, and describes it
 * in *str. Returns the bytes copied. PyUnicodeObject: Include/cpython/unicodeobject.h; only compact
 * strings are read (names always are).
 */
static __always_inline __u32 code_add_str(struct scratch *s, struct krait_str *str, __u64 addr,
					  __u32 at, __u32 max)
{
	const struct krait_layout *l = &s->layout;
	__u64 length = 0;
	__u32 state = 0, width, n;

	str->bytes = 0;
	str->width = str->is_ascii = str->is_cut = str->pad = 0;
	if (!addr || platform_read_user(&length, sizeof(length), addr + l->str_length_off) != 0 ||
	    platform_read_user(&state, sizeof(state), addr + l->str_state_off) != 0)
		return 0;
	state >>= l->str_kind_shift & 15;
	width = state & 7;
	if ((width != 1 && width != 2 && width != 4) || !(state & 8))
		return 0;
	str->is_ascii = state >> 4 & 1;
	str->is_cut = length > max / width;
	n = str->is_cut ? max : (__u32)length * width;
	if (n > max)
		n = max;
	keep_bounds(n);
	if (n >
	    max) /* again, for the verifier: the barrier has made n a new value to the compiler */
		return 0;
	addr += str->is_ascii ? l->str_ascii_bytes : l->str_compact_bytes;
	if (platform_read_user(s->build.text + at, n, addr) != 0)
		return 0;
	str->width = width;
	str->bytes = n;
	return n;
}

/* Adds a chunk of the line table, behind `at` bytes of text. Its length, 0 too where it can't be
 * read. */
static __always_inline __u32 code_add_lines(struct scratch *s, __u32 at, __u64 lines_bytes,
					    __u32 off)
{
	__u64 table = code_word(s, s->layout.co_lines_off) + s->layout.bytes_data_off;
	__u64 n = lines_bytes - off;

	if (lines_bytes <= off)
		return 0;
	if (n > KRAIT_LINES_CHUNK_BYTES)
		n = KRAIT_LINES_CHUNK_BYTES;
	keep_bounds(n);
	if (n > KRAIT_LINES_CHUNK_BYTES)
		return 0;
	if (platform_read_user(s->build.text + at, n, table + off) != 0)
		return 0;
	s->build.rec.lines_off = off;
	s->build.rec.lines_bytes = n;
	return n;
}

/* Sends s->build with text_bytes of text. */
static __always_inline bool code_send(struct scratch *s, __u32 text_bytes)
{
	__u32 n = (sizeof(struct krait_code_rec) + text_bytes + 7) & ~7U;

	if (n > sizeof(s->build))
		return false;
	keep_bounds(n);
	if (n > sizeof(s->build))
		return false;
	s->build.rec.h.kind = KRAIT_CODE;
	s->build.rec.h.flags = 0;
	s->build.rec.h.bytes = n;
	if (platform_send(&s->build, n, false) != 0)
		return false;
	platform_count(KRAIT_CNT_CODES, 1);
	return true;
}

/* Sends the part of the line table in s->code that starts at `off`, without names. 0, or -1 if it
 * was not sent. */
KRAIT_GLOBAL int code_send_lines(__u32 off)
{
	struct scratch *s = scratch_get();
	__u32 n;

	if (!s || off >= KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES)
		return -1;
	__builtin_memset(&s->build.rec.name, 0, 3 * sizeof(struct krait_str));
	n = code_add_lines(s, 0, s->build.rec.lines_total, off);
	return n && code_send(s, n) ? 0 : -1;
}

/* Sends the record that makes the code object known: its names and the first chunk of its table. */
static __always_inline bool code_send_head(struct scratch *s)
{
	struct krait_code_rec *rec = &s->build.rec;
	__u32 at = 0;

	at += code_add_str(s, &rec->name, code_word(s, s->layout.co_name_off), at,
			   KRAIT_NAME_BYTES);
	at += code_add_str(s, &rec->qualname, code_qualname(s), at, KRAIT_NAME_BYTES);
	at += code_add_str(s, &rec->file, code_word(s, s->layout.co_file_off), at,
			   KRAIT_FILE_BYTES);
	rec->lines_off = rec->lines_bytes = 0;
	at += code_add_lines(s, at, rec->lines_total, 0);
	return code_send(s, at);
}

/* Sends the code object in s->code: the later chunks of a long line table first, then the record
 * with its names. */
static __always_inline bool code_send_all(struct scratch *s, __u64 id, __u64 addr,
					  __u64 lines_bytes)
{
	struct krait_code_rec *rec = &s->build.rec;

	/* Too long to send: no kind of table at all, so that its lines show as unknown rather than
	 * as wrong. */
	rec->lines_kind = s->layout.lines_kind;
	if (lines_bytes > KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES)
		rec->lines_kind = lines_bytes = 0;
	rec->code_id = id;
	rec->code_addr = addr;
	rec->pid = s->pid;
	rec->first_line = code_word(s, s->layout.co_first_line_off);
	rec->lines_total = lines_bytes;
	rec->pad = 0;
	for (__u32 i = 1; i < KRAIT_LINES_CHUNKS; i++) {
		if ((__u64)i * KRAIT_LINES_CHUNK_BYTES >= lines_bytes)
			break;
		if (code_send_lines(i * KRAIT_LINES_CHUNK_BYTES) != 0)
			return false;
	}
	return code_send_head(s);
}

/* Checks and, if need be, sends the code object at addr. Its id goes to *id. 0, or the fault that
 * its frame gets. */
static __always_inline __u32 code_know(struct scratch *s, __u64 addr, __u64 *id)
{
	struct sent_pair *pair;
	__u64 lines_bytes = 0;

	if (!code_read(s, addr))
		return KRAIT_FAULT_CODE_UNREADABLE;
	if (code_word(s, s->layout.ob_type_off) != s->proc.code_type_addr)
		return KRAIT_FAULT_CODE_NOT_CODE;
	*id = code_fingerprint(s, addr, &lines_bytes);
	if (!*id)
		return KRAIT_FAULT_CODE_UNREADABLE;
	pair = sent_code_get(*id);
	if (!pair)
		return KRAIT_FAULT_CODE_NOT_SENT;
	if (sent_has(pair, *id))
		return 0;
	if (!code_send_all(s, *id, addr, lines_bytes))
		return KRAIT_FAULT_CODE_NOT_SENT;
	sent_add(pair, *id);
	return 0;
}

static __always_inline void code_resolve(struct scratch *s, struct krait_frame *frame)
{
	__u64 id = 0;
	__u32 fault;

	if (!frame->mark) {
		fault = code_know(s, frame->code_id, &id);
		frame->code_id = fault ? 0 : id;
		frame->mark = fault;
	}
	if (frame->mark) {
		s->dirty = 1;
		platform_count(frame->mark, 1);
	}
}

/* Turns frame i of the CPU's stack from an address into an id. 1 if there is none any more. */
KRAIT_GLOBAL int code_step(__u32 i)
{
	struct krait_stack_rec *stack = stack_get();
	struct scratch *s = scratch_get();

	if (!s || !stack || i >= s->walk.cnt)
		return 1;
	keep_bounds(i);
	if (i >= max_depth)
		return 1;
	code_resolve(s, (struct krait_frame *)(stack + 1) + i);
	return 0;
}

/* The frames from `first` on, CODE_STEPS_FRAMES of them. 0 to be called again, 1 at the end. */
KRAIT_GLOBAL int code_steps(__u32 first)
{
	for (__u32 k = 0; k < CODE_STEPS_FRAMES; k++)
		if (code_step(first + k))
			return 1;
	return 0;
}

/* Makes every code object of the walked stack known to user space. s->dirty tells whether a frame
 * got a fault. */
static __always_inline void code_resolve_all(struct scratch *s)
{
	s->dirty = s->walk.fault;
	for (__u32 i = 0; i < KRAIT_MAX_DEPTH_LIMIT / CODE_STEPS_FRAMES; i++)
		if (code_steps(i * CODE_STEPS_FRAMES))
			break;
}

#endif
