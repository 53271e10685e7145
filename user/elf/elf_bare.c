/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sources: the gABI, chapter "Program Loading and Dynamic Linking", "Dynamic Section" and "Hash
 * Table"; for DT_GNU_HASH, which has no specification, glibc's elf/dl-lookup.c, check_match and
 * do_lookup_x, and elf/dl-setup_hash.c.
 *
 * The dynamic section does not say how many symbols there are. The old hash table does; from the
 * new one it is the end of the chain that ends last.
 */
#include "user/elf/elf_bare.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "user/python/debug_offsets.h"
#include "user/python/pyversion.h"

#define DYNAMIC_MAX_BYTES 16384 /* CPython's have under 1 KB */
#define CHAIN_MAX 4096		/* symbols whose hashes fall together */
#define COOKIES_MAX 16		/* looked at in a segment: a file may be full of them */
#define LOADS_MAX 32		/* program headers that are looked at: CPython's have 10 to 14 */
#define SEARCH_MAX_BYTES (32u << 20) /* of a segment: bounds what a hostile file costs */
#define PIECE_BYTES 16384
#define COOKIE "xdebugpy" /* _Py_Debug_Cookie: pycore_runtime.h 3.13, pycore_debug_offsets.h */
#define COOKIE_MINOR_MIN 13

/* ---- Segments ---- */

bool bare_next_load(Elf *elf, size_t *idx, bool is_writable, GElf_Phdr *out)
{
	size_t cnt;

	if (elf_getphdrnum(elf, &cnt))
		return false;
	while (*idx < cnt && *idx < LOADS_MAX) {
		if (!gelf_getphdr(elf, (*idx)++, out))
			return false;
		if (out->p_type == PT_LOAD && !(out->p_flags & PF_W) == !is_writable)
			return true;
	}
	return false;
}

/* Where in the file the bytes for addr are, and how many follow in its segment; false: nowhere. */
static bool find_offset(Elf *elf, uint64_t addr, uint64_t *off, uint64_t *len)
{
	GElf_Phdr ph;
	size_t cnt;

	if (elf_getphdrnum(elf, &cnt))
		return false;
	for (size_t i = 0; i < cnt && i < PN_XNUM && gelf_getphdr(elf, i, &ph); i++) {
		if (ph.p_type != PT_LOAD || addr < ph.p_vaddr || addr - ph.p_vaddr >= ph.p_filesz)
			continue;
		*off = ph.p_offset + (addr - ph.p_vaddr);
		*len = ph.p_filesz - (addr - ph.p_vaddr);
		return true;
	}
	return false;
}

static bool read_at(Elf *elf, int fd, uint64_t addr, void *buf, size_t len)
{
	uint64_t off, has;

	return find_offset(elf, addr, &off, &has) && has >= len && off <= INT64_MAX - len &&
	       pread(fd, buf, len, (off_t)off) == (ssize_t)len;
}

static Elf_Data *chunk(Elf *elf, uint64_t addr, uint64_t len, Elf_Type type)
{
	uint64_t off, has;

	if (!len || !find_offset(elf, addr, &off, &has) || has < len || off > INT64_MAX)
		return NULL;
	return elf_getdata_rawchunk(elf, (int64_t)off, len, type);
}

/* ---- The dynamic section ---- */

struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash;
};

static bool read_dynamic(Elf *elf, struct dynamic *d)
{
	Elf_Data *data = NULL;
	GElf_Phdr ph;
	GElf_Dyn dyn;
	size_t cnt;

	if (elf_getphdrnum(elf, &cnt))
		return false;
	for (size_t i = 0; i < cnt && i < PN_XNUM && gelf_getphdr(elf, i, &ph); i++) {
		if (ph.p_type == PT_DYNAMIC && ph.p_filesz <= DYNAMIC_MAX_BYTES)
			data = chunk(elf, ph.p_vaddr, ph.p_filesz, ELF_T_DYN);
	}
	for (int i = 0; data && gelf_getdyn(data, i, &dyn) && dyn.d_tag != DT_NULL; i++) {
		switch (dyn.d_tag) {
		case DT_SYMTAB:
			d->symtab = dyn.d_un.d_ptr;
			break;
		case DT_STRTAB:
			d->strtab = dyn.d_un.d_ptr;
			break;
		case DT_STRSZ:
			d->strsz = dyn.d_un.d_val;
			break;
		case DT_HASH:
			d->hash = dyn.d_un.d_ptr;
			break;
		case DT_GNU_HASH:
			d->gnu_hash = dyn.d_un.d_ptr;
			break;
		}
	}
	return d->symtab && d->strtab && d->strsz && (d->hash || d->gnu_hash);
}

