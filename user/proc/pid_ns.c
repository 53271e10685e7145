// SPDX-License-Identifier: BSD-2-Clause
/* What /proc/self says of krait's pid namespace. */
#include "user/proc/pid_ns.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The inode of the initial pid namespace: include/linux/proc_ns.h, PROC_PID_INIT_INO. */
#define INITIAL_PID_NS_INODE 0xeffffffcU

/* How many ids stand in the text, which ends with its line. */
static int count_ids(const char *text)
{
	int cnt = 0;

	for (; *text && *text != '\n'; text++)
		cnt += isdigit((unsigned char)text[0]) && !isdigit((unsigned char)text[1]);
	return cnt;
}

/*
 * NSpid of /proc/self/status (fs/proc/array.c) has krait's id in the namespace that this /proc was
 * mounted for and in each one from there to its own. So it is one id, or the namespaces differ; in
 * a /proc that does not show krait at all there is no /proc/self. (To compare that link with getpid
 * would do but for chance: two namespaces may have the same number for krait.)
 */
const char *pid_ns_trouble(void)
{
	FILE *in = fopen("/proc/self/status", "re");
	bool is_ours = in != NULL;
	char line[256];

	while (in && fgets(line, sizeof(line), in))
		if (strncmp(line, "NSpid:", 6) == 0)
			is_ours = count_ids(line + 6) == 1;
	if (in)
		fclose(in);
	if (is_ours)
		return NULL;
	return "/proc is not that of krait's own pid namespace: in a mount namespace of its own, "
	       "mount -t proc proc /proc (unshare --mount-proc does it)";
}

bool pid_ns_is_own(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != INITIAL_PID_NS_INODE;
}

const char *pid_ns_where(void)
{
	return pid_ns_is_own() ? "in this pid namespace" : "on this host";
}
