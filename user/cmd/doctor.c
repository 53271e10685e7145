// SPDX-License-Identifier: BSD-2-Clause
/* krait doctor: what this host allows, and the fix for what it does not. */
#include <stdio.h>

#include "user/cmd/cmds.h"
#include "user/session/features.h"

static int doctor(void *opts, struct cli_args *args)
{
	(void)opts, (void)args;
	if (features_print(stdout)) {
		puts("krait can run here");
		return KRAIT_EXIT_OK;
	}
	puts("krait can't run here: see what is MISSING");
	return KRAIT_EXIT_DENIED;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.summary = "check what this host allows, and print the fix for what it does not",
	.usage = "",
	.details = "Exits with 0 if krait can run here, else with 4.\n",
	.run = doctor,
};
