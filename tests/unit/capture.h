/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a function under test writes to stdout or stderr, as text. Include after cmocka.h.
 */
#ifndef KRAIT_TESTS_UNIT_CAPTURE_H
#define KRAIT_TESTS_UNIT_CAPTURE_H

#include <unistd.h>

/* Takes what fn writes to `fd` (at most 64 KB, a pipe's worth). */
static inline void capture(int fd, void (*fn)(void), char *out, size_t cap)
{
	int pipe_fd[2], saved = dup(fd);
	ssize_t len;

	assert_true(saved >= 0);
	assert_int_equal(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], fd);
	close(pipe_fd[1]);
	fn();
	dup2(saved, fd);
	close(saved);
	len = read(pipe_fd[0], out, cap - 1);
	close(pipe_fd[0]);
	out[len > 0 ? len : 0] = '\0';
}

#endif
