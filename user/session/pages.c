// SPDX-License-Identifier: BSD-2-Clause
/*
 * Each page is looked up before it is read: whether it lies in a mapping that may be waited for,
 * and whether it is there already (/proc/PID/pagemap), since only what is not counts as brought
 * back. The target runs meanwhile, so what is followed may change; what is read is never believed
 * beyond the next address.
 */
#include "user/session/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/proc/memory.h"
#include "user/proc/procfs.h"

#define IS_PRESENT (1ULL << 63) /* Documentation/admin-guide/mm/pagemap.rst */
/* Powers of two: pages and code objects that have been seen to, by address. */
#define SEEN_PAGES 1024
#define SEEN_CODES 256
#define FIELDS_BYTES 512 /* of a thread state, a frame, a code object: bpf/state.h */
/* As the walker: bpf/thread.h, CFRAME_WORDS and SEARCH_STEPS. */
#define CFRAME_WORDS 4
#define STATES_MAX 128

struct pages {
	const struct cpython *python;
	const struct krait_absent_rec *absent;
	const struct krait_layout *walk;
	struct memory mem;
	int pagemap_fd; /* or -1: each page passes for absent */
	struct ranges ranges;
	uint64_t page_bytes;
	uint32_t back_cnt;
	uint64_t seen_pages[SEEN_PAGES]; /* number + 1 */
	uint64_t seen_codes[SEEN_CODES];
};

/* ---- Pages ---- */

static bool is_present(const struct pages *p, uint64_t page)
{
	uint64_t entry = 0;

	return pread(p->pagemap_fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) ==
		       sizeof(entry) &&
	       entry & IS_PRESENT;
}

/* False: it may not be had. */
static bool bring_back(struct pages *p, uint64_t page)
{
	uint64_t *seen = &p->seen_pages[page & (SEEN_PAGES - 1)];
	uint8_t byte;

	if (*seen == page + 1)
		return true;
	if (!ranges_have(&p->ranges, page * p->page_bytes))
		return false;
	if (!is_present(p, page)) {
		if (p->back_cnt >= PAGES_MAX ||
		    memory_read(&p->mem, page * p->page_bytes, &byte, 1) != 0)
			return false;
		p->back_cnt++;
	}
	*seen = page + 1;
	return true;
}

static bool touch(struct pages *p, uint64_t addr, uint64_t bytes)
{
	if (!bytes || addr > INT64_MAX - bytes)
		return false;
	for (uint64_t page = addr / p->page_bytes; page <= (addr + bytes - 1) / p->page_bytes;
	     page++)
		if (!bring_back(p, page))
			return false;
	return true;
}

static bool read_at(struct pages *p, uint64_t addr, void *to, size_t bytes)
{
	return touch(p, addr, bytes) && memory_read(&p->mem, addr, to, bytes) == 0;
}

static uint64_t word_of(const uint8_t *fields, uint32_t off)
{
	uint64_t word = 0;

	if (off <= FIELDS_BYTES - sizeof(word))
		memcpy(&word, fields + off, sizeof(word));
	return word;
}

/* The word at addr; 0 where it can't be read. */
static uint64_t word_at(struct pages *p, uint64_t addr)
{
	uint64_t word = 0;

	return read_at(p, addr, &word, sizeof(word)) ? word : 0;
}

static size_t at_most(size_t bytes)
{
	return bytes < FIELDS_BYTES ? bytes : FIELDS_BYTES;
}

/* ---- Code objects: bpf/code.h ---- */

/* As much of the text as a record takes. */
static void touch_str(struct pages *p, uint64_t addr, uint32_t max)
{
	const struct krait_layout *l = p->walk;
	uint64_t length = addr ? word_at(p, addr + l->str_length_off) : 0;
	bool is_bytes = l->names_are_bytes;
	uint32_t state = is_bytes ? 0 : word_at(p, addr + l->str_state_off) >> l->str_kind_shift;
	uint32_t width = is_bytes ? 1 : state & 7;
	bool is_ascii = is_bytes || state & 16; /* PyASCIIObject.state, from the kind on */

	if (!length)
		return;
	touch(p, addr + (is_ascii ? l->str_ascii_bytes : l->str_compact_bytes),
	      length < max ? length * width : max);
}

static void touch_lines(struct pages *p, uint64_t addr)
{
	uint64_t bytes = word_at(p, addr + p->walk->bytes_size_off);

	if (bytes <= (uint64_t)KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES)
		touch(p, addr + p->walk->bytes_data_off, bytes);
}

