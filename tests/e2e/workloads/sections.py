# SPDX-License-Identifier: BSD-2-Clause
"""
One thread that spends its CPU time in sections of every kind, in turns of random order and length
so that no sampling rate can march in step with them. It does so from when it is told "go" until it
is told "stop"; the truth is what the thread's own CPU clock said at each section's beginning and
end; its leaps are told apart.
"""
import os
import random

try:
    from zlib import compress
except ImportError:  # a CPython built without zlib
    from hashlib import blake2b as compress

from harness import commands, finish, ready, running, say, thread_seconds

STRETCH = range(1000)
DATA = os.urandom(2048) * 8
ZERO = os.open("/dev/zero", os.O_RDONLY)
dice = random.Random(1)
# The clock is read several times a millisecond. Where it leaps, a virtual machine's host had taken
# the CPU, and the guest counts that time as its own, but no timer can tick in it; or the kernel had
# something long to do, such as to clear a large page that the host has yet to find, and there ticks
# come as ever. Which of both it was can't be told from here, so leaps are counted by themselves.
LEAP_S = 0.01
clock = {"read": thread_seconds(), "leapt": 0.0}


def ticked_seconds():
    """CPU time of this thread in which there can have been ticks."""
    now = thread_seconds()
    if now - clock["read"] > LEAP_S:
        clock["leapt"] += now - clock["read"]
    clock["read"] = now
    return now - clock["leapt"]


def in_bytecode(end):
    while ticked_seconds() < end:
        x = 0
        for i in STRETCH:
            x += i


def in_builtin(end):
    while ticked_seconds() < end:
        sum(STRETCH)


def in_generator(end):
    while ticked_seconds() < end:
        sum(i for i in STRETCH)


def in_recursion(end):
    while ticked_seconds() < end:
        descend(100)


def descend(more):
    if more:
        descend(more - 1)


def in_memory(end):
    while ticked_seconds() < end:
        dict((i, [i]) for i in STRETCH)


def in_callback(end):
    while ticked_seconds() < end:
        sorted(STRETCH, key=lambda i: -i)


def in_released(end):
    while ticked_seconds() < end:
        compress(DATA)


def in_kernel(end):
    while ticked_seconds() < end:
        os.read(ZERO, 1 << 16)


# Milliseconds of a turn: shares from 4 to 25 %.
SECTIONS = [
    (in_bytecode, 5.0),
    (in_builtin, 4.0),
    (in_generator, 3.0),
    (in_recursion, 2.5),
    (in_memory, 2.2),
    (in_callback, 1.5),
    (in_released, 1.0),
    (in_kernel, 0.8),
]
spent = {section.__name__: 0.0 for section, _ in SECTIONS}
leaps = dict(spent)  # what is not in there


def turn():
    for section, milliseconds in dice.sample(SECTIONS, len(SECTIONS)):
        seconds = milliseconds / 1e3 * dice.uniform(0.5, 1.5)
        start = ticked_seconds()
        leapt = clock["leapt"]
        section(start + seconds)
        spent[section.__name__] += ticked_seconds() - start
        leaps[section.__name__] += clock["leapt"] - leapt


turn()
ready()
while not commands and running(wait=300):
    pass
for name in spent:
    spent[name] = leaps[name] = 0.0
clock["leapt"] = 0.0
began = ticked_seconds()
while commands == ["go"] and running():
    turn()
spent["between"] = ticked_seconds() - began - sum(spent.values())
leaps["between"] = clock["leapt"] - sum(leaps.values())
say("measured", spent=spent, leaps=leaps)
while running(wait=300):
    pass
finish()
