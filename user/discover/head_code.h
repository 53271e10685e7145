/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What PyInterpreterState_Head returns, from its machine code.
 *
 * Up to 3.6 the list of interpreters hangs on `interp_head`, a static variable of Python/pystate.c
 * that only .symtab names, and Pythons come stripped. But this exported function does nothing but
 * load it, so its one load says where it lies. Any other code than that is not guessed at.
 */
#ifndef KRAIT_DISCOVER_HEAD_CODE_H
#define KRAIT_DISCOVER_HEAD_CODE_H

#include <stddef.h>
#include <stdint.h>

#define HEAD_CODE_BYTES 24 /* of the longest form that is known */

/*
 * The address that the function whose `len` bytes of code lie at `code_addr` loads its result from;
 * 0 if it does something else. Foreign bytes: read within len. x86-64 only, 0 elsewhere.
 */
uint64_t head_code_addr(const uint8_t *code, size_t len, uint64_t code_addr);

#endif
