# SPDX-License-Identifier: BSD-2-Clause
"""What user space takes at scale: `krait report` of large recordings made here, the same every time.

What names and counts behind a live ring is the code behind a recording (aggregate_add). So the price
of a sample, a stack or a code object in a live run is the difference between two recordings, of
which one has so many more.
"""
import collections
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from harness import CantMeasure, KRAIT, Probe, TREE, median, number

sys.path.insert(0, os.path.join(TREE, "tests", "golden"))

import writer

REPORT_BAR_MS = 1000
MEMORY_BAR_MB = 30
SAMPLE_BAR_US, STACK_BAR_US, CODE_BAR_US = 1, 20, 50
PY311 = 0x030B07F0
FRAME = struct.Struct("=QiI")
UNITS = 64  # of a function's code, and as many lines
FUNCTIONS = 2000
STACKS = 100000
SAMPLES = 1000000
FEW = 10000  # stacks of the recordings that are about something else
MORE_CODES = 50000
PROCESSES = 1000
PROGRAMS = 20  # that they run

Run = collections.namedtuple("Run", "cpu_ms peak_mb")

# ---- Recordings ----


def id_of(number_):
    """An id that is as random in every bit as the kernel's hashes are, and no other number's."""
    return number_ * 0x9E3779B97F4A7C15 & (1 << 64) - 1


def functions(numbers):
    """CODE records of made-up functions, with names and line tables as long as usual ones."""
    lines = writer.line_per_unit(UNITS)
    for i in numbers:
        name, where = "handle_request_%d" % i, (i % 50, i % 400)
        path = "/srv/app/lib/python3.11/site-packages/package_%d/module_%d.py" % where
        qualname = "Handler%d.%s" % (i % 300, name)
        yield writer.code(id_of(i), name, qualname, path, 10 + i % 700, lines)


def with_id(code, code_id):
    """The CODE record under another id."""
    return code[:8] + struct.pack("=Q", code_id) + code[16:]


class Tree:
    """Makes stacks as a program has them: each shares its outer frames with an earlier one."""

    def __init__(self, rng, code_ids):
        self.rng = rng
        self.frames = [FRAME.pack(i, u, 0) for i in code_ids for u in range(3, UNITS, 8)]
        self.stacks = [b"".join(rng.choices(self.frames, k=60))]

    def grow(self):
        """The frames of one more stack: 20 to 60, innermost first; 1 to 8 or more are its own."""
        depth, own = self.rng.randint(20, 60), self.rng.randint(1, 8)
        outer = self.rng.choice(self.stacks)[-(depth - own) * FRAME.size :]
        own = depth - len(outer) // FRAME.size
        self.stacks.append(b"".join(self.rng.choices(self.frames, k=own)) + outer)
        return self.stacks[-1]


