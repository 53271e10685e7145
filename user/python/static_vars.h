/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where static variables of CPython lie, from the machine code of exported functions that use them.
 *
 * Up to 3.6 the list of interpreters hangs on `interp_head` (Python/pystate.c), and the collector
 * says in `collecting` (Modules/gcmodule.c) that it runs. Only .symtab names them, and Pythons come
 * stripped. But PyInterpreterState_Head does nothing but load the one, and PyGC_Collect asks the
 * other and sets it. Any other code than that is not guessed at.
 *
 * Foreign bytes: read within len. x86-64 only; 0 elsewhere.
 */
#ifndef KRAIT_PYTHON_STATIC_VARS_H
#define KRAIT_PYTHON_STATIC_VARS_H

#include <stddef.h>
#include <stdint.h>

#define HEAD_CODE_BYTES 24    /* of the longest PyInterpreterState_Head that is known */
#define COLLECT_CODE_BYTES 96 /* of PyGC_Collect, as far as it sets the flag */

/*
 * The address that the function whose `len` bytes of code lie at `code_addr` loads its result from;
 * 0 if it does something else.
 */
uint64_t head_code_addr(const uint8_t *code, size_t len, uint64_t code_addr);

/*
 * The address of the int that the function sets to 1 after it has asked for it; 0 if there is none.
 */
uint64_t collect_code_addr(const uint8_t *code, size_t len, uint64_t code_addr);

#endif
