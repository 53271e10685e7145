# SPDX-License-Identifier: BSD-2-Clause
"""
Two threads that each go in and out of an interpreter of their own, so that each has a thread state
in two. In there the time goes into Python code and, without the GIL, into zlib. From 3.12 on.
"""
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


def sub_LETTER_squeeze():
    compress(BUFFER)


def sub_LETTER():
    sub_LETTER_leaf()
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
    tids[letter] = native_id()
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, SOURCE.replace("LETTER", letter))
    enter(interpreter, letter)
    return interpreter


def other():
    interpreter = make("b")
    started.set()
    while not stop.is_set():
        main_b()
        enter(interpreter, "b")
    interpreters.destroy(interpreter)


tids = {}
started, stop = threading.Event(), threading.Event()
thread = threading.Thread(target=other)
thread.start()
mine = make("a")
started.wait()
ready(tids=tids)
while running():
    main_a()
    enter(mine, "a")
stop.set()
thread.join()
interpreters.destroy(mine)
finish()
