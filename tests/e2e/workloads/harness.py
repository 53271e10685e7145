# SPDX-License-Identifier: BSD-2-Clause
"""
What every workload shares: it says "ready" when it is warm, runs until its stdin is closed, and
prints what it measured of itself as its last line. A minute is the safety net.

Runs under every Python from 2.7 on, so no newer syntax here.
"""
import json
import os
import select
import sys
import time

DEADLINE = time.time() + 60
commands = []


def say(word, **facts):
    """One line for the test: WORD {"fact": ...}."""
    sys.stdout.write(word + " " + json.dumps(facts) + "\n")
    sys.stdout.flush()


def ready(**facts):
    facts["pid"] = os.getpid()
    facts["version"] = list(sys.version_info[:3])
    say("ready", **facts)


def running(wait=0):
    """False once stdin is closed. Lines that came in are appended to `commands`."""
    if time.time() > DEADLINE:
        return False
    if not select.select([0], [], [], wait)[0]:
        return True
    text = os.read(0, 4096)
    commands.extend(text.decode().split())
    return bool(text)


def has_parent(parent_pid):
    """For children, which share their parent's stdin and so can't watch it."""
    return os.getppid() == parent_pid and time.time() < DEADLINE


def finish(**facts):
    say("done", **facts)
