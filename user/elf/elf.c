/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading ELF files with libelf, by pread only: a mapped file that is cut short while one reads it
 * is a SIGBUS, a short read is an error.
 *
 * libelf checks sizes against the size of the file, but a sparse file is as large as its owner
 * likes; so whatever is going to be held in memory is capped first, here, and what may be long is
 * read in pieces (elf_symbols.h).
 *
 * Which symbols tell what, checked with nm on the releases 2.7.18 to 3.15.2:
 *   _PyRuntime              3.7 and later
 *   PyCode_NewWithPosOnlyArgs  3.8 to 3.11; in a program that embeds Python too, unlike Py_RunMain
 *   PyFrame_GetCode         3.9 and later
 *   PyIter_Send             3.10 and later
 *   Py_Version              3.11 and later, and holds PY_VERSION_HEX
 *   _PyThreadState_Current  2.x and 3.6 and older
 *   PyOS_FSPath             3.6 and later
 *   PyString_Type           2.x
 *   PyCapsule_New           2.7, and 3.1 and later
 *   PyInterpreterState_Head, PyGC_Collect  every version
 *   PyEval_EvalFrameEx      every version; the evaluation loop itself in 2.x
 *   interp_head             2.x and 3.6 and older; a local symbol
 *   _Py_AddToAllObjects     only with Py_TRACE_REFS: Objects/object.c (from 3.9 on a local symbol)
 *   pypy_execute_source     PyPy (doc.pypy.org, "Embedding PyPy")
 *
 * A file without section headers has its dynamic symbols still, and from 3.13 on the cookie
 * (elf_bare.h). A file that shows neither, but has CPython in it, is known by a message; a library
 * is only searched for it if it imports what CPython needs.
 */
#include "user/elf/elf.h"

#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/elf/elf_bare.h"
#include "user/elf/elf_symbols.h"
#include "user/python/pyversion.h"
#include "user/python/static_vars.h"

#define SECTIONS_MAX 4096
#define NAMES_MAX_BYTES (256u << 10) /* of the section names */
#define STRTAB_MAX_BYTES (32u << 20) /* of symbol names; a large C++ library has 20 MB */
#define SYMTAB_MAX_BYTES (32u << 20) /* of symbols */
#define OBJECT_MAX_BYTES (16u << 20) /* of what a symbol names */
#define RODATA_MAX_BYTES (32u << 20) /* searched for the version; CPython's is 2 to 5 MB */

/* Python/pystate.c, PyThreadState_Clear: the same from 2.7 to 3.15. Not in one piece, or krait
 * would find it in itself. */
#define MESSAGE_HEAD "PyThreadState_Clear: warning: "
#define MESSAGE_TAIL "thread still has a frame"

#if defined(__x86_64__)
#define HOST_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define HOST_MACHINE EM_AARCH64
#else
#error "krait knows x86-64 and arm64"
#endif

#define HOST_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

/* Symbols looked for, and what was found. */
enum sym {
	SYM_RUNTIME,
	SYM_CODE_TYPE,
	SYM_EVAL,
	SYM_OLD_EVAL,
	SYM_VERSION,
	SYM_POS_ONLY,
	SYM_GET_CODE,
	SYM_ITER_SEND,
	SYM_OLD_CURRENT,
	SYM_FSPATH,
	SYM_PY2_STRING,
	SYM_CAPSULE,
	SYM_HEAD_CODE,
	SYM_COLLECT_CODE,
	SYM_INTERP_HEAD,
	SYM_TRACE_REFS,
	SYM_PYPY,
	SYM_CNT,
	/* What the core of every CPython takes from libc and libm. */
	IMPORT_FIRST = SYM_CNT,
	IMPORT_END = IMPORT_FIRST + 6,
};

