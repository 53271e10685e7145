// SPDX-License-Identifier: BSD-2-Clause
/*
 * A few structures, copied from the kernel's BTF into a new one.
 *
 * The file is read a page at a time (sysfs gives no more per call), and each part of it once: the
 * strings, to learn the offsets of the structures' names; the types, to find those structures; then
 * only single types, those that the members lead to, through an index of every INDEX_STEP-th. The
 * copy walks two type graphs side by side: ours says which members are wanted, the kernel's says
 * where they are and of what type. libbpf compares the two as it always does, so a field that is of
 * another kind in the kernel is refused as it always was.
 *
 * Members of anonymous structures and unions (a kernel with randomized structures puts most of
 * task_struct into one) become members of the structure around, at the offset that they have there:
 * to CO-RE that is the same. Pointers become void *: CO-RE never looks through one.
 *
 * The format: Documentation/bpf/btf.rst, include/uapi/linux/btf.h. The kernel's word is trusted,
 * but nothing is read beyond the file's end, and no loop depends on its numbers alone.
 */
#include "user/session/kernel_btf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The structures that our program starts from (task->signal->live.counter and
 * task->mm->start_stack start from two each). Which of their members, and of which structures
 * within, is up to vmlinux/vmlinux.h. One that is missing here fails the load: libbpf then finds no
 * such structure. */
static const char *const root_names[] = {"task_struct", "signal_struct", "pid", "mm_struct"};

#define ROOTS (sizeof(root_names) / sizeof(*root_names))
/* fs/kernfs/file.c, kernfs_file_read_iter: at most PAGE_SIZE a call */
#define WINDOW_BYTES 4096
#define SECTION_MAX (1U << 30) /* keeps sums of offsets within 32 bits */
#define INDEX_STEP 1024
#define INDEX_MAX 2048 /* 2 million types; Linux 6.18 has 130,000 */
/* task_struct has 250 members. Bounds what a cycle of anonymous structures can cost. */
#define LOOKUPS_MAX 20000
#define INFO_UNUSED 0x60ff0000 /* of btf_type.info, as of Linux 6.18 */
#define MEMBERS_MAX 32	       /* that one of our structures declares */
#define NESTING_MAX 16	       /* of anonymous structures */
#define NAME_BYTES 32	       /* of a root's name and the ends of strings around it */
#define MODIFIERS_MAX 32       /* BTF_KIND_TYPEDEF and the like between a member and its type */

/* The types or the strings of a BTF, seen through a window. */
struct section {
	int fd;
	uint64_t start; /* in the file */
	uint32_t bytes;
	uint32_t window_at, window_bytes;
	uint8_t window[WINDOW_BYTES];
};

/* A type, as far as all kinds are alike. */
struct type {
	uint32_t name_off;
	uint32_t kind, vlen;
	bool has_bitfields; /* kind_flag: the offsets of members hold their sizes as well */
	uint32_t size;	    /* of a structure or an int, in bytes */
	uint32_t type_id;   /* that a modifier is about */
	uint32_t data_off, end_off;
};

/* Where a member was found. */
struct place {
	uint32_t type_id; /* 0: not found */
	uint32_t bit_off;
	bool is_bitfield;
};

struct reader {
	struct section types, strings;
	uint32_t index[INDEX_MAX]; /* where type 1 + n * INDEX_STEP is */
	uint32_t type_cnt;
	uint32_t lookup_cnt;
	const struct btf *ours;
	struct btf *part;
};

/* ---- Sections ---- */

/* Moves the window to off and fills it as far as the section goes. */
static void section_load(struct section *s, uint32_t off)
{
	uint32_t want = s->bytes - off < WINDOW_BYTES ? s->bytes - off : WINDOW_BYTES;
	ssize_t n;

	s->window_at = off;
	s->window_bytes = 0;
	while (s->window_bytes < want) {
		n = pread(s->fd, s->window + s->window_bytes, want - s->window_bytes,
			  s->start + off + s->window_bytes);
		if (n <= 0)
			return;
		s->window_bytes += n;
	}
}

/* The n bytes at off, until the next call; NULL if the section does not have them. */
static const void *section_at(struct section *s, uint32_t off, uint32_t n)
{
	if (n > WINDOW_BYTES || n > s->bytes || off > s->bytes - n)
		return NULL;
	if (off < s->window_at || off + n > s->window_at + s->window_bytes)
		section_load(s, off);
	return off + n <= s->window_at + s->window_bytes ? s->window + (off - s->window_at) : NULL;
}

