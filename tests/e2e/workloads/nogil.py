# SPDX-License-Identifier: BSD-2-Clause
"""Three threads that are nearly always in C code without the GIL, of three modules in turn: the GIL of
2.7 may leave a thread next to nothing beside two others."""
import hashlib
import os
import sqlite3
import threading
import zlib

from harness import finish, ready, running

BUFFER = os.urandom(4096) * 256
COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000)"
COUNT += " SELECT sum(x % 7) FROM c"
stop = False


def do_zlib():
    zlib.compress(BUFFER, 6)  # line: do_zlib


def do_sha256():
    hashlib.sha256(BUFFER)  # line: do_sha256


def do_sqlite():
    mine.database.execute(COUNT).fetchall()  # line: do_sqlite


def worker():
    mine.database = sqlite3.connect(":memory:")
    while not stop:
        for do in (do_zlib, do_sha256, do_sqlite):
            do()  # line: worker
    mine.database.close()


mine = threading.local()
threads = [threading.Thread(target=worker) for _ in range(3)]
for thread in threads:
    thread.start()
ready()
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
