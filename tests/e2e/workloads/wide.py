# SPDX-License-Identifier: BSD-2-Clause
"""
Functions with so many local variables that no data-stack chunk (16 KB, 2,048 slots) holds them
beside another frame, or at all: at the end of a stack and in its middle, at rest and in a loop that
makes and drops their chunks as fast as it can. See chains.py.
"""
from harness import finish, ready, running

STRETCH = range(20000)
SOURCE = """
def %s(call):
    %s = None
    return call()
"""


def make(name, local_cnt):
    """A function with that many locals; it calls its argument on line 4 of <wide>."""
    names = " = ".join("v%d" % number for number in range(local_cnt))
    space = {}
    exec(compile(SOURCE % (name, names), "<wide>", "exec"), space)
    return space[name]


wide_1800 = make("wide_1800", 1800)
wide_2047 = make("wide_2047", 2047)
wide_9000 = make("wide_9000", 9000)


def spin():
    sum(STRETCH)  # line: spin


def nothing():
    pass  # line: nothing


def middle_1():
    wide_9000(middle_2)  # line: middle_1


def middle_2():
    wide_2047(middle_3)  # line: middle_2


def middle_3():
    spin()  # line: middle_3


def hot():
    for _ in range(300):
        wide_1800(nothing)  # line: hot


def drive():
    wide_1800(spin)  # drive: end
    wide_1800(middle_1)  # drive: middle
    hot()  # drive: hot


drive()
ready()
while running(uneven=True):
    drive()  # line: module
finish()