/* Copies, for a damaged file may have its types at odd addresses. */
static bool section_read(struct section *s, uint32_t off, void *to, uint32_t n)
{
	const void *from = section_at(s, off, n);

	if (from)
		memcpy(to, from, n);
	return from;
}

/* Whether a string begins at off and is `name`. */
static bool string_is(struct reader *r, uint32_t off, const char *name)
{
	uint32_t n = strlen(name) + 1;
	const char *s = section_at(&r->strings, off, n);

	return s && memcmp(s, name, n) == 0;
}

/* Both sections, from the head of the file: struct btf_header. */
static int open_sections(struct reader *r, int fd)
{
	struct btf_header h;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || h.magic != BTF_MAGIC ||
	    h.version != BTF_VERSION || h.type_len > SECTION_MAX || h.str_len > SECTION_MAX)
		return -EBADMSG;
	r->types.fd = r->strings.fd = fd;
	r->types.start = (uint64_t)h.hdr_len + h.type_off;
	r->types.bytes = h.type_len;
	r->strings.start = (uint64_t)h.hdr_len + h.str_off;
	r->strings.bytes = h.str_len;
	return 0;
}

/* ---- Types ---- */

/* What follows the head of a type, by its kind: so many bytes, and so many for each of its vlen
 * entries; nothing for kinds that are not named here. */
static const struct {
	uint8_t fixed, each;
} tails[BTF_KIND_ENUM64 + 1] = {
	[BTF_KIND_INT] = {.fixed = sizeof(uint32_t)},
	[BTF_KIND_ARRAY] = {.fixed = sizeof(struct btf_array)},
	[BTF_KIND_STRUCT] = {.each = sizeof(struct btf_member)},
	[BTF_KIND_UNION] = {.each = sizeof(struct btf_member)},
	[BTF_KIND_ENUM] = {.each = sizeof(struct btf_enum)},
	[BTF_KIND_FUNC_PROTO] = {.each = sizeof(struct btf_param)},
	[BTF_KIND_VAR] = {.fixed = sizeof(struct btf_var)},
	[BTF_KIND_DATASEC] = {.each = sizeof(struct btf_var_secinfo)},
	[BTF_KIND_DECL_TAG] = {.fixed = sizeof(struct btf_decl_tag)},
	[BTF_KIND_ENUM64] = {.each = sizeof(struct btf_enum64)},
};

static int read_type(struct reader *r, uint32_t off, struct type *t)
{
	struct btf_type head;

	if (!section_read(&r->types, off, &head, sizeof(head)))
		return -EBADMSG;
	*t = (struct type){
		.name_off = head.name_off,
		.kind = BTF_INFO_KIND(head.info),
		.vlen = BTF_INFO_VLEN(head.info),
		.has_bitfields = BTF_INFO_KFLAG(head.info),
		.size = head.size,
		.type_id = head.type,
		.data_off = off + sizeof(head),
	};
	/* A kind, or a bit, of a later kernel may change what follows. */
	if (!t->kind || t->kind > BTF_KIND_ENUM64 || head.info & INFO_UNUSED)
		return -EBADMSG;
	t->end_off = t->data_off + tails[t->kind].fixed + t->vlen * tails[t->kind].each;
	return 0;
}

static int type_by_id(struct reader *r, uint32_t id, struct type *t)
{
	uint32_t off, step = (id - 1) / INDEX_STEP;
	int err;

	if (!id || id > r->type_cnt)
		return -EBADMSG;
	off = r->index[step];
	for (uint32_t i = 1 + step * INDEX_STEP; i <= id; i++) {
		err = read_type(r, off, t);
		if (err)
			return err;
		off = t->end_off;
	}
	return 0;
}

static bool is_modifier(uint32_t kind)
{
	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_VOLATILE || kind == BTF_KIND_CONST ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_KIND_TYPE_TAG;
}

/* The type behind typedefs and qualifiers. */
static int plain_type(struct reader *r, uint32_t id, struct type *t)
{
	for (int i = 0; i < MODIFIERS_MAX; i++) {
		int err = type_by_id(r, id, t);

		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): then it has been read */
		if (err || !is_modifier(t->kind))
			return err;
		id = t->type_id;
	}
	return -ELOOP;
}

/* The same in our own BTF, which libbpf has checked. */
static const struct btf_type *our_plain_type(const struct btf *ours, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(ours, id);

	while (btf_is_mod(t) || btf_is_typedef(t))
		t = btf__type_by_id(ours, t->type);
	return t;
}

