# SPDX-License-Identifier: BSD-2-Clause
"""One busy function. With an argument, the process takes it as its name (comm)."""
import sys

from harness import finish, ready, running, set_name

STRETCH = range(5000)


def spin():
    sum(STRETCH)  # line: spin


if len(sys.argv) > 1:
    set_name(sys.argv[1])
spin()
ready()
while running():
    spin()
finish()
