# SPDX-License-Identifier: BSD-2-Clause
"""Real processes with names that were made up to be shown as something else."""
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys

import kraitrun
import targets

sys.path.append(os.path.join(kraitrun.TREE, "tests", "golden"))

import madeup

PR_SET_NAME = 15
# A function of any name and file, called all the time by a thread of any name.
SPINS = """
import sys, threading
def spin():
    sum(range(5000))
name, file, thread = %r
spin.__code__ = spin.__code__.replace(co_name=name, co_qualname=name, co_filename=file)
stops = []
def work():
    while not stops:
        spin()
worker = threading.Thread(target=work, name=thread)
worker.start()
"""
# Says that it runs when it is one of the kind, and goes when its stdin is closed.
WAITS = "import sys; sys.stdout.write('ready'); sys.stdout.flush(); sys.stdin.read(); stops = [1]"


def static_python():
    """A CPython whose file is all that it needs, so that a copy of any name is one too."""
    for py in targets.SUPPORTED:
        if py.is_plain and not py.root and os.path.dirname(py.path) == "/usr/bin":
            return py
    return None


@contextlib.contextmanager
def started(py, path, comm, args, script=""):
    """(pid, command) of a copy of that interpreter at `path` (bytes), with this comm and these
    arguments, once it has run the script."""
    if not os.path.exists(path):
        shutil.copy(py.path, path)
    set_name = (
        "import ctypes; ctypes.CDLL(None).prctl(%d, bytes(%r), 0, 0, 0)\n" % (PR_SET_NAME, list(comm))
    )
    command = [path, b"-c", (set_name + script + WAITS).encode(), *args]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kraitrun.ENV
    ) as process:
        assert process.stdout.read(5) == b"ready"
        yield process.pid, command
        process.kill()


def path_of(folder, names):
    return bytes(folder) + b"/" + names.data(60, b"/\0") + b"x"


def check_ps(folder, names):
    """One process: its entry is one line, and says what the names are; JSON is JSON."""
    py, path = static_python(), path_of(folder, names)
    args = [names.data(60, b"\0") for _ in range(3)] + [b"end"]
    with started(py, path, names.data(15, b"\0"), args) as (pid, command):
        listed = kraitrun.krait("ps", "-p", pid)
        as_json = kraitrun.krait("ps", "-p", pid, "--json")
    os.unlink(path)
    want = madeup.safe_bytes(b" ".join(command))
    text = madeup.assert_harmless(listed.out)
    madeup.assert_harmless(listed.err.encode())
    madeup.assert_harmless(as_json.out)
    lines = text.split("\n")
    assert len(lines) == 3 and lines[1].split()[0] == str(pid) and lines[2] == "", text
    assert lines[1].endswith(" " + want), (lines[1], want)
    (entry,) = json.loads(as_json.out)["processes"]
    assert entry["pid"] == pid and entry["command"] == want and entry["ready"]
    return entry
