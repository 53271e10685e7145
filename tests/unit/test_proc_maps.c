/* SPDX-License-Identifier: BSD-2-Clause */
/* /proc/PID/maps and stat, as hostile processes can make them look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <errno.h>

#include "user/proc/procfs.h"

static struct modules parse(const char *const *lines, size_t cnt)
{
	struct modules m = {};

	for (size_t i = 0; i < cnt; i++)
		maps_add_line(&m, lines[i]);
	maps_finish(&m);
	return m;
}

#define PARSE(lines) parse(lines, sizeof(lines) / sizeof((lines)[0]))

static void test_modules(void **state)
{
	static const char *const lines[] = {
		"00400000-0041f000 r--p 00000000 fe:00 2579                       /usr/bin/my app",
		"0041f000-006d2000 r-xp 0001f000 fe:00 2579                       /usr/bin/my app",
		"006d2000-0080f000 rw-p 002d2000 fe:00 2579                       /usr/bin/my app",
		"0080f000-00900000 rw-p 00000000 00:00 0                          [heap]",
		"7f0000000000-7f0000001000 r--p 00000000 fe:00 77   /usr/lib/locale.bin",
		"7f0000002000-7f0000003000 r-xp 00001000 103:1f 18446744073709551615 /x (deleted)",
	};
	struct modules m = PARSE(lines);

	(void)state;
	assert_int_equal(m.cnt, 2); /* data of one mapping is no module */
	assert_string_equal(m.v[0].name, "my app");
	assert_int_equal(m.v[0].start, 0x400000);
	assert_int_equal(m.v[0].end, 0x41f000);
	assert_int_equal(m.v[0].inode, 2579);
	assert_int_equal(m.v[0].dev_major, 0xfe);
	assert_string_equal(m.v[1].name, "x (deleted)");
	assert_int_equal(m.v[1].offset, 0x1000);
	assert_true(m.v[1].inode == UINT64_MAX);
	assert_int_equal(m.v[1].dev_minor, 0x1f);
	modules_release(&m);
}

/* What may be waited for: anonymous memory, files on a block device, and the device of shared
 * memory. What can't be read is left out, what adjoins is one. */
static void test_ranges(void **state)
{
	static const char *const lines[] = {
		"1000-2000 r--p 00000000 fe:00 2579                       /usr/bin/a",
		"2000-3000 rw-p 00000000 00:00 0                          [heap]",
		"3000-4000 ---p 00000000 00:00 0 ",
		"4000-5000 r--s 00000000 00:2f 12                         /fuse/a",
		"5000-6000 rw-s 00000000 00:01 99                         /memfd:a (deleted)",
		"no mapping",
		"7fff0000-7fff8000 rw-p 00000000 00:00 0                  [stack]",
	};
	struct ranges r = {.shared_minor = 1};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_int_equal(ranges_add_line(&r, lines[i]), i == 5 ? -EINVAL : 0);
	assert_int_equal(r.cnt, 3);
	assert_false(ranges_have(&r, 0xfff));
	assert_true(ranges_have(&r, 0x1000));
	assert_true(ranges_have(&r, 0x2fff));
	assert_false(ranges_have(&r, 0x3000));
	assert_false(ranges_have(&r, 0x4fff));
	assert_true(ranges_have(&r, 0x5000));
	assert_false(ranges_have(&r, 0x6000));
	assert_true(ranges_have(&r, 0x7fff7fff));
	assert_false(ranges_have(&r, 0x7fff8000));
	assert_false(ranges_have(&r, UINT64_MAX));
	r.cnt = 0;
	assert_false(ranges_have(&r, 0));
	ranges_release(&r);
	r = (struct ranges){}; /* the device of shared memory is not known */
	assert_int_equal(ranges_add_line(&r, lines[4]), 0);
	assert_int_equal(r.cnt, 0);
	ranges_release(&r);
}

/* .bss and guard gaps within a library do not split it; a second copy of the file does. */
static void test_runs(void **state)
{
	static const char *const lines[] = {
		"10000-11000 r--p 00000000 00:01 5 /l", /* mapped as data by the program */
		"20000-21000 r--p 00000000 00:01 5 /l", "21000-22000 r-xp 00001000 00:01 5 /l",
		"22000-23000 rw-p 00000000 00:00 0 ",	"23000-24000 rw-p 00002000 00:01 5 /l",
		"30000-31000 r-xp 00000000 00:01 5 /l", "40000-41000 r--p 00000000 00:01 6 /h",
		"41000-42000 rw-p 00001000 00:01 6 /h", /* its code was moved to huge pages */
	};
	struct modules m = PARSE(lines);

	(void)state;
	assert_int_equal(m.cnt, 3);
	assert_int_equal(m.v[0].start, 0x20000);
	assert_int_equal(m.v[1].start, 0x30000);
	assert_int_equal(m.v[2].start, 0x40000);
	modules_release(&m);
}

