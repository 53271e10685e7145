#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compares krait's table of CPython layouts with the headers of every CPython at hand.

    check.py [INCLUDE_DIR]...

Compiles offsets.c against each interpreter's own include folder (of ~/.pyenv/versions, the system,
the Debian root tree: tests/pythons.py), and against the folders named. Prints a line for each, and
one for each interpreter that comes without headers; exits 1 on a difference.

What an interpreter's headers say with Py_DEBUG is compared too, from 3.8 on: there krait takes debug
builds for what they are otherwise. (Up to 3.7 Py_DEBUG implies Py_TRACE_REFS, and all is elsewhere.)
And what they say of a free-threaded build, from 3.13 on.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.dont_write_bytecode = True

import pythons  # noqa: E402

SOURCES = [
    os.path.join(HERE, "offsets.c"),
    os.path.join(ROOT, "user/python/layout.c"),
    os.path.join(ROOT, "user/python/debug_offsets.c"),
    os.path.join(ROOT, "user/proc/memory.c"),
    os.path.join(ROOT, "user/python/pydict.c"),
    os.path.join(ROOT, "user/python/pyobject.c"),
    os.path.join(ROOT, "user/python/pyversion.c"),
    os.path.join(ROOT, "user/base/strbuf.c"),
    os.path.join(ROOT, "user/base/text.c"),
]
ASK_INCLUDE = "import sysconfig; print(sysconfig.get_path('include'))"


def include_dir(py):
    """The folder of an interpreter's headers as the host sees it, or None."""
    run = subprocess.run(py.argv(["-c", ASK_INCLUDE]), capture_output=True, text=True, cwd="/")
    folder = py.root + run.stdout.strip()
    # Before 3.7 nothing was internal.
    names = ["internal/pycore_pystate.h", "internal/pystate.h"] if py.minor >= (3, 7) else ["pystate.h"]
    return folder if any(os.path.isfile(os.path.join(folder, name)) for name in names) else None


def check(folder, program, flags=()):
    """True if the table agrees with the headers in folder."""
    # Debian's pyconfig.h includes <x86_64-linux-gnu/python3.N/pyconfig.h>, from the folder above.
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-w", "-D_GNU_SOURCE", "-DPy_BUILD_CORE"]
    command += ["-I" + ROOT, "-I" + folder, "-I" + os.path.join(folder, "internal")]
    command += ["-I" + os.path.dirname(folder), "-o", program] + list(flags) + SOURCES
    if subprocess.run(command, check=False).returncode:
        print("layouts: %s: does not compile" % folder)
        return False
    return subprocess.run([program], check=False).returncode == 0


def main(argv):
    jobs = [(os.path.abspath(folder), ()) for folder in argv]
    for py in pythons.find():
        if py.minor not in pythons.WANTED:
            continue
        folder = include_dir(py)
        if folder:
            jobs.append((folder, ()))
            if py.minor >= (3, 8) and py.is_plain:
                jobs.append((folder, ["-DPy_DEBUG"]))
            if py.minor >= (3, 13) and not py.is_nogil:
                jobs.append((folder, ["-DPy_GIL_DISABLED"]))
        else:
            print("layouts: %s: skipped: it has no internal headers" % py.name)
    if not jobs:
        print("layouts: skipped: no CPython with headers here")
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.flush()
        results = [check(folder, os.path.join(scratch, "offsets"), flags) for folder, flags in jobs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
