# SPDX-License-Identifier: BSD-2-Clause
"""
One thread whose CPU time goes to three functions as 60 : 30 : 10, in turns of random length so that
no sampling rate can march in step with them. The truth is what the thread's own CPU clock says.
"""
import random
import time

from harness import finish, ready, running

STRETCH = range(1500)
dice = random.Random(1)
spent = {"split_60": 0.0, "split_30": 0.0, "split_10": 0.0}


def split_60(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        sum(STRETCH)
    spent["split_60"] += time.thread_time() - start


def split_30(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        sum(STRETCH)
    spent["split_30"] += time.thread_time() - start


def split_10(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        sum(STRETCH)
    spent["split_10"] += time.thread_time() - start


def turn():
    split_60(0.012 * dice.uniform(0.5, 1.5))
    split_30(0.006 * dice.uniform(0.5, 1.5))
    split_10(0.002 * dice.uniform(0.5, 1.5))


turn()
ready()
while running():
    turn()
finish(spent=spent)
