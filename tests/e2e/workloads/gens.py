# SPDX-License-Identifier: BSD-2-Clause
"""Generators, delegation and coroutines at work: who calls whom must read through them."""
from harness import finish, ready, running

STRETCH = range(5000)
THREE = (0, 1, 2)


def leaf():
    sum(STRETCH)  # line: leaf


def gen():
    for _ in THREE:
        leaf()  # line: gen
        yield


def driver():
    for _ in gen():  # line: driver
        pass


def leaf_deleg():
    sum(STRETCH)  # line: leaf_deleg


def gen_inner():
    for _ in THREE:
        leaf_deleg()  # line: gen_inner
        yield


def gen_outer():
    yield from gen_inner()  # line: gen_outer


def driver_deleg():
    for _ in gen_outer():  # line: driver_deleg
        pass


class Pause:
    def __await__(self):
        yield


def leaf_coro():
    sum(STRETCH)  # line: leaf_coro


async def coro_inner():
    for _ in THREE:
        leaf_coro()  # line: coro_inner
        await Pause()


async def coro_outer():
    await coro_inner()  # line: coro_outer


def driver_coro():
    coro = coro_outer()
    try:
        while True:
            coro.send(None)  # line: driver_coro
    except StopIteration:
        pass


def driver_genexpr():
    return sum(leaf_genexpr() for _ in THREE)  # line: driver_genexpr


def leaf_genexpr():
    return sum(STRETCH)  # line: leaf_genexpr


def drive():
    driver()
    driver_deleg()
    driver_coro()
    driver_genexpr()


drive()
ready()
while running():
    drive()
finish()
