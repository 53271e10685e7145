/* SPDX-License-Identifier: BSD-2-Clause */
/* Which processes descend from which, at this moment. (From then on the kernel tells of forks.) */
#ifndef KRAIT_SESSION_FAMILY_H
#define KRAIT_SESSION_FAMILY_H

#include <stdint.h>
#include <sys/types.h>

struct family_member {
	pid_t pid, parent;
	pid_t root; /* which of the roots it is or descends from; 0: none */
};

struct family {
	struct family_member *members; /* every process of the host, by rising pid */
	uint32_t cnt, cap;
};

/* Reads /proc and finds who descends from `roots`. 0 or -errno. The caller releases it. */
int family_init(struct family *f, const pid_t *roots, uint32_t root_cnt);
void family_release(struct family *f);

#endif
