/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a running CPython's objects: dicts, attributes, ints and strs.
 *
 * The process changes them meanwhile and may be hostile: each address is held against what the
 * object must be before it is followed, every count has a bound, and a doubt is an error. What came
 * out may still be torn or just freed: a caller that needs the truth reads twice and compares.
 */
#ifndef KRAIT_PYTHON_PYOBJECT_H
#define KRAIT_PYTHON_PYOBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/control.h"
#include "user/base/strbuf.h"
#include "user/proc/memory.h"

/* Where a version keeps what a dict holds. */
enum pydict_form {
	PYDICT_SLOTS, /* 2.7: a hash table of entries */
	PYDICT_SIZED, /* 3.6 to 3.10: keys with dk_size */
	PYDICT_KINDS, /* 3.11 and later: keys with dk_kind */
};

/* Where an instance keeps its attributes besides in the dict at tp_dictoffset. */
enum pyattrs_form {
	PYATTRS_DICT,	/* up to 3.10: nowhere */
	PYATTRS_BESIDE, /* 3.11: in values at -4 words, or a dict at -3 */
	PYATTRS_TAGGED, /* 3.12: in values or a dict at -3 words, told apart by the low bit */
	PYATTRS_INLINE, /* 3.13 and later: in values behind the object, unless it has a dict */
};

enum pyint_form {
	PYINT_LONG,   /* 2.7: a C long */
	PYINT_DIGITS, /* 3.6 to 3.11: ob_size and digits */
	PYINT_TAGGED, /* 3.12 and later: lv_tag and digits */
};

/* Offsets from the end of the PyObject head: the same in every version and build. */
enum {
	PYOBJECT_TP_NAME = 8, /* PyTypeObject; ob_size comes first */
	PYOBJECT_TP_BASICSIZE = 16,
	PYOBJECT_TP_FLAGS = 152,
	PYOBJECT_TP_DICTOFFSET = 272,
	PYOBJECT_MA_KEYS = 16, /* PyDictObject; ma_values comes next */
	PYOBJECT_MA_MASK = 16, /* of 2.7; ma_table comes next */
	PYOBJECT_MD_DICT = 0,  /* PyModuleObject */
};

/* What these differ by between versions; offsets from the end of the PyObject head. */
struct pyobject_layout {
	uint8_t dict; /* enum pydict_form */
	uint8_t attrs;
	uint8_t ints;
	uint16_t cached_keys_off; /* PyHeapTypeObject.ht_cached_keys; needed from 3.11 on */
};

/* The layout of that CPython, or NULL where it is not known here. Static storage. */
const struct pyobject_layout *pyobject_layout_of_version(unsigned int major, unsigned int minor);

/* Flags of types that are asked for, Include/object.h. */
#define PYTYPE_INLINE_VALUES (1UL << 2)
#define PYTYPE_MANAGED_DICT (1UL << 4)
#define PYTYPE_INT_27 (1UL << 23)
#define PYTYPE_LONG (1UL << 24)
#define PYTYPE_STRING_27 (1UL << 27)
#define PYTYPE_UNICODE (1UL << 28)
#define PYTYPE_DICT (1UL << 29)

#define PYTYPE_NAME_BYTES 16

struct pytype {
	uint64_t addr;
	uint64_t flags;
	int64_t basicsize, dictoffset;
	uint64_t cached_keys;
	char name[PYTYPE_NAME_BYTES]; /* tp_name, cut */
};

#define PYTYPES 8

/* A reader of one process. Set the first four, zero the rest. */
struct pyreader {
	const struct memory *mem;
	const struct krait_layout *walk;
	const struct pyobject_layout *objects;
	uint32_t reads_left;	      /* so many, and then there is nothing but -E2BIG */
	struct pytype types[PYTYPES]; /* the last that were met */
	uint32_t type_cnt;
};

/* The bytes of a PyObject: more in a free-threaded build. */
static inline uint32_t pyreader_head(const struct pyreader *r)
{
	return r->walk->ob_type_off + 8;
}

/* The entries of a dict or the attributes of an instance, yet to be read. */
struct pytable {
	uint64_t entries, values; /* addresses; values 0: they are in the entries */
	uint32_t cnt;
	uint8_t entry_bytes; /* 16: without a hash */
};

struct pyentry {
	uint64_t hash; /* 0 where the table keeps none */
	uint64_t key, value;
};

/* All return 0 or -errno: -EFAULT memory that is not there, -EINVAL an object that is none of that
 * kind. */
int pyreader_read(struct pyreader *r, uint64_t addr, void *buf, size_t len);
int pyreader_type(struct pyreader *r, uint64_t addr, struct pytype *out);
/* 0 if the object's type has one of these flags. */
int pyreader_check(struct pyreader *r, uint64_t addr, uint64_t flags);
int pyreader_dict(struct pyreader *r, uint64_t addr, struct pytable *out);
int pyreader_attrs(struct pyreader *r, uint64_t addr, struct pytable *out);
/* An int of 0 to 2^63 - 1. */
int pyreader_int(struct pyreader *r, uint64_t addr, uint64_t *out);
/* Appends the text of a str (2.7: a byte string), made safe, of at most max_chars characters and an
 * ellipsis for the rest. */
int pyreader_str(struct pyreader *r, uint64_t addr, uint32_t max_chars, struct strbuf *out);

/* Calls fn for each entry until it returns nonzero: that, or 0, or -errno (then negative). */
int pyreader_each(struct pyreader *r, const struct pytable *table,
		  int (*fn)(void *arg, const struct pyentry *entry), void *arg);

/* A name that is looked for, which must be ASCII, and the str that it was last found as: names are
 * interned, so the same name is the same str in every table. */
struct pyname {
	const char *text;
	uint64_t key;	  /* 0: not found yet */
	bool is_doubtful; /* key is of another time: its text is read again */
	uint64_t value;
};

/* Looks for all of the names; value is 0 where one is not there. 0 or -errno. */
int pyreader_find(struct pyreader *r, const struct pytable *table, struct pyname *names,
		  uint32_t cnt);

#endif
