# SPDX-License-Identifier: BSD-2-Clause
"""Three threads that are nearly always in C code without the GIL, each in another module's."""
import hashlib
import os
import sqlite3
import threading
import zlib

from harness import finish, ready, running

BUFFER = os.urandom(4096) * 256
COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000)"
COUNT += " SELECT sum(x % 7) FROM c"
stop = False


def do_zlib():
    zlib.compress(BUFFER, 6)  # line: do_zlib


def do_sha256():
    hashlib.sha256(BUFFER)  # line: do_sha256


def do_sqlite():
    database.execute(COUNT).fetchall()  # line: do_sqlite


def worker(do):
    while not stop:
        do()  # line: worker


database = sqlite3.connect(":memory:", check_same_thread=False)
threads = [
    threading.Thread(target=worker, args=(do,)) for do in (do_zlib, do_sha256, do_sqlite)
]
for thread in threads:
    thread.start()
ready()
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
