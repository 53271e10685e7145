# SPDX-License-Identifier: BSD-2-Clause
"""
One thread that collects garbage for a part of its time and measures that part, beside one that
compresses without the GIL meanwhile; or "alone", and then almost all that a collection goes through
is garbage. With "finalizers" some of the garbage calls C code at length before it goes.
"""
import gc
import random
import sys
import threading

try:
    from zlib import compress
except ImportError:  # a CPython built without zlib
    from hashlib import blake2b as compress

from harness import finish, native_id, ready, running, thread_seconds

IS_ALONE, HAS_FINALIZERS = "alone" in sys.argv, "finalizers" in sys.argv
gc.disable()
STRETCH = range(300000)
kept = [[number] for number in range(0 if IS_ALONE else 200000)]  # each collection visits them
dice = random.Random(1)
BUFFER = bytes(bytearray(dice.randrange(97, 123) for _ in range(1000000)))
spent = {"collects": 0.0, "computes": 0.0}
stop = False


def collects():
    gc.collect()


class Final(object):
    def __del__(self):
        sum(STRETCH)


def litters():
    for _ in range(20000):
        item = []
        item.append(item)
    if HAS_FINALIZERS:
        item.append(Final())


def computes():
    sum(STRETCH)


def squeezes():
    while not stop:
        compress(BUFFER)


def timed(work):
    start = thread_seconds()
    work()
    spent[work.__name__] += thread_seconds() - start


thread = threading.Thread(target=squeezes)
if not IS_ALONE:
    thread.start()
ready(tid=native_id())
while running():
    litters()
    timed(collects)
    timed(computes)
stop = True
if not IS_ALONE:
    thread.join()
finish(spent=spent)
