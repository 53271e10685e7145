#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Something to profile: a small program that keeps one CPU busy, in a few functions of unequal cost.

    python3 busy.py [SECONDS]       until then, or until it is stopped

It goes round three jobs: queens on a chess board (recursion), primes (a loop) and words (strings and
a dictionary), in about these shares of its time: 60, 25 and 15 percent.
"""

import random
import sys
import threading
import time


def is_safe(queens, column):
    """True if no queen of the rows above attacks this column of the next row."""
    row = len(queens)
    for other_row, other in enumerate(queens):
        if other == column or abs(other - column) == row - other_row:
            return False
    return True


def place_queens(size, queens):
    """The number of ways to fill the rows that are left: one call per row, so a stack to look at."""
    if len(queens) == size:
        return 1
    ways = 0
    for column in range(size):
        if is_safe(queens, column):
            ways += place_queens(size, queens + [column])
    return ways


def count_primes(limit):
    sieve = bytearray([1]) * limit
    sieve[0:2] = b"\0\0"
    for number in range(2, limit):
        if sieve[number]:
            for multiple in range(number * number, limit, number):
                sieve[multiple] = 0
    return sum(sieve)


class Words:
    """Counts the words of a made-up text."""

    syllables = ["ka", "rait", "sna", "ke", "bun", "ga", "rus", "py", "thon"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def word(self):
        return "".join(self.random.choice(self.syllables) for _ in range(3))

    def count(self, length):
        counts = {}
        for _ in range(length):
            word = self.word()
            counts[word] = counts.get(word, 0) + 1
        return max(counts, key=counts.get)


def work_round(words):
    place_queens(8, [])
    count_primes(30000)
    words.count(1000)


def heartbeat():
    """A thread that mostly sleeps, as many programs have one."""
    while True:
        time.sleep(0.05)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    threading.Thread(target=heartbeat, name="heartbeat", daemon=True).start()
    words = Words(seed=1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        work_round(words)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
