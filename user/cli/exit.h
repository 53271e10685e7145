/* SPDX-License-Identifier: BSD-2-Clause */
/* What krait's exit status says. A contract: scripts rely on it, and --help prints it. */
#ifndef KRAIT_CLI_EXIT_H
#define KRAIT_CLI_EXIT_H

enum krait_exit {
	KRAIT_EXIT_OK = 0,	  /* done */
	KRAIT_EXIT_FAILED = 1,	  /* something went wrong, and stderr says what */
	KRAIT_EXIT_USAGE = 2,	  /* the command line is wrong; nothing was done */
	KRAIT_EXIT_NO_PYTHON = 3, /* no Python process matched the target */
	KRAIT_EXIT_DENIED = 4,	  /* the kernel or the permissions do not allow it */
	KRAIT_EXIT_CUT = 5, /* a recording is cut or damaged; what is whole of it was reported */
};

#endif
