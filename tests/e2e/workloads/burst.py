# SPDX-License-Identifier: BSD-2-Clause
"""
A short program for `-- COMMAND`: burst.py CPU_SECONDS HOW, where HOW is an exit status or
"signal N".
"""
import os
import sys

from harness import process_seconds, say

STRETCH = range(5000)


def burst(seconds):
    start = process_seconds()
    while process_seconds() - start < seconds:
        sum(STRETCH)  # line: burst
    return process_seconds() - start


say("burst", pid=os.getpid(), spent=burst(float(sys.argv[1])))
if sys.argv[2] == "signal":
    os.kill(os.getpid(), int(sys.argv[3]))
sys.exit(int(sys.argv[2]))
