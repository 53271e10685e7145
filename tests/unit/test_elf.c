/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ELF reader over a small library made here: what it must find, every truncation of it, every
 * byte of it made wrong in several ways, and sizes that ask for terabytes. Run with SAN=address.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/elf/elf.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

enum { S_NULL, S_SYM, S_STR, S_RODATA, S_PYRUNTIME, S_NAMES, S_CNT };
#define SYMS 8

struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	Elf64_Sym sym[SYMS];
	char str[160];
	char rodata[32];
	char code[96]; /* of the second symbol */
	char names[64];
	Elf64_Dyn dyn[6];
	uint32_t hash[2];
	uint32_t gnu_hash[4 + 2 + 1 + SYMS];
	char data[64];
	Elf64_Shdr sh[S_CNT];
};

static uint32_t add_name(char *table, size_t cap, const char *name)
{
	size_t at = 1;

	while (table[at])
		at += strlen(table + at) + 1;
	assert_true(at + strlen(name) + 1 < cap);
	strcpy(table + at, name);
	return at;
}

static void set_section(struct image *im, int idx, const char *name, uint32_t type, size_t off,
			size_t size)
{
	im->sh[idx] = (Elf64_Shdr){.sh_name = add_name(im->names, sizeof(im->names), name),
				   .sh_type = type,
				   .sh_offset = off,
				   .sh_size = size,
				   .sh_addralign = 1};
}

/* Symbols as NAME:VALUE would give them; a NULL ends the list. */
static void make_image(struct image *im, bool has_section, const char *const *symbols)
{
	memset(im, 0, sizeof(*im));
	memcpy(im->eh.e_ident, ELFMAG, SELFMAG);
	im->eh.e_ident[EI_CLASS] = ELFCLASS64;
	im->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	im->eh.e_ident[EI_VERSION] = im->eh.e_version = EV_CURRENT;
	im->eh.e_type = ET_DYN;
	im->eh.e_machine = MACHINE;
	im->eh.e_ehsize = sizeof(im->eh);
	im->eh.e_phoff = offsetof(struct image, ph);
	im->eh.e_phentsize = sizeof(Elf64_Phdr);
	im->eh.e_phnum = 3;
	im->eh.e_shoff = offsetof(struct image, sh);
	im->eh.e_shentsize = sizeof(Elf64_Shdr);
	im->eh.e_shnum = S_CNT;
	im->eh.e_shstrndx = S_NAMES;
	im->ph[0].p_type = PT_NOTE;
	im->ph[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = 0x1000, .p_vaddr = 0x401000};
	im->ph[2] = (Elf64_Phdr){.p_type = PT_LOAD,
				 .p_offset = offsetof(struct image, code),
				 .p_vaddr = 0x500200,
				 .p_filesz = sizeof(im->code)};
	for (int i = 1; i < SYMS && symbols[i - 1]; i++)
		im->sym[i] =
			(Elf64_Sym){.st_name = add_name(im->str, sizeof(im->str), symbols[i - 1]),
				    .st_shndx = 3,
				    .st_value = 0x500000 + 0x100 * i,
				    .st_size = 0x10 * i};
	memcpy(im->rodata, "\0hello\0003.10.13", 14);
	set_section(im, S_SYM, ".dynsym", SHT_DYNSYM, offsetof(struct image, sym), sizeof(im->sym));
	im->sh[S_SYM].sh_link = S_STR;
	im->sh[S_SYM].sh_entsize = sizeof(Elf64_Sym);
	im->sh[S_SYM].sh_addralign = 8;
	set_section(im, S_STR, ".dynstr", SHT_STRTAB, offsetof(struct image, str), sizeof(im->str));
	set_section(im, S_RODATA, ".rodata", SHT_PROGBITS, offsetof(struct image, rodata),
		    sizeof(im->rodata));
	set_section(im, S_PYRUNTIME, has_section ? ".PyRuntime" : ".data", SHT_PROGBITS, 0, 0);
	im->sh[S_PYRUNTIME].sh_addr = 0x700000;
	im->sh[S_PYRUNTIME].sh_size = 0x800;
	set_section(im, S_NAMES, ".shstrtab", SHT_STRTAB, offsetof(struct image, names),
		    sizeof(im->names));
}

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

