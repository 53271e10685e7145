# SPDX-License-Identifier: BSD-2-Clause
"""The part of families.py that 2.7 can't read: delegation."""
from __main__ import b_inner


def b_outer(n):
    yield from b_inner(n)
