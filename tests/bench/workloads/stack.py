# SPDX-License-Identifier: BSD-2-Clause
"""stack.py DEPTH [FILE]: one thread, always exactly DEPTH Python frames deep and always busy.
FILE gets the address of its thread state.

Every frame is of another function: code objects that repeat would cost the profiler less. Ends when
its parent has. Runs under every Python from 3.6 on.
"""
import os
import sys

PARENT = os.getppid()
STEP = """
def step{0}():
    return step{1}()
"""


def bottom():
    print("ready", flush=True)
    while os.getppid() == PARENT:
        for _ in range(1000000):
            pass


if len(sys.argv) > 2:
    import ctypes

    ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p
    with open(sys.argv[2], "w", encoding="ascii") as stream:
        stream.write(str(ctypes.pythonapi.PyThreadState_Get()))
depth = int(sys.argv[1])
between = depth - 2  # the module's own frame is there, and bottom's
if between < 1:
    sys.exit("stack.py: a depth of 3 at least")
steps = {"step%d" % between: bottom}
for i in range(between):
    exec(STEP.format(i, i + 1), steps)
sys.setrecursionlimit(depth + 1000)
steps["step0"]()
