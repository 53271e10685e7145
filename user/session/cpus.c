// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/cpus.h"

#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ONLINE_PATH "/sys/devices/system/cpu/online"

/* "3" or "0-3" at *text, which is moved behind it. */
static bool parse_range(const char **text, long *first, long *last)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	*first = *last = strtol(*text, &end, 10);
	if (*end == '-') {
		if (!isdigit((unsigned char)end[1]))
			return false;
		*last = strtol(end + 1, &end, 10);
	}
	*text = end;
	return *first <= *last;
}

/* Calls for each range of the list; online may be NULL. */
static bool walk_list(const char *text, bool *online, int cnt)
{
	long first, last;

	do {
		if (!parse_range(&text, &first, &last))
			return false;
		for (long cpu = first; online && cpu <= last && cpu < cnt; cpu++)
			online[cpu] = true;
	} while (*text == ',' && *++text);
	return *text == '\n' || !*text;
}

bool cpus_parse(const char *text, bool *online, int cnt)
{
	if (!walk_list(text, NULL, cnt))
		return false;
	memset(online, 0, cnt * sizeof(*online));
	return walk_list(text, online, cnt);
}

void cpus_refresh(struct cpus *cpus)
{
	char text[4096];
	ssize_t len = cpus->online_fd < 0 ? -1 : pread(cpus->online_fd, text, sizeof(text) - 1, 0);

	if (len <= 0)
		return;
	text[len] = '\0';
	cpus_parse(text, cpus->online, cpus->possible);
}

int cpus_init(struct cpus *cpus)
{
	*cpus = (struct cpus){.possible = libbpf_num_possible_cpus(), .online_fd = -1};
	if (cpus->possible <= 0)
		return cpus->possible ?: -ENODEV;
	cpus->online = malloc(cpus->possible * sizeof(*cpus->online));
	if (!cpus->online)
		return -ENOMEM;
	memset(cpus->online, true, cpus->possible * sizeof(*cpus->online));
	cpus->online_fd = open(ONLINE_PATH, O_RDONLY | O_CLOEXEC);
	cpus_refresh(cpus);
	return 0;
}

void cpus_release(struct cpus *cpus)
{
	if (cpus->online_fd >= 0)
		close(cpus->online_fd);
	free(cpus->online);
	*cpus = (struct cpus){.online_fd = -1};
}

int cpus_room(const struct cpus *cpus)
{
	int room = cpus->possible;

	while (room > 0 && !cpus->online[room - 1])
		room--;
	return room + CPUS_TO_COME < cpus->possible ? room + CPUS_TO_COME : cpus->possible;
}
