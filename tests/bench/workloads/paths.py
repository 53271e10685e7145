# SPDX-License-Identifier: BSD-2-Clause
"""For each line of stdin, `SECONDS STACKS`: works so long in so many different stacks, in turn.

Every stack is 20 frames deep. They differ in which of two functions each of 17 levels calls: a path
for each number below 2**17. The work at the bottom is one call of C code of some 50 us, so that
nearly every tick finds a whole path, at one instruction. Waits for the next line in between; ends
when stdin does, or its parent has. Runs under every Python from 3.6 on.
"""
import os
import sys
import time

LEVELS = 17
STEP = 7919  # a prime: the paths come in no order that a cache would like
PARENT = os.getppid()
CALL = """
def {name}(number):
    if number & {bit}:
        return {one}(number)
    return {zero}(number)
"""


def bottom_0(number):
    return sum(BLOCK)


def bottom_1(number):
    return sum(BLOCK)


def work(seconds, count):
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end and os.getppid() == PARENT:
        number = (number + STEP) % count
        top(number)


BLOCK = range(5000)
below = ["bottom_0", "bottom_1"]
for level in range(LEVELS):
    names = ["level%d_%d" % (level, i) for i in range(2)]
    for name in names:
        exec(CALL.format(name=name, bit=1 << level, one=below[1], zero=below[0]))
    below = names
top = globals()[below[0]]

print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    seconds, count = line.split()
    work(float(seconds), int(count))
