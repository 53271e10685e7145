# SPDX-License-Identifier: BSD-2-Clause
"""The programs under krait: started, warm before a test goes on, stopped by closing their stdin."""
import json
import os
import re
import subprocess
import sys
import time

import pytest

import kraitrun

sys.path.insert(0, os.path.join(kraitrun.TREE, "tests"))

import chance  # noqa: F401 - for the tests, which find it here
import pythons

EVERY = pythons.find()
SUPPORTED = [py for py in EVERY if py.minor in pythons.WANTED]
# For the tests that go through all of krait: not every build of every version, or they would take an
# hour. (krait ps and the accuracy suite look at all of them.)
EACH = [py for py in SUPPORTED if py.source not in ("sid-dbg", "musl-static")]
WORKLOADS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "workloads")
STOP_S = 60
# For CPU time, on a host that is busy with other work; the workloads give up after five minutes.
WAIT_S = 240
# Workloads that not every version can run, and the first that can.
LEAST = {"coros": (3, 5), "pools": (3, 4), "awaits": (3, 6), "subs": (3, 8)}
# And those that take a module that not every build has.
WITH_CTYPES = ["cthreads"]
WITH_SQLITE = ["nogil"]


def why_not_run(py, name):
    if py.minor < LEAST.get(name, (2, 7)):
        return "%s.py needs Python %d.%d" % ((name,) + LEAST[name])
    if name in WITH_CTYPES and not py.has_libraries:
        return "%s.py needs ctypes" % name
    if name in WITH_SQLITE and not py.has_libraries:
        return "%s.py needs sqlite3 and zlib" % name
    return None


def can_run(py, name):
    return why_not_run(py, name) is None


def skip_unless_run(py, name):
    reason = why_not_run(py, name)
    if reason:
        pytest.skip(reason)


def script(py, name):
    """The path of a workload as the interpreter sees it."""
    if not hasattr(py, "e2e_folder"):
        py.e2e_folder = py.path_for(WORKLOADS)
    return os.path.join(py.e2e_folder, name + ".py")


def command(py, name, *args):
    return py.argv([script(py, name)] + [str(arg) for arg in args])


class Workload:
    """A running workload that has said "ready"; .facts is what it said with it. prefix: what it is to
    be started by, whose process .pid is then."""

    def __init__(self, py, name, *args, prefix=()):
        self.py = py
        self.name = name
        self.process = subprocess.Popen(
            list(prefix) + command(py, name, *args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kraitrun.ENV,
            cwd="/",
        )
        self.pid = self.process.pid
        self.truth = None
        self.facts = self.hear("ready")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self, word):
        """The facts of the next line, which must begin with that word."""
        line = self.process.stdout.readline().decode()
        assert line.startswith(word + " "), "%s said %r" % (self.name, line)
        return json.loads(line[len(word) :])

    def tell(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends it; returns what it measured of itself."""
        out, _ = self.process.communicate(timeout=STOP_S)
        assert self.process.returncode == 0, "%s exits %d" % (self.name, self.process.returncode)
        line = out.decode().splitlines()[-1]
        assert line.startswith("done "), line
        self.truth = json.loads(line[len("done") :])
        return self.truth


def cpu_seconds(pid):
    """CPU time that a process has used, its ended children left out: utime + stime, proc(5)."""
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_each_cpu(seconds, timeout=WAIT_S):
    """Returns once each of these processes has used its CPU time ({pid: seconds}) from now on."""
    goal = {pid: cpu_seconds(pid) + more for pid, more in seconds.items()}
    end = time.monotonic() + timeout
    while any(cpu_seconds(pid) < goal[pid] for pid in goal):
        assert time.monotonic() < end, "the workloads get no CPU time"
        time.sleep(0.02)


def wait_cpu(pids, seconds, timeout=WAIT_S):
    """The same, for as much of each."""
    wait_each_cpu(dict.fromkeys(pids, seconds), timeout)


def thread_seconds(pid, tid):
    """CPU time of a thread: /proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst."""
    with open("/proc/%d/task/%d/schedstat" % (pid, tid), encoding="ascii") as stream:
        return int(stream.read().split()[0]) / 1e9


def wait_threads(pid, tids, seconds, timeout=WAIT_S):
    """Returns once each of these threads has used so much CPU time from now on: how threads share a
    GIL is no chance that could be reckoned with."""
    goal = {tid: thread_seconds(pid, tid) + seconds for tid in tids}
    end = time.monotonic() + timeout
    while any(thread_seconds(pid, tid) < goal[tid] for tid in tids):
        assert time.monotonic() < end, "a thread gets no CPU time"
        time.sleep(0.02)


def record_cpu(pids, seconds, *args):
    """`krait record ARGS` until each of these processes has used so much CPU time: of the time on the
    wall a busy host leaves them little."""
    with kraitrun.start_record(*args) as krait:
        wait_cpu(pids, seconds)
        return krait.stop()


def markers(name):
    """{"line: leaf": line number} of the comments at the ends of a workload's lines."""
    with open(os.path.join(WORKLOADS, name + ".py"), encoding="utf-8") as stream:
        found = {}
        for number, line in enumerate(stream, 1):
            match = re.search(r"# ((?:line|begin|end|drive): .*)$", line)
            if match:
                assert match[1] not in found, match[1]
                found[match[1]] = number
    return found
