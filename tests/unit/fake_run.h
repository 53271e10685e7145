/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session on what fake_session.h makes, and how a test drives it. Include after cmocka.h, in one
 * file of a program.
 */
#ifndef KRAIT_TESTS_UNIT_FAKE_RUN_H
#define KRAIT_TESTS_UNIT_FAKE_RUN_H

#include <fcntl.h>
#include <sys/wait.h>

#include "tests/unit/collected.h"
#include "tests/unit/fake_session.h"
#include "user/base/log.h"
#include "user/session/session.h"

#define DRAIN_NS (250 * NS_PER_MS) /* between two drains */

static struct session *s;
static struct session_opts opts;
static struct collected sunk;

static uint32_t open_before; /* files, when the test began */

static inline uint32_t open_files(void)
{
	uint32_t cnt = 0;

	for (int fd = 0; fd < 1024; fd++)
		cnt += fcntl(fd, F_GETFD) >= 0;
	return cnt;
}

static inline int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	open_before = open_files();
	fake_init();
	opts = (struct session_opts){.freq_hz = 99, .max_depth = 1024, .max_cpu_ns = NS_PER_S};
	s = NULL;
	return 0;
}

/* Whatever a test has done: nothing is left of it, no file and no process. */
static inline int tear_down(void **state)
{
	(void)state;
	session_free(s);
	collected_release(&sunk);
	fake_release();
	assert_false(fake.is_loaded);
	assert_false(fake.is_scanner);
	assert_int_equal(open_files(), open_before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return 0;
}

static inline int make(void)
{
	const struct session_sink sink = {.on_record = collect, .arg = &sunk};

	return session_new(&opts, &sink, &s);
}

static inline void begin(void)
{
	assert_int_equal(make(), 0);
	assert_int_equal(session_start(s), 0);
}

static inline bool has_event(int timeout_ms)
{
	struct pollfd fd = {.fd = session_fd(s), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

static inline bool is_ready(int timeout_ms)
{
	return session_timeout_ms(s) == 0 || has_event(timeout_ms);
}

/* Steps as long as there is something to do at this time. What the last one returned. */
static inline int settle(void)
{
	int ret = 1;

	for (int i = 0; ret == 1 && is_ready(0); i++) {
		assert_true(i < 1000);
		ret = session_step(s, has_event(0));
	}
	return ret;
}

static inline int pass(uint64_t ns)
{
	fake_pass(ns);
	return settle();
}

static inline const struct session_result *finish(void)
{
	assert_int_equal(session_finish(s), 0);
	assert_false(fake.is_loaded);
	assert_false(fake.is_scanner);
	return session_result(s);
}

/* What scans find of a process; all others are no Pythons. */
static inline void target(pid_t pid, enum target_state target_state)
{
	fake.target_pid = pid;
	fake.target_state = target_state;
}

static inline void shell(const char *script)
{
	static char *argv[4];

	argv[0] = "sh";
	argv[1] = "-c";
	argv[2] = (char *)script;
	opts.command = argv;
	opts.who.is_command = true;
}

#endif
