# SPDX-License-Identifier: BSD-2-Clause
"""One busy function. With an argument, the process takes it as its name (comm)."""
import ctypes
import sys

from harness import finish, ready, running

PR_SET_NAME = 15  # linux/prctl.h
STRETCH = range(5000)


def spin():
    sum(STRETCH)  # line: spin


if len(sys.argv) > 1:
    ctypes.CDLL(None).prctl(PR_SET_NAME, sys.argv[1].encode(), 0, 0, 0)
spin()
ready()
while running():
    spin()
finish()
