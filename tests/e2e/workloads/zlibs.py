# SPDX-License-Identifier: BSD-2-Clause
"""Two threads that compress big buffers: nearly all of their time without the GIL."""
import random
import threading
import zlib

from harness import finish, ready, running

dice = random.Random(1)
words = [bytes(dice.randrange(97, 123) for _ in range(7)) for _ in range(500)]
BUFFER = b" ".join(dice.choice(words) for _ in range(250000))
stop = False
warm = threading.Barrier(3)
tids = []


def squeeze():
    zlib.compress(BUFFER, 6)  # line: squeeze


def worker():
    tids.append(threading.get_native_id())
    warm.wait()
    while not stop:
        squeeze()  # line: worker


threads = [threading.Thread(target=worker) for _ in range(2)]
for thread in threads:
    thread.start()
warm.wait()
ready(tids=tids)
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
