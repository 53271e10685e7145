/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading another process's memory through /proc/PID/mem: no stop, no signal.
 *
 * The process runs meanwhile, so two reads may not belong together; callers check and repeat.
 */
#ifndef KRAIT_PROC_MEMORY_H
#define KRAIT_PROC_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct memory {
	int fd;
};

/* Opens the "mem" file of the /proc/PID directory `dir_fd`. 0 or -errno. */
int memory_init(struct memory *mem, int dir_fd);
void memory_release(struct memory *mem);

/* Reads exactly len bytes at addr. 0, or -EFAULT when that is not readable memory, or -errno. */
int memory_read(const struct memory *mem, uint64_t addr, void *buf, size_t len);
int memory_read_u64(const struct memory *mem, uint64_t addr, uint64_t *out);

#endif