static void touch_code(struct pages *p, uint64_t code)
{
	uint64_t *seen = &p->seen_codes[code / 16 & (SEEN_CODES - 1)];
	const struct krait_layout *l = p->walk;
	uint8_t fields[FIELDS_BYTES] = {};

	if (!code || *seen == code || !read_at(p, code, fields, at_most(l->co_read_bytes)) ||
	    word_of(fields, l->ob_type_off) != p->python->addrs.code_type)
		return;
	*seen = code;
	touch_str(p, word_of(fields, l->co_name_off), KRAIT_NAME_BYTES);
	if (l->has_qualname)
		touch_str(p, word_of(fields, l->co_qualname_off), KRAIT_NAME_BYTES);
	touch_str(p, word_of(fields, l->co_file_off), KRAIT_FILE_BYTES);
	touch_lines(p, word_of(fields, l->co_lines_off));
}

/* ---- Frames and threads: bpf/walk.h, bpf/thread.h ---- */

static void touch_frames(struct pages *p, uint64_t frame)
{
	const struct krait_layout *l = p->walk;
	uint8_t fields[FIELDS_BYTES] = {};

	for (uint32_t i = 0; i < PAGES_FRAMES_MAX && frame; i++) {
		if (!read_at(p, frame + l->fr_first_off, fields, at_most(l->fr_read_bytes)))
			return;
		/* A tagged reference from 3.14 on. */
		touch_code(p, word_of(fields, l->fr_code_off - l->fr_first_off) & ~7ULL);
		frame = word_of(fields, l->fr_prev_off - l->fr_first_off);
	}
}

/* The innermost frame of the thread state whose fields these are. */
static uint64_t touch_innermost(struct pages *p, const uint8_t *fields)
{
	const struct krait_layout *l = p->walk;
	uint64_t frame = word_of(fields, l->ts_frame_off);
	uint64_t words[CFRAME_WORDS] = {};

	if (!frame || !l->has_cframe)
		return frame;
	if (!read_at(p, frame, words, sizeof(words)))
		return 0;
	word_at(p, words[l->ts_cframe_prev_off / 8 % CFRAME_WORDS] + l->ts_cframe_frame_off);
	return words[l->ts_cframe_frame_off / 8 % CFRAME_WORDS];
}

static void touch_thread(struct pages *p)
{
	const struct krait_layout *l = p->walk;
	uint8_t fields[FIELDS_BYTES] = {};
	uint64_t prev;

	if (!p->absent->tstate_addr ||
	    !read_at(p, p->absent->tstate_addr, fields, at_most(l->ts_read_bytes)))
		return;
	prev = l->has_prev ? word_of(fields, l->ts_prev_off) : 0;
	if (prev)
		word_at(p, prev + l->ts_next_off);
	touch_frames(p, touch_innermost(p, fields));
}

/* What a search goes over. */
static void touch_lists(struct pages *p)
{
	const struct krait_layout *l = p->walk;
	uint64_t interp = word_at(p, p->python->addrs.interp_head);
	uint8_t fields[FIELDS_BYTES] = {};
	uint64_t tstate = 0;

	for (uint32_t i = 0; i < STATES_MAX && (interp || tstate); i++) {
		if (!tstate) {
			tstate = word_at(p, interp + l->interp_threads_off);
			interp = word_at(p, interp + l->interp_next_off);
			continue;
		}
		if (!read_at(p, tstate, fields, at_most(l->ts_read_bytes)))
			return;
		touch_innermost(p, fields);
		tstate = word_of(fields, l->ts_next_off);
	}
}

static void touch_all(struct pages *p)
{
	touch_frames(p, p->absent->frame_addr);
	touch_code(p, p->absent->code_addr);
	if (!p->absent->frame_addr && !p->absent->code_addr)
		touch_lists(p);
	touch_thread(p);
}

int pages_bring_back(const struct cpython *python, const struct krait_absent_rec *absent)
{
	struct pages *p = calloc(1, sizeof(*p));
	struct procfs proc;
	int ret;

	if (!p)
		return -ENOMEM;
	p->python = python;
	p->absent = absent;
	p->walk = &python->walk;
	p->page_bytes = sysconf(_SC_PAGESIZE);
	ret = procfs_open(&proc, (pid_t)absent->pid);
	if (ret)
		goto out;
	ranges_init(&p->ranges);
	ret = procfs_read_ranges(&proc, &p->ranges);
	ret = ret ?: memory_init(&p->mem, proc.dir_fd);
	if (!ret) {
		p->pagemap_fd = openat(proc.dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
		touch_all(p);
		ret = p->back_cnt;
		if (p->pagemap_fd >= 0)
			close(p->pagemap_fd);
		memory_release(&p->mem);
	}
	ranges_release(&p->ranges);
	procfs_close(&proc);
out:
	free(p);
	return ret;
}
