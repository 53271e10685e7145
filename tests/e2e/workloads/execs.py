# SPDX-License-Identifier: BSD-2-Clause
"""Runs phase_one until "go", then execs the command of its arguments: another Python, phase_two."""
import os
import sys
import time

import harness
from harness import finish, ready, running

STRETCH = range(5000)


def phase_one():
    while not harness.commands and running():
        sum(STRETCH)  # line: phase_one
    end = time.process_time() + 0.3
    while time.process_time() < end:
        sum(STRETCH)  # line: phase_one after go


def phase_two():
    ready()
    while running():
        sum(STRETCH)  # line: phase_two


if len(sys.argv) > 1:
    ready()
    phase_one()
    if harness.commands:
        os.execvp(sys.argv[1], sys.argv[1:])
else:
    phase_two()
finish()
