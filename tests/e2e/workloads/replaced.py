# SPDX-License-Identifier: BSD-2-Clause
"""
For `-- COMMAND`: replaced.py CPU_SECONDS. Runs old() for so long, frees it, and runs new() as long,
whose code object lies where old()'s lay, and is the same but for the name.
"""
import gc
import sys

from harness import process_seconds, say

STRETCH = range(5000)
SOURCE = """
def %s(seconds):
    end = process_seconds() + seconds
    while process_seconds() < end:
        sum(STRETCH)
"""


def make(name):
    namespace = {"process_seconds": process_seconds, "STRETCH": STRETCH}
    exec(compile(SOURCE % name, "replaced", "exec"), namespace)
    return namespace[name]


def make_at(name, address):
    """Anywhere if that is None. Those that lie elsewhere are kept, so that their memory is not tried
    again."""
    others = []
    while len(others) < 10000:
        others.append(make(name))
        if id(others[-1].__code__) == address or not address:
            return others[-1]
    sys.exit("no code object lies at 0x%x again" % address)


address = None
for name in ("old", "new"):  # both are called by the same instruction
    function = make_at(name, address)
    address = id(function.__code__)
    function(float(sys.argv[1]))
    function = None
    gc.collect()
say("replaced")
