# SPDX-License-Identifier: BSD-2-Clause
"""Eight threads, each in a function of its own; half of them named through prctl(2)."""
import ctypes
import threading
import time

from harness import finish, ready, running

PR_SET_NAME = 15  # linux/prctl.h
libc = ctypes.CDLL(None)
STRETCH = range(3000)
stop = False
tids = {}
started = threading.Barrier(9)


def enter(index):
    if index % 2 == 0:
        libc.prctl(PR_SET_NAME, b"prctl-%d" % index, 0, 0, 0)
    tids[index] = threading.get_native_id()
    started.wait()


def work_0():
    while not stop:
        sum(STRETCH)


def work_1():
    while not stop:
        sum(STRETCH)


def work_2():
    while not stop:
        sum(STRETCH)


def work_3():
    while not stop:
        sum(STRETCH)


def work_4():
    while not stop:
        sum(STRETCH)


def work_5():
    while not stop:
        sum(STRETCH)


def work_6():
    while not stop:
        sum(STRETCH)


def work_7():
    while not stop:
        sum(STRETCH)


def start(index):
    enter(index)
    globals()["work_%d" % index]()


threads = [
    threading.Thread(target=start, args=(index,), name="named-%d" % index) for index in range(8)
]
for thread in threads:
    thread.start()
started.wait()
ready(tids=[tids[index] for index in range(8)])
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
