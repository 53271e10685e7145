// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sources, and what of each is taken. Offsets behind the PyObject head are the same in every build,
 * free-threaded ones included, whose head is longer; tests/layouts compares them with the headers.
 *   PyTypeObject, PyHeapTypeObject  Include/cpython/object.h (object.h before 3.5)
 *   PyModuleObject     Objects/moduleobject.c, pycore_moduleobject.h from 3.12 on
 *   PyLongObject       Include/cpython/longintrepr.h; PyIntObject of 2.7: Include/intobject.h
 *   PyASCIIObject      Include/cpython/unicodeobject.h; PyStringObject of 2.7: stringobject.h
 */
#include "user/python/pyobject.h"

#include <errno.h>
#include <string.h>

#include "user/base/text.h"

#define ADDR_MIN 4096 /* below lies no mapping (vm.mmap_min_addr) */
#define CHARS_MAX 1024
#define NAME_BYTES 32	/* of a name that is looked for */
#define HEADER_BYTES 64 /* of a compact ASCII str: 56 in a free-threaded build */

static const struct pyobject_layout layout_27 = {PYDICT_SLOTS, PYATTRS_DICT, PYINT_LONG, 0};
static const struct pyobject_layout layouts[] = {
	[6 ... 10] = {PYDICT_SIZED, PYATTRS_DICT, PYINT_DIGITS, 0},
	[11] = {PYDICT_KINDS, PYATTRS_BESIDE, PYINT_DIGITS, 856},
	[12] = {PYDICT_KINDS, PYATTRS_TAGGED, PYINT_TAGGED, 864},
	[13] = {PYDICT_KINDS, PYATTRS_INLINE, PYINT_TAGGED, 864},
	[14] = {PYDICT_KINDS, PYATTRS_INLINE, PYINT_TAGGED, 864},
	[15] = {PYDICT_KINDS, PYATTRS_INLINE, PYINT_TAGGED, 872},
};

const struct pyobject_layout *pyobject_layout_of_version(unsigned int major, unsigned int minor)
{
	if (major == 2 && minor == 7)
		return &layout_27;
	if (major != 3 || minor < 6 || minor >= sizeof(layouts) / sizeof(layouts[0]))
		return NULL;
	return &layouts[minor];
}

int pyreader_read(struct pyreader *r, uint64_t addr, void *buf, size_t len)
{
	if (addr < ADDR_MIN || addr >= (uint64_t)1 << 56 || addr % 8)
		return -EINVAL;
	if (!r->reads_left)
		return -E2BIG;
	r->reads_left--;
	return memory_read(r->mem, addr, buf, len);
}

/* ---- Types ---- */

/* The text may lie anywhere, and so near the end of what is mapped that only its own bytes can be
 * read. */
static int read_type_name(const struct pyreader *r, uint64_t addr, char out[PYTYPE_NAME_BYTES])
{
	int err = memory_read(r->mem, addr, out, PYTYPE_NAME_BYTES - 1);

	if (!err)
		return 0;
	for (size_t i = 0; i < PYTYPE_NAME_BYTES - 1; i++) {
		err = memory_read(r->mem, addr + i, &out[i], 1);
		if (err || !out[i])
			return err;
	}
	return 0;
}

static int read_type(struct pyreader *r, uint64_t addr, struct pytype *out)
{
	char buf[PYOBJECT_TP_DICTOFFSET + 8];
	uint64_t name;
	int err = pyreader_read(r, addr + pyreader_head(r), buf, sizeof(buf));

	if (err)
		return err;
	*out = (struct pytype){.addr = addr};
	memcpy(&name, buf + PYOBJECT_TP_NAME, 8);
	memcpy(&out->basicsize, buf + PYOBJECT_TP_BASICSIZE, 8);
	memcpy(&out->flags, buf + PYOBJECT_TP_FLAGS, 8);
	memcpy(&out->dictoffset, buf + PYOBJECT_TP_DICTOFFSET, 8);
	if (r->objects->cached_keys_off && (out->flags & PYTYPE_MANAGED_DICT))
		err = memory_read_u64(r->mem, addr + pyreader_head(r) + r->objects->cached_keys_off,
				      &out->cached_keys);
	return err ?: read_type_name(r, name, out->name);
}

/* The type at `addr` itself. */
static int find_type(struct pyreader *r, uint64_t addr, struct pytype *out)
{
	uint32_t cnt = r->type_cnt < PYTYPES ? r->type_cnt : PYTYPES;
	int err;

	for (uint32_t i = 0; i < cnt; i++)
		if (r->types[i].addr == addr) {
			*out = r->types[i];
			return 0;
		}
	err = read_type(r, addr, out);
	if (!err)
		r->types[r->type_cnt++ % PYTYPES] = *out;
	return err;
}

int pyreader_type(struct pyreader *r, uint64_t addr, struct pytype *out)
{
	uint64_t type;
	int err = pyreader_read(r, addr + r->walk->ob_type_off, &type, 8);

	return err ?: find_type(r, type, out);
}

int pyreader_check(struct pyreader *r, uint64_t addr, uint64_t flags)
{
	struct pytype type;
	int err = pyreader_type(r, addr, &type);

	return err ?: (type.flags & flags) ? 0 : -EINVAL;
}

/* ---- Ints and strs ---- */

/* Digits of 30 bits (2.7 aside): with 15, a build option, the value is another and is not found. */
static int read_digits(struct pyreader *r, uint64_t addr, uint64_t cnt, uint64_t *out)
{
	uint32_t digits[3] = {};
	int err;

	*out = 0;
	if (cnt > 3)
		return -EINVAL;
	err = cnt ? pyreader_read(r, addr, digits, cnt * sizeof(*digits)) : 0;
	if (err)
		return err;
	if ((digits[0] | digits[1]) >> 30 || digits[2] >= 8)
		return -EINVAL;
	*out = digits[0] | (uint64_t)digits[1] << 30 | (uint64_t)digits[2] << 60;
	return 0;
}

