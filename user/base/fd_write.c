// SPDX-License-Identifier: BSD-2-Clause
#include "user/base/fd_write.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define STALL_MS 1000 /* a reader that takes nothing has stopped */
#define STALL_CHECK_MS 100

/* A signal that ends us has been taken. */
static atomic_bool is_hurried;

void fd_write_hurry(void)
{
	atomic_store(&is_hurried, true);
}

/* Is there a signal that ends us, taken or kept for later (by the event loop of a run)? */
static bool is_to_end(void)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
	sigset_t pending;

	if (atomic_load(&is_hurried))
		return true;
	if (sigpending(&pending))
		return false;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigismember(&pending, signals[i]))
			return true;
	return false;
}

/* Until a reader has made room: for ever, but not past STALL_MS once we are to end. 0 or -errno. */
static int wait_for_room(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};

	for (int waited_ms = 0; !poll(&pfd, 1, STALL_CHECK_MS); waited_ms += STALL_CHECK_MS)
		if (waited_ms >= STALL_MS && is_to_end())
			return -ETIMEDOUT;
	return 0;
}

int fd_write_all(int fd, const char *bytes, size_t len, bool is_pipe)
{
	while (len > 0) {
		size_t most = is_pipe && len > PIPE_BUF ? PIPE_BUF : len;
		int err = is_pipe ? wait_for_room(fd) : 0;
		ssize_t done = err ? err : write(fd, bytes, most);

		if (err)
			return err;
		if (done >= 0) {
			bytes += done;
			len -= (size_t)done;
		} else if (errno == EAGAIN) {
			wait_for_room(fd);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}