static const char *const sym_names[IMPORT_END] = {
	[SYM_RUNTIME] = "_PyRuntime",
	[SYM_CODE_TYPE] = "PyCode_Type",
	[SYM_EVAL] = "_PyEval_EvalFrameDefault",
	[SYM_OLD_EVAL] = "PyEval_EvalFrameEx",
	[SYM_VERSION] = "Py_Version",
	[SYM_POS_ONLY] = "PyCode_NewWithPosOnlyArgs",
	[SYM_GET_CODE] = "PyFrame_GetCode",
	[SYM_ITER_SEND] = "PyIter_Send",
	[SYM_OLD_CURRENT] = "_PyThreadState_Current",
	[SYM_FSPATH] = "PyOS_FSPath",
	[SYM_PY2_STRING] = "PyString_Type",
	[SYM_CAPSULE] = "PyCapsule_New",
	[SYM_HEAD_CODE] = "PyInterpreterState_Head",
	[SYM_COLLECT_CODE] = "PyGC_Collect",
	[SYM_INTERP_HEAD] = "interp_head",
	[SYM_TRACE_REFS] = "_Py_AddToAllObjects",
	[SYM_PYPY] = "pypy_execute_source",
	[IMPORT_FIRST] = "localeconv",
	"frexp",
	"ldexp",
	"fmod",
	"dlsym",
	"sigaction",
};

struct file {
	int fd;
	Elf *elf;
	bool is_foreign; /* not this machine's processor or word size */
	struct elf_form form;
	bool is_bare;  /* no section headers that could be used */
	bool may_hide; /* a CPython that its dynamic symbols don't tell */
	Elf_Scn *dynsym, *symtab, *rodata;
	uint64_t pyruntime_addr; /* of the section; 0: there is none */
	uint64_t pyruntime_bytes;
	uint64_t cookie_addr;	 /* of what begins with the cookie; 0: not looked for, or none */
	uint64_t syms[SYM_CNT];	 /* st_value; 0: not defined */
	uint64_t sizes[SYM_CNT]; /* st_size */
};

/*
 * libelf allocates some 200 bytes per section before it has seen one, and believes the extended
 * count (section 0's sh_size, gABI "e_shnum") as far as the file is long. A Python has some 30
 * sections; none at all is fine.
 */
static bool has_sane_header(int fd)
{
	Elf64_Ehdr h;
	uint64_t shoff;
	uint16_t shnum;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG))
		return false;
	if (h.e_ident[EI_CLASS] == ELFCLASS64) {
		shnum = h.e_shnum;
		shoff = h.e_shoff;
	} else if (h.e_ident[EI_CLASS] == ELFCLASS32) {
		shnum = ((const Elf32_Ehdr *)&h)->e_shnum;
		shoff = ((const Elf32_Ehdr *)&h)->e_shoff;
	} else {
		return false;
	}
	return shnum <= SECTIONS_MAX && (shnum != 0 || shoff == 0);
}

static Elf_Data *section_data(Elf_Scn *scn, uint64_t max_bytes)
{
	GElf_Shdr sh;

	if (!scn || !gelf_getshdr(scn, &sh) || sh.sh_type == SHT_NOBITS || sh.sh_size > max_bytes)
		return NULL;
	return elf_getdata(scn, NULL);
}

static bool find_sections(struct file *f)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	size_t names_idx;

	if (elf_getshdrstrndx(f->elf, &names_idx) ||
	    !section_data(elf_getscn(f->elf, names_idx), NAMES_MAX_BYTES))
		return false;
	while ((scn = elf_nextscn(f->elf, scn))) {
		const char *name;

		if (!gelf_getshdr(scn, &sh))
			return false;
		if (sh.sh_type == SHT_DYNSYM)
			f->dynsym = scn;
		else if (sh.sh_type == SHT_SYMTAB)
			f->symtab = scn;
		name = elf_strptr(f->elf, names_idx, sh.sh_name);
		if (!name)
			continue;
		/* Python/pylifecycle.c: section(".PyRuntime") on _PyRuntime, since 3.10. */
		if (!strcmp(name, ".PyRuntime") && sh.sh_addr) {
			f->pyruntime_addr = sh.sh_addr;
			f->pyruntime_bytes = sh.sh_size;
		} else if (!strcmp(name, ".rodata"))
			f->rodata = scn;
	}
	return true;
}

