/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a frame record to function, file and line: never a wrong one, and unknown is an explicit
 * marker with its reason.
 *
 * Keeps the code objects of the CODE records, by their owner and code_id. An id never changes
 * meaning (bpf/abi/record.h), so neither does a symbol. The owner is the caller's number for the
 * lifetime of a process that a record is of: an id is a hash of what that process says, and says
 * nothing about any other one's frames.
 */
#ifndef KRAIT_SYMBOLIZE_SYMBOLIZER_H
#define KRAIT_SYMBOLIZE_SYMBOLIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/record.h"
#include "user/base/intern.h"

struct symbolizer;

/* What a frame is of. */
enum frame_kind {
	FRAME_PYTHON,
	FRAME_MARKER, /* of none: it stands for what could not be read, or is no code */
};

/* Strings are interned; compare them as pointers. A marker ("[unreadable: ...]", "[outside of
 * Python]") has file "" and first_line 0. */
struct symbol {
	const char *name; /* qualified where the version has it */
	const char *file;
	int32_t first_line;
	enum frame_kind kind;
	int32_t line;  /* of the executing instruction; 0: unknown */
	bool is_shim;  /* no Python code, but the interpreter's own: not to be shown */
	bool is_final; /* the code object is known: this frame's symbol will never be another */
	uint32_t body; /* if it is final: symbolizer_body of its code object */
};

/* `in` is borrowed and must outlive it. NULL with errno set if there is no memory. */
struct symbolizer *symbolizer_new(struct intern *in);
void symbolizer_free(struct symbolizer *sym);

/* Takes in a checked CODE record (copies what it needs). 0 or -ENOMEM. */
int symbolizer_add(struct symbolizer *sym, uint32_t owner, const struct krait_code_rec *rec);

/*
 * Has `to`, which is new, know of the code objects of these owners (cnt of them, rising) what
 * `from` does; only symbolizer_free is left for `from` then. 0 or -ENOMEM.
 */
int symbolizer_move(struct symbolizer *to, struct symbolizer *from, const uint32_t *owners,
		    uint32_t cnt);

/* The number of what the code object says, or INDEX_NONE as long as that is not known. Those of
 * several processes that say the same have one number; no other will ever have it. */
uint32_t symbolizer_body(const struct symbolizer *sym, uint32_t owner, uint64_t code_id);

/* The frame's symbol; always succeeds, if need be with a marker. */
struct symbol symbolizer_frame(struct symbolizer *sym, uint32_t owner,
			       const struct krait_frame *frame);

#endif
