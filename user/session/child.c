// SPDX-License-Identifier: BSD-2-Clause
/*
 * fork, wait for the word, exec.
 *
 * One socket pair serves both ways: the parent's byte says go; the child's end closes at exec, or
 * brings back the errno that exec failed with.
 */
#include "user/session/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/base/log.h"

static void become(char *const *argv, int fd, bool to_stderr)
{
	sigset_t none;
	char go;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (read(fd, &go, 1) != 1)
		_exit(1); /* krait has given up */
	if (to_stderr)
		dup2(STDERR_FILENO, STDOUT_FILENO);
	execvp(argv[0], argv);
	err = errno;
	if (write(fd, &err, sizeof(err)) < 0)
		_exit(126);
	/* As a shell has it (POSIX, Shell Command Language, 2.8.2). */
	_exit(err == ENOENT ? 127 : 126);
}

/* One line on why it could not be run. */
static void complain(const char *name, int err)
{
	const char *why = strerror(err);

	if (err == ENOENT && !strchr(name, '/'))
		why = "not found in PATH";
	else if (err == ENOENT && !access(name, F_OK))
		why = "the interpreter that it names (#!, or an ELF file's) is not there";
	else if (err == EACCES && !access(name, F_OK))
		why = "Permission denied; is it a program, and executable (chmod +x)?";
	log_error("record: run %s: %s", name, why);
}

int child_start(struct child *c, char *const *argv, bool to_stderr)
{
	int fds[2];

	*c = (struct child){.name = argv[0], .pid_fd = -1, .go_fd = -1, .status = -1};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	c->pid = fork();
	if (c->pid == 0) {
		close(fds[0]); /* or there would be no end of waiting without us */
		become(argv, fds[1], to_stderr);
	}
	close(fds[1]);
	c->go_fd = fds[0];
	if (c->pid < 0) {
		log_error("record: start %s: %s", argv[0], strerror(errno));
		c->pid = 0;
		return -EAGAIN;
	}
	c->pid_fd = syscall(SYS_pidfd_open, c->pid, 0);
	return c->pid_fd < 0 ? -errno : 0;
}

static void close_go(struct child *c)
{
	if (c->go_fd >= 0)
		close(c->go_fd);
	c->go_fd = -1;
}

int child_go(struct child *c)
{
	int err = 0;
	ssize_t n;

	if (write(c->go_fd, "g", 1) != 1)
		return -errno;
	n = read(c->go_fd, &err, sizeof(err));
	close_go(c);
	if (n != sizeof(err))
		return 0;
	child_reap(c, true);
	complain(c->name, err);
	return -err;
}

bool child_reap(struct child *c, bool wait)
{
	int status;

	if (!c->pid || c->status >= 0)
		return true;
	if (wait)
		close_go(c);
	if (waitpid(c->pid, &status, wait ? 0 : WNOHANG) != c->pid)
		return false;
	c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return true;
}

void child_release(struct child *c)
{
	if (c->go_fd >= 0)
		child_reap(c, true);
	close_go(c);
	if (c->pid_fd >= 0)
		close(c->pid_fd);
	c->pid_fd = -1;
}
