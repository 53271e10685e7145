/* SPDX-License-Identifier: BSD-2-Clause */
#include "user/python/pyversion.h"

#include <ctype.h>
#include <string.h>

#define VERSION_MAX_CHARS 16 /* "3.13.12rc10+" and some */

/* Reads 1 to 3 digits; -1 if there are none or more. */
static int take_number(const char **p)
{
	int n = 0, digits = 0;

	for (; isdigit((unsigned char)**p); (*p)++, digits++) {
		if (digits == 3)
			return -1;
		n = n * 10 + (**p - '0');
	}
	return digits ? n : -1;
}

/* What may follow the numbers: a release level with its serial, "+" for a build between releases.
 */
static bool is_release_suffix(const char *p)
{
	if (*p == 'a' || *p == 'b')
		p++;
	else if (p[0] == 'r' && p[1] == 'c')
		p += 2;
	while (isdigit((unsigned char)*p))
		p++;
	return *p == 0 || !strcmp(p, "+");
}

static bool parse_version(const char *p, int *major, int *minor, int *micro)
{
	*major = take_number(&p);
	if (*major < 0 || *p++ != '.')
		return false;
	*minor = take_number(&p);
	if (*minor < 0 || *p++ != '.')
		return false;
	*micro = take_number(&p);
	return *micro >= 0 && is_release_suffix(p);
}

static bool is_wanted(int wanted, int got)
{
	return wanted < 0 || wanted == got;
}

/* Where a version at the end of the string could start: after the last character of no version. */
static const char *tail_start(const char *str, const char *nul)
{
	const char *at = nul;

	while (at > str && nul - at < VERSION_MAX_CHARS &&
	       (isalnum((unsigned char)at[-1]) || at[-1] == '.' || at[-1] == '+'))
		at--;
	return at;
}

/* Other libraries that are linked in have versions too; few are in this range. */
static bool is_candidate(const struct pyversion *want, const struct pyversion *got)
{
	return (got->major == 2 || got->major == 3) && got->minor < 30 &&
	       is_wanted(want->major, got->major) && is_wanted(want->minor, got->minor);
}

/* Where two strings differ, neither is believed. */
static void take_common(struct pyversion *all, const struct pyversion *one)
{
	if (all->micro != one->micro)
		all->micro = -1;
	if (all->minor != one->minor)
		all->minor = all->micro = -1;
	if (all->major != one->major)
		all->major = all->minor = all->micro = -1;
}

void pyversion_search(struct pyversion_search *search, const char *data, size_t len, size_t skip)
{
	const char *end = data + len, *at = data + skip, *nul;
	struct pyversion one;

	for (; at < end && (nul = memchr(at, 0, end - at)); at = nul + 1) {
		/* The linker lets a string be the tail of another one (-O2, SHF_MERGE), so an
		 * interpreter whose prefix is ".../versions/3.10.13" has its version there only. */
		const char *from = tail_start(data, nul);

		if (nul - from < 5 || nul - from > VERSION_MAX_CHARS ||
		    !parse_version(from, &one.major, &one.minor, &one.micro) ||
		    !is_candidate(&search->want, &one))
			continue;
		if (search->is_found)
			take_common(&search->all, &one);
		else
			search->all = one;
		search->is_found = true;
	}
}

bool pyversion_find(const char *data, size_t len, int *major, int *minor, int *micro)
{
	struct pyversion_search search = {.want = {.major = *major, .minor = *minor}};

	pyversion_search(&search, data, len, 0);
	if (!search.is_found)
		return false;
	*major = search.all.major;
	*minor = search.all.minor;
	*micro = search.all.micro;
	return true;
}

uint32_t pyversion_hex(int major, int minor, int micro)
{
	if (major < 0 || minor < 0)
		return 0;
	return (uint32_t)major << 24 | (uint32_t)minor << 16 |
	       (uint32_t)(micro > 0 ? micro : 0) << 8 | 0xf0;
}

unsigned int pyversion_major(uint32_t hex)
{
	return hex >> 24;
}

unsigned int pyversion_minor(uint32_t hex)
{
	return hex >> 16 & 0xff;
}