/* Most files have none of these, and nothing else in them is of interest then. */
static bool has_any_name(const struct elf_names *names)
{
	return names->found & (1ull << SYM_RUNTIME | 1ull << SYM_OLD_CURRENT | 1ull << SYM_PYPY);
}

/*
 * Whoever links CPython in may export none of its symbols, but imports all of these; of 2,004
 * libraries of a Debian host no other than Python's own and musl's libc had them all.
 */
static bool has_imports(const struct elf_names *names)
{
	uint64_t all = (1ull << IMPORT_END) - (1ull << IMPORT_FIRST);

	return (names->found & all) == all;
}

static void find_names(const struct file *f, struct elf_span span, struct elf_names *out)
{
	elf_names_find(f->fd, span, sym_names, IMPORT_END, IMPORT_FIRST, out);
}

static void take_symbol(void *arg, uint32_t which, uint64_t value, uint64_t size)
{
	struct file *f = arg;

	if (f->syms[which])
		return;
	f->syms[which] = value;
	f->sizes[which] = size;
}

/* Where the section lies, if it has bytes in the file, and not more than that. */
static bool find_span(Elf_Scn *scn, uint64_t max_bytes, struct elf_span *out)
{
	GElf_Shdr sh;

	if (!scn || !gelf_getshdr(scn, &sh) || sh.sh_type == SHT_NOBITS || sh.sh_size > max_bytes)
		return false;
	*out = (struct elf_span){sh.sh_offset, sh.sh_size};
	return true;
}

static void read_symbols(struct file *f, Elf_Scn *scn)
{
	struct elf_span syms, texts;
	struct elf_names names;
	GElf_Shdr sh;

	if (!scn || !gelf_getshdr(scn, &sh) ||
	    !find_span(elf_getscn(f->elf, sh.sh_link), STRTAB_MAX_BYTES, &texts))
		return;
	find_names(f, texts, &names);
	if (!f->pyruntime_addr && !has_any_name(&names)) {
		f->may_hide |= scn == f->dynsym && has_imports(&names);
		return;
	}
	if (find_span(scn, SYMTAB_MAX_BYTES, &syms))
		elf_symbols_each(f->fd, syms, f->form, &names, take_symbol, f);
}

static void read_bare(struct file *f)
{
	struct elf_span syms, texts;
	struct elf_names names;

	if (bare_symbols(f->elf, f->fd, SYMTAB_MAX_BYTES, STRTAB_MAX_BYTES, &syms, &texts)) {
		find_names(f, texts, &names);
		if (has_any_name(&names))
			elf_symbols_each(f->fd, syms, f->form, &names, take_symbol, f);
	}
	if (!f->syms[SYM_RUNTIME])
		f->cookie_addr = bare_runtime(f->elf, f->fd);
}

static bool read_first_load(struct file *f, struct elf_info *out)
{
	size_t cnt;
	GElf_Phdr ph;

	if (elf_getphdrnum(f->elf, &cnt))
		return false;
	/* The gABI has PT_LOADs in ascending order of address. */
	for (size_t i = 0; i < cnt && i < PN_XNUM; i++) {
		if (!gelf_getphdr(f->elf, i, &ph))
			return false;
		if (ph.p_type != PT_LOAD)
			continue;
		out->load_addr = ph.p_vaddr;
		out->load_offset = ph.p_offset;
		return true;
	}
	return false;
}

/* Reads what the file has for the memory at addr. False if it has not all of it. */
static bool read_at_addr(const struct file *f, uint64_t addr, void *buf, size_t len)
{
	size_t cnt;
	GElf_Phdr ph;

	if (elf_getphdrnum(f->elf, &cnt))
		return false;
	for (size_t i = 0; i < cnt && i < PN_XNUM; i++) {
		if (!gelf_getphdr(f->elf, i, &ph))
			return false;
		if (ph.p_type != PT_LOAD || addr < ph.p_vaddr || ph.p_filesz < len ||
		    addr - ph.p_vaddr > ph.p_filesz - len)
			continue;
		return pread(f->fd, buf, len, (off_t)(ph.p_offset + (addr - ph.p_vaddr))) ==
		       (ssize_t)len;
	}
	return false;
}

