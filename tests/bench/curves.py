#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How krait's cost grows with what it looks at; `make pictures` runs it. How each is taken and compared:
README.md.

    tests/bench/curves.py [--quick] [--only NAME]... [--out FOLDER]
    tests/bench/curves.py --draw          draws the data that is there again

Prints a table per curve, writes it as data (NAME.tsv), and has gnuplot draw it (NAME.svg). Needs
root. Exit 0 when all was measured, whatever the findings; 1 when something could not be.
"""
import argparse
import contextlib
import itertools
import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections import namedtuple
from functools import partial

import curves_draw
import kernel_cost
import run
from harness import BUILD, CPU, TREE, CantMeasure, Krait, Probe, Target, Watch, build_probe, median
from harness import minus, number, stats
from krait_cost import cpu_ns, rss_kb
from target_cost import losses

FREQ_HZ = 999
FAST_HZ = 9999  # so that many stacks are seen in a short time
SETTLE_S = 3.3  # as kernel_cost.OLD_S: by then krait trusts what has not changed
CROWD_SETTLE_S = 8  # each of 1,000 processes has a turn in 1.5 s, and needs several
WINDOW_S = 1  # an epoch: what happens once in each is in every window
WINDOWS = 4
FOREVER_S = 3600
AHEAD = -20  # niceness: one such among 500 others gets a seventh of a CPU

# Of log cost against log n; 0.1 is a factor of two over three decades.
FLAT_SLOPE, FLAT_STEEPEST = 0.1, 0.3
WORSE_STEEPEST = 1.2
STEP_FACTOR = 3

ONE_BAR_MB, ALL_BAR_MB = 8, 30
LOST_BAR_PERCENT, UNKNOWN_BAR_PERCENT = 1, 10

FORMAT = "    %7s %10s %9s %10s %10s %7s %8s %8s %8s"

# One point: how many; per tick on a target, the kernel's ns, and per sample krait's own; samples a
# second; the percentages of ticks on what krait had not looked at yet, and lost, this in all of the
# run; different lines in the profile; memory.
Point = namedtuple("Point", "n kernel_ns own_ns per_s unknown lost seen rss_mb maps_mb")


class Growth:
    """What a curve does from its first point to its last."""

    def __init__(self, points, field):
        at = [(p.n, max(1, getattr(p, field))) for p in points]
        self.first, self.last = at[0][1], at[-1][1]
        slopes = [
            (math.log(y2 / y1) / math.log(x2 / x1), x2 / x1)
            for (x1, y1), (x2, y2) in itertools.combinations(at, 2)
        ]
        self.slope = median(slope for slope, _ in slopes)  # Theil and Sen's
        self.steepest = max([slope for slope, far in slopes if far >= STEP_FACTOR] or [0])
        if self.slope < FLAT_SLOPE and self.steepest < FLAT_STEEPEST:
            self.result = "flat"
        elif self.steepest > WORSE_STEEPEST:
            self.result = "worse"
        else:
            self.result = "linear"


class Curves:
    """The findings, and what all curves use."""

    def __init__(self, bench, out):
        self.bench, self.out = bench, out
        self.quick = bench.quick
        self.reject_ns = 0
        self.findings = []
        self.missing = 0

    def thin(self, counts):
        """All of them, or in a trial the first and those that do not take long."""
        return [n for n in counts if n <= 100][::2] if self.quick else counts

    def find(self, text):
        self.findings.append(text)
        print("    FINDING: " + text, flush=True)

    def check_lost(self, what, point_, lines):
        for line in lines:
            print("              %s" % line, flush=True)
        if point_.lost > LOST_BAR_PERCENT:
            self.find("%s: %.1f %% of the ticks lost" % (what, point_.lost))
        if point_.unknown > UNKNOWN_BAR_PERCENT:
            text = "%s: %.0f %% of the ticks on processes that krait had not looked at"
            self.find(text % (what, point_.unknown))

    def check_memory(self, what, point_, bar_mb):
        result = "ok" if point_.rss_mb < bar_mb else "MISSED"
        print("    RSS %.1f MB: %s, bar %d" % (point_.rss_mb, result, bar_mb), flush=True)
        if result != "ok":
            self.find("RSS of %.1f MB, bar %d: %s" % (point_.rss_mb, bar_mb, what))

    @contextlib.contextmanager
    def attempt(self, what):
        try:
            yield
        except (CantMeasure, OSError, ValueError) as error:
            print("    %s: NOT MEASURED: %s" % (what, error), flush=True)
            self.missing += 1


# ---- One point ----


@contextlib.contextmanager
def ahead():
    """The benchmark itself is not kept waiting by what it measures."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, AHEAD)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def windows_of(curves, watch, pid, count):
    """{field of Point: value} of so many windows. Of the kernel's part the median window; krait's own
    work comes in lumps, so that is the mean of all."""
    kernel_ns, ds, own_ns = [], [], cpu_ns(pid)
    before = watch.read()
    for _ in range(count):
        time.sleep(WINDOW_S)
        after = watch.read()
        d = minus(after, before)
        before = after
        ours = d.targets + d.unknown
        if ours:
            kernel_ns.append((d.run_ns - (d.runs - ours) * curves.reject_ns) / ours)
        ds.append(d)
    samples, seconds, unknown, targets = (
        sum(getattr(d, field) for d in ds) for field in ("samples", "time_ns", "unknown", "targets")
    )
    if len(kernel_ns) < max(1, count // 2):
        raise CantMeasure("ticks on targets in %d of %d windows only" % (len(kernel_ns), count))
    return {
        "kernel_ns": median(kernel_ns),
        "own_ns": (cpu_ns(pid) - own_ns) / max(1, samples),
        "per_s": samples / seconds * 1e9,
        "unknown": 100 * unknown / (unknown + targets),
    }


def point(curves, n, args, go=None, settle_s=SETTLE_S, windows=WINDOWS):
    """(the Point of one run of krait, what its footer says is lost). go: called when the timers run."""
    if curves.quick:
        settle_s, windows = min(settle_s, SETTLE_S), 2
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="krait-bench-"))
        path = os.path.join(folder, "run.folded")
        stack.enter_context(ahead())
        krait = stack.enter_context(Krait(*args, "-o", path))
        watch = stack.enter_context(Watch(krait))
        if go:
            watch.wait(lambda r: r.runs > 0, "ticks")
            go()
        watch.wait(lambda r: r.samples > 5, "samples")
        time.sleep(settle_s)
        got = windows_of(curves, watch, krait.pid, windows)
        rss_mb, maps_mb = rss_kb(krait.pid) / 1024, watch.read().maps_bytes / (1 << 20)
        krait.stop()
        taken, lost, lines = losses(krait.footer())
        with open(path, encoding="utf-8", errors="replace") as stream:
            seen = sum(1 for _ in stream)
    lost_part = 100 * lost / max(1, taken + lost)
    return Point(n=n, lost=lost_part, seen=seen, rss_mb=rss_mb, maps_mb=maps_mb, **got), lines


