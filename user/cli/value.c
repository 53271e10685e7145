// SPDX-License-Identifier: BSD-2-Clause
/* The types of option values. Numbers are read by hand: strtoul takes signs, spaces and 0x. */
#include "user/cli/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define NS_PER_MS 1000000ULL
#define NS_PER_S (1000 * NS_PER_MS)
#define PID_MAX 4194304 /* PID_MAX_LIMIT of 64-bit kernels, include/linux/threads.h */

struct unit {
	const char *name;
	uint64_t ns;
};

/* The longest first, so that a value is shown in the largest unit that divides it. */
static const struct unit units[] = {
	{"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S}, {"ms", NS_PER_MS}, {},
};

/* The number of `len` digits, at least one; false if something else is there or it does not fit. */
static bool read_digits(const char *text, size_t len, uint64_t *out)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum))
			return false;
	}
	*out = sum;
	return len > 0;
}

static int set_uint(const struct cli_opt *opt, const char *text, uint32_t *field,
		    struct strbuf *why)
{
	uint64_t max = opt->max ? opt->max : UINT32_MAX, number;

	if (!read_digits(text, strlen(text), &number) || number < opt->min || number > max) {
		strbuf_addf(why, "'%s' is not a number from %" PRIu64 " to %" PRIu64, text,
			    opt->min, max);
		return -EINVAL;
	}
	*field = (uint32_t)number;
	return 0;
}

/* The digits after a decimal point, in ns of a unit of unit_ns. Digits below a nanosecond of an
 * hour would overflow, and mean nothing: at most six count. */
static bool read_fraction(const char *text, size_t len, uint64_t unit_ns, uint64_t *ns)
{
	uint64_t digits, scale = 1;
	size_t i;

	for (i = 0; i < len && i < 6; i++)
		scale *= 10;
	if (!read_digits(text, i, &digits))
		return false;
	/* Under 10^6 times an hour's 3.6 * 10^12: fits. */
	*ns = digits * unit_ns / scale;
	return true;
}

static uint64_t unit_ns(const char *name)
{
	const struct unit *unit;

	if (!*name)
		return NS_PER_S;
	for (unit = units; unit->name; unit++)
		if (!strcmp(unit->name, name))
			return unit->ns;
	return 0;
}

/* "10", "1.5s", "500ms". */
static bool read_duration(const char *text, uint64_t *out)
{
	size_t len = strspn(text, DIGITS), fraction_len = 0;
	const char *fraction = text + len;
	uint64_t ns, unit, part = 0;

	if (*fraction == '.')
		fraction_len = 1 + strspn(fraction + 1, DIGITS);
	unit = unit_ns(fraction + fraction_len);
	if (!unit || !read_digits(text, len, &ns))
		return false;
	if (fraction_len && !read_fraction(fraction + 1, fraction_len - 1, unit, &part))
		return false;
	return !__builtin_mul_overflow(ns, unit, &ns) && !__builtin_add_overflow(ns, part, out);
}

static void add_duration(struct strbuf *out, uint64_t ns)
{
	const struct unit *unit = units;

	while (unit[1].name && ns % unit->ns)
		unit++;
	strbuf_addf(out, "%" PRIu64 "%s", ns / unit->ns, unit->name);
}

static int set_duration(const struct cli_opt *opt, const char *text, uint64_t *field,
			struct strbuf *why)
{
	uint64_t max = opt->max ? opt->max : UINT64_MAX, ns;

	if (!read_duration(text, &ns)) {
		strbuf_addf(why, "'%s' is not a time; use 10, 10s, 5m, 2h, 500ms or 1.5s", text);
		return -EINVAL;
	}
	if (ns < opt->min || ns > max) {
		bool is_short = ns < opt->min;

		strbuf_addf(why, "'%s' is too %s; at %s ", text, is_short ? "short" : "long",
			    is_short ? "least" : "most");
		add_duration(why, is_short ? opt->min : max);
		return -EINVAL;
	}
	*field = ns;
	return 0;
}

static int no_memory(struct strbuf *why)
{
	strbuf_add_str(why, "no memory");
	return -ENOMEM;
}

static int add_item(struct cli_list *list, const char *text, struct strbuf *why)
{
	const char **items = reallocarray(list->items, list->cnt + 1UL, sizeof(*items));

	if (!items)
		return no_memory(why);
	list->items = items;
	items[list->cnt++] = text;
	return 0;
}

static int add_pids(struct cli_pids *list, const char *text, struct strbuf *why)
{
	const char *p = text;

	for (;; p++) {
		size_t len = strcspn(p, ",");
		uint64_t pid;
		pid_t *pids;

		if (!read_digits(p, len, &pid) || pid < 1 || pid > PID_MAX) {
			strbuf_addf(why, "'%.*s' is not a process id; use PID or PID,PID", (int)len,
				    p);
			return -EINVAL;
		}
		pids = reallocarray(list->pids, list->cnt + 1UL, sizeof(*pids));
		if (!pids)
			return no_memory(why);
		list->pids = pids;
		pids[list->cnt++] = (pid_t)pid;
		p += len;
		if (!*p)
			return 0;
	}
}

int cli_value_set(const struct cli_opt *opt, const char *text, void *field, struct strbuf *why)
{
	switch (opt->type) {
	case CLI_FLAG:
		*(bool *)field = true;
		return 0;
	case CLI_SET:
		*(int *)field = opt->value;
		return 0;
	case CLI_STRING:
		*(const char **)field = text;
		return 0;
	case CLI_LIST:
		return add_item(field, text, why);
	case CLI_UINT:
		return set_uint(opt, text, field, why);
	case CLI_DURATION:
		return set_duration(opt, text, field, why);
	case CLI_PIDS:
		return add_pids(field, text, why);
	}
	return -EINVAL;
}

void cli_values_release(const struct cli_opt *opts, void *base)
{
	for (; opts && opts->long_name; opts++) {
		void *field = (char *)base + opts->offset;

		/* Two options may share a list. */
		if (opts->type == CLI_LIST) {
			free(((struct cli_list *)field)->items);
			((struct cli_list *)field)->items = NULL;
		} else if (opts->type == CLI_PIDS) {
			free(((struct cli_pids *)field)->pids);
			((struct cli_pids *)field)->pids = NULL;
		}
	}
}

void cli_value_add(const struct cli_opt *opt, const void *field, struct strbuf *out)
{
	const char *const *text = field;

	if (opt->type == CLI_UINT && *(const uint32_t *)field)
		strbuf_addf(out, "%" PRIu32, *(const uint32_t *)field);
	else if (opt->type == CLI_DURATION && *(const uint64_t *)field)
		add_duration(out, *(const uint64_t *)field);
	else if (opt->type == CLI_STRING && *text)
		strbuf_add_str(out, *text);
}
