# SPDX-License-Identifier: BSD-2-Clause
"""Recursions 300, 900 and 5,000 deep that spend nearly all of their time at the bottom."""
import sys

from harness import finish, ready, running

sys.setrecursionlimit(9000)
STRETCH = range(5000)


def bottom():
    for _ in range(200):
        sum(STRETCH)  # line: bottom


def deep(more):
    if more > 1:
        return deep(more - 1)  # line: deep
    return bottom()  # line: deep@bottom


def drive():
    deep(300)  # drive: 300
    deep(900)  # drive: 900
    deep(5000)  # drive: 5000


drive()
ready()
while running():
    drive()  # line: module
finish()
