# SPDX-License-Identifier: BSD-2-Clause
"""
One thread whose CPU time goes to three functions as 60 : 30 : 10, in turns of random length so that
no sampling rate can march in step with them. The truth is what the thread's own CPU clock says.
"""
import random

from harness import finish, ready, running, thread_seconds

STRETCH = range(6000)
dice = random.Random(1)
spent = {"split_60": 0.0, "split_30": 0.0, "split_10": 0.0}


def split_60(seconds):
    start = thread_seconds()
    while thread_seconds() - start < seconds:
        sum(STRETCH)
    spent["split_60"] += thread_seconds() - start


def split_30(seconds):
    start = thread_seconds()
    while thread_seconds() - start < seconds:
        sum(STRETCH)
    spent["split_30"] += thread_seconds() - start


def split_10(seconds):
    start = thread_seconds()
    while thread_seconds() - start < seconds:
        sum(STRETCH)
    spent["split_10"] += thread_seconds() - start


def turn():
    split_60(0.012 * dice.uniform(0.5, 1.5))
    split_30(0.006 * dice.uniform(0.5, 1.5))
    split_10(0.002 * dice.uniform(0.5, 1.5))


turn()
ready()
while running():
    turn()
finish(spent=spent)