static struct elf_info read_bytes(const void *bytes, size_t len)
{
	struct elf_info info;
	int fd = file_of(bytes, len);

	assert_int_equal(elf_read(fd, true, &info), 0);
	close(fd);
	return info;
}

static struct elf_info read_symbols_of(bool has_section, const char *const *symbols)
{
	struct image im;

	make_image(&im, has_section, symbols);
	return read_bytes(&im, sizeof(im));
}

#define SYMBOLS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_found(void **state)
{
	struct elf_info info = read_symbols_of(
		false, SYMBOLS("_PyRuntime", "PyCode_Type", "PyCode_NewWithPosOnlyArgs",
			       "PyFrame_GetCode", "PyIter_Send", "_PyEval_EvalFrameDefault"));

	(void)state;
	assert_int_equal(info.kind, ELF_RUNTIME);
	assert_int_equal(info.found_by, ELF_BY_SYMBOL);
	assert_int_equal(info.addrs.runtime, 0x500100);
	assert_int_equal(info.addrs.runtime_bytes, 0x10);
	assert_int_equal(info.addrs.eval, 0x500600);
	assert_int_equal(info.addrs.eval_bytes, 0x60);
	assert_int_equal(info.addrs.code_type, 0x500200);
	assert_int_equal(info.version_addr, 0);
	assert_int_equal(info.minor, 10);
	assert_int_equal(info.micro, 13);
	assert_int_equal(info.load_addr, 0x401000);
	assert_int_equal(info.load_offset, 0x1000);
}

static void test_versions_by_symbol(void **state)
{
	struct elf_info info;

	(void)state;
	info = read_symbols_of(
		false, SYMBOLS("_PyRuntime", "PyCode_NewWithPosOnlyArgs", "PyFrame_GetCode"));
	assert_int_equal(info.minor, 9);
	info = read_symbols_of(false, SYMBOLS("_PyRuntime", "PyCode_NewWithPosOnlyArgs"));
	assert_int_equal(info.minor, 8);
	info = read_symbols_of(false, SYMBOLS("_PyRuntime"));
	assert_int_equal(info.minor, 7);
	info = read_symbols_of(true, SYMBOLS("_PyRuntime", "Py_Version", "PyIter_Send"));
	assert_int_equal(info.version_addr, 0x500200);
	assert_int_equal(info.minor, -1); /* the value of Py_Version is in memory */
	info = read_symbols_of(true, SYMBOLS("x"));
	assert_int_equal(info.kind, ELF_RUNTIME);
	assert_int_equal(info.found_by, ELF_BY_SECTION);
	assert_int_equal(info.addrs.runtime, 0x700000);
	assert_int_equal(info.addrs.runtime_bytes, 0x800);
	assert_int_equal(info.addrs.eval, 0);
	assert_int_equal(info.minor, 10); /* by its string */
	info = read_symbols_of(false, SYMBOLS("_PyThreadState_Current", "PyString_Type"));
	assert_int_equal(info.kind, ELF_OLD_CPYTHON);
	assert_int_equal(info.major, 2);
	info = read_symbols_of(false, SYMBOLS("_PyThreadState_Current"));
	assert_int_equal(info.major, 3);
	assert_false(info.has_trace_refs);
	info = read_symbols_of(false, SYMBOLS("_PyThreadState_Current", "_Py_AddToAllObjects"));
	assert_true(info.has_trace_refs);
	info = read_symbols_of(false, SYMBOLS("pypy_execute_source"));
	assert_int_equal(info.kind, ELF_PYPY);
	info = read_symbols_of(false, SYMBOLS("main", "PyCode_Type", "xx_PyRuntime"));
	assert_int_equal(info.kind, ELF_NO_PYTHON);
}

