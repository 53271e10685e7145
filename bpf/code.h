/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Code objects: what turns a walked stack into one whose names are known and true.
 *
 * A frame holds only the address of its code object, and an address can be freed and used again
 * within a millisecond (exec, templates, reloads). So each code object is read, its type checked,
 * and fingerprinted with the texts of its names; the hash of all that is its id. An id that user
 * space does not have is sent as a CODE record with the bytes of the names and of the line table,
 * so that nothing has to be read from the target later, when it may be gone. A stack's id is the
 * hash of its frames' ids and instructions: neither ever changes its meaning.
 *
 * Reading costs some 300 ns a frame, so what has proven stable is trusted: a code object that was
 * found to be the same for TRUST_EPOCHS is verified once per epoch from then on, and a stack of
 * such code objects is known by what was walked alone. Code that comes and goes is never that old,
 * and is read at every tick.
 */
#ifndef KRAIT_CODE_H
#define KRAIT_CODE_H

#include "bpf/absent.h"
#include "bpf/state.h"

/* Frames per call of code_steps; see walk.h on calls. */
#define CODE_STEPS_FRAMES 64
/* Of a str, from its length on: so many words go into the fingerprint, 40 to 72 characters of most
 * names. */
#define STR_PRINT_WORDS 12
/*
 * A code object is verified at every tick until it has been the same for so many epochs, in the
 * innermost frames. Further out a frame has been running, and so kept its code object alive, for
 * longer; there once per epoch will do.
 */
#define TRUST_EPOCHS 2
#define TRUST_OUTER_FRAMES 32

#ifndef KRAIT_HOST
static __always_inline struct sent_pair *sent_code_get(__u64 id);
static __always_inline struct known_set *known_code_get(__u64 key);
static __always_inline long platform_send(void *record, __u32 n, bool wake);
static __always_inline void platform_count(__u32 counter, __u64 n);
#endif

static __always_inline __u64 code_word(const struct scratch *s, __u16 off)
{
	return word_at(s->code + (off & (CODE_HEAD_BYTES - 1)));
}

