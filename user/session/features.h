/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What krait needs of this host, as a table of checks: `krait doctor` prints it all, and a run that
 * the kernel refused names the first check that fails.
 */
#ifndef KRAIT_SESSION_FEATURES_H
#define KRAIT_SESSION_FEATURES_H

#include <stdbool.h>

enum feature_state {
	FEATURE_OK,
	FEATURE_NOTE,	 /* works, with a limit worth knowing */
	FEATURE_MISSING, /* krait can't run */
};

struct feature {
	const char *name;
	enum feature_state state;
	char text[256]; /* what was found, and the fix where there is one */
};

/* Why krait may not run on a Linux of that release (uname -r), to be put behind it; NULL if it may.
 */
const char *features_kernel_trouble(const char *release);

/* Whether this host's is one of those: to be asked before anything is loaded, for some of them
 * lock up. */
bool features_kernel_is_bad(void);

/* Makes all the checks; each is handed to fn. */
void features_check(void (*fn)(const struct feature *f, void *arg), void *arg);

/* Logs in one line why a run was refused with -errno: the first check that fails, with its fix,
 * else the error itself. */
void features_explain(int err);

#endif
