/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file behind a mapping without the right to follow map_files: found by its name if that still
 * leads to it, and nothing else is opened, whatever has been put there. This process is the target.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/proc/module_file.h"

struct fixture {
	char folder[64], path[128], other[128];
	void *at;
	struct module module;
	struct procfs proc;
	struct stat st; /* of the file when it was mapped */
};

static void write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static void map_named(struct fixture *f, const char *name)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/%s", f->folder, name);
	snprintf(f->other, sizeof(f->other), "%s/other", f->folder);
	write_file(f->path, "the file");
	fd = open(f->path, O_RDONLY);
	assert_true(fd >= 0);
	f->at = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(f->at != MAP_FAILED);
	assert_int_equal(fstat(fd, &f->st), 0);
	close(fd);
	assert_int_equal(procfs_own_mapping((uintptr_t)f->at, &f->module), 0);
	assert_int_equal(f->module.inode, f->st.st_ino);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/krait-module-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	map_named(f, "lib.so");
	assert_int_equal(procfs_open(&f->proc, getpid()), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	procfs_close(&f->proc);
	munmap(f->at, 1);
	unlink(f->path);
	unlink(f->other);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void assert_opens(const struct fixture *f)
{
	struct stat st;
	int fd = module_file_open(&f->proc, &f->module);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_ino == f->st.st_ino && st.st_dev == f->st.st_dev);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
}

static void assert_refuses(const struct fixture *f)
{
	assert_int_equal(module_file_open(&f->proc, &f->module), -ESTALE);
}

static void test_by_name(void **state)
{
	assert_opens(*state);
}

/* The name that counts is the one it has now. */
static void test_renamed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rename(f->path, f->other), 0);
	assert_opens(f);
}

static void test_deleted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(unlink(f->path), 0);
	assert_refuses(f);
}

static void test_replaced(void **state)
{
	struct fixture *f = *state;

	write_file(f->other, "another");
	assert_int_equal(rename(f->other, f->path), 0);
	assert_refuses(f);
}

/* Deleted by the name's entry, and there under the same name all the same: as on NFS. */
static void test_deleted_and_there(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(link(f->path, f->other), 0);
	assert_int_equal(unlink(f->path), 0);
	assert_refuses(f);
	assert_int_equal(link(f->other, f->path), 0);
	assert_opens(f);
}

static void test_a_name_that_says_deleted(void **state)
{
	struct fixture *f = *state;

	munmap(f->at, 1);
	unlink(f->path);
	map_named(f, "lib.so (deleted)");
	assert_opens(f);
}

/* A link is not followed, not even to the very file; nor does a pipe make the open wait. */
static void test_planted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(link(f->path, f->other), 0);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink("other", f->path), 0);
	assert_refuses(f);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink("/etc/passwd", f->path), 0);
	assert_refuses(f);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_refuses(f);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_refuses(f);
	assert_int_equal(rmdir(f->path), 0);
	write_file(f->path, "");
	assert_refuses(f);
}

/* The same inode number on another device is another file. */
static void test_other_device(void **state)
{
	struct fixture *f = *state;

	f->module.dev_minor++;
	assert_refuses(f);
}

/* The program, deleted: by exe. */
static void test_program(void **state)
{
	struct fixture *f = *state;
	struct modules mods;
	int fd;

	assert_int_equal(procfs_read_modules(&f->proc, &mods), 0);
	assert_true(mods.cnt > 0);
	fd = module_file_open(&f->proc, &mods.v[0]);
	assert_true(fd >= 0);
	close(fd);
	modules_release(&mods);
}

static void test_own_mapping(void **state)
{
	struct fixture *f = *state;
	struct module m;

	assert_string_equal(f->module.name, "lib.so");
	assert_int_equal(procfs_own_mapping(1, &m), -ENOENT);
}

/* Root may follow map_files, and would never come to the other ways. */
static int give_up_map_files(void **state)
{
	(void)state;
	capng_get_caps_process();
	capng_updatev(CAPNG_DROP, CAPNG_EFFECTIVE, CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE, -1);
	return capng_apply(CAPNG_SELECT_CAPS);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_by_name),	      TEST(test_renamed),
		TEST(test_deleted),	      TEST(test_replaced),
		TEST(test_deleted_and_there), TEST(test_a_name_that_says_deleted),
		TEST(test_planted),	      TEST(test_other_device),
		TEST(test_program),	      TEST(test_own_mapping),
	};

	return cmocka_run_group_tests(tests, give_up_map_files, NULL);
}