# ---- The curves: each yields (label, [Point]) ----


def series(curves, label, counts, measure):
    """The points of a line, printed as they come. measure(n): (Point, what was lost)"""
    print("\n  %s" % label, flush=True)
    heads = ("n", "kernel ns", "own ns", "samples/s", "unknown %", "lost %", "seen", "RSS MB", "maps MB")
    print(FORMAT % heads, flush=True)
    points = []
    for n in counts:
        with curves.attempt("%s, %d" % (label, n)):
            p, lines = measure(n)
            points.append(p)
            cells = [number(v) for v in (p.n, p.kernel_ns, p.own_ns, p.per_s)]
            cells += ["%.2f" % p.unknown, "%.2f" % p.lost, number(p.seen)]
            cells += ["%.1f" % p.rss_mb, "%.1f" % p.maps_mb]
            print(FORMAT % tuple(cells), flush=True)
            curves.check_lost("%s, %s" % (label, number(n)), p, lines)
    compare(curves, label, points)
    return label, points


def compare(curves, label, points):
    if len(points) < 2:
        return
    for field, what in (("kernel_ns", "kernel"), ("own_ns", "krait itself"), ("rss_mb", "RSS")):
        g = Growth(points, field)
        note = "slope %.2f, at most %.2f; %s to %s"
        ends = [number(v) if v >= 100 else "%.1f" % v for v in (g.first, g.last)]
        note %= (g.slope, g.steepest, ends[0], ends[1])
        print("    %-13s %-7s (%s)" % (what, g.result, note), flush=True)
        if g.result == "worse":
            curves.find("%s: %s grows faster than linearly: %s" % (label, what, note))