def stack(stack_id, pid, frames):
    head = struct.pack("=QQII", stack_id, 0, pid, len(frames) // FRAME.size)
    return writer.record(writer.STACK, head + frames)


def process(pid):
    yield writer.info(pid, PY311, b"python3", b"python3", b"/srv/app/main.py", b"--worker")
    yield writer.process(writer.THREAD, pid, comm=b"python3")


def one_process(stacks, samples, codes=FUNCTIONS):
    """Stacks with a sample each, and the other samples at random among the first, each stack on
    one of four threads. Functions beyond the first 2,000 are on no stack."""
    rng = random.Random(1)
    tree = Tree(rng, [id_of(i) for i in range(FUNCTIONS)])
    yield from process(100)
    yield from functions(range(codes))
    for i in range(stacks):
        yield stack(id_of(i), 100, tree.grow())
        yield writer.sample(id_of(i), 100, 100 + i % 4)
    some = [writer.sample(id_of(i), 100, 100 + i % 4) for i in range(min(stacks, FEW))]
    yield from rng.choices(some, k=samples - stacks)


def many_processes():
    """The stacks spread over 1,000 processes, which run 20 programs. Every process has code objects
    of its own, also where another's are alike, as it is with processes that did not fork."""
    rng = random.Random(1)
    share = FUNCTIONS // PROGRAMS
    codes = list(functions(range(FUNCTIONS)))
    for p in range(PROCESSES):
        first = p % PROGRAMS * share
        ids = [id_of(p + 1 << 32 | i) for i in range(share)]
        tree = Tree(rng, ids)
        yield from process(100 + p)
        yield from map(with_id, codes[first : first + share], ids)
        for i in range(p, STACKS, PROCESSES):
            yield stack(id_of(i), 100 + p, tree.grow())
            yield writer.sample(id_of(i), 100 + p, 100 + p)


# ---- Measurements ----


class Recordings:
    """Of one folder, where the outputs go too."""

    def __init__(self, folder, runs):
        self.folder = folder
        self.runs = runs

    def write(self, name, records):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as stream:
            stream.write(writer.recording(records))
        return path

    def report(self, path, output=None):
        """Medians of some runs of `krait report`; without an output, of the table."""
        args = ["-o", os.path.join(self.folder, output)] if output else []
        runs = [run_report(path, *args) for _ in range(self.runs)]
        return Run(median(r.cpu_ms for r in runs), max(r.peak_mb for r in runs))


def run_report(path, *args):
    argv = [KRAIT, "report", path, *args]
    with Probe("run", *argv, stderr=subprocess.DEVNULL) as probe:
        end = json.loads(probe.hear())
    if end["exit"]:
        raise CantMeasure("%s exits %d" % (" ".join(argv), end["exit"]))
    return Run(end["cpu_us"] / 1000, end["maxrss_kb"] / 1024)


def row(report, label, run, memory_bar=None):
    report.row(label, "%.0f ms" % run.cpu_ms, bar=REPORT_BAR_MS, value=run.cpu_ms)
    report.row("  peak memory", "%.1f MB" % run.peak_mb, bar=memory_bar, value=run.peak_mb)


def price_row(report, label, more, less, count, bar):
    us = (more.cpu_ms - less.cpu_ms) * 1000 / count
    note = "%s more of them: %.0f ms instead of %.0f" % (number(count), more.cpu_ms, less.cpu_ms)
    report.row(label, "%.2f µs" % us, bar=bar, value=us, note=note)


def measure(recordings, report):
    few = recordings.write("few.krait", one_process(FEW, FEW))
    samples = recordings.write("samples.krait", one_process(FEW, SAMPLES))
    stacks = recordings.write("stacks.krait", one_process(STACKS, STACKS))
    codes = recordings.write("codes.krait", one_process(FEW, FEW, FUNCTIONS + MORE_CODES))
    hosts = recordings.write("hosts.krait", many_processes())

    base, of_samples = recordings.report(few), recordings.report(samples)
    of_stacks, of_codes = recordings.report(stacks), recordings.report(codes)
    row(report, "1,000,000 samples, table", of_samples)
    row(report, "100,000 stacks, table", of_stacks)
    row(report, "100,000 stacks, folded", recordings.report(stacks, "x.folded"))
    row(report, "100,000 stacks, pprof", recordings.report(stacks, "x.pb.gz"))
    row(report, "100,000 stacks of 1,000 processes, folded", recordings.report(hosts, "x.folded"))
    row(
        report,
        "100,000 stacks of 1,000 processes, pprof",
        recordings.report(hosts, "x.pb.gz"),
        MEMORY_BAR_MB,
    )
    for label, run, count, bar in (
        ("a sample of a known stack", of_samples, SAMPLES - FEW, SAMPLE_BAR_US),
        ("a new stack of 40 frames, and a sample", of_stacks, STACKS - FEW, STACK_BAR_US),
        ("a new code object", of_codes, MORE_CODES, CODE_BAR_US),
    ):
        price_row(report, label, run, base, count, bar)


def recorded(bench, report):
    report.head("krait report of large recordings: CPU time, user and system")
    with tempfile.TemporaryDirectory(prefix="krait-bench-") as folder:
        measure(Recordings(folder, 1 if bench.quick else 3), report)
