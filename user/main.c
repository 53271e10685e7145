// SPDX-License-Identifier: BSD-2-Clause
/* krait: the table of its commands. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "user/cmd/cmds.h"

static const struct cmd *const cmds[] = {
	&cmd_record, &cmd_report, &cmd_ps, &cmd_doctor, NULL,
};

/* A standard descriptor that is closed would be the next file's that is opened, and what is said to
 * a person would go into a profile. One that can't be used for its purpose keeps the error. */
static void fill_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	/* A reader that leaves (| head -1) is an error that a write returns, not the end of us. */
	signal(SIGPIPE, SIG_IGN);
	fill_standard_fds();
	return cli_main(cmds, argc, argv);
}