/* 3.6 and older: interp_head by the code that loads it, else by its symbol, else not. */
static void test_interp_head(void **state)
{
	const char *const symbols[] = {"_PyThreadState_Current",
				       "PyInterpreterState_Head",
				       "PyOS_FSPath",
				       "PyCode_Type",
				       NULL,
				       NULL};
	const char *with_symbol[6];
	struct elf_info info;
	struct image im;

	(void)state;
	memcpy(with_symbol, symbols, sizeof(symbols));
	with_symbol[4] = "interp_head";
	make_image(&im, false, with_symbol);
	/* mov rax, [rip + 0x1000]; ret */
	memcpy(im.code, "\x48\x8b\x05\x00\x10\x00\x00\xc3", 8);
	info = read_bytes(&im, sizeof(im));
	assert_int_equal(info.kind, ELF_OLD_CPYTHON);
	assert_int_equal(info.major, 3);
	assert_int_equal(info.minor, 6);
	assert_int_equal(info.addrs.code_type, 0x500400);
#if defined(__x86_64__)
	assert_int_equal(info.addrs.interp_head, 0x500207 + 0x1000);
#endif
	im.code[0] = 0;
	assert_int_equal(read_bytes(&im, sizeof(im)).addrs.interp_head, 0x500500);
	make_image(&im, false, symbols);
	assert_int_equal(read_bytes(&im, sizeof(im)).addrs.interp_head, 0);
	/* The code would lie behind the segment's end. */
	memcpy(im.code, "\x48\x8b\x05\x00\x10\x00\x00\xc3", 8);
	im.ph[2].p_filesz = 4;
	assert_int_equal(read_bytes(&im, sizeof(im)).addrs.interp_head, 0);
	im.ph[2].p_offset -= 16;
	im.ph[2].p_vaddr -= 16;
	im.ph[2].p_filesz = 16 + 8;
	assert_int_equal(read_bytes(&im, sizeof(im)).addrs.interp_head, 0);
}

/* Likewise collecting: the code asks it and sets it to 1. And the evaluation loop. */
static void test_old_collector(void **state)
{
	struct elf_info info;
	struct image im;

	(void)state;
	make_image(&im, false,
		   SYMBOLS("_PyThreadState_Current", "PyGC_Collect", "PyEval_EvalFrameEx",
			   "PyString_Type", "_PyEval_EvalFrameDefault"));
	im.sym[2].st_value = 0x500200;
	memcpy(im.code, "\x8b\x05\xfa\x0f\0\0\xc7\x05\xf0\x0f\0\0\1\0\0\0", 16);
	info = read_bytes(&im, sizeof(im));
	assert_int_equal(info.addrs.eval, 0x500300);
	assert_int_equal(info.addrs.eval_bytes, 0x30);
#if defined(__x86_64__)
	assert_int_equal(info.addrs.collecting, 0x500200 + 0x1000);
#endif
	im.code[0] = 0;
	assert_int_equal(read_bytes(&im, sizeof(im)).addrs.collecting, 0);
}

/* A file that only uses a Python (an extension module) names _PyRuntime and does not define it. */
static void test_no_python(void **state)
{
	struct elf_info info;
	struct image im;

	(void)state;
	make_image(&im, false, SYMBOLS("_PyRuntime"));
	im.sym[1].st_shndx = SHN_UNDEF;
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_NO_PYTHON);
	make_image(&im, false, SYMBOLS("_PyRuntime"));
	im.eh.e_machine = EM_S390;
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_FOREIGN);
	assert_int_equal(read_bytes("#!/bin/sh\n", 10).kind, ELF_NO_PYTHON);
	assert_int_equal(read_bytes("", 0).kind, ELF_NO_PYTHON);
	memset(&im, 0x41, sizeof(im));
	info = read_bytes(&im, sizeof(im));
	assert_int_equal(info.kind, ELF_NO_PYTHON);
}

#define ADDR(member) (0x400000 + offsetof(struct image, member))

/* Without section headers; the symbols are told by PT_DYNAMIC, by the one hash table or the other.
 */
