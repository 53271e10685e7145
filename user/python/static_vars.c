/* SPDX-License-Identifier: BSD-2-Clause */
/* Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. */
#include "user/python/static_vars.h"

#if defined(__x86_64__)
#include <stdbool.h>
#include <string.h>

struct cursor {
	const uint8_t *code;
	size_t at, len;
};

static bool take(struct cursor *c, const char *bytes, size_t cnt)
{
	if (c->len - c->at < cnt || memcmp(c->code + c->at, bytes, cnt))
		return false;
	c->at += cnt;
	return true;
}

#define TAKE(c, bytes) take(c, bytes, sizeof(bytes) - 1)

uint64_t head_code_addr(const uint8_t *code, size_t len, uint64_t code_addr)
{
	struct cursor c = {.code = code, .len = len};
	bool has_frame;
	int32_t disp;
	uint64_t addr;

	TAKE(&c, "\xf3\x0f\x1e\xfa");			   /* endbr64 (-fcf-protection) */
	has_frame = TAKE(&c, "\x55\x48\x89\xe5");	   /* push rbp; mov rbp, rsp */
	if (!TAKE(&c, "\x48\x8b\x05") || c.len - c.at < 4) /* mov rax, [rip + disp32] */
		return 0;
	memcpy(&disp, c.code + c.at, sizeof(disp));
	c.at += sizeof(disp);
	addr = code_addr + c.at + (int64_t)disp;
	if (has_frame && !TAKE(&c, "\x5d")) /* pop rbp */
		return 0;
	TAKE(&c, "\xf3"); /* the rep of older compilers' `rep ret` */
	return TAKE(&c, "\xc3") ? addr : 0;
}

/* The address of [rip + disp32], where the displacement is at `at` and the instruction ends at
 * `end`. */
static uint64_t rip_addr(const uint8_t *code, size_t at, size_t end, uint64_t code_addr)
{
	int32_t disp;

	memcpy(&disp, code + at, sizeof(disp));
	return code_addr + end + (int64_t)disp;
}

/* Whether an instruction before code[len] reads the int at addr: mov r32, [rip + disp32], or cmp
 * dword [rip + disp32], 0. */
static bool reads_int(const uint8_t *code, size_t len, uint64_t code_addr, uint64_t addr)
{
	for (size_t i = 0; i + 6 <= len; i++) {
		if (code[i] == 0x8b && (code[i + 1] & 0xc7) == 0x05 &&
		    rip_addr(code, i + 2, i + 6, code_addr) == addr)
			return true;
		if (i + 7 <= len && code[i] == 0x83 && code[i + 1] == 0x3d && !code[i + 6] &&
		    rip_addr(code, i + 2, i + 7, code_addr) == addr)
			return true;
	}
	return false;
}

/*
 * Instructions are looked for at every byte. That two of them, of their kind and in their order,
 * name the same address is no accident.
 */
uint64_t collect_code_addr(const uint8_t *code, size_t len, uint64_t code_addr)
{
	for (size_t i = 0; i + 10 <= len; i++) {
		uint64_t addr;

		/* mov dword [rip + disp32], 1 */
		if (memcmp(code + i, "\xc7\x05", 2) || memcmp(code + i + 6, "\1\0\0\0", 4))
			continue;
		addr = rip_addr(code, i + 2, i + 10, code_addr);
		if (reads_int(code, i, code_addr, addr))
			return addr;
	}
	return 0;
}
#else
uint64_t collect_code_addr(const uint8_t *code, size_t len, uint64_t code_addr)
{
	(void)code, (void)len, (void)code_addr;
	return 0;
}

uint64_t head_code_addr(const uint8_t *code, size_t len, uint64_t code_addr)
{
	(void)code, (void)len, (void)code_addr;
	return 0;
}
#endif
