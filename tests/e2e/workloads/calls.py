# SPDX-License-Identifier: BSD-2-Clause
"""A system call at the bottom of a stack of DEPTH calls, each time a different one: which of two
lines each of the WAYS outermost functions calls the next on. So most of a CPU's time goes into taking
stacks, if one is taken at each call."""
import os
import sys

from harness import finish, ready, running

DEPTH, WAYS = int(sys.argv[1]), int(sys.argv[2])


def bottom():
    os.getppid()  # line: bottom


def down(more, ways):
    if not more:
        return bottom()  # line: deepest
    if ways & 1:
        return down(more - 1, ways >> 1)  # line: one
    return down(more - 1, ways >> 1)  # line: other


def drive():
    turn = 0
    ready()
    while running():
        turn += 1
        down(DEPTH, turn % (1 << WAYS))  # line: drive


drive()  # line: module
finish()
