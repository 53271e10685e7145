# SPDX-License-Identifier: BSD-2-Clause
"""threads.py COUNT BUSY: so many threads, of which BUSY work and the others wait.

Each of the busy ones is 30 frames deep in functions of the same code. The main thread is among the
COUNT and waits, but if COUNT is 1 it works. Ends when its parent has. Runs under every Python from
3.6 on.
"""
import os
import sys
import threading
import time

PARENT = os.getppid()
DEPTH = 25  # and those of threading, or of the module


def busy():
    while os.getppid() == PARENT:
        for _ in range(100000):
            pass


def deeper(more, then):
    return deeper(more - 1, then) if more else then()


def start(then):
    threading.Thread(target=deeper, args=(DEPTH, then), daemon=True).start()


count, busy_count = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(256 << 10)
forever = threading.Event()
if count == 1:
    print("ready", flush=True)
    deeper(DEPTH + 3, busy)
others = count - 1
workers = min(busy_count, others)
for _ in range(others - workers):
    start(forever.wait)
# Said first: with a thousand busy threads it takes long to get a word in.
print("ready", flush=True)
for _ in range(workers):
    start(busy)
while os.getppid() == PARENT:
    time.sleep(0.5)