class Crowd:
    """Pythons that wait to be told to work; more of them with each call of grow()."""

    def __init__(self, py):
        self.py, self.started, self.busy_until = py, [], 0
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for target in self.started:
            target.process.kill()  # all at once; then the contexts wait for each
        self.stack.close()

    def grow(self, count):
        time.sleep(max(0, self.busy_until - time.monotonic()))
        new = [
            self.stack.enter_context(Target(self.py, "paths", wait=False))
            for _ in range(count - len(self.started))
        ]
        for target in new:
            target.wait_ready()
        self.started += new

    def work(self, count, seconds, stacks):
        self.busy_until = time.monotonic() + seconds
        line = b"%f %d\n" % (seconds, stacks)
        for target in self.started[:count]:
            target.process.stdin.write(line)
            target.process.stdin.flush()


def crowd_point(curves, crowd, n, busy, stacks=1, freq_hz=FREQ_HZ, windows=WINDOWS):
    """n processes, of which so many work. krait is asked for all children of the benchmark."""
    crowd.grow(n)
    settle_s = CROWD_SETTLE_S if busy > 100 else SETTLE_S
    seconds = settle_s + windows * WINDOW_S + 3
    args = ["-p", os.getpid(), "-F", freq_hz]
    # The crowd waits for krait's timers, and those tick on no idle CPU.
    with contextlib.ExitStack() as spinning:
        spinning.enter_context(Probe("spin"))

        def go():
            spinning.close()
            crowd.work(busy, seconds, stacks)

        return point(curves, n, args, go, settle_s, windows)


def worst_memory(curves, crowd):
    """Many processes and many stacks, as fast as it goes."""
    n, paths, windows = (100, 10, 2) if curves.quick else (1000, 100, 20)
    p, lines = crowd_point(curves, crowd, n, n, paths, FAST_HZ, windows)
    what = "%s busy processes, %s stacks seen, %d Hz" % (number(n), number(p.seen), FAST_HZ)
    print("\n  %s: %s samples/s" % (what, number(p.per_s)), flush=True)
    print("    kernel %s ns, own %s ns" % (number(p.kernel_ns), number(p.own_ns)), flush=True)
    curves.check_lost(what, p, lines)
    curves.check_memory(what, p, ALL_BAR_MB)


def processes(curves):
    counts = curves.thin([1, 10, 100, 1000])
    with Crowd(curves.bench.py) as crowd:

        def measure(busy, n):
            return crowd_point(curves, crowd, n, min(n, busy))

        idle = series(curves, "one busy, the others idle", counts, partial(measure, 1))
        busy = series(curves, "all busy", counts, partial(measure, 1000))
        if busy[1]:
            curves.check_memory("one process", busy[1][0], ONE_BAR_MB)
        with curves.attempt("many processes and many stacks"):
            worst_memory(curves, crowd)
    return [idle, busy]


def over_one(curves, n, name, *args, freq_hz=FREQ_HZ, windows=WINDOWS, cpu=CPU):
    """The point of one process that runs a workload."""
    with Target(curves.bench.py, name, *args, cpu=cpu) as target:
        return point(curves, n, ["-p", target.pid, "-F", freq_hz], windows=windows)


