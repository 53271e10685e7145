/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file behind a module of a process, with as little privilege as the kernel lets it be read
 * with.
 */
#ifndef KRAIT_PROC_MODULE_FILE_H
#define KRAIT_PROC_MODULE_FILE_H

#include "user/proc/procfs.h"

/*
 * Opens it for reading. An fd (the caller's), which is the file that is mapped, or -errno:
 * -EACCES if it may not be read, -ESTALE if that takes CAP_CHECKPOINT_RESTORE, because the name by
 * which it was mapped leads to no file any more, or to another one. May block where the file's
 * server does (FUSE, NFS).
 */
int module_file_open(const struct procfs *p, const struct module *m);

#endif
