# SPDX-License-Identifier: BSD-2-Clause
"""
What every workload shares: it says "ready" when it is warm, runs until its stdin is closed, and
prints what it measured of itself as its last line. Five minutes (KRAIT_WORKLOAD_S) are the safety
net.

Runs under every Python from 2.7 on, so no newer syntax here.
"""
import dis
import json
import os
import random
import select
import sys
import time

try:
    import ctypes

    libc = ctypes.CDLL(None)

    class Timespec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

except ImportError:  # a CPython built without libffi; new enough to do without
    libc = None

DEADLINE = time.time() + int(os.environ.get("KRAIT_WORKLOAD_S", 300))
CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID = 2, 3  # linux/time.h
SYS_GETTID = 186 if os.uname()[4] == "x86_64" else 178  # asm/unistd_64.h, asm-generic/unistd.h
PR_SET_NAME = 15  # linux/prctl.h
# The longest period of a sampling timer for which uneven turns are meant: that of 3,999 Hz.
PERIOD_S = 0.00025
commands = []


def libc_clock(clock):
    """time.clock_gettime, which is as old as 3.3."""
    spec = Timespec()
    libc.clock_gettime(clock, ctypes.byref(spec))
    return spec.sec + spec.nsec / 1e9


read_clock = getattr(time, "clock_gettime", libc_clock)


def thread_seconds():
    """CPU time of this thread."""
    return read_clock(CLOCK_THREAD_CPUTIME_ID)


def process_seconds():
    """CPU time of the process."""
    return read_clock(CLOCK_PROCESS_CPUTIME_ID)


def native_id():
    """The kernel's id of this thread: threading.get_native_id is as old as 3.8."""
    if libc:
        return libc.syscall(SYS_GETTID)
    import _thread

    return _thread.get_native_id()


def set_name(name):
    """Names this thread, to the kernel."""
    if libc:
        libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
        return
    with open("/proc/self/task/%d/comm" % native_id(), "w") as stream:
        stream.write(name)


def lines_of(code):
    """The lines of a code object, as this CPython has them: 3.10 and later have instructions that
    belong to none (0)."""
    if hasattr(code, "co_lines"):
        lines = {line or 0 for _, _, line in code.co_lines()}
    else:
        lines = {line for _, line in dis.findlinestarts(code)}
    return sorted(lines | {code.co_firstlineno})


def lines_of_functions(functions):
    return {function.__name__: lines_of(function.__code__) for function in functions}


def say(word, **facts):
    """One line for the test: WORD {"fact": ...}."""
    sys.stdout.write(word + " " + json.dumps(facts) + "\n")
    sys.stdout.flush()


def ready(**facts):
    facts["pid"] = os.getpid()
    facts["version"] = list(sys.version_info[:3])
    say("ready", **facts)


def lose_step():
    """So that the timer's next ticks fall on other places of a turn than the last ones did, and each
    turn is drawn by itself (tests/chance.py)."""
    end = time.time() + random.random() * PERIOD_S
    while time.time() < end:
        pass


def running(wait=0, uneven=False):
    """False once stdin is closed. Lines that came in are appended to `commands`. uneven: for a loop
    whose turns are all alike, and of which the places are counted."""
    if uneven:
        lose_step()
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
