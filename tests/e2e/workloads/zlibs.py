# SPDX-License-Identifier: BSD-2-Clause
"""Two threads that compress big buffers (or hash them): nearly all of their time without the GIL."""
import random
import threading
import time

try:
    from zlib import compress
except ImportError:  # a CPython built without zlib
    from hashlib import blake2b as compress

from harness import finish, native_id, ready, running

dice = random.Random(1)
words = [bytes(bytearray(dice.randrange(97, 123) for _ in range(7))) for _ in range(500)]
BUFFER = b" ".join(dice.choice(words) for _ in range(250000))
stop = False
tids = []


def squeeze():
    compress(BUFFER)  # line: squeeze


def worker():
    tids.append(native_id())
    while not stop:
        squeeze()  # line: worker


threads = [threading.Thread(target=worker) for _ in range(2)]
for thread in threads:
    thread.start()
while len(tids) < 2:
    time.sleep(0.01)
ready(tids=tids)
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
