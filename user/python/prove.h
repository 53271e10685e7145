/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The proof that a layout fits a running interpreter.
 *
 * Nothing that a file says is believed: the interpreter's own lists must close (each thread state
 * points back to its neighbour and to its interpreter, and names an OS thread that exists), and a
 * frame must lead to an object whose type is called "code".
 */
#ifndef KRAIT_PYTHON_PROVE_H
#define KRAIT_PYTHON_PROVE_H

#include <stdint.h>

#include "user/python/layout.h"
#include "user/proc/memory.h"
#include "user/proc/procfs.h"

enum proof {
	PROOF_GOOD,
	PROOF_NOT_YET, /* not initialised, or it changed meanwhile: scan again */
	PROOF_WRONG,   /* an initialised runtime that does not have this structure */
};

struct prove_args {
	const struct memory *mem;
	const struct procfs *proc;
	const struct py_layout *layout;
	uint64_t initialized_addr; /* of the runtime's flag; 0: it has none that could be found, and
				      counts as initialised */
};

/*
 * Proves, repeating while the answer may be a race: a few milliseconds at most. Of *addrs it needs
 * interp_head; code_type it learns where that is 0, when PROOF_GOOD. Sets *why (static text, a
 * clause) otherwise.
 */
enum proof prove(const struct prove_args *args, struct krait_addrs *addrs, const char **why);

#endif
