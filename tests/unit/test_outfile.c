/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output files: whole or not at all, and every refusal with its reason and its fix. What could harm
 * the test program itself (a closed stdout, a size limit, another user id) runs in a child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/folder.h"
#include "user/base/outfile.h"

#define HANG_S 60 /* a test that waits for ever fails instead */

/* Opens, writes `text`, commits; errors come back as -errno. */
static int write_out(const char *path, const char *text)
{
	struct outfile *of = outfile_open(path);

	if (!of)
		return -errno;
	fputs(text, outfile_stream(of));
	return outfile_commit(of);
}

static void test_outfile_new(void **state)
{
	mode_t old_mask = umask(027);
	struct stat st;

	(void)state;
	assert_int_equal(outfile_check("x.html"), 0);
	assert_int_equal(count_files(), 0);
	assert_int_equal(write_out("x.html", "new"), 0);
	umask(old_mask);
	assert_file("x.html", "new");
	assert_int_equal(count_files(), 1);
	assert_int_equal(stat("x.html", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_outfile_replaces_whole(void **state)
{
	struct outfile *of;

	(void)state;
	put_file("x", "old");
	of = outfile_open("x");
	assert_non_null(of);
	fputs("new", outfile_stream(of));
	fflush(outfile_stream(of));
	assert_file("x", "old");
	assert_int_equal(outfile_commit(of), 0);
	assert_file("x", "new");
	assert_int_equal(count_files(), 1);
}

static void test_outfile_abandon(void **state)
{
	struct outfile *of;

	(void)state;
	put_file("x", "old");
	of = outfile_open("x");
	assert_non_null(of);
	fputs("new", outfile_stream(of));
	outfile_abandon(of);
	outfile_abandon(NULL);
	assert_file("x", "old");
	assert_int_equal(count_files(), 1);
}

static void test_outfile_long_name(void **state)
{
	char name[NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[NAME_MAX] = '\0';
	assert_int_equal(write_out(name, "x"), 0);
	assert_file(name, "x");
	name[NAME_MAX] = 'n';
	name[NAME_MAX + 1] = '\0';
	assert_int_equal(outfile_check(name), -ENAMETOOLONG);
}

static void test_outfile_links(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("sub", 0755), 0);
	put_file("sub/real", "old");
	assert_int_equal(symlink("sub/real", "link"), 0);
	assert_int_equal(write_out("link", "new"), 0);
	assert_file("sub/real", "new");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink("sub/real");
	assert_int_equal(write_out("link", "new"), -ELOOP);
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_int_equal(write_out("loop", "new"), -ELOOP);
}

static const struct {
	const char *path;
	int err;
	const char *fix;
} refused[] = {
	{"missing/x", ENOENT, "No such file or directory; make the folder first"},
	{"", ENOENT, "No such file or directory"},
	{"sub", EISDIR, "Is a directory; add a file name"},
	{"sub/", EISDIR, "Is a directory; add a file name"},
	{"missing/", EISDIR, "Is a directory; add a file name"},
	{".", EISDIR, "Is a directory; add a file name"},
	{"file/x", ENOTDIR, "Not a directory; a part of the path is a file"},
};
static const char *refused_path;
static int refused_err;

static void open_refused(void)
{
	refused_err = outfile_open(refused_path) ? 0 : errno;
}

static void check_refused(void)
{
	refused_err = -outfile_check(refused_path);
}

static void test_outfile_refused(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(mkdir("sub", 0755), 0);
	put_file("file", "old");
	for (size_t i = 0; i < 2 * COUNT(refused); i++) {
		refused_path = refused[i / 2].path;
		capture(STDERR_FILENO, i % 2 ? check_refused : open_refused, out, sizeof(out));
		assert_int_equal(refused_err, refused[i / 2].err);
		assert_non_null(strstr(out, "krait: can't write "));
		assert_non_null(strstr(out, refused_path));
		assert_non_null(strstr(out, refused[i / 2].fix));
		/* One line. */
		assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
		assert_int_equal(count_files(), 2);
	}
}

static void test_outfile_goal_becomes_folder(void **state)
{
	struct outfile *of = outfile_open("x");

	(void)state;
	assert_non_null(of);
	assert_int_equal(mkdir("x", 0755), 0);
	assert_int_equal(outfile_commit(of), -EISDIR);
	assert_int_equal(count_files(), 1);
}

/* fn's result (0, or an errno made positive), from a child, whose messages are dropped. */
static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		_exit(-fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The buffer is flushed many times before commit: the reason must not get lost on the way. */
static int write_much(const char *path)
{
	struct outfile *of = outfile_open(path);

	if (!of)
		return -errno;
	for (int i = 0; i < 100000; i++)
		fputs("a;b;c 1\n", outfile_stream(of));
	return outfile_commit(of);
}

static int write_past_limit(void)
{
	const struct rlimit limit = {100000, 100000};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	return write_much("x");
}

static int write_a_little_past_limit(void)
{
	const struct rlimit limit = {2, 2};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	return write_out("x", "new");
}

static void test_outfile_write_fails(void **state)
{
	(void)state;
	put_file("x", "old");
	assert_int_equal(in_child(write_past_limit), EFBIG);
	assert_int_equal(in_child(write_a_little_past_limit), EFBIG);
	assert_file("x", "old");
	assert_int_equal(count_files(), 1);
}

static int full_much(void)
{
	return write_much("full");
}

static int full_little(void)
{
	return write_out("full", "x");
}

/* Nodes of our own: as root, a broken outfile would replace the ones in /dev. Device numbers:
 * Documentation/admin-guide/devices.txt. */
static void test_outfile_devices(void **state)
{
	struct stat st;
	int fd = -1;

	(void)state;
	if (mknod("full", S_IFCHR | 0600, makedev(1, 7)) ||
	    mknod("null", S_IFCHR | 0600, makedev(1, 3)) || (fd = open("full", O_WRONLY)) < 0) {
		print_message("can't make and open a device node here\n");
		skip();
	}
	close(fd);
	assert_int_equal(outfile_check("full"), 0);
	assert_int_equal(in_child(full_much), ENOSPC);
	assert_int_equal(in_child(full_little), ENOSPC);
	assert_int_equal(write_out("null", "x"), 0);
	assert_int_equal(lstat("null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

/* As main does; the reader has gone before the first byte. */
static void stdout_without_reader(void)
{
	int pipe_fd[2];

	signal(SIGPIPE, SIG_IGN);
	if (pipe(pipe_fd) || dup2(pipe_fd[1], STDOUT_FILENO) < 0)
		_exit(99);
	close(pipe_fd[0]);
}

static int gone_much(void)
{
	stdout_without_reader();
	return write_much("-");
}

static int gone_little(void)
{
	stdout_without_reader();
	return write_out("-", "x");
}

static int stdout_closed(void)
{
	close(STDOUT_FILENO);
	return outfile_check("-") == -EBADF ? write_out("-", "x") : -98;
}

static void print_around(void)
{
	printf("before ");
	assert_int_equal(write_out("-", "data "), 0);
	printf("after");
	fflush(stdout);
}

static void print_abandoned(void)
{
	struct outfile *of = outfile_open("-");

	assert_non_null(of);
	fputs("half", outfile_stream(of));
	outfile_abandon(of);
}

static int dev_stdout_to_file(void)
{
	int fd = open("log", O_WRONLY | O_CREAT, 0600);

	/* A link like /dev/stdout, but one that a broken outfile may replace. */
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || symlink("/proc/self/fd/1", "stdout"))
		return -99;
	printf("before ");
	if (outfile_check("stdout") || write_out("stdout", "data "))
		return -98;
	printf("after");
	fflush(stdout);
	return 0;
}

/* The file that the shell opened goes on being the file. */
static void test_outfile_dev_stdout(void **state)
{
	(void)state;
	fflush(stdout);
	assert_int_equal(in_child(dev_stdout_to_file), 0);
	assert_file("log", "before data after");
	assert_int_equal(count_files(), 2);
}

static void test_outfile_stdout(void **state)
{
	char out[256];

	(void)state;
	fflush(stdout);
	capture(STDOUT_FILENO, print_around, out, sizeof(out));
	assert_string_equal(out, "before data after");
	capture(STDOUT_FILENO, print_abandoned, out, sizeof(out));
	assert_string_equal(out, "");
	assert_int_equal(in_child(gone_much), EPIPE);
	assert_int_equal(in_child(gone_little), EPIPE);
	assert_int_equal(in_child(stdout_closed), EBADF);
	assert_int_equal(count_files(), 0);
}

/* A pipe has nothing to keep whole: it is written, and stays a pipe. */
static void test_outfile_fifo(void **state)
{
	struct stat st;
	size_t got = 0;
	char buf[5000];
	ssize_t len;
	pid_t pid;
	int fd, status;

	(void)state;
	assert_int_equal(mkfifo("fifo", 0600), 0);
	pid = fork();
	if (!pid)
		_exit(-write_much("fifo"));
	fd = open("fifo", O_RDONLY);
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		got += (size_t)len;
	close(fd);
	assert_int_equal(got, 800000);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(lstat("fifo", &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
}

/* Whoever shares our stdout may have made it non-blocking. */
static int stdout_nonblocking(void)
{
	int pipe_fd[2];
	pid_t pid;

	if (pipe(pipe_fd))
		return -99;
	pid = fork();
	if (!pid) {
		char buf[5000];

		close(pipe_fd[1]);
		while (read(pipe_fd[0], buf, sizeof(buf)) > 0)
			usleep(100);
		_exit(0);
	}
	close(pipe_fd[0]);
	fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK);
	dup2(pipe_fd[1], STDOUT_FILENO);
	return write_much("-");
}

static void test_outfile_nonblocking_stdout(void **state)
{
	(void)state;
	assert_int_equal(in_child(stdout_nonblocking), 0);
}

static int open_forbidden(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		return -99;
	if (outfile_check("closed/x") != -EACCES)
		return -98;
	return write_out("closed/x", "new");
}

static int open_others_in_sticky(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		return -99;
	/* A new name may be made there. */
	if (outfile_check("sticky/mine") || write_out("sticky/mine", "new"))
		return -98;
	return outfile_check("sticky/theirs");
}

static int replace_without_tmpfile(void)
{
	struct outfile *of;

	if (refuse_tmpfile())
		return -99;
	of = outfile_check("x") ? NULL : outfile_open("x");
	if (!of)
		return -98;
	fputs("new", outfile_stream(of));
	fflush(outfile_stream(of));
	/* Here it has a name. */
	if (count_files() != 2)
		return -97;
	return outfile_commit(of);
}

static void test_outfile_without_tmpfile(void **state)
{
	int status;

	(void)state;
	put_file("x", "old");
	status = in_child(replace_without_tmpfile);
	if (status == 99) {
		print_message("can't install a seccomp filter here\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_file("x", "new");
	assert_int_equal(count_files(), 1);
}

/* The second Ctrl-C, or kill -9: in the middle of the writing the process is gone. */
static void test_outfile_killed(void **state)
{
	int status, fd = open(".", O_TMPFILE | O_WRONLY, 0600);
	struct outfile *of;
	pid_t pid;

	(void)state;
	if (fd < 0) {
		print_message("this file system has no O_TMPFILE\n");
		skip();
	}
	close(fd);
	put_file("x", "old");
	pid = fork();
	if (!pid) {
		of = outfile_open("x");
		fputs("new", outfile_stream(of));
		fflush(outfile_stream(of));
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_file("x", "old");
	assert_int_equal(count_files(), 1);
}

/* A file of that name that was made meanwhile is an older one. */
static void test_outfile_goal_appears(void **state)
{
	struct outfile *of = outfile_open("x");

	(void)state;
	assert_non_null(of);
	fputs("mine", outfile_stream(of));
	put_file("x", "somebody's");
	assert_int_equal(outfile_commit(of), 0);
	assert_file("x", "mine");
	assert_int_equal(count_files(), 1);
}

static void test_outfile_permission(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("needs root, to become another user\n");
		skip();
	}
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(mkdir("closed", 0755), 0);
	assert_int_equal(mkdir("sticky", 0755), 0);
	assert_int_equal(chmod("sticky", 01777), 0);
	put_file("sticky/theirs", "old");
	assert_int_equal(in_child(open_forbidden), EACCES);
	assert_int_equal(in_child(open_others_in_sticky), EPERM);
	assert_file("sticky/theirs", "old");
	empty_folder("sticky");
}

#define PIECES_BYTES (20 << 20) /* two pieces of outfile.c and the half of one */

static unsigned char byte_at(size_t i)
{
	return i * 2654435761U >> 13;
}

/* How much of the file is in the page cache, in percent. */
static unsigned int cached_percent(const unsigned char *bytes, size_t from, size_t to)
{
	static unsigned char is_in[PIECES_BYTES / 4096];
	size_t page = sysconf(_SC_PAGESIZE), cnt = 0;

	assert_int_equal(mincore((void *)(bytes + from), to - from, is_in), 0);
	for (size_t i = 0; i < (to - from) / page; i++)
		cnt += is_in[i] & 1;
	return 100 * cnt * page / (to - from);
}

static void test_outfile_lets_go(void **state)
{
	struct outfile *of = outfile_open("x");
	unsigned char *bytes;
	unsigned int first, last;
	struct statfs fs;
	int fd;

	(void)state;
	assert_non_null(of);
	outfile_let_go(of);
	for (size_t i = 0; i < PIECES_BYTES; i++)
		putc(byte_at(i), outfile_stream(of));
	assert_int_equal(outfile_commit(of), 0);
	fd = open("x", O_RDONLY);
	assert_int_equal(fstatfs(fd, &fs), 0);
	bytes = mmap(NULL, PIECES_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(bytes != MAP_FAILED);
	first = cached_percent(bytes, 0, 8 << 20);
	last = cached_percent(bytes, 16 << 20, PIECES_BYTES);
	for (size_t i = 0; i < PIECES_BYTES; i++)
		if (bytes[i] != byte_at(i))
			fail_msg("byte %zu is wrong", i);
	assert_int_equal(lseek(fd, 0, SEEK_END), PIECES_BYTES);
	munmap(bytes, PIECES_BYTES);
	close(fd);
	/* Here the page cache is where files are, or nobody tells what is in it. */
	if (fs.f_type == TMPFS_MAGIC || last < 50) {
		print_message("what the page cache holds: not to be seen here\n");
		skip();
	}
	/* Nearly nothing; but the kernel may keep a page that it has just in hand. */
	assert_true(first < 50);
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(test_outfile_new),
		in_dir(test_outfile_replaces_whole),
		in_dir(test_outfile_abandon),
		in_dir(test_outfile_long_name),
		in_dir(test_outfile_links),
		in_dir(test_outfile_refused),
		in_dir(test_outfile_goal_becomes_folder),
		in_dir(test_outfile_write_fails),
		in_dir(test_outfile_devices),
		in_dir(test_outfile_stdout),
		in_dir(test_outfile_dev_stdout),
		in_dir(test_outfile_fifo),
		in_dir(test_outfile_nonblocking_stdout),
		in_dir(test_outfile_without_tmpfile),
		in_dir(test_outfile_killed),
		in_dir(test_outfile_goal_appears),
		in_dir(test_outfile_permission),
		in_dir(test_outfile_lets_go),
	};

	alarm(HANG_S);
	return cmocka_run_group_tests_name("outfile", tests, NULL, NULL);
}