def threads(curves):
    counts = curves.thin([1, 10, 100, 1000])

    def measure(busy, n):
        return over_one(curves, n, "threads", n, min(n, busy), cpu=None)

    return [
        series(curves, "one busy, the others waiting", counts, partial(measure, 1)),
        series(curves, "all busy", counts, partial(measure, 1000)),
    ]


def depth(curves):
    counts = curves.thin([3, 10, 30, 100, 300, 1000])
    return [series(curves, "frames", counts, lambda n: over_one(curves, n, "stack", n))]


def paths_point(curves, n):
    windows = 22 if n > 10000 else WINDOWS
    with Target(curves.bench.py, "paths", cpu=CPU) as target:
        target.process.stdin.write(b"%d %d\n" % (FOREVER_S, n))
        target.process.stdin.flush()
        args = ["-p", target.pid, "-F", FAST_HZ]
        return point(curves, n, args, windows=windows)


def stacks(curves):
    counts = curves.thin([10, 100, 1000, 10000, 100000])
    return [series(curves, "different stacks", counts, lambda n: paths_point(curves, n))]


def rate(curves):
    counts = [99, 9999] if curves.quick else [19, 49, 99, 499, 999, 4999, 9999]

    def measure(n):
        windows = 8 if n < 100 else WINDOWS
        return over_one(curves, n, "stack", 30, freq_hz=n, windows=windows)

    return [series(curves, "samples a second", counts, measure)]


CURVES = {
    "rate": rate,
    "depth": depth,
    "stacks": stacks,
    "threads": threads,
    "processes": processes,
}


# ---- All of it ----


def measure_all(curves, names):
    with stats():
        rejects = [kernel_cost.wanted_not_ns(curves.bench, 1) for _ in range(3)]
        curves.reject_ns = median(rejects)
        print("a tick on another process: %s ns" % number(curves.reject_ns))
        for name in names:
            print("\n%s" % name, flush=True)
            with curves.attempt(name):
                lines = CURVES[name](curves)
                curves_draw.write(os.path.join(curves.out, name + ".tsv"), Point._fields, lines)
    print("\ncurves: %d findings, %d not measured" % (len(curves.findings), curves.missing))
    for text in curves.findings:
        print("  " + text)


def options():
    parser = argparse.ArgumentParser(description="how krait's cost grows, measured and drawn")
    parser.add_argument("--quick", action="store_true", help="a trial, drawn elsewhere: a minute")
    parser.add_argument("--only", action="append", metavar="NAME", choices=CURVES, default=[])
    parser.add_argument("--out", metavar="FOLDER", help="docs/pictures unless told")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    args = parser.parse_args()
    pictures = os.path.join(TREE, "docs", "pictures")
    args.out = args.out or (os.path.join(BUILD, "pictures") if args.quick else pictures)
    return args


def prepare(args):
    """The Curves, ready to be measured."""
    if os.geteuid() != 0:
        raise CantMeasure("needs root")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    build_probe()
    curves = Curves(run.Bench(args.quick), args.out)
    os.makedirs(args.out, exist_ok=True)
    run.print_header(curves.bench)
    return curves


def main():
    args = options()
    signal.signal(signal.SIGINT, run.stop)
    signal.signal(signal.SIGTERM, run.stop)
    begin = time.monotonic()
    missing = 0
    try:
        curves_draw.find_gnuplot()
        if not args.draw:
            curves = prepare(args)
            measure_all(curves, args.only or list(CURVES))
            missing = curves.missing
        curves_draw.draw(args.out)
    except (CantMeasure, curves_draw.CantDraw) as error:
        print("pictures: %s" % error, file=sys.stderr)
        return 1
    print("curves: %.0f s; pictures in %s" % (time.monotonic() - begin, args.out))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
