// SPDX-License-Identifier: BSD-2-Clause
/*
 * The code objects by owner and id, and the symbols of their frames.
 *
 * Nearly all of a code object is what it says: names, file, line table. The same program in another
 * process says the same under other ids, so this is kept once, as a body that they share.
 */
#include "user/symbolize/symbolizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi/ledger.h"
#include "user/base/array.h"
#include "user/base/index.h"
#include "user/base/text.h"
#include "user/drain/records.h"
#include "user/symbolize/linetable.h"

struct body {
	const char *name, *file; /* NULL until the record with the names has come */
	uint8_t *lines;
	int32_t first_line;
	enum krait_lines_kind lines_kind;
	uint32_t lines_total;
	uint32_t lines_from, lines_to; /* what of it has come: [from, to) */
	struct linetable *marks;       /* of a long table that has been asked; or NULL */
};

/* A shorter line table is read through for each line that is asked: bytes. */
#define LONG_TABLE_BYTES 4096

struct code {
	uint64_t id;
	uint32_t owner;
	uint32_t body_idx; /* its own, until that is whole and another is found to be equal */
};

/* As many bodies with one hash are looked at. An index of more of them would cost more than it
 * saves, and somebody must have made them up. */
#define ALIKE_MAX 8

struct symbolizer {
	struct intern *in;
	struct code *codes;
	uint32_t code_cnt, code_cap;
	struct body *bodies;
	uint32_t body_cnt, body_cap;
	struct index by_id;
	struct index by_body; /* of the whole ones */
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
	for (uint32_t i = 0; i < sym->body_cnt; i++) {
		linetable_free(sym->bodies[i].marks);
		free(sym->bodies[i].lines);
	}
	free(sym->bodies);
	free(sym->codes);
	index_release(&sym->by_id);
	index_release(&sym->by_body);
	strbuf_release(&sym->text);
	free(sym);
}

static uint64_t code_hash(uint32_t owner, uint64_t id)
{
	return hash_pair(id, owner);
}

static struct code *code_find(const struct symbolizer *sym, uint32_t owner, uint64_t id)
{
	struct index_iter it = index_first(&sym->by_id, code_hash(owner, id));

	for (; it.num != INDEX_NONE; index_next(&sym->by_id, &it))
		if (sym->codes[it.num].id == id && sym->codes[it.num].owner == owner)
			return &sym->codes[it.num];
	return NULL;
}

/* Appends a body of which nothing has come. -ENOMEM without memory. */
static int body_add(struct symbolizer *sym, const struct krait_code_rec *rec)
{
	struct body body = {
		.first_line = rec->first_line,
		.lines_kind = rec->lines_kind,
		.lines_total = rec->lines_total,
	};

	if (array_reserve((void **)&sym->bodies, &sym->body_cap, sym->body_cnt + 1, sizeof(body)) !=
	    0)
		return -ENOMEM;
	if (body.lines_total) {
		body.lines = malloc(body.lines_total);
		if (!body.lines)
			return -ENOMEM;
	}
	sym->bodies[sym->body_cnt++] = body;
	return 0;
}

