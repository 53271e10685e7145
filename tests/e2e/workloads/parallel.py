# SPDX-License-Identifier: BSD-2-Clause
"""
Four threads that run the same functions at once, where no GIL keeps them apart. Nine tenths of the
time go to one line of shared() in the even threads, and to another line of it in the odd ones.
"""
import sys
import threading
import time

from harness import finish, native_id, ready, running

CNT = 4
stop = False
tids = {}


def shared(first, second):
    sum(first)  # line: first
    sum(second)  # line: second


def between(first, second):
    shared(first, second)  # line: between


def work(index):
    lengths = (9000, 1000) if index % 2 == 0 else (1000, 9000)
    # Of its own: the threads would wait for each other's reference counts.
    first, second = map(range, lengths)
    tids[index] = native_id()
    while not stop:
        between(first, second)  # line: work


threads = [threading.Thread(target=work, args=(index,)) for index in range(CNT)]
for thread in threads:
    thread.start()
while len(tids) < CNT:
    time.sleep(0.01)
ready(tids=[tids[index] for index in range(CNT)], gil=sys._is_gil_enabled())
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
