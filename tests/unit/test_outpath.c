/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output files among other users' files: links that lead astray, names that are taken, and whose
 * the new file is. Most of it needs root. fs.protected_symlinks of this host does not matter: krait
 * does not rely on it.
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
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/base/outfile.h"
#include "user/base/outpath.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOBODY 65534 /* the overflow uid, Documentation/admin-guide/sysctl/fs.rst */
#define OTHER 65533
#define HANG_S 120

static char dir[] = "/tmp/krait-test-outpath-XXXXXX";
static char cwd[PATH_MAX];
static int saved_stderr;

static void put_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *path, mode_t mode, uid_t owner)
{
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, mode), 0);
	assert_int_equal(chown(path, owner, owner), 0);
}

static void set_sudo(const char *uid, const char *gid)
{
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	if (uid)
		setenv("SUDO_UID", uid, 1);
	if (gid)
		setenv("SUDO_GID", gid, 1);
}

/* An empty folder that everyone may go through, with these in it: what an attacker would have
 * written to, and folders of each kind. Messages are not shown. */
static int enter_dir(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("needs root\n");
		skip();
	}
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!getcwd(cwd, sizeof(cwd)) || !mkdtemp(dir) || chdir(dir) || chmod(dir, 0755))
		return -1;
	set_sudo(NULL, NULL);
	umask(022);
	saved_stderr = dup(STDERR_FILENO);
	dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	put_file("victim", "old");
	make_folder("private", 0755, 0);
	make_folder("sticky", 01777, 0);
	make_folder("open", 0777, 0);
	make_folder("theirs", 0755, NOBODY);
	make_folder("group", 0775, 0);
	assert_int_equal(chown("group", 0, NOBODY), 0);
	return 0;
}

static int leave_dir(void **state)
{
	char command[sizeof(dir) + 16];

	(void)state;
	set_sudo(NULL, NULL);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return chdir(cwd) || system(command) ? -1 : 0;
}

static void assert_file(const char *path, const char *want)
{
	char text[64] = "";
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) < sizeof(text));
	fclose(file);
	assert_string_equal(text, want);
}

static uid_t owner_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_uid;
}

static int write_out(const char *path, const char *text)
{
	struct outfile *of = outfile_open(path);

	if (!of)
		return -errno;
	fputs(text, outfile_stream(of));
	return outfile_commit(of);
}

/* ---- Links ---- */

static void link_to(const char *to, const char *path, uid_t owner)
{
	assert_int_equal(symlink(to, path), 0);
	assert_int_equal(lchown(path, owner, owner), 0);
}

static void test_links_that_are_not_followed(void **state)
{
	static const char *const paths[] = {"sticky/root",	    "sticky/other", "open/x",
					    "sticky/folder/victim", "private/a",    "theirs/x",
					    "theirs/up/x",	    "private/b"};

	(void)state;
	link_to("../victim", "sticky/root", 0);
	link_to("../victim", "sticky/other", NOBODY);
	link_to("../victim", "open/x", NOBODY);
	link_to("..", "sticky/folder", NOBODY);
	link_to("../victim", "theirs/x", NOBODY);
	link_to("../private", "theirs/up", NOBODY);
	/* Root's own, but their way goes on through one that is not. */
	link_to("../sticky/other", "private/a", 0);
	link_to("../theirs/up/../victim", "private/b", 0);
	for (size_t i = 0; i < COUNT(paths); i++) {
		assert_int_equal(outfile_check(paths[i]), -OUTPATH_LINK);
		assert_int_equal(write_out(paths[i], "new"), -OUTPATH_LINK);
	}
	assert_file("victim", "old");
	assert_int_equal(access("private/x", F_OK), -1);
}

static void test_links_that_are_followed(void **state)
{
	(void)state;
	link_to("../victim", "private/x", 0);
	link_to("private/x", "two", 0);
	link_to("private/", "folder", 0);
	link_to("../victim", "theirs/x", NOBODY);
	assert_int_equal(write_out("two", "1"), 0);
	assert_file("victim", "1");
	assert_int_equal(write_out("folder/../folder/y", "2"), 0);
	assert_file("private/y", "2");
	/* Who calls sudo may use his own. */
	set_sudo("65534", "65534");
	assert_int_equal(write_out("theirs/x", "3"), 0);
	assert_file("victim", "3");
	set_sudo("65533", "65533");
	assert_int_equal(write_out("theirs/x", "4"), -OUTPATH_LINK);
	assert_int_equal(owner_of("theirs/x"), NOBODY);
}