/* {nbuckets, first symbol, bloom words, shift}, bloom words of 8 bytes, buckets, chains. */
static uint64_t count_by_gnu_hash(Elf *elf, int fd, uint64_t addr, uint64_t max)
{
	uint32_t head[4], word, last = 0;
	uint64_t buckets_addr, chains_addr;
	const Elf_Data *buckets;

	if (!read_at(elf, fd, addr, head, sizeof(head)) || head[0] > max)
		return 0;
	buckets_addr = addr + sizeof(head) + 8ull * head[2];
	chains_addr = buckets_addr + 4ull * head[0];
	buckets = chunk(elf, buckets_addr, 4ull * head[0], ELF_T_WORD);
	for (uint32_t i = 0; buckets && i < head[0]; i++) {
		memcpy(&word, (const char *)buckets->d_buf + 4ull * i, sizeof(word));
		if (word > last)
			last = word;
	}
	if (last < head[1] || last >= max)
		return 0;
	/* A chain ends with the hash whose lowest bit is set. */
	for (int i = 0; i < CHAIN_MAX; i++, last++) {
		if (!read_at(elf, fd, chains_addr + 4ull * (last - head[1]), &word, sizeof(word)))
			return 0;
		if (word & 1)
			return last + 1ull;
	}
	return 0;
}

static uint64_t count_symbols(Elf *elf, int fd, const struct dynamic *d, uint64_t max)
{
	uint32_t head[2]; /* nbucket, nchain: as many as there are symbols */

	if (d->gnu_hash)
		return count_by_gnu_hash(elf, fd, d->gnu_hash, max);
	if (!read_at(elf, fd, d->hash, head, sizeof(head)) || head[1] > max)
		return 0;
	return head[1];
}

static bool find_span(Elf *elf, uint64_t addr, uint64_t bytes, struct elf_span *out)
{
	uint64_t has;

	out->bytes = bytes;
	return bytes && find_offset(elf, addr, &out->off, &has) && has >= bytes;
}

bool bare_symbols(Elf *elf, int fd, size_t syms_max_bytes, size_t names_max_bytes,
		  struct elf_span *syms, struct elf_span *names)
{
	struct dynamic d = {};
	uint64_t cnt;

	if (!read_dynamic(elf, &d) || d.strsz > names_max_bytes)
		return false;
	cnt = count_symbols(elf, fd, &d, syms_max_bytes / sizeof(Elf64_Sym));
	return find_span(elf, d.symtab, cnt * sizeof(Elf64_Sym), syms) &&
	       find_span(elf, d.strtab, d.strsz, names);
}

/* ---- Searching ---- */

int64_t bare_find(int fd, uint64_t off, uint64_t len, const void *bytes, size_t bytes_len)
{
	char piece[PIECE_BYTES];
	uint64_t at = 0;

	if (off > INT64_MAX - SEARCH_MAX_BYTES)
		return -1;
	if (len > SEARCH_MAX_BYTES)
		len = SEARCH_MAX_BYTES;
	while (len - at >= bytes_len) {
		size_t want = len - at < sizeof(piece) ? len - at : sizeof(piece);
		ssize_t n = pread(fd, piece, want, (off_t)(off + at));
		const char *hit;

		if (n < (ssize_t)bytes_len)
			return -1;
		hit = memmem(piece, n, bytes, bytes_len);
		if (hit)
			return (int64_t)(off + at + (hit - piece));
		at += n - (bytes_len - 1); /* it may lie across the border */
	}
	return -1;
}

/* A cookie of a table that says which version it is of, and that such a version has one. */
static bool is_runtime(int fd, int64_t off)
{
	char head[DEBUG_OFFSETS_HEAD_BYTES];
	uint32_t version;

	if (pread(fd, head, sizeof(head), off) != sizeof(head))
		return false;
	version = debug_offsets_version(head);
	return pyversion_major(version) == 3 && pyversion_minor(version) >= COOKIE_MINOR_MIN;
}

static uint64_t find_runtime(int fd, const GElf_Phdr *ph)
{
	uint64_t at = 0;

	for (int i = 0; i < COOKIES_MAX && at < ph->p_filesz; i++) {
		int64_t off = bare_find(fd, ph->p_offset + at, ph->p_filesz - at, COOKIE, 8);

		if (off < 0)
			return 0;
		at = (uint64_t)off - ph->p_offset;
		if (is_runtime(fd, off))
			return ph->p_vaddr + at;
		at++;
	}
	return 0;
}

uint64_t bare_runtime(Elf *elf, int fd)
{
	uint64_t addr = 0;
	GElf_Phdr ph;

	for (size_t i = 0; !addr && bare_next_load(elf, &i, true, &ph);)
		addr = find_runtime(fd, &ph);
	return addr;
}
