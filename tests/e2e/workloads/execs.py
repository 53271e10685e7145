# SPDX-License-Identifier: BSD-2-Clause
"""Runs phase_one until "go", then execs the command of its arguments: another Python, phase_two."""
import os
import sys

import harness
from harness import finish, process_seconds, ready, running

STRETCH = range(5000)


def phase_one():
    while not harness.commands and running():
        sum(STRETCH)  # line: phase_one
    end = process_seconds() + 0.3
    while process_seconds() < end:
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
