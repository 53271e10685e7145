# SPDX-License-Identifier: BSD-2-Clause
"""
Two families of functions that alternate as fast as the interpreter can go: frames are pushed and
popped all the time, in the same memory, so that a walk which mixes two moments shows at once as an
edge that this file does not have. One statement a line: the test reads the call graph from here,
and which lines a function's instructions have (0: none) from CPython.
"""
import sys
import types

from harness import finish, lines_of_functions, ready, running


def a_root(n):
    a_one(n)
    a_two(n, 1, 2)


def a_one(n):
    x = n + 1
    a_three(x)
    return x


def a_two(n, p, q):
    r = p + q
    s = r + n
    a_three(s)
    for _ in a_gen(n):
        a_leaf()
    return s


def a_three(n):
    a_four(n, n, n, n)


def a_four(a, b, c, d):
    e = a + b
    f = c + d
    a_leaf()
    return e + f


def a_gen(n):
    a_leaf()
    yield n
    a_leaf()


def a_leaf():
    return 1


def b_root(n):
    m = n
    b_one(m, 3)
    b_gens(m)
    b_two(m)
    return m


def b_one(n, more):
    if more:
        b_one(n, more - 1)
    b_leaf(n)


def b_two(n):
    w = n
    x = w
    y = x
    z = y
    b_three()
    return z


def b_three():
    b_one(1, 0)


def b_gens(n):
    for _ in b_outer(n):
        b_leaf(n)


def b_inner(n):
    b_leaf(n)
    yield n
    b_leaf(n)


if sys.version_info >= (3, 3):
    from families3 import b_outer
else:
    from families2 import b_outer


def b_leaf(n):
    return n


def drive():
    for n in range(200):
        a_root(n)
        b_root(n)


functions = [value for value in globals().values() if isinstance(value, types.FunctionType)]
drive()
ready(
    lines=lines_of_functions(functions),
    first={function.__name__: function.__code__.co_firstlineno for function in functions},
)
while running(uneven=True):
    drive()
finish()
