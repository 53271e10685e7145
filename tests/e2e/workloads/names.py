# SPDX-License-Identifier: BSD-2-Clause
"""
Functions with names of every kind that CPython stores (ASCII, Latin-1, UCS-2, UCS-4), and with
names that try to break out of an output format. co_name can hold any str.
"""
import random
import types

from harness import finish, ready, running

STRETCH = range(4000)


def naïve():
    sum(STRETCH)


def 漢字():
    sum(STRETCH)


def 𐐀𐐁():
    sum(STRETCH)


def spin():
    sum(STRETCH)


NAMES = [
    "plain_ascii",
    "latin_é",
    "ucs2_漢字",
    "ucs4_\U0001d538",
    'newline\nprocess 1:"x";FORGED_ROOT;forged_leaf 1000000\nend',
    "return\rhere",
    "escape\x1b[31mred",
    "semi;colon",
    "bidi\u202eright",
    "isolate\u2066left",
    "lone\ud800high",
    "pair\ud835\udd38apart",
    "c1\x85next",
    "separator\u2028line",
    "delete\x7fchar",
    "nul\0char",
    "frame 7 20",
    'quote"back\\slash',
    "tab\there",
    "latin only \xff",
    "L" * 3000,
]
FILE = 'odd;dir/new\nline/\x1b[0mfile "x".py'


def rename(name, file=None):
    changes = {"co_name": name}
    if hasattr(spin.__code__, "co_qualname"):
        changes["co_qualname"] = name
    if file:
        changes["co_filename"] = file
    return types.FunctionType(spin.__code__.replace(**changes), globals())


functions = [naïve, 漢字, 𐐀𐐁] + [rename(name) for name in NAMES]
functions.append(rename("in_odd_file", FILE))
# No fixed turn, with which a sampling rate could march in step.
dice = random.Random(1)
turns = [function for _ in range(50) for function in dice.sample(functions, len(functions))]


def drive():
    for function in turns:
        function()


drive()
# As numbers: JSON can't tell two surrogates from one character.
names = [[ord(char) for char in name] for name in ["naïve", "漢字", "𐐀𐐁"] + NAMES]
ready(names=names, file=FILE, line=spin.__code__.co_firstlineno + 1)
while running():
    drive()
finish()