static void test_fifo_of_another(void **state)
{
	(void)state;
	assert_int_equal(mkfifo("sticky/x", 0666), 0);
	assert_int_equal(outfile_check("sticky/x"), 0);
	assert_int_equal(chown("sticky/x", NOBODY, NOBODY), 0);
	assert_int_equal(outfile_check("sticky/x"), -EPERM);
	assert_int_equal(write_out("sticky/x", "new"), -EPERM);
	set_sudo("65534", "65534");
	assert_int_equal(outfile_check("sticky/x"), 0);
}

/* ---- Names that must be new ---- */

/* Commits `text` as a new x.pb.gz; the name that it got is the caller's to free. */
static char *write_new(const char *text)
{
	struct outfile *of = outfile_open_new("x.pb.gz", ".pb.gz");
	char *name;

	assert_non_null(of);
	fputs(text, outfile_stream(of));
	assert_int_equal(outfile_commit_new(of, &name), 0);
	return name;
}

static void assert_new(const char *want)
{
	char *name = write_new(want);

	assert_string_equal(name, want);
	assert_file(name, want);
	free(name);
}

static void test_new_name(void **state)
{
	(void)state;
	assert_int_equal(outfile_check_new("x.pb.gz"), 0);
	assert_new("x.pb.gz");
	assert_new("x-2.pb.gz");
	/* Whatever is there, it stays; a link is not followed. */
	assert_int_equal(mkdir("x-3.pb.gz", 0755), 0);
	link_to("victim", "x-4.pb.gz", 0);
	link_to("nowhere", "x-5.pb.gz", 0);
	assert_new("x-6.pb.gz");
	assert_int_equal(outfile_check_new("x.pb.gz"), 0);
	assert_file("x.pb.gz", "x.pb.gz");
	assert_file("victim", "old");
	assert_int_equal(access("nowhere", F_OK), -1);
}

#define WRITERS 12

/* All of them commit when the pipe's writer has gone. */
static void race(int gate)
{
	struct outfile *of = outfile_open_new("x.pb.gz", ".pb.gz");
	char *name, byte;

	fprintf(outfile_stream(of), "%d", getpid());
	if (read(gate, &byte, 1) < 0 || outfile_commit_new(of, &name))
		_exit(1);
	_exit(0);
}

static void test_new_name_without_a_race(void **state)
{
	char name[32], text[16] = "";
	pid_t pids[WRITERS];
	int gate[2], status;

	(void)state;
	assert_int_equal(pipe(gate), 0);
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			close(gate[1]);
			race(gate[0]);
		}
	}
	close(gate[1]);
	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	close(gate[0]);
	/* Each name has the text of one of them, and no two that of the same. */
	for (int i = 0; i < WRITERS; i++) {
		FILE *file;
		int k = 0;

		snprintf(name, sizeof(name), i ? "x-%d.pb.gz" : "x.pb.gz", i + 1);
		file = fopen(name, "r");
		assert_non_null(file);
		assert_non_null(fgets(text, sizeof(text), file));
		fclose(file);
		while (k < WRITERS && pids[k] != atoi(text))
			k++;
		assert_true(k < WRITERS);
		/* cppcheck-suppress arrayIndexOutOfBoundsCond ; the assertion does not return */
		pids[k] = -1;
	}
}

/* ---- Whose it is ---- */

static void test_owner(void **state)
{
	static const struct {
		const char *path;
		uid_t owner; /* for NOBODY who calls sudo */
	} files[] = {
		{"theirs/x", NOBODY}, {"sticky/x", NOBODY}, {"open/x", NOBODY}, {"group/x", NOBODY},
		{"private/x", 0},     {"sticky/old", 0},    {"x", 0},
	};

	(void)state;
	put_file("sticky/old", "another's");
	assert_int_equal(chown("sticky/old", OTHER, OTHER), 0);
	set_sudo("65534", "65534");
	/* The second time over one's own file. */
	for (size_t i = 0; i < 2 * COUNT(files); i++) {
		assert_int_equal(write_out(files[i / 2].path, "new"), 0);
		assert_int_equal(owner_of(files[i / 2].path), files[i / 2].owner);
	}
	set_sudo(NULL, NULL);
	assert_int_equal(write_out("theirs/x", "new"), 0);
	assert_int_equal(owner_of("theirs/x"), 0);
}

