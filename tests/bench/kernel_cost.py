# SPDX-License-Identifier: BSD-2-Clause
"""What a tick costs inside the kernel: a sample at several depths, and a tick that is rejected.

krait, an empty BPF program and one that only copies what a stack lies in (limit.bpf.c) run in turn
on the same timer, over the same busy thread. The kernel adds up the run time of each program; the
mean between two readings of that sum is the figure.
"""
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections import namedtuple

import recording
from harness import (
    CPU,
    CantMeasure,
    Krait,
    LIMIT,
    OLD_S,
    Probe,
    SETTLE_S,
    Target,
    WINDOW_S,
    Watch,
    median,
    minus,
    number,
    pick,
    spread,
    stats,
)

FREQ_HZ = 999
EPOCH_S = 1  # user/session/session.c, EPOCH_NS: a stack is verified again so often
YOUNG_S = 1.0
SAMPLE_BAR_NS, BEYOND_BAR_NS = 2000, 1500
# What a first prototype of the walk took where the bars were set, 30 frames at 999 Hz.
PROTOTYPE_NS = 1290
FRAME_BAR_NS = 12
REJECT_BAR_NS = 100
# What is no Python is asked about again ever later, and remembered from half a second on:
# bpf/krait.bpf.c, REMEMBER_MIN_MS.
IGNORED_S = 1.6
LIMIT_OF = (3, 11), 30  # the CPython and the depth that limit.bpf.c knows
LEAST = "the least for such a stack: its memory copied"
DEFAULT_HZ, WARM_HZ = 99, 9999  # what krait runs at unless told; so fast that caches stay warm

# young: while krait does not yet trust the code objects (bpf/code.h, TRUST_EPOCHS) and reads them
# at every tick; least: the tenth part of the windows that was disturbed least
Cost = namedtuple("Cost", "mean_ns young_ns least_ns")


def mean_ns(readings):
    total = minus(readings[-1], readings[0])
    if total.runs < 30:
        raise CantMeasure("%d ticks only" % total.runs)
    return total.run_ns / total.runs


def empty_ns(seconds, freq_hz=FREQ_HZ):
    """The mean cost of a tick that does nothing; the busy target is the caller's."""
    with Probe("empty", freq_hz) as empty, Watch(empty) as watch:
        watch.wait(lambda r: r.runs > 20, "ticks of the empty program")
        return mean_ns(watch.readings(seconds))


def limit_ns(target, tstate, seconds, freq_hz, reject_ns):
    """The mean cost of a tick that does the least that a sample takes."""
    with Probe("limit", freq_hz, target.pid, tstate, LIMIT) as limit, Watch(limit) as watch:
        watch.wait(lambda r: r.runs > 20, "ticks of the limit program")
        before = json.loads(limit.ask(""))["samples"]
        readings = watch.readings(seconds)
        samples = json.loads(limit.ask(""))["samples"] - before
        d = minus(readings[-1], readings[0])
        if samples < 0.95 * d.runs:
            raise CantMeasure("%d whole copies in %d ticks" % (samples, d.runs))
        return (d.run_ns - (d.runs - samples) * reject_ns) / samples


def samples_ns(d, reject_ns):
    """What the samples between two readings cost, without the ticks on other processes."""
    return d.run_ns - (d.runs - d.targets) * reject_ns


def mean_of(first, last, reject_ns):
    d = minus(last, first)
    if d.samples < 30 or d.samples < 0.95 * d.targets:
        raise CantMeasure("%d samples of %d ticks" % (d.samples, d.targets))
    return samples_ns(d, reject_ns) / d.samples