static __always_inline __u64 code_qualname(const struct scratch *s)
{
	if (!s->layout.has_qualname)
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

/*
 * Mixes a str into s->print: its length, its hash where CPython has computed it, and the start of
 * its text. By content, because a name that is freed and another that is made may well share an
 * address.
 *
 * This and the other global functions here are so for the verifier's sake, which walks through them
 * once.
 */
KRAIT_GLOBAL int str_print(struct scratch *s, __u64 addr)
{
	__u64 words[STR_PRINT_WORDS] = {};
	__u64 start, h;
	__s64 left;

	if (!s || !addr)
		return 0;
	start = addr + s->layout.str_length_off;
	/* What lies behind a short str is read along and left out below; at the end of its memory
	 * it can't be read. */
	if (platform_read_user(words, sizeof(words), start) != 0 &&
	    platform_read_user(words, 2 * sizeof(*words), start) != 0)
		return 0;
	h = mix64(s->print ^ addr ^ words[0] << 48 ^ words[1]);
	/* A byte string's text starts in the middle of words[2]: stringobject.h, ob_sval at 36. */
	if (s->layout.names_are_bytes)
		h = mix64(h ^ words[2] >> 32);
	/* Text bytes from words[3] on, if each character took one; of wider ones less is taken in
	 * than could be. */
	left = words[0] < sizeof(words) ? words[0] : sizeof(words);
	left += s->layout.str_ascii_bytes - (s->layout.str_length_off + 24);
	for (int i = 3; i < STR_PRINT_WORDS && left > 0; i++, left -= 8) {
		__u64 mask = left >= 8 ? ~0ULL : (1ULL << (8 * (left & 7))) - 1;

		h = (h ^ (words[i] & mask)) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	s->print = h;
	return 0;
}

/* The same for the line table: its length, which also goes to *lines_bytes, and the start of its
 * bytes. 0 if it can't be read. */
static __always_inline __u64 lines_print(const struct scratch *s, __u64 *lines_bytes)
{
	/* ob_size, ob_shash and the first 16 bytes of ob_sval: bytesobject.h. */
	__u64 words[4] = {};
	__u64 lines = code_word(s, s->layout.co_lines_off);

	__u64 start = lines + s->layout.bytes_size_off, has;

	/* At the end of its memory the shortest may be all that is there. */
	if (platform_read_user(words, sizeof(words), start) != 0 &&
	    platform_read_user(words, 3 * sizeof(*words), start) != 0)
		return 0;
	*lines_bytes = words[0];
	/* 2.7's bytes start after an int in words[2]: what of the words is the object's own. */
	has = words[0] + (s->layout.bytes_data_off - s->layout.bytes_size_off - 16);
	if (has < 8)
		words[2] &= (1ULL << (8 * has)) - 1;
	if (has < 16)
		words[3] = 0;
	return mix64(lines ^ words[0] << 48 ^ mix64(words[2] ^ mix64(words[3]))) | 1;
}

/*
 * The id of the code object in s->code, at addr. *lines_bytes is the length of its line table. 0 if
 * that can't be read: an unread table must not pass for an empty one.
 */
static __always_inline __u64 code_fingerprint(struct scratch *s, __u64 addr, __u64 *lines_bytes)
{
	__u64 lines = lines_print(s, lines_bytes);

	if (!lines)
		return 0;
	s->print = mix64(addr ^ proc_of(s)->seed ^ lines);
	s->print = mix64(s->print ^ (__u32)code_word(s, s->layout.co_first_line_off) ^
			 code_word(s, s->layout.co_name_off));
	str_print(s, code_qualname(s) ?: code_word(s, s->layout.co_name_off));
	str_print(s, code_word(s, s->layout.co_file_off));
	return mix64(s->print) | 1;
}

/* PyASCIIObject.state, from the kind on, as it would be for a byte string: 1 byte a character,
 * compact. */
#define STR_STATE_BYTES (1 | 8)

/* The strs of a code object, in the order of their text in a CODE record. */
enum code_str {
	CODE_STR_NAME,
	CODE_STR_QUALNAME,
	CODE_STR_FILE,
};

/*
 * Copies a str's text to s->build.text + at, cut if need be, and describes it in the record.
 * Returns the bytes copied. PyUnicodeObject: Include/cpython/unicodeobject.h; only compact strings
 * are read (names always are). PyStringObject: Include/stringobject.h of 2.7.
 */
KRAIT_GLOBAL int code_add_str(struct scratch *s, __u32 which, __u64 addr, __u32 at)
{
	__u32 max = which == CODE_STR_FILE ? KRAIT_FILE_BYTES : KRAIT_NAME_BYTES;
	__u32 state = 0, width;
	__u64 length = 0, to = at, n;
	struct krait_str *str;

	if (!s)
		return 0;
	str = which == CODE_STR_NAME   ? &s->build.rec.name
	      : which == CODE_STR_FILE ? &s->build.rec.file
				       : &s->build.rec.qualname;
	__builtin_memset(str, 0, sizeof(*str));
	if (!addr ||
	    platform_read_user(&length, sizeof(length), addr + s->layout.str_length_off) != 0 ||
	    platform_read_user(&state, sizeof(state), addr + s->layout.str_state_off) != 0)
		return 0;
	state >>= s->layout.str_kind_shift & 15;
	if (s->layout.names_are_bytes) {
		str->is_bytes = 1;
		state = STR_STATE_BYTES;
	}
	width = state & 7;
	if ((width != 1 && width != 2 && width != 4) || !(state & 8))
		return 0;
	str->is_ascii = state >> 4 & 1;
	str->is_cut = length > max / width;
	n = str->is_cut ? max : length * width;
	keep_max(n, KRAIT_FILE_BYTES);
	keep_max(to, 2 * KRAIT_NAME_BYTES);
	addr += str->is_ascii ? s->layout.str_ascii_bytes : s->layout.str_compact_bytes;
	if (platform_read_user(s->build.text + to, n, addr) != 0)
		return 0;
	str->width = width;
	str->bytes = n;
	return n;
}

/* Adds a chunk of the line table, behind `at` bytes of text. Its length, 0 too where it can't be
 * read. */
static __always_inline __u32 code_add_lines(struct scratch *s, __u64 at, __u64 lines_bytes,
					    __u32 off)
{
	__u64 table = code_word(s, s->layout.co_lines_off) + s->layout.bytes_data_off;
	__u64 n = lines_bytes - off;

	if (lines_bytes <= off)
		return 0;
	keep_max(n, KRAIT_LINES_CHUNK_BYTES);
	if (platform_read_user(s->build.text + at, n, table + off) != 0)
		return 0;
	s->build.rec.lines_off = off;
	s->build.rec.lines_bytes = n;
	return n;
}

/* Sends s->build with text_bytes of text. */
static __always_inline bool code_send(struct scratch *s, __u32 text_bytes)
{
	__u64 n = (sizeof(struct krait_code_rec) + text_bytes + 7) & ~7ULL;

	keep_max(n, sizeof(s->build));
	s->build.rec.h.kind = KRAIT_CODE;
	s->build.rec.h.flags = 0;
	s->build.rec.h.bytes = n;
	if (platform_send(&s->build, n, false) != 0)
		return false;
	s->code_bytes += n;
	platform_count(KRAIT_CNT_CODES, 1);
	return true;
}

/* Sends the part of the line table in s->code that starts at `off`, without names. 0 or a fault. */
KRAIT_GLOBAL int code_send_lines(struct scratch *s, __u32 off)
{
	__u32 n;

	if (!s || off >= KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES)
		return KRAIT_FAULT_CODE_UNREADABLE;
	__builtin_memset(&s->build.rec.name, 0, 3 * sizeof(struct krait_str));
	n = code_add_lines(s, 0, s->build.rec.lines_total, off);
	if (!n)
		return KRAIT_FAULT_CODE_UNREADABLE;
	return code_send(s, n) ? 0 : KRAIT_FAULT_CODE_NOT_SENT;
}

/*
 * Sends the record that makes the code object known: its names and the first chunk of its table. 0
 * or a fault: a name or table that can't be read now (its page is not resident) may be readable at
 * the next tick, so nothing is sent that would settle it.
 */
static __always_inline __u32 code_send_head(struct scratch *s)
{
	struct krait_code_rec *rec = &s->build.rec;
	__u64 qualname = code_qualname(s);
	__u64 at = 0;
	__u32 lines;

	at += code_add_str(s, CODE_STR_NAME, code_word(s, s->layout.co_name_off), at);
	at += code_add_str(s, CODE_STR_QUALNAME, qualname, at);
	at += code_add_str(s, CODE_STR_FILE, code_word(s, s->layout.co_file_off), at);
	/* The verifier takes a global function's word for nothing. */
	keep_max(at, 2 * KRAIT_NAME_BYTES + KRAIT_FILE_BYTES);
	if (!rec->name.width || !rec->file.width || (qualname && !rec->qualname.width))
		return KRAIT_FAULT_CODE_UNREADABLE;
	rec->lines_off = rec->lines_bytes = 0;
	lines = code_add_lines(s, at, rec->lines_total, 0);
	if (!lines && rec->lines_total)
		return KRAIT_FAULT_CODE_UNREADABLE;
	return code_send(s, at + lines) ? 0 : KRAIT_FAULT_CODE_NOT_SENT;
}

/* Sends the code object in s->code: the later chunks of a long line table first, then the record
 * with its names. 0 or a fault. */
KRAIT_GLOBAL int code_send_all(struct scratch *s, __u64 id, __u64 addr, __u64 lines_bytes)
{
	struct krait_code_rec *rec;
	__u32 fault;

	if (!s)
		return KRAIT_FAULT_CODE_NOT_SENT;
	rec = &s->build.rec;

	/* Too long to send: no kind of table at all, so that its lines show as unknown rather than
	 * as wrong. */
	rec->lines_kind = s->layout.lines_kind;
	if (lines_bytes > (__u64)KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES)
		rec->lines_kind = lines_bytes = 0;
	rec->code_id = id;
	rec->code_addr = addr;
	rec->pid = recent_of(s)->pid;
	rec->first_line = code_word(s, s->layout.co_first_line_off);
	rec->lines_total = lines_bytes;
	rec->pad = 0;
	for (__u32 i = 1; i < KRAIT_LINES_CHUNKS; i++) {
		if ((__u64)i * KRAIT_LINES_CHUNK_BYTES >= lines_bytes)
			break;
		fault = code_send_lines(s, i * KRAIT_LINES_CHUNK_BYTES);
		if (fault)
			return fault;
	}
	return code_send_head(s);
}

/* Makes sure that user space has the code object in s->code. 0 or a fault. */
static __always_inline __u32 code_send_once(struct scratch *s, __u64 id, __u64 addr,
					    __u64 lines_bytes)
{
	struct sent_pair *pair = sent_code_get(id);
	__u32 fault;

	if (!pair)
		return KRAIT_FAULT_CODE_NOT_SENT;
	if (sent_has(pair, id))
		return 0;
	if (s->code_bytes > KRAIT_CODE_BURST_BYTES)
		return KRAIT_FAULT_CODE_TOO_MUCH;
	fault = code_send_all(s, id, addr, lines_bytes);
	if (!fault)
		sent_add(pair, id);
	return fault;
}

/* Whether the code object of the i-th frame need not be read again now. */
static __always_inline bool code_is_trusted(const struct scratch *s, const struct known *k, __u32 i)
{
	if (k->at_ns == s->now_ns) /* read in this very tick: a function that recurses */
		return true;
	return k->epoch == s->epoch &&
	       (i >= TRUST_OUTER_FRAMES || k->since_epoch + TRUST_EPOCHS <= s->epoch);
}

/* Finds out which code object is at addr, in frame i; user space has it then. Its id goes to *id.
 * 0, or the frame's fault. */
static __always_inline __u32 code_know(struct scratch *s, __u32 i, __u64 addr, __u64 *id)
{
	__u64 key = mix64(addr ^ proc_of(s)->seed), lines_bytes = 0;
	struct known_set *set = known_code_get(key);
	struct known *k;
	__u32 fault;

	if (!set)
		return KRAIT_FAULT_CODE_UNREADABLE;
	k = known_find(set, key, s->epoch);
	if (known_is(k, key) && code_is_trusted(s, k, i)) {
		*id = k->id;
		goto out;
	}
	/* Nothing that is new will be taken, so it need not be looked at. */
	if (s->code_bytes > KRAIT_CODE_BURST_BYTES && !known_is(k, key))
		return KRAIT_FAULT_CODE_TOO_MUCH;
	if (!code_read(s, addr))
		return KRAIT_FAULT_CODE_UNREADABLE;
	if (code_word(s, s->layout.ob_type_off) != proc_of(s)->addrs.code_type)
		return KRAIT_FAULT_CODE_NOT_CODE;
	*id = code_fingerprint(s, addr, &lines_bytes);
	if (!*id)
		return KRAIT_FAULT_CODE_UNREADABLE;
	fault = code_send_once(s, *id, addr, lines_bytes);
	if (fault)
		return fault;
	known_set_id(k, key, *id, s->epoch, s->now_ns);
out:
	/* Not old enough: the stack must come here again at its next tick. */
	if (i < TRUST_OUTER_FRAMES && k->since_epoch + TRUST_EPOCHS > s->epoch)
		s->is_unsettled = 1;
	return 0;
}

static __always_inline void code_resolve(struct scratch *s, __u32 i, struct krait_frame *frame)
{
	__u64 id = 0;
	__u32 fault;

	if (!frame->mark) {
		fault = code_know(s, i, frame->code_id, &id);
		if (fault == KRAIT_FAULT_CODE_UNREADABLE)
			absent_tell(s, 0, frame->code_id);
		frame->code_id = fault ? 0 : id;
		frame->mark = fault;
	}
	if (frame->mark) {
		s->is_unsettled = 1;
		platform_count(frame->mark, 1);
	}
	s->stack_id =
		mix64(s->stack_id ^ frame->code_id ^ (__u64)(__u32)frame->unit << 32 ^ frame->mark);
}

/* Turns frame i of the CPU's stack from an address into an id. 1 if there is none any more. */
KRAIT_GLOBAL int code_step(struct scratch *s, __u32 i)
{
	struct krait_stack_rec *stack = s ? stack_get(s) : NULL;

	if (!stack || i >= s->walk.cnt)
		return 1;
	keep_bounds(i);
	if (i >= stack_room)
		return 1;
	code_resolve(s, i, (struct krait_frame *)(stack + 1) + i);
	return 0;
}

/* The frames from `first` on, CODE_STEPS_FRAMES of them. 0 to be called again, 1 at the end. */
KRAIT_GLOBAL int code_steps(struct scratch *s, __u32 first)
{
	for (__u32 k = 0; k < CODE_STEPS_FRAMES; k++)
		if (code_step(s, first + k))
			return 1;
	return 0;
}

/*
 * Makes every code object of the walked stack known to user space, and the stack's id of theirs.
 * s->is_unsettled tells whether the next tick on this stack has to do it again.
 */
static __always_inline void code_resolve_all(struct scratch *s)
{
	struct krait_proc *account = proc_live(s);

	s->code_bytes = account ? account->code_bytes : 0;
	s->code_bytes -=
		s->code_bytes < KRAIT_CODE_STACK_BYTES ? s->code_bytes : KRAIT_CODE_STACK_BYTES;
	s->is_unsettled = 0;
	s->stack_id = proc_of(s)->seed ^ s->walk.flags ^ mix64(s->interp_id);
	for (__u32 i = 0; i < KRAIT_MAX_DEPTH_LIMIT / CODE_STEPS_FRAMES; i++)
		if (code_steps(s, i * CODE_STEPS_FRAMES))
			break;
	if (account)
		account->code_bytes = s->code_bytes;
}

#endif
