# SPDX-License-Identifier: BSD-2-Clause
"""
Threads that live a millisecond, three at a time, beside one that stays: their states, stacks and
frames lie in memory that another thread has just given back. Each runs the function of its number.
churn.py COUNT: at "go" it says "enough" when so many more have begun; those are `sampled`.
"""
import sys
import threading

from harness import commands, finish, native_id, ready, running, say, set_name

try:
    from _thread import start_new_thread
except ImportError:
    from thread import start_new_thread

STRETCH = range(1500)
FUNCTION_CNT = 64
SOURCE = """
def short_%d():
    for _ in range(30):
        spin()
"""
AT_ONCE = 3


def spin():
    sum(STRETCH)


def long_work():
    while not stop.is_set():
        spin()


def run(number):
    lives.append((native_id(), number))
    set_name("short-%02d" % number)
    short[number]()
    gate.release()


for number in range(FUNCTION_CNT):
    exec(SOURCE % number)
short = [globals()["short_%d" % number] for number in range(FUNCTION_CNT)]
if hasattr(sys, "setswitchinterval"):
    sys.setswitchinterval(0.0005)
lives = []
stop = threading.Event()
gate = threading.Semaphore(AT_ONCE)
staying = threading.Thread(target=long_work)
staying.start()
ready()
started = 0
goal = None
sampled = [0, 0]  # from, to: of lives
while started % 16 or running():
    gate.acquire()
    start_new_thread(run, (started % FUNCTION_CNT,))
    started += 1
    if "go" in commands:
        commands.remove("go")
        sampled = [len(lives)]
        goal = started + int(sys.argv[1])
    if started == goal:
        sampled.append(len(lives))
        say("enough")
for _ in range(AT_ONCE):
    gate.acquire()
stop.set()
staying.join()
finish(lives=lives, sampled=sampled)
