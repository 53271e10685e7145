# SPDX-License-Identifier: BSD-2-Clause
"""The bounds of tests/chance.py against exact fractions, and against dice with a larger ALPHA."""
import os
import random
import sys
from fractions import Fraction
from math import comb

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import chance


def exact(ks, n, p):
    p = Fraction(p)
    return float(sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in ks))


@pytest.mark.parametrize("n, p", [(1, 0.5), (40, 0.1), (200, 0.02), (500, 0.9), (999, 0.5)])
def test_tails_are_the_binomials(n, p):
    mean = n * p
    for k in {0, 1, int(mean / 2), int(mean - 1), int(mean), int(mean + 2), int(mean * 2), n - 1, n}:
        if 0 <= k < mean:
            assert chance.lower_tail(k, n, p) == pytest.approx(exact(range(k + 1), n, p), rel=1e-6)
        if mean < k <= n:
            assert chance.upper_tail(k, n, p) == pytest.approx(exact(range(k, n + 1), n, p), rel=1e-6)


@pytest.mark.parametrize("p", [0.001, 0.02, 0.5, 0.99])
def test_needed_is_the_least(p):
    n = chance.needed(p)
    assert (1 - p) ** n <= chance.ALPHA < (1 - p) ** (n - 1)
    assert not chance.at_least(0, n, p)
    with pytest.raises(AssertionError):
        chance.at_least(n, n - 1, p)


def test_what_is_impossible_is_rejected():
    assert not chance.at_most(1, 10, 0)
    assert not chance.at_least(99, 100, 1 - 1e-13)
    assert chance.near(50, 100, 0.5) and chance.at_most(0, 10, 0)


def test_a_quarter_off_is_found():
    """What the checks can do: with 2,000 samples, a share of 0.5 for one of 0.4, or of 0.6."""
    assert not chance.near(1000, 2000, 0.4) and not chance.near(1000, 2000, 0.6)


SHARES = [0.25, 0.2, 0.15, 0.13, 0.1, 0.07, 0.05, 0.05]


def distance(dice, n):
    drawn = dice.choices(range(len(SHARES)), SHARES, k=n)
    return 0.5 * sum(abs(drawn.count(i) / n - share) for i, share in enumerate(SHARES))


def test_distances_of_drawn_samples(monkeypatch):
    """With a false-alarm rate that can be seen in a second: one in ten."""
    dice = random.Random(1)
    monkeypatch.setattr(chance, "ALPHA", 0.1)
    bar = chance.distance_bar(len(SHARES), 300)
    assert sum(distance(dice, 300) > bar for _ in range(1000)) <= 100


def test_shares_of_drawn_samples(monkeypatch):
    dice = random.Random(1)
    monkeypatch.setattr(chance, "ALPHA", 0.05)
    drawn = [sum(dice.random() < 0.3 for _ in range(200)) for _ in range(1000)]
    low = sum(not chance.at_least(k, 200, 0.3) for k in drawn)
    high = sum(not chance.at_most(k, 200, 0.3) for k in drawn)
    assert 0 < low <= 70 and 0 < high <= 70  # 50 are expected at most; 70 is 3 deviations more, and the dice are fixed


def test_account_says_what_was_spent(monkeypatch):
    monkeypatch.setattr(chance, "_made", {"checks": 0})
    chance.near(50, 100, 0.5)
    assert chance.account("e2e") == (
        "chance: 2 checks of counts and shares, a false alarm in 2.0e-10 of the runs at most",
        True,
    )
    chance._made["checks"] = chance.CHECKS_MAX
    assert not chance.account("e2e")[1]
