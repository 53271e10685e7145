/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Symbol tables, read in pieces: what is looked for are a few names among as many as a file likes,
 * so neither table is ever held in memory. (A file whose tables are as long as krait reads them,
 * 32 MB each, cost 160 MB of memory in libelf, which has them whole.)
 */
#ifndef KRAIT_ELF_ELF_SYMBOLS_H
#define KRAIT_ELF_ELF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a file. */
struct elf_span {
	uint64_t off, bytes;
};

#define ELF_HITS_MAX 64	      /* a name may stand in a table often, as the tail of others */
#define ELF_NAME_MAX_CHARS 32 /* of a name that is looked for */

/* Which of the wanted names a string table has, and where. */
struct elf_names {
	uint64_t found; /* bit i: the i-th wanted one */
	uint32_t hit_cnt;
	struct {
		uint64_t at; /* in the table */
		uint32_t which;
	} hits[ELF_HITS_MAX];
};

/* Finds each place in the string table at `span` where one of the cnt (at most 64) wanted names
 * ends with a NUL. Names from index hits_of on are looked for only: they get a bit, but no hit. */
void elf_names_find(int fd, struct elf_span span, const char *const *wanted, uint32_t cnt,
		    uint32_t hits_of, struct elf_names *out);

/* How a file's numbers are written. */
struct elf_form {
	bool is_32;
	bool is_swapped; /* not in this machine's order of bytes */
};

/* Calls fn for each symbol of the table at `span` that is defined, has a value, and is named by a
 * hit. */
void elf_symbols_each(int fd, struct elf_span span, struct elf_form form,
		      const struct elf_names *names,
		      void (*fn)(void *arg, uint32_t which, uint64_t value, uint64_t size),
		      void *arg);

/*
 * Reads the span in pieces and hands each to fn, `skip` bytes of which are the end of the piece
 * before, at most keep of them: what is looked for may lie across the border. The end of the file
 * ends it. at: of the piece's first byte in the span.
 */
void elf_pieces(int fd, struct elf_span span, size_t keep,
		void (*fn)(void *arg, const char *piece, size_t len, size_t skip, uint64_t at),
		void *arg);

#endif
