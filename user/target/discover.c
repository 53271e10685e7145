/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Classifying a process: is it a Python, which one, and where is what the walker needs.
 *
 * A process is a Python because a CPython runtime is mapped into it, whatever its program is
 * called: python3, uwsgi, a game that embeds one. So each file that is mapped with executable code
 * is asked (elf.h) for the symbols of one and for the section .PyRuntime. The answer is cached per
 * file, so on a host whose processes share their libraries a scan costs reading maps and one fstat
 * per library.
 *
 * The version decides the structure. 3.13 and later describe themselves in the target's memory
 * (debug_offsets.h); 2.7 and 3.6 to 3.12 have a row in a table (layout.h), chosen by Py_Version
 * (3.11 on) or by which symbols exist (before). Those before 3.7 have no _PyRuntime, but a static
 * variable, which the machine code of an exported function leads to (static_vars.h). Either way the
 * layout is a claim made by a file or by a process, and prove.h holds it against the running
 * interpreter before a target is READY.
 *
 * The results that are not final: STARTING (nothing initialised yet, or every attempt met a race)
 * and NOT_PYTHON (a program may load Python later) want another scan; UNSUPPORTED and READY hold
 * until exec.
 *
 * Limits: a runtime that is linked into a shared library without a symbol for it, and one in no
 * file at all (packed programs), are not found. A file on a file system whose server does not
 * answer (FUSE, NFS) can make a scan wait.
 */
#include "user/target/discover.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/python/debug_offsets.h"
#include "user/elf/elf.h"
#include "user/python/layout.h"
#include "user/proc/memory.h"
#include "user/proc/module_file.h"
#include "user/proc/procfs.h"
#include "user/python/prove.h"
#include "user/python/pyversion.h"

struct discover {
	struct elf_cache *files;
};

/* One scan: what is open, and the result in the making. */
struct scan {
	struct discover *d;
	struct procfs proc;
	struct memory mem;
	uint64_t exe_inode;
	struct target *out;
};

/*
 * A scan that takes longer than this leaves the rest of the files for the next one; what it read is
 * remembered. Only a process made to be slow to scan has so much that is new.
 */
#define LOOK_MAX_NS 500000000

#define SECTION_MINOR_MIN 10 /* of 3: the first with a section .PyRuntime */
#define OFFSETS_MINOR_MIN 13 /* of 3: the first that publishes its offsets */

struct discover *discover_new(void)
{
	struct discover *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->files = elf_cache_new();
	if (!d->files) {
		free(d);
		return NULL;
	}
	return d;
}

void discover_free(struct discover *d)
{
	if (!d)
		return;
	elf_cache_free(d->files);
	free(d);
}

/* ---- Results ---- */

__attribute__((format(printf, 3, 4))) static void
set_result(struct target *out, enum target_state state, const char *why, ...)
{
	va_list ap;

	out->state = state;
	va_start(ap, why);
	vsnprintf(out->why, sizeof(out->why), why, ap);
	va_end(ap);
}

/* Whatever /proc refused: the process is gone, or may not be read, or we are out of something. */
static int set_trouble(struct target *out, int err, const char *what)
{
	switch (-err) {
	case ENOENT:
	case ESRCH:
		set_result(out, TARGET_GONE, "the process has ended");
		return 0;
	case EACCES:
	case EPERM:
		set_result(out, TARGET_FORBIDDEN, "its %s may not be read: %s", what,
			   geteuid() ? "run krait as root, or give it cap_sys_ptrace and "
				       "cap_dac_read_search"
				     : "krait needs CAP_SYS_PTRACE over it");
		return 0;
	case ESTALE:
		set_result(out, TARGET_FORBIDDEN,
			   "a file that it has mapped was deleted or replaced: to read it krait "
			   "needs cap_checkpoint_restore, or root");
		return 0;
	default:
		return err;
	}
}

static void set_unsupported_version(struct target *out, int major, int minor)
{
	if (minor < 0)
		set_result(out, TARGET_UNSUPPORTED, "CPython %d: krait reads " LAYOUT_VERSIONS,
			   major);
	else
		set_result(out, TARGET_UNSUPPORTED, "CPython %d.%d: krait reads " LAYOUT_VERSIONS,
			   major, minor);
}

/* Up to 3.12 every object has two links before its count then: object.h, _PyObject_HEAD_EXTRA. */
static void set_trace_refs(struct target *out, unsigned int major, unsigned int minor)
{
	set_result(out, TARGET_UNSUPPORTED,
		   "CPython %u.%u built with Py_TRACE_REFS, so its objects have another structure",
		   major, minor);
}

