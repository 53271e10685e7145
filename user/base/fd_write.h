/* SPDX-License-Identifier: BSD-2-Clause */
/* write(2) until all is written, to a file or to a pipe whose reader may have stopped. */
#ifndef KRAIT_BASE_FD_WRITE_H
#define KRAIT_BASE_FD_WRITE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * 0 or -errno. Into a pipe, so much at once as there is room for when poll says so (pipe(7)): a
 * write of more would wait in the kernel, where a signal that is blocked does not reach it.
 * Somebody else's O_NONBLOCK on a shared stdout is waited out as well. -ETIMEDOUT: a signal asks us
 * to end, and the reader has taken nothing for a second.
 */
int fd_write_all(int fd, const char *bytes, size_t len, bool is_pipe);

/* A signal has asked us to end: from now on a reader that takes nothing for a second is given up.
 * Without it that holds for a signal that is blocked and waits. */
void fd_write_hurry(void);

#endif