/* ---- Finding the structures ---- */

/* Notes which roots' names are among the n bytes of strings at off. */
static void find_names_in(const char *strings, uint32_t n, uint32_t off, uint32_t *name_offs)
{
	for (uint32_t i = 0; i < ROOTS; i++) {
		char pattern[NAME_BYTES] = ""; /* a whole string: the end of one, and then ours */
		uint32_t len = 2 + snprintf(pattern + 1, sizeof(pattern) - 1, "%s", root_names[i]);
		const char *at = memmem(strings, n, pattern, len);

		if (at)
			name_offs[i] = off + (at + 1 - strings);
	}
}

/* The offsets of the roots' names; 0: not there. (No string is there twice.) */
static int find_names(struct reader *r, uint32_t *name_offs)
{
	/* Windows overlap, lest a name is cut in two. */
	for (uint32_t off = 0; off < r->strings.bytes; off += WINDOW_BYTES - NAME_BYTES) {
		uint32_t left = r->strings.bytes - off,
			 n = left < WINDOW_BYTES ? left : WINDOW_BYTES;
		const char *strings = section_at(&r->strings, off, n);

		if (!strings)
			return -EBADMSG;
		find_names_in(strings, n, off, name_offs);
	}
	return 0;
}

/* Reads over all types: indexes them, and finds the roots. */
static int find_roots(struct reader *r, const uint32_t *name_offs, uint32_t *root_ids)
{
	struct type t;

	for (uint32_t off = 0; off < r->types.bytes; off = t.end_off) {
		if (r->type_cnt / INDEX_STEP == INDEX_MAX)
			return -E2BIG;
		if (r->type_cnt % INDEX_STEP == 0)
			r->index[r->type_cnt / INDEX_STEP] = off;
		if (read_type(r, off, &t) != 0)
			return -EBADMSG;
		r->type_cnt++;
		for (uint32_t i = 0; t.kind == BTF_KIND_STRUCT && i < ROOTS; i++) {
			if (t.name_off != name_offs[i] || !name_offs[i])
				continue;
			if (root_ids[i])
				return -ENOTUNIQ;
			root_ids[i] = r->type_cnt;
		}
	}
	return 0;
}

/* ---- The copy ---- */

/* Where the member m of the kernel's type t is, which itself lies at bit_off. */
static struct place place_of(const struct type *t, const struct btf_member *m, uint32_t bit_off)
{
	struct place p = {.type_id = m->type, .bit_off = bit_off + m->offset};

	if (t->has_bitfields) {
		p.bit_off = bit_off + BTF_MEMBER_BIT_OFFSET(m->offset);
		p.is_bitfield = BTF_MEMBER_BITFIELD_SIZE(m->offset);
	}
	return p;
}

/* Notes the place of the kernel's member of this name, if our structure has one of the name. */
static void note_place(struct reader *r, const struct btf_type *our, uint32_t name_off,
		       struct place place, struct place *places)
{
	for (uint32_t i = 0; i < btf_vlen(our); i++)
		if (string_is(r, name_off,
			      btf__name_by_offset(r->ours, btf_members(our)[i].name_off)))
			places[i] = place;
}

/* Finds the places of our structure's members in the kernel's type t, which itself lies at bit_off.
 */
/* NOLINTNEXTLINE(misc-no-recursion): NESTING_MAX */
static int find_places(struct reader *r, const struct btf_type *our, const struct type *t,
		       uint32_t bit_off, int nesting, struct place *places)
{
	int err = nesting > NESTING_MAX ? -ELOOP : 0;

	for (uint32_t i = 0; !err && i < t->vlen; i++) {
		struct btf_member m;
		struct place place;
		struct type inner;

		if (++r->lookup_cnt > LOOKUPS_MAX ||
		    !section_read(&r->types, t->data_off + i * sizeof(m), &m, sizeof(m)))
			return -EBADMSG;
		place = place_of(t, &m, bit_off);
		if (m.name_off) {
			note_place(r, our, m.name_off, place, places);
			continue;
		}
		err = plain_type(r, m.type, &inner);
		if (!err && (inner.kind == BTF_KIND_STRUCT || inner.kind == BTF_KIND_UNION))
			err = find_places(r, our, &inner, place.bit_off, nesting + 1, places);
	}
	return err;
}

static int copy_type(struct reader *r, uint32_t our_id, uint32_t id);

/* Copies what our structure has of the kernel's t; a union becomes a structure as well, of members
 * that overlap. The new type's id or -errno. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as our own type */
