# SPDX-License-Identifier: BSD-2-Clause
"""Generators at work: who calls whom must read through them."""
from harness import finish, ready, running

STRETCH = range(5000)
THREE = (0, 1, 2)


def leaf():
    sum(STRETCH)  # line: leaf


def gen():
    for _ in THREE:
        leaf()  # line: gen
        yield


def driver():
    for _ in gen():  # line: driver
        pass


def driver_genexpr():
    return sum(leaf_genexpr() for _ in THREE)  # line: driver_genexpr


def leaf_genexpr():
    return sum(STRETCH)  # line: leaf_genexpr


def drive():
    driver()
    driver_genexpr()


drive()
ready()
while running(uneven=True):
    drive()
finish()
