# SPDX-License-Identifier: BSD-2-Clause
"""
One thread that collects garbage for a part of its time and measures that part, beside one that
compresses without the GIL meanwhile.
"""
import gc
import random
import threading

try:
    from zlib import compress
except ImportError:  # a CPython built without zlib
    from hashlib import blake2b as compress

from harness import finish, native_id, ready, running, thread_seconds

gc.disable()
STRETCH = range(300000)
kept = [[number] for number in range(200000)]  # what each collection goes through
dice = random.Random(1)
BUFFER = bytes(bytearray(dice.randrange(97, 123) for _ in range(1000000)))
spent = {"collects": 0.0, "computes": 0.0}
stop = False


def collects():
    gc.collect()


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
thread.start()
ready(tid=native_id())
while running():
    timed(collects)
    timed(computes)
stop = True
thread.join()
finish(spent=spent)
