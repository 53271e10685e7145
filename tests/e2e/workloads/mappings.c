// SPDX-License-Identifier: BSD-2-Clause
/* mappings COUNT THREADS: a process of so many mappings, whose threads map and unmap all the time.
 * Says "ready" and ends with its stdin. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define PIECE (64 * PAGE)

static void *churn(void *arg)
{
	for (;;) {
		char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);

		if (piece == MAP_FAILED)
			return arg;
		*piece = 1;
		mprotect(piece, PIECE / 2, PROT_READ);
		munmap(piece, PIECE);
	}
}

int main(int argc, char **argv)
{
	size_t cnt = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	char *all = mmap(NULL, cnt * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	pthread_t thread;
	char c;

	if (!cnt || all == MAP_FAILED)
		return 1;
	/* Every second page another right: each is a mapping of its own. */
	for (size_t i = 0; i < cnt; i += 2)
		if (mprotect(all + i * PAGE, PAGE, PROT_READ | PROT_WRITE) != 0)
			return 1;
	for (int i = atoi(argv[2]); i > 0; i--)
		if (pthread_create(&thread, NULL, churn, NULL) != 0)
			return 1;
	puts("ready");
	fflush(stdout);
	return read(0, &c, 1) < 0;
}
