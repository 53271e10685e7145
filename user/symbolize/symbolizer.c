// SPDX-License-Identifier: BSD-2-Clause
/* The code objects by id, and the symbols of their frames. */
#include "user/symbolize/symbolizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"
#include "user/base/index.h"
#include "user/base/text.h"
#include "user/drain/records.h"
#include "user/symbolize/linetable.h"

struct code {
	uint64_t id;
	const char *name, *file; /* NULL until the record with the names has come */
	int32_t first_line;
	enum krait_lines_kind lines_kind;
	uint8_t *lines;
	uint32_t lines_total;
	uint32_t lines_from, lines_to; /* what of it has come: [from, to) */
	bool lines_borrowed;	       /* they are another code object's */
};

/* As many tables with one hash are looked at. An index of more of them would cost more than it
 * saves, and somebody must have made them up. */
#define ALIKE_MAX 8

struct symbolizer {
	struct intern *in;
	struct code *codes;
	uint32_t code_cnt, code_cap;
	struct index by_id;
	struct index by_lines; /* those with a whole table, which they own */
	struct strbuf text;
};

struct symbolizer *symbolizer_new(struct intern *in)
{
	struct symbolizer *sym = calloc(1, sizeof(*sym));

	if (sym)
		sym->in = in;
	return sym;
}

void symbolizer_free(struct symbolizer *sym)
{
	if (!sym)
		return;
	for (uint32_t i = 0; i < sym->code_cnt; i++)
		if (!sym->codes[i].lines_borrowed)
			free(sym->codes[i].lines);
	free(sym->codes);
	index_release(&sym->by_id);
	index_release(&sym->by_lines);
	strbuf_release(&sym->text);
	free(sym);
}

static struct code *code_find(const struct symbolizer *sym, uint64_t id)
{
	struct index_iter it = index_first(&sym->by_id, id);

	for (; it.num != INDEX_NONE; index_next(&sym->by_id, &it))
		if (sym->codes[it.num].id == id)
			return &sym->codes[it.num];
	return NULL;
}

static struct code *code_add(struct symbolizer *sym, const struct krait_code_rec *rec)
{
	struct code code = {.id = rec->code_id};

	if (array_reserve((void **)&sym->codes, &sym->code_cap, sym->code_cnt + 1, sizeof(code)) !=
	    0)
		return NULL;
	if (rec->lines_total) {
		code.lines = malloc(rec->lines_total);
		if (!code.lines)
			return NULL;
	}
	code.lines_total = rec->lines_total;
	code.lines_kind = rec->lines_kind;
	code.first_line = rec->first_line;
	if (index_add(&sym->by_id, code.id, sym->code_cnt) != 0) {
		free(code.lines);
		return NULL;
	}
	sym->codes[sym->code_cnt] = code;
	return &sym->codes[sym->code_cnt++];
}

/* Interns a str of the target; `unknown` where it could not be read. */
static const char *name_of(struct symbolizer *sym, const struct krait_str *str, const char *bytes,
			   const char *unknown)
{
	strbuf_reset(&sym->text);
	if (!str->width)
		return intern_str(sym->in, unknown);
	if (str->is_bytes)
		text_add_utf8(&sym->text, bytes, str->bytes);
	else
		text_add_pystr(&sym->text, bytes, str->bytes, str->width);
	if (str->is_cut)
		strbuf_add_str(&sym->text, "…");
	if (!sym->text.len)
		return intern_str(sym->in, unknown);
	return intern_add(sym->in, sym->text.buf, sym->text.len);
}

/* A piece that comes again (the ring was full before the last one) must not stand in for one that
 * did not: what has come is kept as one range, which only a piece that touches it makes longer. */
static void lines_add(struct code *code, uint32_t off, const unsigned char *bytes, uint32_t len)
{
	uint32_t end = off + len;

	if (!len)
		return;
	memcpy(code->lines + off, bytes, len);
	if (off > code->lines_to || end < code->lines_from || !code->lines_to) {
		code->lines_from = off;
		code->lines_to = end;
	}
	if (off < code->lines_from)
		code->lines_from = off;
	if (end > code->lines_to)
		code->lines_to = end;
}

