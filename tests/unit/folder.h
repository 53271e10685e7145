/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An empty folder for a test of files, and what is looked at in there. Include after cmocka.h, in
 * one file of a program.
 */
#ifndef KRAIT_TESTS_UNIT_FOLDER_H
#define KRAIT_TESTS_UNIT_FOLDER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOBODY 65534 /* the overflow uid, Documentation/admin-guide/sysctl/fs.rst */

static char folder_path[] = "/tmp/krait-test-XXXXXX";
static char folder_before[PATH_MAX];

/* Each test runs in an empty folder of its own, and leaves it empty but for what it names
 * itself. */
static inline int enter_folder(void **state)
{
	(void)state;
	strcpy(folder_path + strlen(folder_path) - 6, "XXXXXX");
	return getcwd(folder_before, sizeof(folder_before)) && mkdtemp(folder_path) &&
			       !chdir(folder_path)
		       ? 0
		       : -1;
}

static inline void empty_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	assert_non_null(folder);
	while ((entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(folder), entry->d_name,
				 entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
	closedir(folder);
}

static inline int leave_folder(void **state)
{
	(void)state;
	empty_folder(".");
	return chdir(folder_before) || rmdir(folder_path) ? -1 : 0;
}

static inline int count_files(void)
{
	DIR *folder = opendir(".");
	struct dirent *entry;
	int cnt = 0;

	assert_non_null(folder);
	while ((entry = readdir(folder)))
		cnt += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(folder);
	return cnt;
}

static inline void put_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static inline void assert_file(const char *path, const char *want)
{
	char text[256] = "";
	FILE *file = fopen(path, "r");

	if (!file)
		fail_msg("no %s", path);
	assert_true(fread(text, 1, sizeof(text) - 1, file) < sizeof(text) - 1);
	fclose(file);
	assert_string_equal(text, want);
}

/* Where the file system has no O_TMPFILE (NFS, FAT), open with it fails; and in this process, from
 * now on. */
static inline int refuse_tmpfile(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		/* The lower half of the flags; the upper one lies behind it or before. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[2]) +
				 (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = COUNT(code), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return -errno;
	return open(".", O_TMPFILE | O_WRONLY, 0600) < 0 && errno == EOPNOTSUPP ? 0 : -EINVAL;
}

#endif
