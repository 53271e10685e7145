// SPDX-License-Identifier: BSD-2-Clause
/* krait doctor: what this host allows, and the fix for what it does not. */
#include <stdio.h>

#include "user/cmd/cmds.h"
#include "user/session/features.h"

static void print_feature(const struct feature *f, void *can_run)
{
	static const char *const words[] = {"ok", "note", "MISSING"};

	printf("%-8s %-14s %s\n", words[f->state], f->name, f->text);
	*(bool *)can_run &= f->state != FEATURE_MISSING;
}

static int doctor(void *opts, struct cli_args *args)
{
	bool can_run = true;

	(void)opts, (void)args;
	features_check(print_feature, &can_run);
	if (can_run) {
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