static struct code *code_add(struct symbolizer *sym, uint32_t owner,
			     const struct krait_code_rec *rec)
{
	struct code code = {.id = rec->code_id, .owner = owner, .body_idx = sym->body_cnt};
	uint64_t hash = code_hash(owner, code.id);

	if (array_reserve((void **)&sym->codes, &sym->code_cap, sym->code_cnt + 1, sizeof(code)) !=
		    0 ||
	    body_add(sym, rec) != 0 || index_add(&sym->by_id, hash, sym->code_cnt) != 0)
		return NULL;
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
static void lines_add(struct body *body, uint32_t off, const unsigned char *bytes, uint32_t len)
{
	uint32_t end = off + len;

	if (!len)
		return;
	memcpy(body->lines + off, bytes, len);
	if (off > body->lines_to || end < body->lines_from || !body->lines_to) {
		body->lines_from = off;
		body->lines_to = end;
	}
	if (off < body->lines_from)
		body->lines_from = off;
	if (end > body->lines_to)
		body->lines_to = end;
}

/* A table with a hole could give a wrong line; no line is better. (An empty one is whole: up to 3.9
 * it says that all is on the first line.) */
static bool has_all_lines(const struct body *body)
{
	return body->lines_from == 0 && body->lines_to == body->lines_total;
}

static uint64_t body_hash(const struct body *body)
{
	uint64_t names = hash_pair((uintptr_t)body->name, (uintptr_t)body->file);

	return hash_pair(names ^ (uint32_t)body->first_line,
			 hash_bytes(body->lines, body->lines_total));
}

static bool is_equal(const struct body *a, const struct body *b)
{
	return a->name == b->name && a->file == b->file && a->first_line == b->first_line &&
	       a->lines_kind == b->lines_kind && a->lines_total == b->lines_total &&
	       memcmp(a->lines, b->lines, a->lines_total) == 0;
}

/* Lets go of a body that nobody needs. One in the middle (others began before its line table was
 * whole) leaves its place unused. */
static void body_drop(struct symbolizer *sym, uint32_t body_idx)
{
	free(sym->bodies[body_idx].lines);
	sym->bodies[body_idx].lines = NULL;
	sym->body_cnt -= body_idx + 1 == sym->body_cnt;
}

/* Gives the code object, whose body is whole, an older one that is equal, if there is. */
static void share_body(struct symbolizer *sym, struct code *code)
{
	const struct body *body = &sym->bodies[code->body_idx];
	uint64_t hash = body_hash(body);
	struct index_iter it = index_first(&sym->by_body, hash);
	int cnt = 0;

	for (; it.num != INDEX_NONE && cnt < ALIKE_MAX; index_next(&sym->by_body, &it), cnt++) {
		if (!is_equal(&sym->bodies[it.num], body))
			continue;
		body_drop(sym, code->body_idx);
		code->body_idx = it.num;
		return;
	}
	if (cnt < ALIKE_MAX)
		index_add(&sym->by_body, hash, code->body_idx);
}

int symbolizer_add(struct symbolizer *sym, uint32_t owner, const struct krait_code_rec *rec)
{
	struct code_text text = code_text(rec);
	struct code *code = code_find(sym, owner, rec->code_id);
	struct body *body;

	if (!code)
		code = code_add(sym, owner, rec);
	if (!code)
		return -ENOMEM;
	body = &sym->bodies[code->body_idx];
	if (body->name || rec->lines_total != body->lines_total)
		return 0;
	lines_add(body, rec->lines_off, text.lines, rec->lines_bytes);
	if (rec->lines_off)
		return 0;
	body->file = name_of(sym, &rec->file, text.file, "[file name not readable]");
	if (rec->qualname.width)
		body->name = name_of(sym, &rec->qualname, text.qualname, "[name not readable]");
	else
		body->name = name_of(sym, &rec->name, text.name, "[name not readable]");
	if (body->lines_total && has_all_lines(body))
		share_body(sym, code);
	return 0;
}

/* Moves a body, with what it holds, and its names, which are the old table's. Its number, or
 * INDEX_NONE without memory. */
static uint32_t body_move(struct symbolizer *to, struct body *body)
{
	if (array_reserve((void **)&to->bodies, &to->body_cap, to->body_cnt + 1, sizeof(*body)) !=
	    0)
		return INDEX_NONE;
	to->bodies[to->body_cnt] = *body;
	body->lines = NULL;
	body->marks = NULL;
	body = &to->bodies[to->body_cnt];
	if (body->name) {
		body->name = intern_str(to->in, body->name);
		body->file = intern_str(to->in, body->file);
	}
	if (body->name && body->lines_total && has_all_lines(body))
		index_add(&to->by_body, body_hash(body), to->body_cnt);
	return to->body_cnt++;
}

/* Moves the code object, and its body if no other has taken that along: moved[] has the new numbers
 * of the bodies. 0 or -ENOMEM. */
static int code_move(struct symbolizer *to, struct symbolizer *from, const struct code *code,
		     uint32_t *moved)
{
	uint32_t *body_idx = &moved[code->body_idx];

	if (*body_idx == INDEX_NONE)
		*body_idx = body_move(to, &from->bodies[code->body_idx]);
	if (*body_idx == INDEX_NONE ||
	    array_reserve((void **)&to->codes, &to->code_cap, to->code_cnt + 1, sizeof(*code)) !=
		    0 ||
	    index_add(&to->by_id, code_hash(code->owner, code->id), to->code_cnt) != 0)
		return -ENOMEM;
	to->codes[to->code_cnt] = *code;
	to->codes[to->code_cnt++].body_idx = *body_idx;
	return 0;
}

int symbolizer_move(struct symbolizer *to, struct symbolizer *from, const uint32_t *owners,
		    uint32_t cnt)
{
	uint32_t *moved = malloc((from->body_cnt + 1UL) * sizeof(*moved));
	int err = moved ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i < from->body_cnt; i++)
		moved[i] = INDEX_NONE;
	for (uint32_t i = 0; !err && i < from->code_cnt; i++)
		if (bsearch(&from->codes[i].owner, owners, cnt, sizeof(*owners), compare_u32))
			err = code_move(to, from, &from->codes[i], moved);
	free(moved);
	return err;
}