int pyreader_int(struct pyreader *r, uint64_t addr, uint64_t *out)
{
	enum pyint_form form = r->objects->ints;
	uint64_t word, body = addr + pyreader_head(r);
	int err = pyreader_check(r, addr, form == PYINT_LONG ? PYTYPE_INT_27 : PYTYPE_LONG);

	err = err ?: pyreader_read(r, body, &word, 8);
	if (err)
		return err;
	if (form == PYINT_DIGITS)
		return read_digits(r, body + 8, word, out);
	/* lv_tag: the sign (0: positive, 1: zero) in two bits, a flag, the number of digits. */
	if (form == PYINT_TAGGED)
		return (word & 3) > 1 ? -EINVAL : read_digits(r, body + 8, word >> 3, out);
	*out = word;
	return word >> 63 ? -EINVAL : 0;
}

static bool has_bytes(const struct pyreader *r)
{
	return r->walk->names_are_bytes;
}

static uint64_t str_flag(const struct pyreader *r)
{
	return has_bytes(r) ? PYTYPE_STRING_27 : PYTYPE_UNICODE;
}

/* PyASCIIObject.state from the kind on: kind:3, compact:1, ascii:1. A byte string is as if ASCII.
 */
#define STATE_BYTES (1 | 8 | 16)

static uint32_t state_of(const struct pyreader *r, uint32_t word)
{
	return has_bytes(r) ? STATE_BYTES : word >> r->walk->str_kind_shift & 31;
}

/* A str's text: where it is, in how many characters of which width. */
struct span {
	uint64_t addr, chars;
	uint32_t width;
};

static int open_str(struct pyreader *r, uint64_t addr, struct span *out)
{
	const struct krait_layout *w = r->walk;
	uint32_t state = 0;
	int err = pyreader_check(r, addr, str_flag(r));

	err = err ?: pyreader_read(r, addr + w->str_length_off, &out->chars, 8);
	if (!err && !has_bytes(r))
		err = pyreader_read(r, addr + w->str_state_off, &state, sizeof(state));
	if (err)
		return err;
	state = state_of(r, state);
	out->width = state & 7;
	/* Those that are not compact are of subclasses, or of old calls. */
	if (!(state & 8) || (out->width != 1 && out->width != 2 && out->width != 4))
		return -EINVAL;
	out->addr = addr + (state & 16 ? w->str_ascii_bytes : w->str_compact_bytes);
	return 0;
}

int pyreader_str(struct pyreader *r, uint64_t addr, uint32_t max_chars, struct strbuf *out)
{
	char buf[CHARS_MAX * 4];
	struct span text;
	uint32_t chars;
	int err = open_str(r, addr, &text);

	if (err)
		return err;
	if (max_chars > CHARS_MAX)
		max_chars = CHARS_MAX;
	chars = text.chars > max_chars ? max_chars : text.chars;
	err = memory_read(r->mem, text.addr, buf, (size_t)chars * text.width);
	if (err)
		return err;
	if (has_bytes(r))
		text_add_utf8(out, buf, chars);
	else
		text_add_pystr(out, buf, (size_t)chars * text.width, text.width);
	if (text.chars > max_chars)
		strbuf_add_str(out, "…");
	return out->failed ? -ENOMEM : 0;
}

/* Whether the str is this ASCII text. In one read, since most of a dict is other names: of the size
 * that it would have, so that a failure says no. */
static bool is_text(struct pyreader *r, uint64_t addr, const char *text)
{
	const struct krait_layout *w = r->walk;
	size_t len = strlen(text);
	char buf[HEADER_BYTES + NAME_BYTES];
	struct pytype type;
	uint64_t type_addr, chars;
	uint32_t state;

	if (w->str_ascii_bytes > HEADER_BYTES || len > NAME_BYTES ||
	    pyreader_read(r, addr, buf, w->str_ascii_bytes + len))
		return false;
	memcpy(&type_addr, buf + w->ob_type_off, 8);
	memcpy(&chars, buf + w->str_length_off, 8);
	memcpy(&state, buf + w->str_state_off, sizeof(state));
	return chars == len && state_of(r, state) == STATE_BYTES &&
	       !memcmp(buf + w->str_ascii_bytes, text, len) && !find_type(r, type_addr, &type) &&
	       type.flags & str_flag(r);
}

struct search {
	struct pyreader *r;
	struct pyname *names;
	uint32_t cnt, left;
};

static int match_name(void *arg, const struct pyentry *entry)
{
	struct search *s = arg;
	struct pyname *name = NULL;

	for (uint32_t i = 0; i < s->cnt && !name; i++)
		if (s->names[i].key == entry->key)
			name = &s->names[i];
	for (uint32_t i = 0; i < s->cnt && !name; i++)
		if (!s->names[i].key && is_text(s->r, entry->key, s->names[i].text))
			name = &s->names[i];
	if (!name || name->value || (name->is_doubtful && !is_text(s->r, entry->key, name->text)))
		return 0;
	name->is_doubtful = false;
	name->key = entry->key;
	name->value = entry->value;
	return --s->left == 0;
}

int pyreader_find(struct pyreader *r, const struct pytable *table, struct pyname *names,
		  uint32_t cnt)
{
	struct search s = {.r = r, .names = names, .cnt = cnt, .left = cnt};
	int ret;

	for (uint32_t i = 0; i < cnt; i++)
		names[i].value = 0;
	ret = pyreader_each(r, table, match_name, &s);
	return ret < 0 ? ret : 0;
}
