# SPDX-License-Identifier: BSD-2-Clause
"""
Coroutines and generators of every kind, driven by a plain loop and by asyncio, two at a time: one
runs while the others are suspended. From 3.6 on. See chains.py.
"""
import asyncio
import sys

from harness import finish, ready, running

STRETCH = range(10000)
TREE_DEPTH = 200
# Before, what is thrown into a delegating generator runs without it or without what is below it:
# sys._getframe() says so too (Objects/genobject.c, _gen_throw, up to 3.10).
THROWS_THROUGH = sys.version_info >= (3, 11)


class Pause:
    def __await__(self):
        yield  # line: Pause.__await__


# Two chains of the same shape, so that a frame of the one under the other would show.


def a_spin():
    sum(STRETCH)  # line: a_spin


async def a_inner():
    for _ in range(3):
        a_spin()  # line: a_inner
        await Pause()  # line: a_inner@await


async def a_outer():
    await a_inner()  # line: a_outer


def b_spin():
    sum(STRETCH)  # line: b_spin


async def b_inner(pause):
    for _ in range(3):
        b_spin()  # line: b_inner
        await pause()  # line: b_inner@await


async def b_middle(pause):
    await b_inner(pause)  # line: b_middle


async def b_outer(pause):
    await b_middle(pause)  # line: b_outer


def send_a(coro):
    try:
        coro.send(None)  # line: send_a
    except StopIteration:
        return False
    return True


def send_b(coro):
    try:
        coro.send(None)  # line: send_b
    except StopIteration:
        return False
    return True


def by_hand():
    """Both are alive all the time; one of them runs. They end in the same round."""
    a, b = a_outer(), b_outer(Pause)  # line: by_hand@make
    while send_a(a) + send_b(b):  # line: by_hand
        pass


# The same through the event loop: asyncio.sleep(0) is its bare yield.


def c_spin():
    sum(STRETCH)  # line: c_spin


async def c_inner():
    for _ in range(3):
        c_spin()  # line: c_inner
        await asyncio.sleep(0)  # line: c_inner@await


async def c_outer():
    await c_inner()  # line: c_outer


def nap():
    return asyncio.sleep(0)  # line: nap


async def both():
    await asyncio.gather(c_outer(), b_outer(nap))  # line: both


def by_asyncio():
    loop.run_until_complete(both())  # line: by_asyncio


# Async generators, and code that runs when one is closed or thrown into.


def d_spin():
    sum(STRETCH)  # line: d_spin


async def d_agen():
    for number in range(3):
        d_spin()  # line: d_agen
        await Pause()  # line: d_agen@await
        yield number


async def d_outer():
    async for _ in d_agen():  # line: d_outer
        pass


def by_agen():
    coro = d_outer()  # line: by_agen@make
    try:
        while True:
            coro.send(None)  # line: by_agen
    except StopIteration:
        pass


def e_closed():
    try:
        yield  # line: e_closed@yield
    finally:
        sum(STRETCH)  # line: e_closed


def by_close():
    gen = e_closed()  # line: by_close@make
    next(gen)  # line: by_close@next
    gen.close()  # line: by_close


def e_thrown():
    try:
        yield  # line: e_thrown@yield
    except KeyError:
        sum(STRETCH)  # line: e_thrown


def e_through():
    yield from e_thrown()  # line: e_through


def throw_into(gen):
    next(gen)  # line: throw_into@next
    try:
        gen.throw(KeyError())  # line: throw_into
    except StopIteration:
        pass


def by_throw():
    throw_into(e_thrown())  # line: by_throw


def by_through():
    throw_into(e_through())  # line: by_through


# Generators inside of one another, each a frame by itself on the heap.


def tree(more):
    if more > 1:
        yield from tree(more - 1)  # line: tree
    else:
        for _ in range(20):
            sum(STRETCH)  # line: tree@end
        yield


def by_tree():
    for _ in tree(TREE_DEPTH):  # line: by_tree
        pass


def s_suspended():
    yield  # line: s_suspended


async def s_agen():
    yield


async def s_coro():
    async for _ in s_agen():
        await Pause()


def suspended():
    found = [s_suspended() for _ in range(50)] + [s_coro() for _ in range(50)]
    for one in found:
        one.send(None)
    return found


def drive():
    by_hand()  # drive: hand
    by_asyncio()  # drive: asyncio
    by_agen()  # drive: agen
    by_close()  # drive: close
    by_throw()  # drive: throw
    if THROWS_THROUGH:
        by_through()  # drive: through
    by_tree()  # drive: tree


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asleep = suspended()
drive()
ready()
while running(uneven=True):
    drive()  # line: module
loop.close()
for one in asleep:
    one.close()
finish()
