# -*- coding: utf-8 -*-
# SPDX-License-Identifier: BSD-2-Clause
"""
Functions with names of every kind that CPython stores (ASCII, Latin-1, UCS-2, UCS-4; bytes in 2.7),
and with names that try to break out of an output format. co_name can hold any str.
"""
import random
import struct
import sys
import types

from harness import finish, ready, running

STRETCH = range(4000)


def spin():
    sum(STRETCH)


NAMES = [
    "plain_ascii",
    u"naïve",
    u"漢字",
    u"𐐀𐐁",
    u"latin_é",
    u"ucs2_漢字",
    u"ucs4_\U0001d538",
    'newline\nprocess 1:"x";FORGED_ROOT;forged_leaf 1000000\nend',
    "return\rhere",
    "escape\x1b[31mred",
    "semi;colon",
    u"bidi\u202eright",
    u"isolate\u2066left",
    u"c1\x85next",
    u"separator\u2028line",
    "delete\x7fchar",
    "nul\0char",
    "frame 7 20",
    'quote"back\\slash',
    "tab\there",
    u"latin only \xff",
    "L" * 3000,
]
FILE = 'odd;dir/new\nline/\x1b[0mfile "x".py'
# Attributes of a code object in the order in which its type takes them.
CODE_ARGS = "argcount kwonlyargcount nlocals stacksize flags code consts names varnames"
CODE_ARGS += " filename name firstlineno lnotab freevars cellvars"

if sys.version_info >= (3,):
    NAMES += ["lone\ud800high", "pair\ud835\udd38apart"]
    exec("def naïve(): sum(STRETCH)")
    exec("def 漢字(): sum(STRETCH)")
    exec("def 𐐀𐐁(): sum(STRETCH)")
    functions = [globals()[name] for name in NAMES[1:4]]
else:
    functions = []


def replace(code, **changes):
    if hasattr(code, "replace"):
        return code.replace(**{"co_" + name: value for name, value in changes.items()})
    names = [name for name in CODE_ARGS.split() if hasattr(code, "co_" + name)]
    return types.CodeType(*[changes.get(name, getattr(code, "co_" + name)) for name in names])


def rename(name, file=None):
    if not isinstance(name, str):
        name = name.encode("utf-8")  # 2.7
    changes = {"name": name}
    if hasattr(spin.__code__, "co_qualname"):
        changes["qualname"] = name
    if file:
        changes["filename"] = file
    return types.FunctionType(replace(spin.__code__, **changes), globals())


def code_points(name):
    """As numbers: JSON can't tell two surrogates from one character, nor can some builds of 2.7."""
    if sys.version_info >= (3,):
        return [ord(char) for char in name]
    data = name.encode("utf-32-le")
    return list(struct.unpack("<%dI" % (len(data) // 4), data))


functions += [rename(name) for name in NAMES]
functions.append(rename("in_odd_file", FILE))
points = [code_points(name) for name in NAMES]
if sys.version_info < (3,):
    functions.append(rename(b"not\xffutf\xe2\x82-8"))
    points.append(code_points(u"not\ufffdutf\ufffd-8"))
# No fixed turn, with which a sampling rate could march in step.
dice = random.Random(1)
turns = [function for _ in range(50) for function in dice.sample(functions, len(functions))]


def drive():
    for function in turns:
        function()


drive()
ready(names=points, file=FILE, line=spin.__code__.co_firstlineno + 1)
while running():
    drive()
finish()
