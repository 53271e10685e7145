/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world of the walker on the host: a target's memory, read page by page and then kept, with
 * faults put in on the way; and what the walker sends.
 *
 * Include once per program, after cmocka.h. Every record that is sent must pass record_check.
 */
#ifndef KRAIT_TESTS_HOST_HOST_H
#define KRAIT_TESTS_HOST_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/thread.h"
#include "bpf/walk.h"
#include "bpf/code.h"
#include "user/base/array.h"
#include "user/base/index.h"
#include "user/base/intern.h"
#include "user/drain/records.h"
#include "user/symbolize/symbolizer.h"

#define PAGE_BYTES 4096
#define PATCHES 16
#define SENT_CODES 1024
#define READ_NONE UINT64_MAX
#define OWNER 4711 /* to the symbolizer: the pid, of the one process that most tests have */

struct page {
	uint64_t addr;
	uint8_t *bytes; /* NULL: not mapped */
};

struct patch {
	uint64_t addr, word;
};

static struct host {
	int mem_fd; /* of /proc/PID/mem; -1: memory is only what host_put made */
	struct page *pages;
	uint32_t page_cnt, page_cap;
	struct index by_addr;

	uint64_t read_cnt;     /* of the last host_tick */
	uint64_t fail_at;      /* the read that fails; READ_NONE: none */
	uint64_t corrupt_seed; /* 0: nothing is corrupted */
	uint32_t corrupt_one_in;
	struct patch patches[PATCHES];
	uint32_t patch_cnt;

	struct scratch *scratch;
	struct krait_stack_rec *stack;
	struct sent_pair sent_codes[SENT_CODES];
	struct known_set known_codes[SENT_CODES];
	struct thread_memo memo;
	uint64_t stack_lo, stack_bytes; /* the thread's; 0: not known */
	uint64_t regs[RUNNER_REGS];
	uint64_t counts[KRAIT_CNT_CNT];
	bool is_ring_full;

	struct intern *in;
	struct symbolizer *sym;
	uint64_t sent_cnt;
	struct krait_absent_rec absent; /* the last one */
	uint32_t absent_cnt;
} host;

__u32 max_depth = KRAIT_MAX_DEPTH_DEFAULT;
__u32 stack_room = KRAIT_MAX_DEPTH_DEFAULT;

/* ---- Memory ---- */

static inline struct page *page_find(uint64_t addr)
{
	struct index_iter it = index_first(&host.by_addr, hash_pair(addr, 0));

	for (; it.num != INDEX_NONE; index_next(&host.by_addr, &it))
		if (host.pages[it.num].addr == addr)
			return &host.pages[it.num];
	return NULL;
}

static inline struct page *page_add(uint64_t addr, uint8_t *bytes)
{
	assert_int_equal(array_reserve((void **)&host.pages, &host.page_cap, host.page_cnt + 1,
				       sizeof(*host.pages)),
			 0);
	assert_int_equal(index_add(&host.by_addr, hash_pair(addr, 0), host.page_cnt), 0);
	host.pages[host.page_cnt] = (struct page){addr, bytes};
	return &host.pages[host.page_cnt++];
}

/* The page at addr, fetched from the target if it is new; bytes is NULL where nothing is mapped. */
static inline struct page *page_get(uint64_t addr)
{
	struct page *page = page_find(addr);
	uint8_t *bytes;

	if (page)
		return page;
	bytes = malloc(PAGE_BYTES);
	assert_non_null(bytes);
	/* Like the kernel's copy from user space: no address of the kernel's half. */
	if (host.mem_fd < 0 || addr >> 47 ||
	    pread(host.mem_fd, bytes, PAGE_BYTES, (off_t)addr) != PAGE_BYTES) {
		free(bytes);
		bytes = NULL;
	}
	return page_add(addr, bytes);
}

static inline bool memory_copy(uint8_t *dst, uint32_t n, uint64_t addr)
{
	while (n) {
		uint32_t off = addr & (PAGE_BYTES - 1);
		uint32_t part = n < PAGE_BYTES - off ? n : PAGE_BYTES - off;
		const struct page *page = page_get(addr - off);

		if (!page->bytes)
			return false;
		memcpy(dst, page->bytes + off, part);
		dst += part;
		addr += part;
		n -= part;
	}
	return true;
}

/* Writes a word into memory made by hand (mem_fd -1). addr is a multiple of 8. */
static inline void host_put(uint64_t addr, uint64_t word)
{
	struct page *page = page_find(addr & ~(PAGE_BYTES - 1ULL));

	if (!page)
		page = page_add(addr & ~(PAGE_BYTES - 1ULL), calloc(1, PAGE_BYTES));
	assert_non_null(page->bytes);
	memcpy(page->bytes + (addr & (PAGE_BYTES - 1)), &word, sizeof(word));
}

/* A word of the target, with no fault put in. */
static inline uint64_t host_get(uint64_t addr)
{
	uint64_t word = 0;

	assert_true(memory_copy((uint8_t *)&word, sizeof(word), addr));
	return word;
}