static void test_group_of_the_folder(void **state)
{
	struct stat st;

	(void)state;
	set_sudo("65534", "65534");
	assert_int_equal(chown("theirs", NOBODY, OTHER), 0);
	assert_int_equal(chmod("theirs", 02775), 0);
	assert_int_equal(write_out("theirs/x", "new"), 0);
	assert_int_equal(stat("theirs/x", &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	assert_int_equal(st.st_gid, OTHER);
}

static void test_ids_that_are_none(void **state)
{
	static const char *const bad[] = {"",	"0",	      "-1",	    "+65534",
					  "x",	"65534x",     " 65534",	    "0xfffe",
					  NULL, "4294967295", "4294967296", "18446744073709551615"};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		set_sudo(bad[i], "65534");
		assert_int_equal(write_out("theirs/x", "new"), 0);
		assert_int_equal(owner_of("theirs/x"), 0);
		set_sudo("65534", bad[i]);
		assert_int_equal(write_out("theirs/x", "new"), 0);
		assert_int_equal(owner_of("theirs/x"), 0);
	}
}

static int write_as_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		return 99;
	set_sudo("65533", "65533");
	return -write_out("sticky/x", "new");
}

/* Nor does a set-user-id krait, or one that is no root at all, give anything away. */
static void test_no_root_no_owner(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(write_as_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(owner_of("sticky/x"), NOBODY);
	pid = fork();
	if (!pid) {
		set_sudo("65534", "65534");
		_exit(setresuid(NOBODY, 0, 0) || write_out("sticky/y", "new"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(owner_of("sticky/y"), 0);
}

/* A second name of root's file in the caller's folder: the name is replaced, the file stays root's.
 */
static void test_hard_link(void **state)
{
	(void)state;
	set_sudo("65534", "65534");
	assert_int_equal(link("victim", "theirs/x"), 0);
	assert_int_equal(write_out("theirs/x", "new"), 0);
	assert_int_equal(owner_of("theirs/x"), NOBODY);
	assert_int_equal(owner_of("victim"), 0);
	assert_file("victim", "old");
}

/* ---- One who swaps names all the time ---- */

#define COMMITS 25 /* that are seen to be made, and that are seen to be refused */

/* sticky/sub, a folder, and sticky/bait, a link to what is root's, change their names; so do a file
 * and a link in the folder. */
static void swap_for_ever(void)
{
	if (setgid(NOBODY) || setuid(NOBODY) || chdir("sticky"))
		_exit(99);
	for (;;) {
		renameat2(AT_FDCWD, "sub", AT_FDCWD, "bait", RENAME_EXCHANGE);
		renameat2(AT_FDCWD, "sub/x", AT_FDCWD, "sub/link", RENAME_EXCHANGE);
		renameat2(AT_FDCWD, "bait/x", AT_FDCWD, "bait/link", RENAME_EXCHANGE);
	}
}

static void test_names_that_are_swapped(void **state)
{
	int refused = 0, done = 0, status;
	pid_t pid;

	(void)state;
	make_folder("sticky/sub", 0755, NOBODY);
	link_to("../private", "sticky/bait", NOBODY);
	link_to("../../victim", "sticky/sub/link", NOBODY);
	put_file("sticky/sub/x", "theirs");
	put_file("private/x", "old");
	set_sudo("65534", "65534");
	pid = fork();
	if (!pid)
		swap_for_ever();
	while (done < COMMITS || refused < COMMITS) {
		int err = write_out("sticky/sub/x", "new");

		done += !err;
		refused += err != 0;
		sched_yield();
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	print_message("%d written, %d refused\n", done, refused);
	assert_int_equal(owner_of("private"), 0);
	assert_int_equal(owner_of("private/x"), 0);
	assert_file("private/x", "old");
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, enter_dir, leave_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(test_links_that_are_not_followed),
		in_dir(test_links_that_are_followed),
		in_dir(test_fifo_of_another),
		in_dir(test_new_name),
		in_dir(test_new_name_without_a_race),
		in_dir(test_owner),
		in_dir(test_group_of_the_folder),
		in_dir(test_ids_that_are_none),
		in_dir(test_no_root_no_owner),
		in_dir(test_hard_link),
		in_dir(test_names_that_are_swapped),
	};

	alarm(HANG_S);
	return cmocka_run_group_tests_name("outpath", tests, NULL, NULL);
}
