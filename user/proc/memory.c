/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /proc/PID/mem rather than process_vm_readv: the latter waits for a page that a userfaultfd
 * handler never serves, mem gets an error (mm/gup.c: access_remote_vm may not retry a fault).
 */
#include "user/proc/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int memory_init(struct memory *mem, int dir_fd)
{
	mem->fd = openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	return mem->fd < 0 ? -errno : 0;
}

void memory_release(struct memory *mem)
{
	if (mem->fd >= 0)
		close(mem->fd);
	mem->fd = -1;
}

int memory_read(const struct memory *mem, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	/* A file offset is signed; user addresses end below that on every 64-bit machine. */
	if (addr > INT64_MAX - len)
		return -EFAULT;
	while (done < len) {
		ssize_t n = pread(mem->fd, (char *)buf + done, len - done, (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		/* mem says EIO for an unmapped page, and 0 once the address space is gone. */
		if (n <= 0)
			return n < 0 && errno != EIO ? -errno : -EFAULT;
		done += n;
	}
	return 0;
}

int memory_read_u64(const struct memory *mem, uint64_t addr, uint64_t *out)
{
	return memory_read(mem, addr, out, sizeof(*out));
}