static void make_bare(struct image *im, bool is_gnu, const char *const *symbols)
{
	make_image(im, true, symbols);
	im->eh.e_shoff = im->eh.e_shnum = im->eh.e_shstrndx = 0;
	im->ph[0] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = 0x400000, .p_filesz = sizeof(*im)};
	im->ph[1] = (Elf64_Phdr){
		.p_type = PT_DYNAMIC, .p_vaddr = ADDR(dyn), .p_filesz = sizeof(im->dyn)};
	im->ph[2] = (Elf64_Phdr){.p_type = PT_LOAD,
				 .p_flags = PF_R | PF_W,
				 .p_offset = offsetof(struct image, data),
				 .p_vaddr = 0x600000,
				 .p_filesz = sizeof(im->data)};
	im->dyn[0] = (Elf64_Dyn){.d_tag = DT_SYMTAB, .d_un.d_ptr = ADDR(sym)};
	im->dyn[1] = (Elf64_Dyn){.d_tag = DT_STRTAB, .d_un.d_ptr = ADDR(str)};
	im->dyn[2] = (Elf64_Dyn){.d_tag = DT_STRSZ, .d_un.d_val = sizeof(im->str)};
	im->dyn[3] = is_gnu ? (Elf64_Dyn){.d_tag = DT_GNU_HASH, .d_un.d_ptr = ADDR(gnu_hash)}
			    : (Elf64_Dyn){.d_tag = DT_HASH, .d_un.d_ptr = ADDR(hash)};
	im->hash[1] = SYMS;
	/* One bucket, whose chain is all symbols; one bloom word. */
	memcpy(im->gnu_hash, (uint32_t[]){1, 1, 1, 0, 0, 0, 1}, 7 * sizeof(uint32_t));
	im->gnu_hash[7 + SYMS - 2] = 1;
}

static void test_bare(void **state)
{
	struct elf_info info;
	struct image im;

	(void)state;
	for (int is_gnu = 0; is_gnu < 2; is_gnu++) {
		make_bare(&im, is_gnu, SYMBOLS("PyCode_Type", "_PyRuntime"));
		info = read_bytes(&im, sizeof(im));
		assert_int_equal(info.kind, ELF_RUNTIME);
		assert_int_equal(info.found_by, ELF_BY_SYMBOL);
		assert_int_equal(info.addrs.runtime, 0x500200);
		assert_int_equal(info.addrs.code_type, 0x500100);
		assert_int_equal(info.load_addr, 0x400000);
		assert_int_equal(info.minor, 7);
		assert_int_equal(info.micro, -1);
	}
	im.gnu_hash[7 + SYMS - 2] = 0; /* the chain has no end within the file's symbols */
	memset(im.sh, 0, sizeof(im.sh));
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_NO_PYTHON);
	make_bare(&im, false, SYMBOLS("_PyRuntime"));
	im.hash[1] = UINT32_MAX;
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_NO_PYTHON);
	/* Section headers are gone, but it says that the first one counts them. */
	make_bare(&im, false, SYMBOLS("_PyRuntime"));
	im.eh.e_shoff = offsetof(struct image, sh);
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_NO_PYTHON);
}

/* Two cookies of no CPython, then one of 3.14. */
static void test_bare_cookie(void **state)
{
	const uint64_t versions[] = {0, 0x030c00f0, 0x030e00f0};
	struct elf_info info;
	struct image im;

	(void)state;
	make_bare(&im, true, SYMBOLS("x"));
	for (int i = 0; i < 3; i++) {
		memcpy(im.data + 16 * i, "xdebugpy", 8);
		memcpy(im.data + 16 * i + 8, &versions[i], 8);
	}
	info = read_bytes(&im, sizeof(im));
	assert_int_equal(info.kind, ELF_RUNTIME);
	assert_int_equal(info.found_by, ELF_BY_COOKIE);
	assert_int_equal(info.addrs.runtime, 0x600000 + 32);
	im.ph[2].p_flags = PF_R;
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_NO_PYTHON);
}

/* CPython's code without a symbol: only the program itself is searched for it. */
static void test_hidden(void **state)
{
	static const char text[] = "PyThreadState_Clear: warning: thread still has a frame\n";
	char bytes[sizeof(struct image) + sizeof(text)];
	struct elf_info info;
	struct image im;
	int fd;

	(void)state;
	make_image(&im, false, SYMBOLS("x"));
	im.sh[S_RODATA].sh_offset = sizeof(im);
	im.sh[S_RODATA].sh_size = sizeof(text);
	memcpy(bytes, &im, sizeof(im));
	memcpy(bytes + sizeof(im), text, sizeof(text));
	assert_int_equal(read_bytes(bytes, sizeof(bytes)).kind, ELF_HIDDEN_CPYTHON);
	fd = file_of(bytes, sizeof(bytes));
	assert_int_equal(elf_read(fd, false, &info), 0);
	assert_int_equal(info.kind, ELF_NO_PYTHON);
	close(fd);
	bytes[sizeof(im)] = 'p';
	assert_int_equal(read_bytes(bytes, sizeof(bytes)).kind, ELF_NO_PYTHON);
}

