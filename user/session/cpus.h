/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which CPUs there are, and for how many of them krait makes room.
 *
 * The kernel's memory of a run (rings, scratch, stacks: some 250 KB a CPU) is made once, at the
 * start, by the number of the last CPU that is online then and some to come, not by what the board
 * could hold: a virtual machine of two CPUs may have 240 possible ones.
 */
#ifndef KRAIT_SESSION_CPUS_H
#define KRAIT_SESSION_CPUS_H

#include <stdbool.h>
#include <stdint.h>

/* CPUs beyond the last one online at the start that may come online later and be sampled. */
#define CPUS_TO_COME 8

struct cpus {
	int possible;
	int online_fd; /* of /sys/devices/system/cpu/online; -1: it can't be read */
	bool *online;  /* [possible]; all true where it can't be known */
};

/* 0 or -errno. cpus_release in any case. */
int cpus_init(struct cpus *cpus);
void cpus_release(struct cpus *cpus);
/* Reads again which are online: a system call. */
void cpus_refresh(struct cpus *cpus);

/* For CPU numbers below it there is to be room. */
int cpus_room(const struct cpus *cpus);

/* A list as the kernel prints it (Documentation/admin-guide/cputopology.rst): "0-3,8". Fills in
 * online[0 .. cnt). False if it is no such list; then nothing has changed. */
bool cpus_parse(const char *text, bool *online, int cnt);

#endif