/* ---- A runtime: its version, its layout, its proof ---- */

/* What a file that is a Python says, and where it lies in the process. */
struct found {
	const struct elf_info *info;
	uint64_t bias;		  /* to add to the addresses in info */
	struct krait_addrs addrs; /* with it */
};

static void place_addrs(struct found *f)
{
	__u64 *addrs[] = {&f->addrs.interp_head, &f->addrs.code_type, &f->addrs.current,
			  &f->addrs.collecting,	 &f->addrs.runtime,   &f->addrs.eval};

	f->addrs = f->info->addrs;
	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++)
		if (*addrs[i])
			*addrs[i] += f->bias;
}

/*
 * The version, from what is closest to the interpreter: its debug offsets, else Py_Version, else
 * the symbols and strings of the file. 0 if nothing tells.
 */
static uint32_t find_version(const struct scan *scan, const struct found *f, bool *has_offsets)
{
	char head[DEBUG_OFFSETS_HEAD_BYTES];
	uint64_t hex;

	*has_offsets = false;
	if (!memory_read(&scan->mem, f->addrs.runtime, head, sizeof(head))) {
		uint32_t version = debug_offsets_version(head);

		*has_offsets = version != 0;
		if (version)
			return version;
	}
	if (f->info->version_addr &&
	    !memory_read_u64(&scan->mem, f->info->version_addr + f->bias, &hex))
		return hex <= UINT32_MAX ? hex : 0;
	return pyversion_hex(f->info->major, f->info->minor, f->info->micro);
}

/* 0 with *out set, or -ENOTSUP with the result set. */
static int find_layout(const struct scan *scan, const struct found *f, uint32_t version,
		       bool has_offsets, struct py_layout *out)
{
	const struct py_layout *row;
	char bytes[DEBUG_OFFSETS_BYTES];
	const char *why;
	unsigned int major = pyversion_major(version), minor = pyversion_minor(version);

	scan->out->python.version = version;
	if (!version) {
		set_result(scan->out, TARGET_UNSUPPORTED, "a CPython whose version can't be found");
		return -ENOTSUP;
	}
	if (!layout_is_supported(major, minor)) {
		set_unsupported_version(scan->out, major, minor);
		return -ENOTSUP;
	}
	row = layout_of_version(major, minor);
	if (row && f->info->has_trace_refs) {
		set_trace_refs(scan->out, major, minor);
		return -ENOTSUP;
	}
	if (row) {
		*out = *row;
		return 0;
	}
	if (!has_offsets || memory_read(&scan->mem, f->addrs.runtime, bytes, sizeof(bytes))) {
		set_result(scan->out, TARGET_STARTING, "its debug offsets can't be read yet");
		return -ENOTSUP;
	}
	if (debug_offsets_parse(bytes, out, &why)) {
		set_result(scan->out, TARGET_UNSUPPORTED, "CPython 3.%u: %s", minor, why);
		return -ENOTSUP;
	}
	return 0;
}

/* Holds the layout and the addresses, which become the target's, against the process. */
static void classify_layout(const struct scan *scan, const struct py_layout *layout,
			    const struct krait_addrs *addrs, uint64_t initialized_addr)
{
	const struct prove_args args = {.mem = &scan->mem,
					.proc = &scan->proc,
					.layout = layout,
					.initialized_addr = initialized_addr};
	struct target *out = scan->out;
	const char *why;

	out->python.addrs = *addrs;
	out->python.walk = layout->walk;
	out->python.interp_modules_off = layout->interp_modules_off;
	switch (prove(&args, &out->python.addrs, &why)) {
	case PROOF_GOOD:
		out->state = TARGET_READY;
		out->why[0] = 0;
		break;
	case PROOF_NOT_YET:
		set_result(out, TARGET_STARTING, "%s", why);
		break;
	case PROOF_WRONG:
		set_result(out, TARGET_UNSUPPORTED, "CPython %u.%u, but %s (a patched build?)",
			   pyversion_major(out->python.version),
			   pyversion_minor(out->python.version), why);
		break;
	}
}

static void classify_runtime_as(const struct scan *scan, const struct found *f,
				const struct py_layout *layout)
{
	struct krait_addrs addrs = f->addrs;

	addrs.interp_head = addrs.runtime + layout->interp_head_off;
	if (layout->current_off)
		addrs.current = addrs.runtime + layout->current_off;
	if (layout->collecting_off)
		addrs.collecting = addrs.runtime + layout->collecting_off;
	classify_layout(scan, layout, &addrs, addrs.runtime + layout->initialized_off);
}

