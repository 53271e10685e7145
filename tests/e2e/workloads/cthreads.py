# SPDX-License-Identifier: BSD-2-Clause
"""
cthreads.py LIBRARY CPU_SECONDS: at "go" the threads of cthreads.c, each for so much CPU time; then
"measured" with what they used.
"""
import ctypes
import sys

import harness
from harness import finish, native_id, ready, running, say, thread_seconds

STRETCH = range(5000)
KINDS = ["only_c", "new_state", "own_state"]
library = ctypes.CDLL(sys.argv[1])
with_gil = ctypes.PyDLL(sys.argv[1])
Call = ctypes.CFUNCTYPE(None)


def inside_new():
    sum(STRETCH)


def called_new():
    for _ in range(20):
        inside_new()


def inside_own():
    sum(STRETCH)


def called_own():
    for _ in range(20):
        inside_own()


def measure(kind):
    tid, in_c, in_py = ctypes.c_long(), ctypes.c_double(), ctypes.c_double()
    library.join(kind, ctypes.byref(tid), ctypes.byref(in_c), ctypes.byref(in_py))
    return {"tid": tid.value, "in_c": in_c.value, "in_py": in_py.value}


def main_spin():
    start = thread_seconds()
    while thread_seconds() < start + float(sys.argv[2]) / 2:
        sum(STRETCH)
    return {"tid": native_id(), "in_c": 0, "in_py": thread_seconds() - start}


# The main thread has a state in the newest interpreter from here on, and runs nothing there.
with_gil.idle_interpreter_new.restype = ctypes.c_void_p
idle = with_gil.idle_interpreter_new()
calls = [Call(), Call(called_new), Call(called_own)]
ready()
while not harness.commands and running(wait=1):
    pass
if harness.commands:
    for kind, call in enumerate(calls):
        library.start(kind, call, ctypes.c_double(float(sys.argv[2])))
    measured = {"main": main_spin()}
    measured.update((name, measure(kind)) for kind, name in enumerate(KINDS))
    say("measured", **measured)
    while running(wait=1):
        pass
with_gil.idle_interpreter_free(ctypes.c_void_p(idle))
finish()
