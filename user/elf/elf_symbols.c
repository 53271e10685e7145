/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources: the gABI, chapters "String Table" and "Symbol Table". */
#include "user/elf/elf_symbols.h"

#include <byteswap.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A multiple of either kind of symbol. */
#define PIECE_BYTES (48UL * 1024)

/* Reads all of it but at the end of the file; 0 there, and where it fails. */
static size_t read_all(int fd, char *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += n;
	}
	return done;
}

void elf_pieces(int fd, struct elf_span span, size_t keep,
		void (*fn)(void *arg, const char *piece, size_t len, size_t skip, uint64_t at),
		void *arg)
{
	char *buf = malloc(PIECE_BYTES + keep);
	uint64_t done = 0;
	size_t kept = 0;

	if (!buf || span.bytes > INT64_MAX || span.off > INT64_MAX - span.bytes) {
		free(buf);
		return;
	}
	while (done < span.bytes) {
		uint64_t left = span.bytes - done;
		size_t want = left < PIECE_BYTES ? left : PIECE_BYTES;
		size_t n = read_all(fd, buf + kept, want, span.off + done);

		fn(arg, buf, kept + n, kept, done - kept);
		if (n < want)
			break;
		done += n;
		n += kept;
		kept = n < keep ? n : keep;
		memmove(buf, buf + n - kept, kept);
	}
	free(buf);
}

/* ---- Names ---- */

struct name_search {
	const char *const *wanted;
	size_t lens[64];
	bool is_last[256]; /* a wanted name ends with this */
	uint32_t cnt, hits_of;
	struct elf_names *out;
};

static void take_name(struct name_search *s, uint32_t which, uint64_t at)
{
	struct elf_names *out = s->out;

	out->found |= 1ull << which;
	if (which >= s->hits_of || out->hit_cnt == ELF_HITS_MAX)
		return;
	out->hits[out->hit_cnt].at = at;
	out->hits[out->hit_cnt++].which = which;
}

/* The linker lets a name be the tail of another one, so any text before a NUL may be one. */
static void names_before(struct name_search *s, const char *piece, size_t has, uint64_t at)
{
	for (uint32_t i = 0; i < s->cnt; i++) {
		size_t want = s->lens[i];

		if (has >= want && !memcmp(piece + has - want, s->wanted[i], want))
			take_name(s, i, at + has - want);
	}
}

static void find_in_piece(void *arg, const char *piece, size_t len, size_t skip, uint64_t at)
{
	struct name_search *s = arg;

	for (size_t i = skip ? skip : 1; i < len; i++)
		if (!piece[i] && s->is_last[(unsigned char)piece[i - 1]])
			names_before(s, piece, i, at);
}

void elf_names_find(int fd, struct elf_span span, const char *const *wanted, uint32_t cnt,
		    uint32_t hits_of, struct elf_names *out)
{
	struct name_search s = {.wanted = wanted, .cnt = cnt, .hits_of = hits_of, .out = out};

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < cnt; i++) {
		s.lens[i] = strlen(wanted[i]);
		s.is_last[(unsigned char)wanted[i][s.lens[i] - 1]] = true;
	}
	elf_pieces(fd, span, ELF_NAME_MAX_CHARS, find_in_piece, &s);
}

/* ---- Symbols ---- */

struct symbol_search {
	struct elf_form form;
	const struct elf_names *names;
	void (*fn)(void *arg, uint32_t which, uint64_t value, uint64_t size);
	void *arg;
};

static void read_symbol(struct elf_form form, const char *bytes, Elf64_Sym *out)
{
	Elf32_Sym small;

	if (form.is_32) {
		memcpy(&small, bytes, sizeof(small));
		*out = (Elf64_Sym){.st_name = small.st_name, .st_shndx = small.st_shndx};
		out->st_value = form.is_swapped ? bswap_32(small.st_value) : small.st_value;
		out->st_size = form.is_swapped ? bswap_32(small.st_size) : small.st_size;
	} else {
		memcpy(out, bytes, sizeof(*out));
		if (form.is_swapped) {
			out->st_value = bswap_64(out->st_value);
			out->st_size = bswap_64(out->st_size);
		}
	}
	/* SHN_UNDEF is 0 in either order. */
	if (form.is_swapped)
		out->st_name = bswap_32(out->st_name);
}

static void take_symbol(const struct symbol_search *s, const Elf64_Sym *sym)
{
	if (sym->st_shndx == SHN_UNDEF || !sym->st_value)
		return;
	for (uint32_t i = 0; i < s->names->hit_cnt; i++)
		if (s->names->hits[i].at == sym->st_name)
			s->fn(s->arg, s->names->hits[i].which, sym->st_value, sym->st_size);
}

static void symbols_in_piece(void *arg, const char *piece, size_t len, size_t skip, uint64_t at)
{
	const struct symbol_search *s = arg;
	size_t each = s->form.is_32 ? sizeof(Elf32_Sym) : sizeof(Elf64_Sym);
	Elf64_Sym sym;

	(void)skip;
	/* The first symbol is none. */
	for (size_t i = at ? 0 : each; i + each <= len; i += each) {
		read_symbol(s->form, piece + i, &sym);
		take_symbol(s, &sym);
	}
}

void elf_symbols_each(int fd, struct elf_span span, struct elf_form form,
		      const struct elf_names *names,
		      void (*fn)(void *arg, uint32_t which, uint64_t value, uint64_t size),
		      void *arg)
{
	struct symbol_search s = {.form = form, .names = names, .fn = fn, .arg = arg};

	elf_pieces(fd, span, 0, symbols_in_piece, &s);
}
