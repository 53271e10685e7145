/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python/static_vars.h: the machine code of two functions of an old CPython, of which the
 * addresses of two variables are taken. In life it is what a mapped file has where a symbol of that
 * name says.
 *
 * Any bytes, of any length: no read outside them.
 *
 * Input: the address of the code (8); the code.
 */
#include "tests/fuzz/fuzz.h"
#include "user/python/static_vars.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t addr;
	uint8_t *code;

	fuzz_take(&data, &size, &addr, sizeof(addr));
	code = fuzz_copy(data, size);
	head_code_addr(code, size, addr);
	collect_code_addr(code, size, addr);
	free(code);
	return 0;
}
