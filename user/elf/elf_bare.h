/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an ELF file still says when its section headers are gone (sstrip, packers, loaders of their
 * own): the symbols that ld.so needs, and the bytes of its segments. Files are hostile input: what
 * is taken into memory is capped, the rest is searched in pieces.
 */
#ifndef KRAIT_ELF_ELF_BARE_H
#define KRAIT_ELF_ELF_BARE_H

#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/elf/elf_symbols.h"

/*
 * The dynamic symbols and their names, by PT_DYNAMIC; both last until elf_end. For 64-bit files of
 * this host's byte order only. False if there are none, or more than the two caps.
 */
bool bare_symbols(Elf *elf, int fd, size_t syms_max_bytes, size_t names_max_bytes,
		  struct elf_span *syms, struct elf_span *names);

/*
 * The address as linked of _PyRuntime, by the cookie it begins with in CPython 3.13 and later, in
 * what the file has of writable memory; 0 if it is not there.
 */
uint64_t bare_runtime(Elf *elf, int fd);

/* Where in the file [off, off + len) the bytes are, or -1; gives up after 32 MB. */
int64_t bare_find(int fd, uint64_t off, uint64_t len, const void *bytes, size_t bytes_len);

/* The next PT_LOAD among the first 32 program headers, from *idx on that is writable or is not;
 * *idx is set behind it. */
bool bare_next_load(Elf *elf, size_t *idx, bool is_writable, GElf_Phdr *out);

#endif
