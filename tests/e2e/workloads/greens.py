# SPDX-License-Identifier: BSD-2-Clause
"""
Two greenlets with call chains of different shape that switch to each other at the bottom, as often
as they can, and now and then stay for a while.
"""
import greenlet

from harness import finish, ready, running

STRETCH = range(10)
LONG = range(1000)


def a_switch(turn):
    sum(LONG if turn % 64 == 0 else STRETCH)
    b.switch()


def a_two(turn):
    a_switch(turn)


def a_one(turn):
    a_two(turn)


def a_main():
    turn = 0
    while True:
        a_one(turn)
        turn += 1


def b_switch(turn):
    a.switch()
    sum(LONG if turn % 64 == 0 else STRETCH)


def b_deep(more, turn):
    if more:
        b_deep(more - 1, turn)
    else:
        b_switch(turn)


def b_main():
    while running():
        for turn in range(640):
            b_deep(20, turn)
            b_switch(turn)


a = greenlet.greenlet(a_main)
b = greenlet.greenlet(b_main)
ready()
b.switch()
finish()