static int copy_members(struct reader *r, const struct btf_type *our, const struct type *t)
{
	const struct btf_member *members = btf_members(our);
	struct place places[MEMBERS_MAX] = {};
	int ids[MEMBERS_MAX], id, err;

	if (!btf_is_composite(our) || btf_vlen(our) > MEMBERS_MAX)
		return -EOPNOTSUPP;
	err = find_places(r, our, t, 0, 0, places);
	for (uint32_t i = 0; !err && i < btf_vlen(our); i++) {
		/* At the end, but not beyond: an array without a length. */
		if (!places[i].type_id || places[i].bit_off / 8 > t->size)
			return -ENOENT;
		if (places[i].is_bitfield)
			return -EOPNOTSUPP;
		ids[i] = copy_type(r, members[i].type, places[i].type_id);
		err = ids[i] < 0 ? ids[i] : 0;
	}
	id = err ?: btf__add_struct(r->part, btf__name_by_offset(r->ours, our->name_off), t->size);
	for (uint32_t i = 0; id > 0 && !err && i < btf_vlen(our); i++)
		err = btf__add_field(r->part, btf__name_by_offset(r->ours, members[i].name_off),
				     ids[i], places[i].bit_off, 0);
	return err ?: id;
}

static int copy_int(struct reader *r, const struct type *t)
{
	uint32_t about;

	if (!section_read(&r->types, t->data_off, &about, sizeof(about)))
		return -EBADMSG;
	if (BTF_INT_OFFSET(about) || BTF_INT_BITS(about) != t->size * 8)
		return -EOPNOTSUPP;
	return btf__add_int(r->part, "int", t->size, BTF_INT_ENCODING(about));
}

/* Copies the kernel's array t, of whatever length: ours need not say it. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as our own type */
static int copy_array(struct reader *r, const struct btf_type *our, const struct type *t)
{
	struct btf_array array;
	int type_id, index_id;

	if (!btf_is_array(our))
		return -EOPNOTSUPP;
	if (!section_read(&r->types, t->data_off, &array, sizeof(array)))
		return -EBADMSG;
	type_id = copy_type(r, btf_array(our)->type, array.type);
	index_id = type_id < 0 ? type_id : btf__add_int(r->part, "int", 4, BTF_INT_SIGNED);
	return index_id < 0 ? index_id : btf__add_array(r->part, index_id, type_id, array.nelems);
}

/* Copies the kernel's type `id` as far as our own type has it. The new type's id or -errno. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as our own type */
static int copy_type(struct reader *r, uint32_t our_id, uint32_t id)
{
	struct type t;
	int err = plain_type(r, id, &t);

	if (err)
		return err;
	switch (t.kind) {
	case BTF_KIND_INT:
		return copy_int(r, &t);
	case BTF_KIND_PTR:
		return btf__add_ptr(r->part, 0);
	case BTF_KIND_ARRAY:
		return copy_array(r, our_plain_type(r->ours, our_id), &t);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return copy_members(r, our_plain_type(r->ours, our_id), &t);
	default:
		return -EOPNOTSUPP;
	}
}

static int copy_roots(struct reader *r)
{
	uint32_t name_offs[ROOTS] = {}, ids[ROOTS] = {};
	int err = find_names(r, name_offs);

	err = err ?: find_roots(r, name_offs, ids);
	for (uint32_t i = 0; !err && i < ROOTS; i++) {
		int our_id = btf__find_by_name_kind(r->ours, root_names[i], BTF_KIND_STRUCT), id;

		id = our_id > 0 && ids[i] ? copy_type(r, our_id, ids[i]) : -ENOENT;
		err = id < 0 ? id : 0;
	}
	return err;
}

/* ---- The new file ---- */

/* An unnamed file with the BTF in it: less than a page, so one write takes it. */
static int file_of(const struct btf *btf)
{
	uint32_t bytes;
	const void *data = btf__raw_data(btf, &bytes);
	int fd = data ? memfd_create("krait_btf", MFD_CLOEXEC) : -1, err;

	if (fd < 0 || write(fd, data, bytes) == (ssize_t)bytes)
		return fd < 0 ? -errno : fd;
	err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

int kernel_btf_part(int fd, const struct btf *ours)
{
	struct reader r = {.ours = ours, .part = btf__new_empty()};
	int ret = r.part ? open_sections(&r, fd) : -ENOMEM;

	ret = ret ?: copy_roots(&r);
	ret = ret ?: file_of(r.part);
	btf__free(r.part);
	return ret;
}
