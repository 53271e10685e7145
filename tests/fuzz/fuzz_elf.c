/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * elf/elf.h: an ELF file, by its section headers or without them (elf_bare.h), with its
 * version strings and the machine code that tells where static variables are. In life it is
 * whatever file a process has mapped: anybody's.
 *
 * Any file: an answer, made of values that can be. What libelf does is not instrumented, but what
 * it is made to read outside its memory mostly crashes.
 *
 * Input: a byte whose low bit says that it is the main program; the file.
 */
#include <errno.h>

#include "tests/fuzz/fuzz.h"
#include "user/elf/elf.h"

#define OBJECT_MAX_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_program = fuzz_take_byte(&data, &size) & 1;
	struct elf_info info;
	int err = elf_read(fuzz_file(data, size), is_program, &info);

	FUZZ_CHECK(err == 0 || err == -ENOMEM);
	FUZZ_CHECK(info.kind <= ELF_HIDDEN_CPYTHON && info.found_by <= ELF_BY_COOKIE);
	FUZZ_CHECK(info.major >= -1 && info.major <= 3);
	FUZZ_CHECK(info.minor >= -1 && info.minor < 30 && info.micro >= -1 && info.micro < 1000);
	FUZZ_CHECK(info.addrs.runtime_bytes < OBJECT_MAX_BYTES &&
		   info.addrs.eval_bytes < OBJECT_MAX_BYTES);
	FUZZ_CHECK(info.kind != ELF_RUNTIME || info.addrs.runtime);
	FUZZ_CHECK(info.kind != ELF_OLD_CPYTHON || info.addrs.current);
	return 0;
}
