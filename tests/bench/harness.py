# SPDX-License-Identifier: BSD-2-Clause
"""What every measurement uses: krait, the empty program, the targets and the readings of both.

Every process is a context manager, and ends by itself when the benchmark is killed: the targets
watch their parent, the rest asks the kernel for a signal (probe.c).
"""
import contextlib
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

BENCH = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(BENCH))
KRAIT = os.path.abspath(os.environ.get("KRAIT") or os.path.join(TREE, "krait"))
BUILD = os.path.join(TREE, ".output", "tests", "bench")
PROBE = os.path.join(BUILD, "probe")
LIMIT = os.path.join(BUILD, "limit.bpf.o")

sys.path.insert(0, os.path.join(TREE, "tests"))

import pythons

ANSWER_S = 30  # how long a process may take to say something: a busy host is slow
SETTLE_S = 0.4  # after the first samples: every code object has been seen by then
OLD_S = 3.2  # after the first samples: by then krait trusts what has not changed
WINDOW_S = 0.02

CPU = max(os.sched_getaffinity(0))  # where the one busy target is kept


class CantMeasure(Exception):
    """A measurement that could not be made, and why."""


def compile_c(command):
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        raise CantMeasure("build %s: %s" % (os.path.basename(command[-2]), run.stderr))


def build_probe():
    """Compiles probe.c and limit.bpf.c; the Makefile knows nothing of them."""
    os.makedirs(BUILD, exist_ok=True)
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-D_GNU_SOURCE"]
    command += ["-I" + TREE, "-o", PROBE, os.path.join(BENCH, "probe.c"), "-lbpf"]
    compile_c(command)
    command = [os.environ.get("CLANG", "clang"), "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall"]
    # Debian has asm/types.h in a folder of the machine's name.
    command += ["-I/usr/include/%s-linux-gnu" % os.uname().machine]
    compile_c(command + ["-o", LIMIT, "-c", os.path.join(BENCH, "limit.bpf.c"), "-Werror"])


class Process:
    """A process that speaks in lines; it has said its first one when the constructor returns."""

    def __init__(self, argv, stderr=None):
        self.argv = argv
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd="/"
        )
        self.pid = self.process.pid
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def hear(self, timeout=ANSWER_S):
        """Its next line."""
        end = time.monotonic() + timeout
        ready = select.poll()  # select() takes no file descriptor above 1,023
        ready.register(self.process.stdout, select.POLLIN)
        while b"\n" not in self.pending:
            left = max(0, end - time.monotonic())
            if not ready.poll(left * 1000):
                raise CantMeasure("%s says nothing" % " ".join(self.argv))
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise CantMeasure("%s has ended" % " ".join(self.argv))
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def ask(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise CantMeasure("%s has ended" % " ".join(self.argv)) from None
        return self.hear()


class Probe(Process):
    """A mode of probe.c; .facts is what it said first."""

    def __init__(self, *args, **kwargs):
        super().__init__([PROBE] + [str(arg) for arg in args], **kwargs)
        try:
            self.facts = json.loads(self.hear())
        except BaseException:
            self.__exit__()
            raise

    def footer(self):
        """What it has said on stderr, if that was kept."""
        return ""


class Target(Process):
    """A workload under a Python; ready when the constructor returns unless told not to wait."""

    def __init__(self, py, name, *args, cpu=None, wait=True):
        if not hasattr(py, "bench_folder"):
            py.bench_folder = py.path_for(os.path.join(BENCH, "workloads"))
        script = os.path.join(py.bench_folder, name + ".py")
        super().__init__(py.argv(["-S", "-E", "-B", script] + [str(arg) for arg in args]))
        if cpu is not None:
            os.sched_setaffinity(self.pid, {cpu})
        if wait:
            self.wait_ready()

    def wait_ready(self):
        try:
            if self.hear() != "ready":
                raise CantMeasure("%s: not ready" % " ".join(self.argv))
        except BaseException:
            self.__exit__()
            raise


@contextlib.contextmanager
def targets(py, count, *args):
    """So many of a workload, started together."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Target(py, *args, wait=False)) for _ in range(count)]
        for target in started:
            target.wait_ready()
        yield started


class Run(Probe):
    """A command. .exec_ns: CLOCK_MONOTONIC when it was executed."""

    def __init__(self, *argv):
        self.err = tempfile.TemporaryFile(mode="w+")
        super().__init__("run", *argv, stderr=self.err)
        self.exec_ns = self.facts["exec_ns"]
        self.pid = self.facts["pid"]
        self.ended = None

    def __exit__(self, *exc):
        super().__exit__(*exc)
        self.err.close()

    def stop(self):
        """Ends it as Ctrl-C does; as end()."""
        os.kill(self.pid, signal.SIGINT)
        return self.end()

    def footer(self):
        self.err.seek(0)
        return self.err.read()

    def end(self, timeout=ANSWER_S):
        """Waits for its end; {"exit", "maxrss_kb"}."""
        self.ended = json.loads(self.hear(timeout))
        # 3: it met no Python, which is what some measurements want.
        if self.ended["exit"] not in (0, 3):
            program = os.path.basename(self.argv[2])
            raise CantMeasure("%s exits %d: %s" % (program, self.ended["exit"], self.footer()))
        return self.ended


class Krait(Run):
    """`krait record ARGS`."""

    def __init__(self, *args):
        super().__init__(KRAIT, "record", *args)


Reading = namedtuple("Reading", "time_ns run_ns runs targets unknown samples stacks codes ring_bytes maps_bytes")


def minus(a, b):
    """What happened between two readings."""
    return Reading(*(x - y for x, y in zip(a, b)))


class Watch(Process):
    """Reads what the perf_event program of a process has cost so far, and krait's own counters."""

    def __init__(self, watched):
        super().__init__([PROBE, "watch", str(watched.pid)])
        self.watched = watched

    def read(self):
        facts = json.loads(self.ask(""))
        if facts.pop("has_counters") != isinstance(self.watched, Krait) and facts["runs"]:
            raise CantMeasure("the counters of krait are not as this tree's bpf/abi has them")
        return Reading(**facts)

    def wait(self, is_so, what):
        end = time.monotonic() + ANSWER_S
        while not is_so(self.read()):
            if time.monotonic() > end or not os.path.exists("/proc/%d" % self.watched.pid):
                raise CantMeasure("no %s. %s" % (what, self.watched.footer().strip()))
            time.sleep(0.02)

    def readings(self, seconds):
        """A reading at the start, one at each WINDOW_S, one at the end."""
        start = time.monotonic()
        out = [self.read()]
        for i in range(1, round(seconds / WINDOW_S) + 1):
            time.sleep(max(0, start + i * WINDOW_S - time.monotonic()))
            out.append(self.read())
        return out


def stats():
    """While this context lasts, the kernel counts the run time of BPF programs."""
    return Probe("stats")


def pick(found, wanted, newest=False):
    """The newest interpreter among these minor versions, the first of them that is there."""
    for minor in sorted(wanted, reverse=newest):
        have = [py for py in found if py.minor == minor]
        if have:
            return have[-1]
    return None


def spread(values, what="runs"):
    """How far the runs behind a median lie apart."""
    if len(values) == 1:
        return "1 run"
    return "%d %s, %s to %s" % (len(values), what, number(min(values)), number(max(values)))


def number(value):
    return "{:,.0f}".format(value)


median = statistics.median
find_pythons = pythons.find_plain
