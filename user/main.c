// SPDX-License-Identifier: BSD-2-Clause
/* krait: the table of its commands. */
#include <signal.h>

#include "user/cmd/cmds.h"

static const struct cmd *const cmds[] = {
	&cmd_record, &cmd_report, &cmd_ps, &cmd_doctor, NULL,
};

int main(int argc, char **argv)
{
	/* A reader that leaves (| head -1) is an error that a write returns, not the end of us. */
	signal(SIGPIPE, SIG_IGN);
	return cli_main(cmds, argc, argv);
}
