// SPDX-License-Identifier: BSD-2-Clause
#include "user/symbolize/frames.h"

#include <errno.h>
#include <stdlib.h>

#include "user/base/table.h"
#include "user/symbolize/known.h"

struct frames {
	struct intern *in;
	struct symbolizer *sym;
	TABLE(struct profile_function) functions;
	TABLE(struct profile_frame) frames;
	struct known by_id;   /* frames by the id of their code object, */
	struct known by_body; /* and by what that says, which is the same in many processes */
};

struct frames *frames_new(struct intern *in)
{
	struct frames *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->in = in;
	f->sym = symbolizer_new(in);
	if (f->sym)
		return f;
	free(f);
	errno = ENOMEM;
	return NULL;
}

void frames_free(struct frames *f)
{
	if (!f)
		return;
	TABLE_FREE(&f->functions);
	TABLE_FREE(&f->frames);
	symbolizer_free(f->sym);
	free(f);
}

int frames_add_code(struct frames *f, uint32_t owner, const struct krait_code_rec *rec)
{
	return symbolizer_add(f->sym, owner, rec);
}

static uint32_t function_number(struct frames *f, const struct symbol *s)
{
	uint64_t hash =
		hash_pair((uintptr_t)s->name, (uintptr_t)s->file ^ (uint64_t)s->first_line << 48);
	uint32_t num;

	TABLE_EACH(it, &f->functions, hash)
	{
		const struct profile_function *fn = &f->functions.items[it.num];

		if (fn->name == s->name && fn->file == s->file && fn->first_line == s->first_line &&
		    fn->kind == s->kind)
			return it.num;
	}
	num = TABLE_GROW(&f->functions, hash);
	if (num != INDEX_NONE)
		f->functions.items[num] = (struct profile_function){.name = s->name,
								    .file = s->file,
								    .first_line = s->first_line,
								    .kind = s->kind};
	return num;
}

static uint32_t symbol_number(struct frames *f, const struct symbol *s)
{
	uint32_t function_idx = function_number(f, s), num;
	uint64_t hash = hash_pair(function_idx, (uint32_t)s->line);

	if (function_idx == INDEX_NONE)
		return FRAME_NO_MEMORY;
	TABLE_EACH(it, &f->frames, hash)
	{
		const struct profile_frame *frame = &f->frames.items[it.num];

		if (frame->function_idx == function_idx && frame->line == s->line)
			return it.num;
	}
	num = TABLE_GROW(&f->frames, hash);
	if (num == INDEX_NONE)
		return FRAME_NO_MEMORY;
	f->frames.items[num] =
		(struct profile_frame){.function_idx = function_idx, .line = s->line};
	return num;
}

uint32_t frames_marker(struct frames *f, const char *name)
{
	const struct symbol marker = {.name = intern_str(f->in, name),
				      .file = intern_str(f->in, ""),
				      .kind = FRAME_MARKER};

	return symbol_number(f, &marker);
}

/* The number of a frame whose symbol has to be found. */
static uint32_t new_number(struct frames *f, uint32_t owner, const struct krait_frame *frame)
{
	struct symbol s = symbolizer_frame(f->sym, owner, frame);
	uint32_t num;

	if (s.is_shim)
		return FRAME_HIDDEN;
	num = symbol_number(f, &s);
	if (s.is_final && num != FRAME_NO_MEMORY) {
		known_add(&f->by_id, owner, frame->code_id, frame->unit, num);
		known_add(&f->by_body, 0, s.body, frame->unit, num);
	}
	return num;
}

uint32_t frames_number(struct frames *f, uint32_t owner, const struct krait_frame *frame)
{
	uint32_t num, body;

	if (frame->mark)
		return new_number(f, owner, frame);
	num = known_find(&f->by_id, owner, frame->code_id, frame->unit);
	if (num != INDEX_NONE)
		return num;
	body = symbolizer_body(f->sym, owner, frame->code_id);
	if (body != INDEX_NONE)
		num = known_find(&f->by_body, 0, body, frame->unit);
	if (num == INDEX_NONE)
		return new_number(f, owner, frame);
	known_add(&f->by_id, owner, frame->code_id, frame->unit, num);
	return num;
}

int frames_move(struct frames *to, struct frames *from, const uint32_t *owners, uint32_t cnt)
{
	return symbolizer_move(to->sym, from->sym, owners, cnt);
}

uint32_t frames_carry(struct frames *to, const struct frames *from, uint32_t num)
{
	const struct profile_frame *frame = &from->frames.items[num];
	const struct profile_function *fn = &from->functions.items[frame->function_idx];
	const struct symbol s = {.name = intern_str(to->in, fn->name),
				 .file = intern_str(to->in, fn->file),
				 .first_line = fn->first_line,
				 .kind = fn->kind,
				 .line = frame->line};

	return symbol_number(to, &s);
}

struct frame_arrays frames_arrays(const struct frames *f)
{
	return (struct frame_arrays){
		.functions = f->functions.items,
		.frames = f->frames.items,
		.function_cnt = f->functions.cnt,
		.frame_cnt = f->frames.cnt,
	};
}
