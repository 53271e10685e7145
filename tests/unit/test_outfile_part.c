/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that are written in sight (outfile_show): their name until the end, what becomes of it, and
 * whatever may be there already or be put there meanwhile.
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
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/folder.h"
#include "user/base/outfile.h"

static int saved_stderr;

static int enter_dir(void **state)
{
	if (enter_folder(state))
		return -1;
	saved_stderr = dup(STDERR_FILENO);
	dup2(open("said", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), STDERR_FILENO);
	return unlink("said");
}

static int leave_dir(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	return leave_folder(state);
}

static struct outfile *open_shown(const char *path, const char *text)
{
	struct outfile *of = outfile_open(path);

	assert_non_null(of);
	assert_null(outfile_part(of));
	assert_int_equal(outfile_show(of), 0);
	fputs(text, outfile_stream(of));
	fflush(outfile_stream(of));
	return of;
}

static void test_in_sight_until_the_end(void **state)
{
	struct outfile *of;

	(void)state;
	put_file("x", "old");
	of = open_shown("x", "new");
	assert_string_equal(outfile_part(of), "x.part");
	assert_file("x.part", "new");
	assert_file("x", "old");
	fputs("er", outfile_stream(of));
	assert_int_equal(outfile_commit(of), 0);
	assert_file("x", "newer");
	assert_int_equal(count_files(), 1);
}

static void test_abandoned(void **state)
{
	(void)state;
	put_file("x", "old");
	outfile_abandon(open_shown("x", "new"));
	assert_file("x", "old");
	assert_int_equal(count_files(), 1);
}

/* Those of killed runs are worth something. */
static void test_older_ones_are_kept(void **state)
{
	struct outfile *of, *other;

	(void)state;
	put_file("x.part", "first");
	of = open_shown("x", "second");
	other = open_shown("x", "third");
	assert_string_equal(outfile_part(of), "x-2.part");
	assert_string_equal(outfile_part(other), "x-3.part");
	assert_file("x.part", "first");
	assert_int_equal(outfile_commit(of), 0);
	assert_file("x", "second");
	assert_int_equal(outfile_commit(other), 0);
	assert_file("x", "third");
	assert_file("x.part", "first");
	assert_int_equal(count_files(), 2);
}

/* What somebody has put there: it is neither followed nor replaced. */
static void test_a_link_in_its_place(void **state)
{
	struct outfile *of;
	struct stat st;

	(void)state;
	put_file("victim", "old");
	assert_int_equal(symlink("victim", "x.part"), 0);
	assert_int_equal(symlink("nowhere", "x-2.part"), 0);
	of = open_shown("x", "new");
	assert_string_equal(outfile_part(of), "x-3.part");
	assert_int_equal(outfile_commit(of), 0);
	assert_file("victim", "old");
	assert_file("x", "new");
	assert_int_equal(lstat("x", &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_a_file_that_must_be_new(void **state)
{
	struct outfile *of = outfile_open_new("x.krait", ".krait");
	char *name;

	(void)state;
	put_file("x.krait", "other");
	assert_int_equal(outfile_show(of), 0);
	assert_string_equal(outfile_part(of), "x.krait.part");
	fputs("new", outfile_stream(of));
	assert_int_equal(outfile_commit_new(of, &name), 0);
	assert_string_equal(name, "x-2.krait");
	free(name);
	assert_file("x.krait", "other");
	assert_file("x-2.krait", "new");
	assert_int_equal(count_files(), 2);
}

/* Moved, removed or replaced while it was written: what has its name is not taken for it. */
static void test_a_name_that_is_lost(void **state)
{
	struct outfile *of = open_shown("x", "new");

	(void)state;
	assert_int_equal(rename("x.part", "moved"), 0);
	assert_int_equal(outfile_commit(of), -ESTALE);
	assert_file("moved", "new");
	assert_int_equal(count_files(), 1);

	of = open_shown("x", "new");
	put_file("other", "other");
	assert_int_equal(rename("other", "x.part"), 0);
	assert_int_equal(outfile_commit(of), -ESTALE);
	assert_file("x.part", "other");

	of = open_shown("y", "new");
	assert_int_equal(rename("y.part", "kept"), 0);
	put_file("y.part", "other");
	outfile_abandon(of);
	assert_file("y.part", "other");
	assert_file("kept", "new");
}

static void test_written_in_place(void **state)
{
	struct outfile *of = outfile_open("/dev/null");

	(void)state;
	assert_int_equal(outfile_show(of), 0);
	assert_null(outfile_part(of));
	assert_int_equal(outfile_commit(of), 0);
	assert_int_equal(count_files(), 0);
}

static void test_names_of_any_length(void **state)
{
	char name[256] = "";
	struct outfile *of;

	(void)state;
	memset(name, 'n', 255);
	of = open_shown(name, "long");
	assert_true(strlen(outfile_part(of)) <= 255);
	assert_int_equal(outfile_commit(of), 0);
	assert_file(name, "long");
	assert_int_equal(count_files(), 1);
}

/* Who called sudo can read and remove what a killed krait leaves. */
static void test_its_owner(void **state)
{
	struct outfile *of;
	struct stat st;

	(void)state;
	if (geteuid()) {
		print_message("needs root\n");
		skip();
	}
	assert_int_equal(chown(".", NOBODY, (gid_t)-1), 0);
	setenv("SUDO_UID", "65534", 1);
	setenv("SUDO_GID", "65534", 1);
	of = open_shown("x", "new");
	assert_int_equal(stat("x.part", &st), 0);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	assert_int_equal(st.st_uid, NOBODY);
	outfile_abandon(of);
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_without_tmpfile(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		struct outfile *of = refuse_tmpfile() ? NULL : outfile_open("x");

		if (!of || outfile_show(of) || strcmp(outfile_part(of), "x.part") ||
		    count_files() != 1)
			_exit(1);
		fputs("new", outfile_stream(of));
		_exit(outfile_commit(of) ? 2 : 0);
	}
	assert_int_equal(status_of(pid), 0);
	assert_file("x", "new");
	assert_int_equal(count_files(), 1);
}

static void test_killed(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		open_shown("x", "so far");
		raise(SIGKILL);
	}
	assert_true(WIFSIGNALED(status_of(pid)));
	assert_file("x.part", "so far");
	assert_int_equal(count_files(), 1);
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, enter_dir, leave_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(test_in_sight_until_the_end),
		in_dir(test_abandoned),
		in_dir(test_older_ones_are_kept),
		in_dir(test_a_link_in_its_place),
		in_dir(test_a_file_that_must_be_new),
		in_dir(test_a_name_that_is_lost),
		in_dir(test_written_in_place),
		in_dir(test_names_of_any_length),
		in_dir(test_its_owner),
		in_dir(test_without_tmpfile),
		in_dir(test_killed),
	};

	return cmocka_run_group_tests_name("outfile_part", tests, NULL, NULL);
}
