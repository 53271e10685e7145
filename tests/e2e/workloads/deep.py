# SPDX-License-Identifier: BSD-2-Clause
"""A recursion 900 deep that spends its time at the bottom."""
import sys

from harness import finish, ready, running

sys.setrecursionlimit(3000)
STRETCH = range(20000)


def bottom():
    ready()
    while running():
        sum(STRETCH)  # line: bottom


def deep(more):
    if more > 1:
        return deep(more - 1)  # line: deeper
    return bottom()  # line: deepest


deep(900)
finish()
