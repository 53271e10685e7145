# SPDX-License-Identifier: BSD-2-Clause
"""
Children by os.fork: one before the test looks, and after "go" one more, and five that use 60 ms of
CPU time each.
"""
import os
import signal

import harness
from harness import finish, has_parent, process_seconds, ready, running, say

STRETCH = range(5000)
parent_pid = os.getpid()


def child_early():
    while has_parent(parent_pid):
        sum(STRETCH)  # line: child_early


def child_late():
    while has_parent(parent_pid):
        sum(STRETCH)  # line: child_late


def child_brief():
    end = process_seconds() + 0.06
    while process_seconds() < end:
        sum(STRETCH)  # line: child_brief


def fork(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


early = fork(child_early)
ready(early=early)
while not harness.commands and running(wait=1):
    pass
late = fork(child_late)
brief = []
for _ in range(5):
    brief.append(fork(child_brief))
    os.waitpid(brief[-1], 0)
say("forked", late=late, brief=brief)
while running(wait=1):
    pass
for pid in (early, late):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
finish()
