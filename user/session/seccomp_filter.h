/* SPDX-License-Identifier: BSD-2-Clause */
/* The system calls that a process of krait makes, by its roles; see privilege.h. */
#ifndef KRAIT_SESSION_SECCOMP_FILTER_H
#define KRAIT_SESSION_SECCOMP_FILTER_H

/* Lets this process make the calls of its roles (enum privilege_role) only, from now on. 0, or
 * -errno where the kernel has no filters, or there is no memory for one. */
int seccomp_filter_set(unsigned int roles);

#endif
