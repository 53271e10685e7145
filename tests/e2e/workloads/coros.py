# SPDX-License-Identifier: BSD-2-Clause
"""Delegation and coroutines at work: who calls whom must read through them. From 3.5 on."""
from harness import finish, ready, running

STRETCH = range(5000)
THREE = (0, 1, 2)


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


def drive():
    driver_deleg()
    driver_coro()


drive()
ready()
while running(uneven=True):
    drive()
finish()
