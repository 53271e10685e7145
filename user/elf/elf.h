/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one ELF file says about being a Python: symbols, section, version. Files are hostile input.
 *
 * A runtime is recognised by its symbols and by the .PyRuntime section (CPython 3.10 and later),
 * never by the file's name. Results, negative ones too, are cached by (device, inode, change time,
 * size).
 */
#ifndef KRAIT_ELF_ELF_H
#define KRAIT_ELF_ELF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/control.h"

enum elf_kind {
	ELF_NO_PYTHON,
	ELF_RUNTIME,	 /* holds _PyRuntime: CPython 3.7 and later */
	ELF_OLD_CPYTHON, /* 2.x, or 3.6 and older: it has no _PyRuntime */
	ELF_PYPY,
	ELF_FOREIGN,	    /* a Python for another processor or word size */
	ELF_HIDDEN_CPYTHON, /* a CPython, but nothing tells where its runtime is */
};

/* What told where _PyRuntime is. */
enum elf_found_by {
	ELF_BY_SYMBOL,
	ELF_BY_SECTION, /* .PyRuntime, 3.10 and later */
	ELF_BY_COOKIE,	/* what it begins with, 3.13 and later */
};

struct elf_info {
	enum elf_kind kind;
	enum elf_found_by found_by;
	bool has_trace_refs; /* built with Py_TRACE_REFS, which debug builds up to 3.7 are */
	int major, minor;    /* as far as symbols and strings tell; -1: not known */
	int micro;	     /* -1: not known */
	/*
	 * As linked. Of ELF_RUNTIME it has `runtime`, in which the layout places the interpreters
	 * and flags; of ELF_OLD_CPYTHON these, some by machine code (static_vars.h), and no
	 * runtime. `eval` of 2.7 is PyEval_EvalFrameEx.
	 */
	struct krait_addrs addrs;
	uint64_t version_addr; /* Py_Version, an unsigned long; 3.11 and later; 0: not there */
	/* The first PT_LOAD, for the load bias. */
	uint64_t load_addr;
	uint64_t load_offset;
};

/*
 * Reads the file behind fd (not closed). is_program: the main executable, which is looked at more
 * closely: also at .symtab where .dynsym does not tell, and for CPython's messages where no symbol
 * does. 0 with *out filled, ELF_NO_PYTHON for anything that is no readable ELF file; -errno for
 * trouble of our own.
 */
int elf_read(int fd, bool is_program, struct elf_info *out);

struct elf_cache;

/* NULL with errno set if there is no memory. */
struct elf_cache *elf_cache_new(void);
void elf_cache_free(struct elf_cache *c);
/* As elf_read, remembered. *out is borrowed until the next call. -EACCES: no regular file. */
int elf_cache_get(struct elf_cache *c, int fd, bool is_program, const struct elf_info **out);

#endif
