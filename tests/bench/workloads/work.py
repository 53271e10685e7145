# SPDX-License-Identifier: BSD-2-Clause
"""work.py BUSY_MS PAUSE_MS: does varied work for BUSY_MS, sleeps for PAUSE_MS, and so on.

The work goes through some hundred functions of the standard library's pure Python, so there are
many different stacks, as in a real program. 0 busy: only sleeps; 0 pause: only works. Ends when
its parent has.
"""
import ast
import difflib
import fractions
import json.encoder
import os
import pprint
import statistics
import sys
import textwrap
import time
import tokenize

PARENT = os.getppid()
TEXT = [line + "\n" for line in textwrap.__doc__.split()] * 4 + ["x = [1, (2, 3), {'a': 4}]\n"] * 9
DATA = {"key %d" % i: [i, str(i), {"deep": [i] * 3}] for i in range(9)}


def tokens():
    lines = iter(TEXT)
    return sum(1 for _ in tokenize.generate_tokens(lambda: next(lines, "")))


def numbers():
    return statistics.stdev([fractions.Fraction(i, 7) for i in range(1, 20)])


WORK = [
    tokens,
    numbers,
    lambda: list(difflib.unified_diff(TEXT, TEXT[3:] + TEXT[:3])),
    lambda: pprint.pformat(DATA, width=30),
    lambda: textwrap.wrap(" ".join(TEXT), width=20),
    lambda: ast.dump(ast.parse("".join(TEXT[-9:]))),
    lambda: "".join(json.encoder.JSONEncoder(indent=1).iterencode(DATA)),
]


def work(seconds):
    end = time.monotonic() + seconds
    i = 0
    while time.monotonic() < end:
        WORK[i % len(WORK)]()
        i += 1


busy_ms, pause_ms = int(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while os.getppid() == PARENT:
    work((busy_ms if pause_ms else 1000) / 1000)
    time.sleep(pause_ms / 1000)
