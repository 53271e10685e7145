/* SPDX-License-Identifier: BSD-2-Clause */
/* Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. */
#include "user/discover/head_code.h"

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
#else
uint64_t head_code_addr(const uint8_t *code, size_t len, uint64_t code_addr)
{
	(void)code, (void)len, (void)code_addr;
	return 0;
}
#endif
