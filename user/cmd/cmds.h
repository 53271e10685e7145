/* SPDX-License-Identifier: BSD-2-Clause */
/* The subcommands: one file each, listed in user/main.c. */
#ifndef KRAIT_CMD_CMDS_H
#define KRAIT_CMD_CMDS_H

#include "user/cli/cli.h"

extern const struct cmd cmd_record;
extern const struct cmd cmd_report;
extern const struct cmd cmd_ps;
extern const struct cmd cmd_doctor;

#endif
