// SPDX-License-Identifier: BSD-2-Clause
/* "did you mean": the nearest of some words, by the number of typing errors between them. */
#include "user/cli/cli.h"

#include <string.h>

#define WORD_MAX 32 /* longer words get no suggestion; the table below stays small */

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int least = a < b ? a : b;

	return least < c ? least : c;
}

/* Letters to insert, remove, replace, or swap with the next, until a is b ("optimal string
 * alignment"). Both shorter than WORD_MAX. */
static unsigned int typos(const char *a, const char *b)
{
	unsigned int cost[WORD_MAX][WORD_MAX];
	unsigned int a_len = strlen(a), b_len = strlen(b), i, j;

	for (i = 0; i <= a_len; i++)
		cost[i][0] = i;
	for (j = 0; j <= b_len; j++)
		cost[0][j] = j;
	for (i = 1; i <= a_len; i++) {
		for (j = 1; j <= b_len; j++) {
			cost[i][j] = min3(cost[i - 1][j] + 1, cost[i][j - 1] + 1,
					  cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    cost[i][j] > cost[i - 2][j - 2] + 1)
				cost[i][j] = cost[i - 2][j - 2] + 1;
		}
	}
	return cost[a_len][b_len];
}

void cli_nearest_try(struct cli_nearest *nearest, const char *candidate)
{
	size_t len = strlen(nearest->word);
	unsigned int distance;

	if (len < 2 || len >= WORD_MAX || strlen(candidate) >= WORD_MAX)
		return;
	distance = typos(nearest->word, candidate);
	/* Who typed "--dur" has made no error, only stopped early. */
	if (!strncmp(candidate, nearest->word, len))
		distance = 1;
	/* One error in three letters is a typo; more is another word. */
	if (distance > (len + 2) / 3)
		return;
	if (!nearest->best || distance < nearest->distance) {
		nearest->best = candidate;
		nearest->distance = distance;
	}
}