static const char *mark_text(uint32_t mark)
{
	switch (mark) {
#define X(name, number, sentence)                                                                  \
	case KRAIT_FAULT_##name:                                                                   \
		return "[unreadable: " sentence "]";
		KRAIT_FRAME_FAULTS(X)
#undef X
	case KRAIT_MARK_OUTSIDE:
		return "[outside of Python]";
	default: /* a newer krait's, or nobody's */
		return "[unreadable: for a reason that this krait does not know]";
	}
}

static struct symbol marker(struct symbolizer *sym, uint32_t mark)
{
	return (struct symbol){.name = intern_str(sym->in, mark_text(mark)),
			       .file = intern_str(sym->in, ""),
			       .kind = FRAME_MARKER};
}

/*
 * From 3.12 on a class that is called often enough runs its __init__ under a frame that the
 * interpreter makes to check what that returns: _Py_InitCleanup, Python/specialize.c, whose name
 * and file are "__init__", and whose line table is one entry that says there is no line. Tracebacks
 * leave it out too (_PyFrame_IsIncomplete). No compiler gives a first line of 0 to code of a file.
 */
static bool is_init_cleanup(const struct body *body)
{
	return body->first_line == 0 && body->lines_total == 1 &&
	       body->lines_kind == KRAIT_LINES_PEP657 && !strcmp(body->name, "__init__") &&
	       !strcmp(body->file, "__init__");
}

uint32_t symbolizer_body(const struct symbolizer *sym, uint32_t owner, uint64_t code_id)
{
	const struct code *code = code_find(sym, owner, code_id);

	return code && sym->bodies[code->body_idx].name ? code->body_idx : INDEX_NONE;
}

static int32_t body_line(struct body *body, int32_t unit)
{
	if (!has_all_lines(body))
		return LINE_UNKNOWN;
	if (!body->marks && body->lines_total > LONG_TABLE_BYTES)
		body->marks = linetable_new(body->lines_kind, body->lines, body->lines_total,
					    body->first_line);
	if (body->marks)
		return linetable_find(body->marks, unit);
	return linetable_line(body->lines_kind, body->lines, body->lines_total, body->first_line,
			      unit);
}

struct symbol symbolizer_frame(struct symbolizer *sym, uint32_t owner,
			       const struct krait_frame *frame)
{
	const struct code *code = frame->mark ? NULL : code_find(sym, owner, frame->code_id);
	struct body *body = code ? &sym->bodies[code->body_idx] : NULL;
	struct symbol symbol;

	if (!body || !body->name)
		return marker(sym, frame->mark ? frame->mark : KRAIT_FAULT_CODE_NOT_SENT);
	symbol.name = body->name;
	symbol.file = body->file;
	symbol.first_line = body->first_line;
	symbol.kind = FRAME_PYTHON;
	symbol.is_shim = is_init_cleanup(body);
	symbol.is_final = true;
	symbol.body = code->body_idx;
	symbol.line = body_line(body, frame->unit);
	return symbol;
}