/*
 * Found by its section alone, a CPython before 3.13 has no symbol that tells its version, and its
 * strings may be another library's that is linked in. So it is what it proves to be.
 */
static void classify_unversioned(const struct scan *scan, const struct found *f)
{
	const struct elf_info *info = f->info;
	bool is_starting = false;

	for (int minor = SECTION_MINOR_MIN; minor < OFFSETS_MINOR_MIN; minor++) {
		scan->out->python.version =
			pyversion_hex(3, minor, minor == info->minor ? info->micro : 0);
		classify_runtime_as(scan, f, layout_of_version(3, minor));
		if (scan->out->state == TARGET_READY)
			return;
		is_starting |= scan->out->state == TARGET_STARTING;
	}
	scan->out->python.version = pyversion_hex(info->major, info->minor, info->micro);
	if (is_starting)
		set_result(scan->out, TARGET_STARTING, "the interpreter is not initialised yet");
	else
		set_result(scan->out, TARGET_UNSUPPORTED,
			   "a CPython with the structure of neither 3.10, 3.11 nor 3.12 (a patched "
			   "build?)");
}

static void classify_runtime(const struct scan *scan, const struct found *f)
{
	bool has_offsets;
	uint32_t version = find_version(scan, f, &has_offsets);
	struct py_layout layout;

	if (f->info->found_by == ELF_BY_SECTION && !f->info->version_addr && !has_offsets)
		classify_unversioned(scan, f);
	else if (!find_layout(scan, f, version, has_offsets, &layout))
		classify_runtime_as(scan, f, &layout);
}

/* A CPython from before _PyRuntime. */
static void classify_old(const struct scan *scan, const struct found *f)
{
	const struct elf_info *info = f->info;
	const struct py_layout *layout = NULL;

	if (info->major >= 0 && info->minor >= 0)
		layout = layout_of_version(info->major, info->minor);
	if (!layout)
		set_unsupported_version(scan->out, info->major, info->minor);
	else if (info->has_trace_refs)
		set_trace_refs(scan->out, info->major, info->minor);
	else if (!f->addrs.interp_head)
		set_result(scan->out, TARGET_UNSUPPORTED,
			   "CPython %d.%d, but the code of its PyInterpreterState_Head does not "
			   "tell where its interpreters are",
			   info->major, info->minor);
	else
		classify_layout(scan, layout, &f->addrs, 0);
}

/* ---- A module: is it a Python ---- */

static void classify_python(const struct scan *scan, const struct found *f)
{
	const struct elf_info *info = f->info;
	struct target *out = scan->out;

	out->python.version = pyversion_hex(info->major, info->minor, info->micro);
	switch (info->kind) {
	case ELF_RUNTIME:
		classify_runtime(scan, f);
		break;
	case ELF_OLD_CPYTHON:
		classify_old(scan, f);
		break;
	case ELF_PYPY:
		set_result(out, TARGET_UNSUPPORTED, "PyPy: krait reads CPython " LAYOUT_VERSIONS);
		break;
	case ELF_FOREIGN:
		set_result(out, TARGET_UNSUPPORTED,
			   "a Python built for another processor or for 32 bits");
		break;
	case ELF_HIDDEN_CPYTHON:
		set_result(out, TARGET_UNSUPPORTED,
			   "a CPython is linked into its program or a library, but the symbols "
			   "that tell where have been stripped");
		break;
	case ELF_NO_PYTHON:
		break;
	}
}

static void set_how(struct target *out, const struct elf_info *info, const struct module *m)
{
	const char *what = "_PyRuntime";

	if (info->kind == ELF_OLD_CPYTHON)
		what = info->addrs.interp_head ? "interp_head" : "_PyThreadState_Current";
	else if (info->kind == ELF_PYPY)
		what = "pypy_execute_source";
	else if (info->kind == ELF_HIDDEN_CPYTHON)
		what = "a message";
	else if (info->found_by == ELF_BY_SECTION)
		what = ".PyRuntime";
	else if (info->found_by == ELF_BY_COOKIE)
		what = "the debug cookie";
	snprintf(out->how, sizeof(out->how), "%s in %.36s", what, m->name);
}

/*
 * The load bias: the kernel and ld.so map the first PT_LOAD, rounded down to a page, at the lowest
 * address of the module.
 */