/* Where interp_head is, as the code says that uses it; 0 if it can't be told. */
static uint64_t find_interp_head(const struct file *f)
{
	uint8_t code[HEAD_CODE_BYTES];

	if (!f->syms[SYM_HEAD_CODE] || !read_at_addr(f, f->syms[SYM_HEAD_CODE], code, sizeof(code)))
		return 0;
	return head_code_addr(code, sizeof(code), f->syms[SYM_HEAD_CODE]);
}

/* Where collecting is, likewise. */
static uint64_t find_collecting(const struct file *f)
{
	uint8_t code[COLLECT_CODE_BYTES];
	uint64_t addr = f->syms[SYM_COLLECT_CODE];

	if (!addr || !read_at_addr(f, addr, code, sizeof(code)))
		return 0;
	return collect_code_addr(code, sizeof(code), addr);
}

/* The minor version that the symbols tell; -1 if they don't. */
static int minor_by_symbols(const struct file *f)
{
	if (f->syms[SYM_OLD_CURRENT] && f->syms[SYM_PY2_STRING])
		return f->syms[SYM_CAPSULE] ? 7 : -1;
	if (f->syms[SYM_OLD_CURRENT])
		return f->syms[SYM_FSPATH] ? 6 : -1;
	if (!f->syms[SYM_RUNTIME] || f->syms[SYM_VERSION])
		return -1; /* Py_Version tells exactly, in memory */
	if (f->syms[SYM_ITER_SEND])
		return 10;
	if (f->syms[SYM_GET_CODE])
		return 9;
	return f->syms[SYM_POS_ONLY] ? 8 : 7;
}

static void search_version(void *arg, const char *piece, size_t len, size_t skip, uint64_t at)
{
	(void)at;
	pyversion_search(arg, piece, len, skip);
}

/* The rest of the version is in a string of .rodata only ("3.10.13", PY_VERSION). */
static void read_version_string(const struct file *f, struct elf_info *out)
{
	struct pyversion_search search = {.want = {.major = out->major, .minor = out->minor}};
	struct elf_span span;

	if (!find_span(f->rodata, RODATA_MAX_BYTES, &span))
		return;
	elf_pieces(f->fd, span, PYVERSION_KEEP_BYTES, search_version, &search);
	if (!search.is_found)
		return;
	out->major = search.all.major;
	out->minor = search.all.minor;
	out->micro = search.all.micro;
}

/* A size as the file has it; no true one comes near the bound (_PyRuntime: 600 KB in 3.14). */
static uint32_t size_of(uint64_t bytes)
{
	return bytes < OBJECT_MAX_BYTES ? bytes : 0;
}

static void classify_found(const struct file *f, struct elf_info *out)
{
	if (f->syms[SYM_RUNTIME]) {
		out->found_by = ELF_BY_SYMBOL;
		out->addrs.runtime = f->syms[SYM_RUNTIME];
		out->addrs.runtime_bytes = size_of(f->sizes[SYM_RUNTIME]);
	} else if (f->pyruntime_addr) {
		out->found_by = ELF_BY_SECTION;
		out->addrs.runtime = f->pyruntime_addr;
		out->addrs.runtime_bytes = size_of(f->pyruntime_bytes);
	} else {
		out->found_by = ELF_BY_COOKIE;
		out->addrs.runtime = f->cookie_addr;
	}
	out->kind = ELF_RUNTIME;
	out->addrs.eval = f->syms[SYM_EVAL];
	out->addrs.eval_bytes = size_of(f->sizes[SYM_EVAL]);
	out->addrs.code_type = f->syms[SYM_CODE_TYPE];
	out->version_addr = f->syms[SYM_VERSION];
	out->major = 3;
	out->minor = minor_by_symbols(f);
}

