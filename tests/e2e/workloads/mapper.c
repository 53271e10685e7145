// SPDX-License-Identifier: BSD-2-Clause
/*
 * A program that is no Python, with files mapped as a loader would: mapper [-t] FILE... With -t it
 * cuts the first file short and makes it long again, all the time. It says "ready", and is rather
 * busy until its stdin is closed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static int map_file(const char *path)
{
	int fd = open(path, O_RDWR);
	char *at;

	if (fd < 0)
		return -1;
	/* Two mappings with rising offsets, the first one executable. */
	at = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED ||
	    mmap(at, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(at + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE) == MAP_FAILED)
		return -1;
	return fd;
}

static int is_wanted(void)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};

	return poll(&in, 1, 0) == 0;
}

int main(int argc, char **argv)
{
	int is_cut = argc > 1 && !strcmp(argv[1], "-t"), first = -1;
	unsigned int turn = 0;
	struct stat st;

	for (int i = 1 + is_cut; i < argc; i++) {
		int fd = map_file(argv[i]);

		if (fd < 0) {
			perror(argv[i]);
			return 1;
		}
		if (first < 0)
			first = fd;
		else
			close(fd);
	}
	if (is_cut && fstat(first, &st))
		return 1;
	puts("ready");
	fflush(stdout);
	for (off_t cut = 0; is_wanted(); cut = (cut + 4093) % (st.st_size + 1)) {
		/* What is cut off is lost; a hole comes back. */
		if (is_cut && (ftruncate(first, cut) || ftruncate(first, st.st_size)))
			return 1;
		if (!is_cut)
			cut = 0;
		usleep(1000 * (++turn % 1000 == 0)); /* leave others something of the CPU */
	}
	return 0;
}
