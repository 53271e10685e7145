# SPDX-License-Identifier: BSD-2-Clause
"""
Python code that C code calls, and code of unusual kinds: each drive line leads to a sum(STRETCH) at
a known place through functions whose names and lines the test knows. See chains.py.
"""
import contextlib
import functools
import sys
import weakref

from harness import finish, ready, running

STRETCH = range(10000)
# The line of a decorator's call is the decorator's or, in some versions, the function's.
decorated_at = set()
TWO = (1, 2)


class Doomed(object):
    def __del__(self):
        sum(STRETCH)  # line: Doomed.__del__


def lose():
    doomed = Doomed()
    del doomed  # line: lose


class Buried(object):
    pass


def mourn(_):
    sum(STRETCH)  # line: mourn


def bury():
    buried = Buried()
    grave = weakref.ref(buried, mourn)
    del buried  # line: bury
    return grave


def by_key(number):
    return sum(STRETCH) * number  # line: by_key


def mapped(number):
    return sum(STRETCH) * number  # line: mapped


by_lambda = lambda number: sum(STRETCH)  # line: <lambda>


def folded(total, number):
    return sum(STRETCH) * total * number  # line: folded


def partly(number):
    return sum(STRETCH) * number  # line: partly


class Thing(object):
    """What C calls by itself: comparisons, hashes, iteration, attributes, descriptors."""

    def __init__(self, number=0):
        self.number = number
        if number:
            sum(STRETCH)  # line: Thing.__init__

    def __lt__(self, other):
        return sum(STRETCH) < 0  # line: Thing.__lt__

    def __hash__(self):
        return sum(STRETCH) % 7  # line: Thing.__hash__

    def __getattr__(self, name):
        return sum(STRETCH)  # line: Thing.__getattr__

    def __str__(self):
        return str(sum(STRETCH))  # line: Thing.__str__

    def __call__(self):
        return sum(STRETCH)  # line: Thing.__call__


class Steps(object):
    def __init__(self):
        self.left = 2  # line: Steps.__init__

    def __iter__(self):
        return self  # line: Steps.__iter__

    def __next__(self):
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return sum(STRETCH)  # line: Steps.__next__

    next = __next__


class Manager(object):
    def __enter__(self):
        return sum(STRETCH)  # line: Manager.__enter__

    def __exit__(self, *exc):
        pass  # line: Manager.__exit__


class Leaver(object):
    def __enter__(self):
        pass  # line: Leaver.__enter__

    def __exit__(self, *exc):
        sum(STRETCH)  # line: Leaver.__exit__


# On one line: which of two CPython means when it leaves has changed three times.


def enter():
    with Manager(): pass  # line: enter


def leave():
    with Leaver(): pass  # line: leave


@contextlib.contextmanager
def managed():
    sum(STRETCH)  # line: managed
    yield  # line: managed@yield


def manage():
    with managed(): pass  # line: manage


def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)  # line: twice.<locals>.wrapper

    return wrapper


@twice
def wrapped():
    return sum(STRETCH)  # line: wrapped


def traced(function):
    decorated_at.add(sys._getframe(1).f_lineno)
    sum(STRETCH)  # line: traced
    return function


def define():
    @traced  # line: define
    def inner():
        pass

    return inner


def make_class():
    class Body(object):  # line: make_class
        sum(STRETCH)  # line: make_class.<locals>.Body

    return Body


class Shape(type):
    def __new__(mcs, name, bases, space):
        sum(STRETCH)  # line: Shape.__new__
        return type.__new__(mcs, name, bases, space)


def shape():
    return Shape("Shaped", (), {})  # line: shape


def evaluated():
    return sum(STRETCH)  # line: evaluated


EVAL = compile("\n\nevaluated()", "<string>", "eval")
EXEC = compile(
    "\ndef in_string():\n    x = 1\n    sum(STRETCH)\n\n\nin_string()\n", "<string>", "exec"
)
keyed = functools.partial(partly)
thing = Thing()
# Made outside of drive(), where it would be one more frame that runs.
pair = [Thing(), Thing()]


def drive():
    lose()  # drive: del
    bury()  # drive: weakref
    sorted(TWO, key=by_key)  # drive: sorted
    list(map(mapped, TWO))  # drive: map
    list(filter(by_lambda, TWO))  # drive: lambda
    functools.reduce(folded, TWO)  # drive: reduce
    keyed(1)  # drive: partial
    Thing(1)  # drive: init
    sorted(pair)  # drive: lt
    {thing: 1}  # drive: hash
    thing.missing  # drive: getattr
    str(thing)  # drive: str
    thing()  # drive: call
    list(Steps())  # drive: next
    enter()  # drive: enter
    leave()  # drive: leave
    manage()  # drive: manage
    wrapped()  # drive: wrapped
    define()  # drive: decorator
    make_class()  # drive: class
    shape()  # drive: metaclass
    eval(EVAL)  # drive: eval
    exec(EXEC)  # drive: exec


drive()
ready(define=decorated_at.pop())
while running(uneven=True):
    drive()  # line: module
finish()