/* From now on the walker reads `word` at addr. */
static inline void host_patch(uint64_t addr, uint64_t word)
{
	assert_true(host.patch_cnt < PATCHES);
	host.patches[host.patch_cnt++] = (struct patch){addr, word};
}

static inline void patches_apply(uint8_t *dst, uint32_t n, uint64_t addr)
{
	for (uint32_t i = 0; i < host.patch_cnt; i++) {
		const uint8_t *word = (const uint8_t *)&host.patches[i].word;

		for (uint32_t k = 0; k < 8; k++)
			if (host.patches[i].addr + k - addr < n)
				dst[host.patches[i].addr + k - addr] = word[k];
	}
}

static inline uint64_t host_random(void)
{
	host.corrupt_seed += 0x9e3779b97f4a7c15ULL;
	return mix64(host.corrupt_seed);
}

/* Something else than what was there: near it, a small number, another page's address, the
 * kernel's, none. */
static inline uint64_t corrupt_word(uint64_t word)
{
	uint64_t r = host_random();

	switch (r >> 32 & 7) {
	case 0:
		return r;
	case 1:
		return word ^ 1ULL << (r & 63);
	case 2:
		return r & 0xff;
	case 3:
		return 0xffff888000000000ULL | (r & 0xfffffff8);
	case 4:
		return host.pages[(uint32_t)r % host.page_cnt].addr + (r >> 52);
	case 5:
		return host.pages[(uint32_t)r % host.page_cnt].addr + (r >> 52 & ~7ULL);
	case 6:
		return word + (r & 0xff) * 8 - 1024;
	default:
		return r & 1 ? 0 : UINT64_MAX;
	}
}

static inline void corrupt(uint8_t *dst, uint32_t n)
{
	uint32_t at = n > 8 ? host_random() % (n - 7) & ~7U : 0;
	uint64_t word = 0;
	uint32_t len = n - at < 8 ? n - at : 8;

	memcpy(&word, dst + at, len);
	word = corrupt_word(word);
	memcpy(dst + at, &word, len);
}

/* As bpf_probe_read_user: what can't be read whole is zeroes (kernel/trace/bpf_trace.c,
 * bpf_probe_read_user_common). */
long platform_read_user(void *dst, __u32 n, __u64 addr)
{
	uint64_t nth = host.read_cnt++;

	if (nth == host.fail_at || !memory_copy(dst, n, addr)) {
		memset(dst, 0, n);
		return -EFAULT;
	}
	patches_apply(dst, n, addr);
	if (host.corrupt_seed && n && host_random() % host.corrupt_one_in == 0)
		corrupt(dst, n);
	return 0;
}

/* ---- What is sent ---- */

long platform_send(void *record, __u32 n, bool wake)
{
	const struct krait_hdr *h = record;

	(void)wake;
	if (host.is_ring_full)
		return -EAGAIN;
	if (h->kind == KRAIT_ABSENT) {
		host.absent = *(const struct krait_absent_rec *)record;
		host.absent_cnt++;
		return 0;
	}
	if (record_check(record, n) != n)
		fail_msg("a malformed record of kind %u, %u bytes", h->kind, n);
	host.sent_cnt++;
	if (h->kind == KRAIT_CODE)
		assert_int_equal(
			symbolizer_add(host.sym, ((struct krait_code_rec *)record)->pid, record),
			0);
	return 0;
}

void platform_count(__u32 counter, __u64 n)
{
	assert_true(counter < KRAIT_CNT_CNT);
	host.counts[counter] += n;
}

struct thread_memo *memo_get(struct scratch *s)
{
	(void)s;
	return &host.memo;
}

void platform_note_crossed(struct scratch *s)
{
	recent_of(s)->proc.is_crossed = 1;
}

bool platform_stack(struct scratch *s)
{
	s->stack_lo = host.stack_lo;
	s->stack_bytes = host.stack_bytes;
	memcpy(s->window, host.regs, sizeof(host.regs));
	return s->stack_bytes;
}

struct krait_stack_rec *stack_get(struct scratch *s)
{
	(void)s;
	return host.stack;
}

/* As long as there is room no two share a slot here, or a test would now and then, by the addresses
 * of that run, see something read or sent again. */
struct sent_pair *sent_code_get(__u64 id)
{
	uint32_t slot = id % SENT_CODES;

	for (uint32_t i = 0; i < SENT_CODES; i++, slot = (slot + 1) % SENT_CODES)
		if (!host.sent_codes[slot].id[0] || sent_has(&host.sent_codes[slot], id))
			break;
	return &host.sent_codes[slot];
}

struct known_set *known_code_get(__u64 key)
{
	return &host.known_codes[(key >> 8) % SENT_CODES];
}

/* What the scratch knows of the process serves as its entry too. */
struct krait_proc *proc_entry_get(__u32 pid)
{
	(void)pid;
	return &recent_of(host.scratch)->proc;
}

/* How many frames of the walked stack have a marker. */
static inline uint32_t host_mark_cnt(void)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < host.scratch->walk.cnt; i++)
		cnt += stack_frames(host.stack)[i].mark != 0;
	return cnt;
}

/* ---- Ticks ---- */

