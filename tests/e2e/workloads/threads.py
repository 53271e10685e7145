# SPDX-License-Identifier: BSD-2-Clause
"""Eight threads, each in a function of its own; half of them named through prctl(2)."""
import os
import sys
import threading
import time

from harness import finish, native_id, ready, running, set_name

STRETCH = range(3000)
stop = False
tids = {}


def enter(index):
    if index % 2 == 0:
        set_name("prctl-%d" % index)
    tids[index] = native_id()


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


if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
    os.nice(5)  # all at once, they would leave little CPU time to the workloads beside them
threads = [
    threading.Thread(target=start, args=(index,), name="named-%d" % index) for index in range(8)
]
for thread in threads:
    thread.start()
while len(tids) < 8:
    time.sleep(0.01)
ready(tids=[tids[index] for index in range(8)])
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish()