static void test_truncated(void **state)
{
	struct image im;

	(void)state;
	make_image(&im, true, SYMBOLS("_PyRuntime", "PyCode_Type", "PyCode_NewWithPosOnlyArgs"));
	for (size_t len = 0; len < sizeof(im); len++)
		assert_int_equal(read_bytes(&im, len).kind, ELF_NO_PYTHON);
	assert_int_equal(read_bytes(&im, sizeof(im)).kind, ELF_RUNTIME);
}

/* Any answer will do, but not a crash, and nothing out of bounds (SAN=address,undefined). */
static void test_every_byte_wrong(void **state)
{
	static const uint8_t wrong[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct image good, im;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		if (kind == 0)
			make_image(&good, true, SYMBOLS("_PyRuntime", "PyCode_Type"));
		else
			make_bare(&good, kind == 1, SYMBOLS("_PyRuntime", "PyCode_Type"));
		for (size_t at = 0; at < sizeof(im); at++) {
			for (size_t i = 0; i < sizeof(wrong); i++) {
				im = good;
				((uint8_t *)&im)[at] = wrong[i];
				read_bytes(&im, sizeof(im));
			}
		}
	}
}

/* KB of memory that the process has had at most, since that was last reset; and now resets it. */
static long take_peak_kb(void)
{
	FILE *status = fopen("/proc/self/status", "r"), *reset;
	char line[128];
	long kb = -1;

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmHWM: %ld", &kb);
	fclose(status);
	reset = fopen("/proc/self/clear_refs", "w");
	assert_non_null(reset);
	fputs("5", reset); /* proc(5): the peak of the resident set */
	fclose(reset);
	return kb;
}

/* Tables as long as they are read at most, with the names in the last bytes of theirs: found, and
 * not held in memory. */
static void test_long_tables_take_no_memory(void **state)
{
	const uint64_t table = 32 << 20, from = 1 << 20;
	struct elf_info info;
	struct image im;
	long before_kb;
	Elf64_Sym sym;
	int fd;

	(void)state;
	make_image(&im, true, SYMBOLS("_PyRuntime"));
	im.sh[S_SYM].sh_offset = from;
	im.sh[S_STR].sh_offset = from + table;
	im.sh[S_RODATA].sh_offset = from + 2 * table;
	im.sh[S_SYM].sh_size = im.sh[S_STR].sh_size = im.sh[S_RODATA].sh_size = table;
	fd = file_of(&im, sizeof(im));
	assert_int_equal(ftruncate(fd, from + 3 * table), 0);
	/* Across the border of two pieces, whatever size those have, once. */
	sym = im.sym[1];
	sym.st_name = table - 11;
	assert_int_equal(pwrite(fd, &sym, sizeof(sym), from + table / 48 * 24), sizeof(sym));
	assert_int_equal(pwrite(fd, "_PyRuntime", 11, from + 2 * table - 11), 11);
	assert_int_equal(pwrite(fd, "3.7.13", 7, from + 3 * table - 7), 7);
	take_peak_kb();
	before_kb = take_peak_kb();
	assert_int_equal(elf_read(fd, true, &info), 0);
	assert_in_range(take_peak_kb(), before_kb, before_kb + 2048);
	assert_int_equal(info.kind, ELF_RUNTIME);
	assert_int_equal(info.found_by, ELF_BY_SYMBOL);
	assert_int_equal(info.addrs.runtime, 0x500100);
	assert_int_equal(info.micro, 13);
	close(fd);
}

/* Names at every place around the border of two pieces; and as the tail of a longer name. */
static void test_names_across_pieces(void **state)
{
	const uint64_t table = 200000, from = 1 << 20;

	(void)state;
	for (int back = 0; back < 16; back++) {
		struct elf_info info;
		struct image im;
		int fd;

		make_image(&im, false, SYMBOLS("_PyRuntime"));
		im.sh[S_STR].sh_offset = from;
		im.sh[S_STR].sh_size = table;
		im.sym[1].st_name = 48 * 1024 - back;
		fd = file_of(&im, sizeof(im));
		assert_int_equal(ftruncate(fd, from + table), 0);
		assert_int_equal(pwrite(fd, "other_PyRuntime", 16, from + im.sym[1].st_name - 5),
				 16);
		assert_int_equal(elf_read(fd, true, &info), 0);
		assert_int_equal(info.kind, ELF_RUNTIME);
		assert_int_equal(info.addrs.runtime, 0x500100);
		close(fd);
	}
}