/* Forgets every code object that was sent, and every symbol. */
static inline void host_forget(void)
{
	recent_of(host.scratch)->proc.code_bytes = 0;
	symbolizer_free(host.sym);
	intern_free(host.in);
	memset(host.sent_codes, 0, sizeof(host.sent_codes));
	memset(host.known_codes, 0, sizeof(host.known_codes));
	host.in = intern_new();
	host.sym = symbolizer_new(host.in);
	assert_non_null(host.sym);
}

/* Memory of exactly the size that the walker may use, so that a sanitizer sees a byte too much. */
static inline void host_set_depth(__u32 depth)
{
	max_depth = stack_room = depth;
	free(host.stack);
	host.stack = malloc(sizeof(*host.stack) + depth * sizeof(struct krait_frame));
	assert_non_null(host.stack);
}

/* What the scratch knows of the process. */
static inline struct krait_proc *host_proc(void)
{
	return &recent_of(host.scratch)->proc;
}

static inline void host_init(const struct krait_layout *layout, uint64_t interp_head_addr,
			     uint64_t code_type_addr)
{
	memset(&host, 0, sizeof(host));
	host.mem_fd = -1;
	host.fail_at = READ_NONE;
	host.scratch = calloc(1, sizeof(*host.scratch));
	assert_non_null(host.scratch);
	host.scratch->host_tid = OWNER;
	recent_of(host.scratch)->pid = recent_of(host.scratch)->tid = OWNER;
	layout_use(host.scratch, layout);
	host_proc()->seed = 0x1234567890abcdefULL;
	host_proc()->state = KRAIT_PROC_READY;
	host_proc()->addrs.interp_head = interp_head_addr;
	host_proc()->addrs.code_type = code_type_addr;
	host.scratch->epoch = 1;
	host_set_depth(KRAIT_MAX_DEPTH_DEFAULT);
	host_forget();
}

static inline void host_release(void)
{
	for (uint32_t i = 0; i < host.page_cnt; i++)
		free(host.pages[i].bytes);
	free(host.pages);
	index_release(&host.by_addr);
	if (host.mem_fd >= 0)
		close(host.mem_fd);
	free(host.scratch);
	free(host.stack);
	symbolizer_free(host.sym);
	intern_free(host.in);
}

/*
 * Walks the stack as a tick does, and once more to keep it: both must say the same. They don't meet
 * the same faults where the second one reads more (the copies of a free-threaded build's bytecode),
 * nor the same corruption if a page has come to those of which it makes its wrong addresses.
 */
static inline enum krait_loss host_walk_stack(void)
{
	uint64_t read_cnt = host.read_cnt, seed = host.corrupt_seed;
	struct scratch *s = host.scratch;
	uint32_t page_cnt = host.page_cnt;
	enum krait_loss loss = walk_stack(s, false);
	struct walk plain = s->walk;

	host.read_cnt = read_cnt;
	host.corrupt_seed = seed;
	if ((s->layout.has_tlbc && (seed || host.fail_at != READ_NONE)) ||
	    (seed && page_cnt != host.page_cnt))
		return walk_stack(s, true);
	assert_int_equal(walk_stack(s, true), loss);
	/* In a circle they notice after more or fewer rounds, unless another fault comes first. */
	if (plain.fault == KRAIT_FAULT_FRAME_CYCLE || s->walk.fault == KRAIT_FAULT_FRAME_CYCLE)
		return loss;
	assert_int_equal(s->walk.hash, plain.hash);
	assert_int_equal(s->walk.cnt, plain.cnt);
	assert_int_equal(s->walk.flags, plain.flags);
	assert_int_equal(s->walk.fault, plain.fault);
	assert_int_equal(s->walk.entry, plain.entry);
	return loss;
}

/* From the thread to its walked stack: what krait.bpf.c's thread_stack() does for a stack that is
 * not known. */
static inline enum krait_loss host_walk(uint64_t thread_id, uint64_t now_ns)
{
	struct scratch *s = host.scratch;
	enum krait_loss loss;

	host.read_cnt = 0;
	s->now_ns = now_ns;
	s->key = (struct thread_key){.thread_id = thread_id};
	loss = thread_find(s, &host.memo);
	return loss ? loss : host_walk_stack();
}

/* Makes the stack's codes known and sends it: what krait.bpf.c's stack_learn() does for a stack
 * that is not known. */
static inline void host_resolve(void)
{
	struct scratch *s = host.scratch;
	struct krait_stack_rec *stack = host.stack;

	code_resolve_all(s);
	stack->h.kind = KRAIT_STACK;
	stack->h.flags = s->walk.flags;
	stack->h.bytes = sizeof(*stack) + s->walk.cnt * sizeof(struct krait_frame);
	stack->stack_id = s->stack_id;
	stack->pid = recent_of(s)->pid;
	stack->frame_cnt = s->walk.cnt;
	platform_send(stack, stack->h.bytes, false);
}

static inline enum krait_loss host_tick(uint64_t thread_id, uint64_t now_ns)
{
	enum krait_loss loss = host_walk(thread_id, now_ns);

	if (!loss)
		host_resolve();
	return loss;
}

#endif
