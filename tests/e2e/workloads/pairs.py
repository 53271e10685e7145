# SPDX-License-Identifier: BSD-2-Clause
"""
Two families that share functions, so that each stack says twice which family it is of. A line that
one family alone can be at is marked as that one's: no stack may have lines of both. What they
share: a leaf that is called from many lines, a function that calls it from a line per family, one
generator object that both drive in turns, and a recursion of two functions in turns, which reaches
its bottom in another one of the two for each family. (Up to 3.9 a function's own end has the line
of its last statement, hence the returns.)
"""
import types

from harness import finish, lines_of_functions, ready, running

AT_END = range(200)  # for a share of the time that is sure to be sampled
DEPTH = 200  # even; more than a chunk of frames: Python/pystate.c, DATA_STACK_CHUNK_SIZE


def leaf():
    return 1


def shared(which):
    if which == 1:
        leaf()  # one
    else:
        leaf()  # two
    return which


def turns():
    while True:
        leaf()  # one
        yield
        leaf()  # two
        yield


def step_one(gen):
    next(gen)  # one


def step_two(gen, a=1, b=2):
    c = a + b
    next(gen)  # two
    return c


def even(more):
    if more:
        odd(more - 1)
    else:
        end_one()  # one
    return more


def odd(more):
    less = more - 1
    if more:
        even(less)
    else:
        end_two()  # two
    return less


def end_one():
    for _ in AT_END:  # one
        leaf()  # one


def end_two():
    for _ in AT_END:  # two
        leaf()  # two


def one(gen):
    shared(1)  # one
    step_one(gen)  # one


def two(gen):
    shared(2)  # two
    step_two(gen)  # two


def deep_one():
    even(DEPTH)  # one


def deep_two():
    odd(DEPTH)  # two


def drive(gen):
    for _ in range(200):
        one(gen)
        two(gen)
    deep_one()
    deep_two()


functions = [value for value in globals().values() if isinstance(value, types.FunctionType)]
both = turns()
drive(both)
ready(lines=lines_of_functions(functions), depth=DEPTH)
while running(uneven=True):
    drive(both)
finish()