static bool find_bias(const struct module *m, const struct elf_info *info, uint64_t *bias)
{
	uint64_t page_mask = ~((uint64_t)sysconf(_SC_PAGESIZE) - 1);

	*bias = m->start - (info->load_addr & page_mask);
	return (info->load_offset & page_mask) == m->offset;
}

/* Two runtimes in one process (a program that embeds another one): the more hopeful result. */
static bool is_better(const struct target *now, const struct target *before)
{
	return now->state == TARGET_READY || before->state == TARGET_NOT_PYTHON ||
	       (now->state == TARGET_STARTING && before->state == TARGET_UNSUPPORTED);
}

/* An error of ours; any other is the file's: gone, on a server that fails, no regular file. */
static bool is_own_trouble(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/*
 * Classifies by one module; the result may stay as it is. is_program: it is what the process runs.
 * 0, -EACCES or -ESTALE when its file may not be opened (module_file.h), or trouble of our own.
 */
static int scan_module(const struct scan *scan, const struct module *m, bool is_program)
{
	struct target result = *scan->out;
	struct scan sub = *scan;
	struct found f;
	int fd, err;

	fd = module_file_open(&scan->proc, m);
	if (fd == -EACCES || fd == -ESTALE)
		return fd;
	if (fd < 0)
		return is_own_trouble(fd) ? fd : 0;
	err = elf_cache_get(scan->d->files, fd, is_program, &f.info);
	close(fd);
	if (err)
		return is_own_trouble(err) ? err : 0;
	if (f.info->kind == ELF_NO_PYTHON || !find_bias(m, f.info, &f.bias))
		return 0;
	place_addrs(&f);
	sub.out = &result;
	set_how(&result, f.info, m);
	classify_python(&sub, &f);
	if (is_better(&result, scan->out))
		*scan->out = result;
	return 0;
}

static int scan_modules(struct scan *scan, const struct modules *mods)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + LOOK_MAX_NS;
	int refusal = 0;

	for (size_t i = 0; i < mods->cnt && scan->out->state != TARGET_READY; i++) {
		const struct module *m = &mods->v[i];
		int err;

		if (clock_ns(CLOCK_MONOTONIC) > end_ns)
			break;
		/* On an overlay the inodes may differ; the program is the lowest module then. */
		err = scan_module(scan, m, m->inode == scan->exe_inode || i == 0);
		if (err == -EACCES || err == -ESTALE)
			refusal = err;
		else if (err)
			return err;
	}
	if (scan->out->state == TARGET_NOT_PYTHON && refusal)
		return set_trouble(scan->out, refusal, "files");
	return 0;
}

/* ---- A process ---- */

/* The maps of the process; of another thread if the main one has ended and left the others. */
static int read_modules(struct scan *scan, struct modules *mods)
{
	int err = procfs_read_modules(&scan->proc, mods);

	if (err || mods->has_lines)
		return err;
	err = procfs_move_to_live_thread(&scan->proc);
	if (err)
		return err;
	modules_release(mods);
	return procfs_read_modules(&scan->proc, mods);
}

static int scan_memory(struct scan *scan)
{
	struct modules mods;
	struct stat st;
	int err;

	err = read_modules(scan, &mods);
	if (err)
		return set_trouble(scan->out, err, "memory map");
	if (!fstatat(scan->proc.dir_fd, "exe", &st, 0))
		scan->exe_inode = st.st_ino;
	err = memory_init(&scan->mem, scan->proc.dir_fd);
	if (err)
		err = set_trouble(scan->out, err, "memory");
	else
		err = scan_modules(scan, &mods);
	memory_release(&scan->mem);
	modules_release(&mods);
	return err;
}

int discover_process(struct discover *d, pid_t pid, struct target *out)
{
	struct scan scan = {.d = d, .out = out, .mem = {.fd = -1}};
	struct procfs_stat st;
	int err;

	memset(out, 0, sizeof(*out));
	out->pid = pid;
	out->state = TARGET_NOT_PYTHON;
	err = procfs_open(&scan.proc, pid);
	if (err)
		return set_trouble(out, err, "/proc entry");
	err = procfs_read_stat(&scan.proc, &st);
	if (err) {
		err = set_trouble(out, err, "/proc entry");
	} else {
		memcpy(out->comm, st.comm, sizeof(out->comm));
		out->thread_cnt = st.thread_cnt;
		if (st.is_kthread)
			out->state = TARGET_KERNEL;
		else
			err = scan_memory(&scan);
	}
	procfs_close(&scan.proc);
	return err;
}