/* A table with a hole could give a wrong line; no line is better. (An empty one is whole: up to 3.9
 * it says that all is on the first line.) */
static bool has_all_lines(const struct code *code)
{
	return code->lines_from == 0 && code->lines_to == code->lines_total;
}

/* Most of what a code object takes is its line table, and the same program in another process has
 * an equal one: it is kept once. The table must be final. Without memory it is not shared. */
static void share_lines(struct symbolizer *sym, struct code *code)
{
	uint64_t hash = hash_bytes(code->lines, code->lines_total);
	struct index_iter it = index_first(&sym->by_lines, hash);
	int cnt = 0;

	for (; it.num != INDEX_NONE && cnt < ALIKE_MAX; index_next(&sym->by_lines, &it), cnt++) {
		const struct code *other = &sym->codes[it.num];

		if (other->lines_total != code->lines_total ||
		    memcmp(other->lines, code->lines, code->lines_total) != 0)
			continue;
		free(code->lines);
		code->lines = other->lines;
		code->lines_borrowed = true;
		return;
	}
	if (cnt < ALIKE_MAX)
		index_add(&sym->by_lines, hash, code - sym->codes);
}

int symbolizer_add(struct symbolizer *sym, const struct krait_code_rec *rec)
{
	struct code_text text = code_text(rec);
	struct code *code = code_find(sym, rec->code_id);

	if (code && code->name)
		return 0;
	if (!code)
		code = code_add(sym, rec);
	if (!code)
		return -ENOMEM;
	if (rec->lines_total != code->lines_total)
		return 0;
	lines_add(code, rec->lines_off, text.lines, rec->lines_bytes);
	if (rec->lines_off)
		return 0;
	code->file = name_of(sym, &rec->file, text.file, "[file name not readable]");
	if (rec->qualname.width)
		code->name = name_of(sym, &rec->qualname, text.qualname, "[name not readable]");
	else
		code->name = name_of(sym, &rec->name, text.name, "[name not readable]");
	if (code->lines_total && has_all_lines(code))
		share_lines(sym, code);
	return 0;
}

static const char *const fault_sentences[] = {
#define X(name, sentence) [KRAIT_FAULT_##name - KRAIT_LOSS_CNT] = "[unreadable: " sentence "]",
	KRAIT_FRAME_FAULTS(X)
#undef X
};

static struct symbol marker(struct symbolizer *sym, uint32_t fault)
{
	struct symbol symbol = {.file = intern_str(sym->in, "")};
	uint32_t i = fault - KRAIT_LOSS_CNT;

	if (i >= sizeof(fault_sentences) / sizeof(*fault_sentences))
		i = KRAIT_FAULT_CODE_NOT_SENT - KRAIT_LOSS_CNT;
	symbol.name = intern_str(sym->in, fault_sentences[i]);
	return symbol;
}

/*
 * From 3.12 on a class that is called often enough runs its __init__ under a frame that the
 * interpreter makes to check what that returns: _Py_InitCleanup, Python/specialize.c, whose name
 * and file are "__init__", and whose line table is one entry that says there is no line. Tracebacks
 * leave it out too (_PyFrame_IsIncomplete). No compiler gives a first line of 0 to code of a file.
 */
static bool is_init_cleanup(const struct code *code)
{
	return code->first_line == 0 && code->lines_total == 1 &&
	       code->lines_kind == KRAIT_LINES_PEP657 && !strcmp(code->name, "__init__") &&
	       !strcmp(code->file, "__init__");
}

struct symbol symbolizer_frame(struct symbolizer *sym, const struct krait_frame *frame)
{
	const struct code *code = frame->mark ? NULL : code_find(sym, frame->code_id);
	struct symbol symbol;

	if (!code || !code->name)
		return marker(sym, frame->mark ? frame->mark : KRAIT_FAULT_CODE_NOT_SENT);
	symbol.name = code->name;
	symbol.file = code->file;
	symbol.first_line = code->first_line;
	symbol.is_shim = is_init_cleanup(code);
	symbol.is_final = true;
	symbol.line = LINE_UNKNOWN;
	if (has_all_lines(code))
		symbol.line = linetable_line(code->lines_kind, code->lines, code->lines_total,
					     code->first_line, frame->unit);
	return symbol;
}