static void test_hostile_lines(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"-",
		"garbage",
		"1000-2000",
		"1000-2000 r-xp",
		"1000-2000 r-xp 0 0:0",
		"2000-1000 r-xp 00000000 00:01 5 /backwards",
		"1000-1000 r-xp 00000000 00:01 5 /empty",
		"1000-2000 rx 00000000 00:01 5 /perms",
		"zzzz-yyyy r-xp 00000000 00:01 5 /hex",
	};
	struct modules m = {};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(maps_add_line(&m, bad[i]), -22);
	maps_finish(&m);
	assert_int_equal(m.cnt, 0);
	assert_false(m.has_lines);
	modules_release(&m);
}

static void test_hostile_names(void **state)
{
	char line[9000] = "1000-2000 r-xp 00000000 00:01 5 /", long_name[56];
	static const char *const names[] = {
		"3000-4000 r-xp 00000000 00:01 6 /tmp/a\\012b\033[31m\x7f\xff c",
		"4000-5000 r-xp 00000000 00:01 7 ",
		"5000-6000 r-xp 00000000 00:01 8 /tmp/",
	};
	struct modules m = {};

	(void)state;
	memset(line + strlen(line), 'n', 8000);
	assert_int_equal(maps_add_line(&m, line), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(maps_add_line(&m, names[i]), 0);
	maps_finish(&m);
	assert_int_equal(m.cnt, 4);
	memset(long_name, 'n', 55);
	long_name[55] = 0;
	assert_string_equal(m.v[0].name, long_name);
	assert_string_equal(m.v[1].name, "a\\012b?[31m?? c");
	assert_string_equal(m.v[2].name, "");
	assert_string_equal(m.v[3].name, "");
	modules_release(&m);
}

static void test_module_limit(void **state)
{
	struct modules m = {};
	char line[80];

	(void)state;
	for (int i = 1; i <= MODULES_MAX + 100; i++) {
		snprintf(line, sizeof(line), "%x000-%x001 r-xp 00000000 00:01 %d /m", i, i, i);
		assert_int_equal(maps_add_line(&m, line), 0);
	}
	maps_finish(&m);
	assert_int_equal(m.cnt, MODULES_MAX);
	modules_release(&m);
}

#define STAT_REST                                                                                  \
	" S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 17 0 5 2 3 18446744073709551615 1 1 0 0 0 0\n"

static void test_stat(void **state)
{
	struct procfs_stat st;

	(void)state;
	assert_int_equal(procfs_parse_stat("12 (python3)" STAT_REST, &st), 0);
	assert_string_equal(st.comm, "python3");
	assert_int_equal(st.thread_cnt, 17);
	assert_int_equal(st.state, 'S');
	assert_false(st.is_kthread);
	/* A name made to look like the fields that follow it. */
	assert_int_equal(procfs_parse_stat("12 (a) Z 1 (2)" STAT_REST, &st), 0);
	assert_string_equal(st.comm, "a) Z 1 (2");
	assert_int_equal(st.state, 'S');
	assert_int_equal(procfs_parse_stat("2 (kthreadd-and-a-long-name) S 0 0 0 0 -1 2129984 0 0 "
					   "0 0 0 0 0 0 20 0 1 0 1 0 0\n",
					   &st),
			 0);
	assert_true(st.is_kthread);
	assert_string_equal(st.comm, "kthreadd-and-a-");
	assert_int_equal(procfs_parse_stat("", &st), -22);
	assert_int_equal(procfs_parse_stat(")(", &st), -22);
	assert_int_equal(procfs_parse_stat("12 (x)", &st), -22);
	assert_int_equal(procfs_parse_stat("12 (x) S 1", &st), -22);
}

/* This process has itself as a thread, and no thread of a made-up id. */
static void test_ns_tid(void **state)
{
	struct procfs p;

	(void)state;
	assert_int_equal(procfs_open(&p, getpid()), 0);
	assert_true(procfs_has_ns_tid(&p, getpid()));
	assert_false(procfs_has_ns_tid(&p, 0));
	assert_false(procfs_has_ns_tid(&p, UINT64_MAX));
	procfs_close(&p);
}

static int note_pid(pid_t pid, void *arg)
{
	pid_t *last = arg;

	assert_true(pid > *last);
	*last = pid;
	return pid == getpid() ? 42 : 0;
}

static void test_each_pid(void **state)
{
	char buf[4096];
	pid_t last = 0;
	ssize_t n;

	(void)state;
	assert_int_equal(procfs_each_pid(note_pid, &last), 42);
	assert_int_equal(last, getpid());
	n = procfs_cmdline(getpid(), buf, sizeof(buf));
	assert_true(n > 0);
	assert_non_null(memmem(buf, n, "test_proc_maps", 14));
	assert_int_equal(procfs_cmdline(getpid(), buf, 3), 3);
	assert_true(procfs_cmdline(0x3fffffff, buf, 3) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modules),	      cmocka_unit_test(test_runs),
		cmocka_unit_test(test_hostile_lines), cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_module_limit),  cmocka_unit_test(test_stat),
		cmocka_unit_test(test_ns_tid),	      cmocka_unit_test(test_each_pid),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