def cost_of(young, old, reject_ns):
    """The Cost, from readings early in krait's run and from others later in it."""
    windows = [minus(b, a) for a, b in zip(old, old[1:])]
    costs = sorted(samples_ns(d, reject_ns) / d.samples for d in windows if d.samples)
    return Cost(
        mean_of(old[0], old[-1], reject_ns),
        mean_of(young[0], young[-1], reject_ns),
        costs[len(costs) // 10],
    )


def check_depth(run, pid, depth):
    depths = {stack.depth for stack in run.stacks if stack.pid == pid}
    if depths != {depth}:
        raise CantMeasure("stacks of %s frames, not of %d" % (sorted(depths), depth))


def mean_depth(run, pid):
    """The frames of a sample, on average."""
    depths = {stack.stack_id: stack.depth for stack in run.stacks}
    return statistics.mean(depths[s.stack_id] for s in run.samples if s.pid == pid)


def sample_cost(target, freq_hz, seconds, reject_ns):
    """(Cost, the Recording) of one run of krait over the target."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="krait-bench-"))
        path = os.path.join(folder, "run.krait")
        krait = stack.enter_context(Krait("-p", target.pid, "-F", freq_hz, "-q", "-o", path))
        with Watch(krait) as watch:
            watch.wait(lambda r: r.samples > 5, "samples")
            begin = time.monotonic()
            time.sleep(SETTLE_S)
            young = watch.readings(YOUNG_S)
            time.sleep(max(0, begin + OLD_S - time.monotonic()))
            # Whole epochs, so that what happens once in each is paid for in the mean.
            old = watch.readings(seconds * EPOCH_S)
        krait.stop()
        return cost_of(young, old, reject_ns), recording.read(path)


class Depth:
    """Pairs of runs, krait and the empty program, at one depth of one interpreter."""

    def __init__(self, py, depth, freq_hz=FREQ_HZ, seconds=2):
        self.py, self.depth, self.freq_hz, self.seconds = py, depth, freq_hz, seconds
        self.label = "%s, %d frames" % (py.name, depth)
        self.krait, self.empty, self.limit, self.ratios = [], [], [], []

    def add_pair(self, reject_ns):
        with Target(self.py, "stack", self.depth, cpu=CPU) as target:
            cost, run = sample_cost(target, self.freq_hz, self.seconds, reject_ns)
            check_depth(run, target.pid, self.depth)
            self.empty.append(empty_ns(self.seconds / 2, self.freq_hz))
            self.krait.append(cost)

    def add_limit(self, reject_ns):
        """After a pair: the least that its sample takes, where that is known."""
        if (self.py.minor, self.depth) != LIMIT_OF:
            return
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="krait-bench-"))
            told = os.path.join(folder, "tstate")
            target = stack.enter_context(Target(self.py, "stack", self.depth, told, cpu=CPU))
            with open(told, encoding="ascii") as stream:
                tstate = stream.read()
            self.limit.append(limit_ns(target, tstate, self.seconds, self.freq_hz, reject_ns))
            self.ratios.append(self.krait[-1].mean_ns / self.limit[-1])

    def median(self, field):
        return median(getattr(cost, field) for cost in self.krait)

    @property
    def means(self):
        return [cost.mean_ns for cost in self.krait]

    def row(self, report, barred):
        mean, empty = median(self.means), median(self.empty)
        report.row(
            self.label,
            number(mean) + " ns",
            bar=SAMPLE_BAR_NS if barred and self.depth == 30 else None,
            value=mean,
            note="%s beyond empty, %s in the first seconds; %s"
            % (
                number(mean - empty),
                number(self.median("young_ns")),
                spread(self.means, "pairs"),
            ),
        )


def slope(report, shallow, deep, barred):
    """The cost of a further frame between two depths, from the runs of the same round."""
    frames = deep.depth - shallow.depth
    ns = median((b - a) / frames for a, b in zip(shallow.means, deep.means))
    young = (deep.median("young_ns") - shallow.median("young_ns")) / frames
    report.row(
        "%s, a further frame, %d to %d" % (deep.py.name, shallow.depth, deep.depth),
        "%.1f ns" % ns,
        bar=FRAME_BAR_NS if barred else None,
        value=ns,
        note="%.0f in the first seconds" % young,
    )


def depths_of(report, py, plan, reject_ns, barred):
    """The rows of one interpreter; {depth: Depth}. plan: {depth: pairs}. The depths take turns, so
    that what else the machine does falls on all of them."""
    depths = {depth: Depth(py, depth) for depth in plan}
    for turn in range(max(plan.values())):
        for depth, pairs in plan.items():
            if turn < pairs:
                with report.attempt(depths[depth].label):
                    depths[depth].add_pair(reject_ns)
                    with report.attempt(LEAST):
                        depths[depth].add_limit(reject_ns)
    done = {depth: d for depth, d in depths.items() if d.krait}
    for d in done.values():
        d.row(report, barred)
    for shallow, deep in ((30, 200), (200, 900)):
        if shallow in done and deep in done:
            slope(report, done[shallow], done[deep], barred)
    return done


def scaled_row(report, d):
    """The headline as a ratio of one run: what a sample would take where the least takes as long as
    the prototype did. No bar here: they are of the time itself."""
    mean = PROTOTYPE_NS * median(d.ratios)
    beyond = mean - PROTOTYPE_NS * median(d.empty) / median(d.limit)
    report.row(
        "30 frames, were the least %s ns" % number(PROTOTYPE_NS),
        number(mean) + " ns",
        note="%s beyond empty" % number(beyond),
    )


def headline_extras(report, d):
    """What the headline consists of. d: the Depth of 30 frames."""
    beyond = median(mean - empty for mean, empty in zip(d.means, d.empty))
    report.row("30 frames, beyond empty", number(beyond) + " ns", bar=BEYOND_BAR_NS, value=beyond)
    report.row("of it, the empty program", number(median(d.empty)) + " ns", note=spread(d.empty))
    if d.limit:
        report.row(
            LEAST,
            number(median(d.limit)) + " ns",
            note="krait's sample is %.2f of it; %s" % (median(d.ratios), spread(d.limit)),
        )
        scaled_row(report, d)
    report.row(
        "30 frames, where least disturbed",
        number(d.median("least_ns")) + " ns",
        note="a tenth of the windows of %g s is faster" % WINDOW_S,
    )


def varied(report, py, reject_ns):
    """The same over work as real programs do it: hundreds of stacks, of any depth."""
    costs, depths = [], []
    for _ in range(3):
        with Target(py, "work", 1, 0, cpu=CPU) as target:
            cost, run = sample_cost(target, FREQ_HZ, 2, reject_ns)
            costs.append(cost)
            depths.append(mean_depth(run, target.pid))
    means = [cost.mean_ns for cost in costs]
    young = number(median(cost.young_ns for cost in costs))
    report.row(
        "varied work, %.0f frames on average" % median(depths),
        number(median(means)) + " ns",
        note="%s in the first seconds; %s" % (young, spread(means)),
    )


def other_rates(bench, report, reject_ns):
    """The same sample with colder and with warmer caches. Returns what it costs at the default
    rate, beyond the empty program."""
    pairs = 1 if bench.quick else 2
    rates = [(WARM_HZ, 1, "warm caches"), (DEFAULT_HZ, 4, "the default rate")]
    for hz, seconds, what in rates[1:] if bench.quick else rates:
        d = Depth(bench.py, 30, hz, seconds)
        for _ in range(pairs):
            d.add_pair(reject_ns)
            with report.attempt(LEAST):
                d.add_limit(reject_ns)
        least = ", the least %s" % number(median(d.limit)) if d.limit else ""
        report.row(
            "30 frames at %s Hz, %s" % (number(hz), what),
            number(median(d.means)) + " ns",
            note="empty %s%s; %s" % (number(median(d.empty)), least, spread(d.means, "pairs")),
        )
    return median(d.means) - median(d.empty)


def samples(bench, report):
    report.head("kernel time per sample, %d Hz" % FREQ_HZ)
    with stats():
        reject_ns = median(wanted_not_ns(bench, 1) for _ in range(1 if bench.quick else 3))
        plan = {30: 1, 200: 1} if bench.quick else {30: 5, 3: 2, 200: 3, 900: 3}
        done = depths_of(report, bench.py, plan, reject_ns, True)
        if 30 in done:
            headline_extras(report, done[30])
        if not bench.quick:
            with report.attempt("varied work"):
                varied(report, bench.py, reject_ns)
        with report.attempt("30 frames at other rates"):
            bench.default_beyond_ns = other_rates(bench, report, reject_ns)
        if bench.quick:
            return
        others = [
            pick(bench.found, [(3, 8), (3, 9), (3, 10)]),
            pick(bench.found, [(3, m) for m in range(13, 30)], newest=True),
        ]
        for py in filter(None, others):
            depths_of(report, py, {30: 1, 200: 1, 900: 1}, reject_ns, False)


# ---- Rejected ticks ----


def reject_ns_of(args, seconds):
    """The mean cost of a tick of a krait that wants nothing of what is busy."""
    args = args + ["-F", FREQ_HZ, "-q", "-f", "folded", "-o", "/dev/null"]
    with Probe("spin") as spin, Krait(*args) as krait:
        os.sched_setaffinity(spin.pid, {CPU})
        with Watch(krait) as watch:
            watch.wait(lambda r: r.runs > 20, "ticks")
            time.sleep(IGNORED_S)
            readings = watch.readings(seconds)
        krait.stop()
        d = minus(readings[-1], readings[0])
        # One that wakes up for a moment costs what ten others do.
        if d.targets > d.runs / 500:
            raise CantMeasure("%d ticks on targets where there should be none" % d.targets)
        return mean_ns(readings)


def asked_ns(seconds):
    """The mean cost of a tick of which is asked whose it is, and nothing else: of no process's."""
    with Probe("limit", FREQ_HZ, 0, 0, LIMIT) as limit, Watch(limit) as watch:
        watch.wait(lambda r: r.runs > 20, "ticks of the limit program")
        return mean_ns(watch.readings(seconds))


def wanted_not_ns(bench, seconds):
    """A process that is in no map: krait wants another one, which sleeps."""
    with Target(bench.py, "work", 0, 1000) as idle:
        return reject_ns_of(["-p", idle.pid, "--no-children"], seconds)


def ignored_ns(_, seconds):
    """A process that krait has looked at and ignores."""
    return reject_ns_of(["--comm", "no-such-name"], seconds)


def rejects(bench, report):
    report.head("kernel time per tick on what is no target, %d Hz" % FREQ_HZ)
    pairs = 1 if bench.quick else 3
    rows = (("not among the pids asked for", wanted_not_ns), ("looked at and ignored", ignored_ns))
    with stats():
        for label, measure in rows:
            got, empty, asked = [], [], []
            for _ in range(pairs):
                got.append(measure(bench, 1 if bench.quick else 2))
                with Probe("spin") as spin:
                    os.sched_setaffinity(spin.pid, {CPU})
                    empty.append(empty_ns(1))
                    asked.append(asked_ns(1))
            beyond = [ns - least for ns, least in zip(got, empty)]
            least = median(ns - least for ns, least in zip(asked, empty))
            report.row(
                label,
                number(median(beyond)) + " ns",
                bar=REJECT_BAR_NS,
                value=median(beyond),
                note="beyond empty; %s of it to ask whose tick it is; %s"
                % (number(least), spread(beyond, "pairs")),
            )