static void classify_old(const struct file *f, struct elf_info *out)
{
	enum sym eval = f->syms[SYM_PY2_STRING] ? SYM_OLD_EVAL : SYM_EVAL;

	out->kind = ELF_OLD_CPYTHON;
	out->addrs.eval = f->syms[eval];
	out->addrs.eval_bytes = size_of(f->sizes[eval]);
	out->addrs.collecting = find_collecting(f);
	out->addrs.code_type = f->syms[SYM_CODE_TYPE];
	out->addrs.current = f->syms[SYM_OLD_CURRENT];
	out->addrs.interp_head = find_interp_head(f);
	if (!out->addrs.interp_head)
		out->addrs.interp_head = f->syms[SYM_INTERP_HEAD];
	out->major = f->syms[SYM_PY2_STRING] ? 2 : 3;
	out->minor = minor_by_symbols(f);
}

/* CPython's code is in a file that does not show where: linked in, and stripped. */
static bool has_message(const struct file *f)
{
	char text[64];
	GElf_Shdr sh;
	GElf_Phdr ph;
	int len = snprintf(text, sizeof(text), "%s%s", MESSAGE_HEAD, MESSAGE_TAIL);

	if (!f->is_bare)
		return f->rodata && gelf_getshdr(f->rodata, &sh) && sh.sh_type == SHT_PROGBITS &&
		       bare_find(f->fd, sh.sh_offset, sh.sh_size, text, len) >= 0;
	for (size_t i = 0; bare_next_load(f->elf, &i, false, &ph);) {
		if (bare_find(f->fd, ph.p_offset, ph.p_filesz, text, len) >= 0)
			return true;
	}
	return false;
}

static void classify(const struct file *f, struct elf_info *out)
{
	if (f->syms[SYM_PYPY]) {
		out->kind = ELF_PYPY;
	} else if (f->syms[SYM_RUNTIME] || f->pyruntime_addr || f->cookie_addr) {
		classify_found(f, out);
	} else if (f->syms[SYM_OLD_CURRENT]) {
		classify_old(f, out);
	} else if (f->may_hide && has_message(f)) {
		out->kind = ELF_HIDDEN_CPYTHON;
		return;
	} else {
		return;
	}
	out->has_trace_refs = f->syms[SYM_TRACE_REFS] != 0;
	if (!out->version_addr)
		read_version_string(f, out);
	if (f->is_foreign)
		out->kind = ELF_FOREIGN;
}

static void read_file(struct file *f, bool is_program, struct elf_info *out)
{
	GElf_Ehdr eh;

	if (elf_kind(f->elf) != ELF_K_ELF || !gelf_getehdr(f->elf, &eh))
		return;
	f->is_foreign = eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != HOST_MACHINE;
	f->form.is_32 = eh.e_ident[EI_CLASS] == ELFCLASS32;
	f->form.is_swapped = eh.e_ident[EI_DATA] != HOST_DATA;
	f->is_bare = !find_sections(f);
	if (!read_first_load(f, out))
		return;
	if (f->is_bare && !f->is_foreign)
		read_bare(f);
	f->may_hide = is_program || f->is_bare;
	read_symbols(f, f->dynsym);
	/* .symtab is large; only a file that is a Python or may hide one there is worth it. */
	if (!f->syms[SYM_RUNTIME] && !find_interp_head(f) &&
	    (f->may_hide || f->pyruntime_addr || f->syms[SYM_OLD_CURRENT]))
		read_symbols(f, f->symtab);
	classify(f, out);
}

int elf_read(int fd, bool is_program, struct elf_info *out)
{
	struct file f = {.fd = fd};

	memset(out, 0, sizeof(*out));
	out->major = out->minor = out->micro = -1;
	if (!has_sane_header(fd) || elf_version(EV_CURRENT) == EV_NONE)
		return 0;
	f.elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!f.elf)
		return elf_errno() == 0 ? -ENOMEM : 0;
	read_file(&f, is_program, out);
	elf_end(f.elf);
	return 0;
}
