# SPDX-License-Identifier: BSD-2-Clause
"""What it takes to write a recording: its size, and krait's CPU time for it."""
import contextlib
import os
import tempfile
import time

import recording
from harness import CPU, CantMeasure, Krait, OLD_S, Target, median, number
from krait_cost import cpu_ns

FREQ_HZ = 999
SIZE_BAR, CPU_BAR_US = 0.333, 0.5
HEAD_OF_3, TAIL_OF_3 = 424, 248  # version 3 (docs/recording.md) was these and the records as they are


def size_of_3(data):
    kinds = recording.KIND_HEAD, recording.KIND_TAIL
    bodies = [body for kind, body in recording.records(data) if kind not in kinds]
    return HEAD_OF_3 + TAIL_OF_3 + sum(recording.HDR.size + len(body) for body in bodies)


def side_by_side(bench, seconds):
    """One krait that writes a recording beside one that writes none, over the same target at once: (the
    recording, samples in between, CPU ns that the first took more for them)."""
    with tempfile.TemporaryDirectory(prefix="krait-bench-") as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, "x.krait")
        target = stack.enter_context(Target(bench.py, "work", 1, 0, cpu=CPU))
        args = ["-p", target.pid, "-F", FREQ_HZ, "--max-cpu", 100, "-q"]
        outputs = ["-o", os.path.join(folder, "x.folded")]
        plain = stack.enter_context(Krait(*args, *outputs))
        writing = stack.enter_context(Krait(*args, "-o", path, *outputs))
        time.sleep(OLD_S)
        before, begin = (cpu_ns(writing.pid), cpu_ns(plain.pid)), time.monotonic_ns()
        time.sleep(seconds)
        after, end = (cpu_ns(writing.pid), cpu_ns(plain.pid)), time.monotonic_ns()
        plain.stop()
        writing.stop()
        samples = sum(begin <= s.time_ns < end for s in recording.read(path).samples)
        if samples < 10:
            raise CantMeasure("%d samples only" % samples)
        with open(path, "rb") as stream:
            data = stream.read()
        return data, samples, (after[0] - before[0]) - (after[1] - before[1])


def written(bench, report):
    report.head("a recording as it is written: varied work at %d Hz" % FREQ_HZ)
    runs = [side_by_side(bench, 4 if bench.quick else 20) for _ in range(1 if bench.quick else 5)]
    data = runs[-1][0]
    size, old = len(data), size_of_3(data)
    ratio = median(len(data) / size_of_3(data) for data, _, _ in runs)
    report.row("size, of that in version 3", "%.3f" % ratio, bar=SIZE_BAR, value=ratio,
               note="%s of %s bytes" % (number(size), number(old)))
    costs = sorted(ns / samples / 1e3 for _, samples, ns in runs)
    us = median(costs)
    report.row("CPU time of a sample for it", "%.2f µs" % us, bar=CPU_BAR_US, value=us,
               note="%d runs, %.2f to %.2f; %s samples" % (len(runs), costs[0], costs[-1], number(runs[-1][1])))
