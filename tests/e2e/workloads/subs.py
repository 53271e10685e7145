# SPDX-License-Identifier: BSD-2-Clause
"""
Two threads that each go in and out of an interpreter of their own, so that each has a thread state
in two. In there the time goes into Python code and, without the GIL, into zlib. From 3.8 on.

"subs.py crossed": each goes into the interpreter that the other one has made. Up to 3.12 it runs
there with the thread state that the maker left, which says that it is the maker's.
"""
import sys
import threading

from harness import finish, native_id, ready, running

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

STRETCH = range(20000)
SOURCE = """
try:
    from zlib import compress
except ImportError:  # a CPython built without zlib
    from hashlib import blake2b as compress

STRETCH = range(20000)
BUFFER = bytes(number * number & 255 for number in range(200000))


def sub_LETTER_leaf():
    for _ in range(10):
        sum(STRETCH)


def sub_LETTER_loop():
    number = 60000
    while number:
        number -= 1


def sub_LETTER_squeeze():
    compress(BUFFER)


def sub_LETTER():
    sub_LETTER_leaf()
    sub_LETTER_loop()
    sub_LETTER_squeeze()
"""


def main_a():
    for _ in range(10):
        sum(STRETCH)


def main_b():
    for _ in range(10):
        sum(STRETCH)


def enter(interpreter, letter):
    interpreters.run_string(interpreter, "sub_%s()" % letter)  # line: enter


def make(letter):
    """An interpreter for the thread of that letter, made by whoever calls this."""
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, SOURCE.replace("LETTER", letter))
    return interpreter


def meet(letter, name):
    """Makes an interpreter, and returns the one that this thread is to go into."""
    tids[letter] = native_id()
    made[name] = make(name)
    barrier.wait()
    enter(made[letter], letter)
    barrier.wait()
    return made[letter]


def other():
    interpreter = meet("b", for_b)
    while not stop.is_set():
        main_b()
        enter(interpreter, "b")
    barrier.wait()
    interpreters.destroy(made[for_b])


is_crossed = sys.argv[1:] == ["crossed"]
for_a, for_b = ("b", "a") if is_crossed else ("a", "b")
tids, made = {}, {}
barrier, stop = threading.Barrier(2), threading.Event()
thread = threading.Thread(target=other, name="other")
thread.start()
mine = meet("a", for_a)
ready(tids=tids)
while running():
    main_a()
    enter(mine, "a")
stop.set()
barrier.wait()
thread.join()
interpreters.destroy(made[for_a])
finish()
