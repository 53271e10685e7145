# -*- coding: utf-8 -*-
# SPDX-License-Identifier: BSD-2-Clause
"""
Threads by many names, of as many kinds of objects, some that don't live long, and a forked child with
some. "rename" gives one of them another name, "comm" another one to the kernel as well; both answer
"renamed".
"""
import os
import sys
import threading
import time

from harness import commands, finish, has_parent, native_id, ready, running, say, set_name

try:
    import _thread
except ImportError:
    import thread as _thread

STRETCH = range(3000)
SHORT_AT_ONCE = 3
stop = False
tids = {}
lives = []
parent = os.getpid()


def spin(key):
    tids[key] = native_id()
    while not stop:
        sum(STRETCH)


class Many(threading.Thread):
    """More attributes than a class shares the names of (30 in 3.11)."""

    def __init__(self, key):
        for number in range(40):
            setattr(self, "attribute_%d" % number, number)
        super(Many, self).__init__(target=spin, args=(key,), name=key)


class Base(object):
    __slots__ = ["slot"]


class Slots(Base, threading.Thread):
    """Of another size than Thread."""


def dummy(key, name):
    if name:
        threading.current_thread().name = name
    threading.current_thread()
    spin(key)


def renamed(key):
    tids[key] = native_id()
    while not stop:
        sum(STRETCH)
        if "rename" in commands:
            commands.remove("rename")
            threading.current_thread().name = "after"
            say("renamed")
        if "comm" in commands:
            commands.remove("comm")
            threading.current_thread().name = "at last"
            set_name("at last")
            say("renamed")


def short(number):
    """Up to some tenths of a second, so that krait comes to some in time and to others too late."""
    end = time.time() + number % 8 * 0.07
    lives.append((native_id(), number))
    sum(STRETCH)
    while time.time() < end and not stop:
        sum(STRETCH)


def replace_dead(living):
    """As soon as one has ended: the next one gets its stack, and with it its ident."""
    for index, thread in enumerate(living):
        if not thread.is_alive():
            numbers.append(len(numbers))
            name = "short %d" % numbers[-1]
            living[index] = threading.Thread(target=short, args=numbers[-1:], name=name)
            living[index].start()


NAMES = {
    "plain": "io-worker",
    "long": "a name that is longer than fifteen bytes",
    "longest": "x" * 200,
    "foreign": "na\xefve \u5de5\u4f5c \U0001d4b3" if sys.version_info[0] > 2 else "naïve 工作 𝒳",
    "hostile": "a;b\nc\x1b[2J",
}


def threads():
    for key in sorted(NAMES):
        yield threading.Thread(target=spin, args=(key,), name=NAMES[key])
    yield threading.Thread(target=renamed, args=("renamed",), name="before")
    yield Many("many")
    yield Slots(target=spin, args=("slots",), name="slots")
    with_dict = threading.Thread(target=spin, args=("dict",), name="dict")
    with_dict.__dict__["more"] = with_dict.__dict__
    yield with_dict


def child():
    """The main thread of a forked process, and one that it starts."""
    thread = threading.Thread(target=spin, args=("child",), name="in the child")
    thread.daemon = True
    thread.start()
    while "child" not in tids:
        time.sleep(0.01)
    os.write(pipe[1], b"%d\n" % tids["child"])
    while has_parent(parent):
        sum(STRETCH)
    os._exit(0)


pipe = os.pipe()
child_pid = os.fork()
if not child_pid:
    child()
tids["child"] = int(os.read(pipe[0], 64))
if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
    os.nice(5)  # all at once, they would leave little CPU time to the workloads beside them
started = list(threads())
for thread in started:
    thread.start()
_thread.start_new_thread(spin, ("unknown",))
_thread.start_new_thread(dummy, ("dummy", None))
_thread.start_new_thread(dummy, ("dummy named", "by C"))
while len(tids) < len(started) + 4:
    time.sleep(0.01)
tids["main"] = os.getpid()
tids["child main"] = child_pid
ready(tids=tids)
numbers = []
living = [threading.Thread(target=int) for _ in range(SHORT_AT_ONCE)]
while running():
    sum(STRETCH)
    replace_dead(living)
stop = True
for thread in started + living:
    thread.join()
finish(lives=lives)
