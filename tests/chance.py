# SPDX-License-Identifier: BSD-2-Clause
"""
What chance may do to a count of samples, in one place: every check on shares or counts of samples
asks here, so that all of them together fail by chance less than once in a million runs.

A program spends the share p of its CPU time at some place. Of n samples of it, X have the place; in
the worst case X is binomial, Bin(n, p). A check here rejects a count k only if one that is as far
out has a probability below ALPHA:

    P(X <= k) = sum over i <= k of C(n, i) p^i (1 - p)^(n - i)        at_least(), a lower tail
    P(X >= k) = sum over i >= k of the same                           at_most(), an upper tail

which are summed exactly, in logarithms; no normal distribution is assumed. By the union bound the
whole of `make test` fails by chance with a probability of at most

    checks * ALPHA <= CHECKS_MAX * ALPHA = BUDGET = 1e-6,

whether or not the checks depend on each other. The checks are counted as they are made (account()),
and the suites fail if they are more than that allows.

Why a binomial is the worst case: ticks come evenly, once a period of the CPU's clock. A workload whose
turns are of random length (harness.running(uneven=True), or dice of its own) meets the ticks at
another phase each time. A place that lasts less than a period then has one tick of a turn or none, and
one that lasts longer has those that fit in, give or take one; so X is a sum of independent indicators
of different probabilities, whose tails beyond the mean are no heavier than those of the binomial with
the same mean (Hoeffding, "On the distribution of the number of successes in independent trials",
1956), and ticks within one place only make them lighter.

A count without the place says something only if there were enough samples: enough() is asserted
first, and that is no chance, since a workload is sampled until it has used so much CPU time.
"""

import math

BUDGET = 1e-6  # of a run of all suites
CHECKS_MAX = 10000
ALPHA = BUDGET / CHECKS_MAX
# Which part of CHECKS_MAX a suite has.
PARTS = {"accuracy": 0.1, "e2e": 0.9}

_made = {"checks": 0}


def _log_term(i, n, p):
    choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
    return choose + i * math.log(p) + (n - i) * math.log1p(-p)


def lower_tail(k, n, p):
    """P(Bin(n, p) <= k). From the mean outwards the terms only get smaller, so those too small to
    count end the sum; up to the mean itself the answer is at least 1e-3, and 1 is said."""
    if p <= 0 or k >= n * p:
        return 1.0
    if p >= 1:
        return 0.0
    total, i = 0.0, int(math.floor(k))
    while i >= 0:
        term = math.exp(_log_term(i, n, p))
        total += term
        if term <= total * 1e-12:
            break
        i -= 1
    return total


def upper_tail(k, n, p):
    """P(Bin(n, p) >= k), which is the lower tail of the others."""
    return lower_tail(n - k, n, 1 - p)


def needed(p):
    """The least n of which a place of share p has none with a probability of (1 - p)^n < ALPHA."""
    return int(math.ceil(math.log(ALPHA) / math.log1p(-p)))


def enough(n, p):
    """Asserts that n samples are enough to tell that a place of share p is missing."""
    assert n >= needed(p), "%d samples, and a place of share %g takes %d" % (n, p, needed(p))


def _count(checks):
    _made["checks"] += checks


def at_least(k, n, p):
    """False if k of n are too few for a place that has the share p or more."""
    enough(n, p)
    _count(1)
    return lower_tail(k, n, p) >= ALPHA


def at_most(k, n, p):
    """False if k of n are too many for a place that has the share p or less."""
    _count(1)
    return upper_tail(k, n, p) >= ALPHA


def near(k, n, p, slack=0.0):
    """False if k of n are too few or too many for a share of p, which is known but for +-slack."""
    return at_least(k, n, max(p - slack, 0.0)) & at_most(k, n, min(p + slack, 1.0))


def distance_bar(kinds, n):
    """
    What the total-variation distance of n samples of so many kinds from the true shares exceeds with
    a probability of ALPHA at most. The distance is the largest difference over all 2^kinds subsets of
    the kinds, of which each has Hoeffding's bound, so
        P(distance >= t) <= 2^kinds exp(-2 n t^2)       (Bretagnolle, Huber and Carol),
    and t is where that is ALPHA.
    """
    _count(1)
    return math.sqrt((kinds * math.log(2) - math.log(ALPHA)) / (2 * n))


def account(suite):
    """(a sentence about the checks made, whether they are as few as the suite may have)."""
    made = _made["checks"]
    text = "chance: %d checks of counts and shares, a false alarm in %.1e of the runs at most" % (
        made,
        made * ALPHA,
    )
    return text, made <= PARTS[suite] * CHECKS_MAX
