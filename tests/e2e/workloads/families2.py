# SPDX-License-Identifier: BSD-2-Clause
"""families3.py for 2.7."""
from __main__ import b_inner


def b_outer(n):
    for m in b_inner(n):
        yield m