/* A sparse file of 8 TB whose sections say that they fill it. */
static void test_sparse(void **state)
{
	static const int sections[] = {S_SYM, S_STR, S_RODATA, S_NAMES};
	const uint64_t huge = (uint64_t)8 << 40;
	struct elf_info info;
	struct image im;

	(void)state;
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		int fd;

		make_image(&im, true, SYMBOLS("_PyRuntime"));
		im.sh[sections[i]].sh_offset = 0;
		im.sh[sections[i]].sh_size = huge / 2;
		fd = file_of(&im, sizeof(im));
		assert_int_equal(ftruncate(fd, huge), 0);
		assert_int_equal(elf_read(fd, true, &info), 0);
		close(fd);
	}
	/* The same without section headers, by its segments. */
	for (int i = 0; i < 3; i++) {
		int fd;

		make_bare(&im, true, SYMBOLS("_PyRuntime"));
		im.ph[i].p_filesz = huge / 2;
		im.dyn[2].d_un.d_val = huge / 4;
		fd = file_of(&im, sizeof(im));
		assert_int_equal(ftruncate(fd, huge), 0);
		assert_int_equal(elf_read(fd, true, &info), 0);
		close(fd);
	}
	/* The extended section count: as many as section 0 says. */
	make_image(&im, true, SYMBOLS("_PyRuntime"));
	im.eh.e_shnum = 0;
	im.sh[0].sh_size = 1u << 30;
	{
		int fd = file_of(&im, sizeof(im));

		assert_int_equal(ftruncate(fd, huge), 0);
		assert_int_equal(elf_read(fd, true, &info), 0);
		assert_int_equal(info.kind, ELF_NO_PYTHON);
		close(fd);
	}
}

/* Another file in the place of the first: same inode, size and modification time. */
static void test_cache_sees_a_rewrite(void **state)
{
	struct elf_cache *c = elf_cache_new();
	const struct elf_info *info;
	struct stat before, now;
	struct image im;
	int fd;

	(void)state;
	make_image(&im, true, SYMBOLS("_PyRuntime"));
	fd = file_of(&im, sizeof(im));
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(elf_cache_get(c, fd, false, &info), 0);
	assert_int_equal(info->addrs.runtime, 0x500100);
	im.sym[1].st_value += 0x1000;
	do {
		/* Until the kernel's coarse clock has moved. */
		assert_int_equal(pwrite(fd, &im, sizeof(im), 0), sizeof(im));
		assert_int_equal(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}),
				 0);
		assert_int_equal(fstat(fd, &now), 0);
	} while (now.st_ctim.tv_sec == before.st_ctim.tv_sec &&
		 now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
	assert_int_equal(elf_cache_get(c, fd, false, &info), 0);
	assert_int_equal(info->addrs.runtime, 0x501100);
	close(fd);
	elf_cache_free(c);
}

static void test_cache(void **state)
{
	struct elf_cache *c = elf_cache_new();
	const struct elf_info *first, *again;
	struct image im;
	int fd, pipe_fds[2];

	(void)state;
	make_image(&im, true, SYMBOLS("_PyRuntime"));
	fd = file_of(&im, sizeof(im));
	assert_int_equal(elf_cache_get(c, fd, false, &first), 0);
	assert_int_equal(first->kind, ELF_RUNTIME);
	assert_int_equal(elf_cache_get(c, fd, false, &first), 0);
	assert_int_equal(elf_cache_get(c, fd, false, &again), 0);
	assert_ptr_equal(first, again);
	/* Another size is another file. */
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(elf_cache_get(c, fd, false, &again), 0);
	assert_int_equal(again->kind, ELF_NO_PYTHON);
	close(fd);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(elf_cache_get(c, pipe_fds[0], false, &again), -13);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	elf_cache_free(c);
	elf_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_versions_by_symbol),
		cmocka_unit_test(test_interp_head),
		cmocka_unit_test(test_old_collector),
		cmocka_unit_test(test_no_python),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_bare_cookie),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_long_tables_take_no_memory),
		cmocka_unit_test(test_names_across_pieces),
		cmocka_unit_test(test_every_byte_wrong),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_sees_a_rewrite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
