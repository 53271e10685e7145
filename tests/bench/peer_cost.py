# SPDX-License-Identifier: BSD-2-Clause
"""krait beside other profilers, over the same busy thread in the same run: the CPU time of all that a
sample takes, and what the thread notices.

Each takes turns over one target. What a peer costs is its own CPU time; it reads the target's memory
with system calls of its own, so nothing of it is elsewhere. What krait costs is the run time of its
BPF program, which the kernel charges to whatever was interrupted, and the CPU time of its thread.
"""
import contextlib
import os
import re
import signal
import tempfile
import time
from collections import namedtuple

import austin
from harness import (
    ANSWER_S,
    CPU,
    CantMeasure,
    Krait,
    OLD_S,
    Run,
    Target,
    Watch,
    median,
    minus,
    number,
    pick,
    spread,
    stats,
)
from kernel_cost import FREQ_HZ
from krait_cost import cpu_ns
from target_cost import slowdown_at

DEPTH = 31
INTERVAL_US = round(1e6 / FREQ_HZ)
SETTLED_S = 1.0  # a peer, after its first sample
TIMES_AUSTIN, TIMES_PYSPY = 20, 100  # the bars: so many times less
# Not measured here: the figure that came with the bar.
PYSPY_NS = 500 * 1000

# In ns. kernel, own: the parts of total, per sample; start: before the first sample; young: all that
# krait took until then and while it does not yet trust the code objects. ticks: of krait, per sample,
# with those on other processes
Cost = namedtuple("Cost", "kernel own ticks start young rate_hz")


class Peer(Run):
    """Another profiler, of one thread."""

    def cpu_ns(self):
        if len(os.listdir("/proc/%d/task" % self.pid)) != 1:
            raise CantMeasure("%s has several threads" % self.argv[-1])
        return cpu_ns(self.pid)


class Austin(Peer):
    """With a text file, its default; each line is one sample."""

    def __init__(self, pid, folder):
        self.path = os.path.join(folder, "austin.txt")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        super().__init__(*austin.argv(), "-i", INTERVAL_US, "-o", self.path, "-p", pid)

    def samples(self):
        """How many it has written; its buffer, of a few lines, does not matter among thousands."""
        try:
            with open(self.path, "rb") as stream:
                return stream.read().count(b"\nP")
        except FileNotFoundError:
            return 0

    def wait(self):
        end = time.monotonic() + ANSWER_S
        while not self.samples():
            if time.monotonic() > end or not os.path.exists("/proc/%d" % self.pid):
                raise CantMeasure("Austin takes no samples: " + self.footer())
            time.sleep(0.01)

    def check(self, depth):
        """P1;T1:1;frame;...;frame METRIC: it must have seen what krait sees."""
        with open(self.path, encoding="utf-8") as stream:
            lines = [line for line in stream if line.startswith("P") and line.endswith("\n")]
        right = sum(line.count(";") - 1 == depth for line in lines)
        if right < 0.95 * len(lines):
            raise CantMeasure("Austin: %d of %d stacks have %d frames" % (right, len(lines), depth))


def check_folded(path, depth, who):
    """process;frame;...;frame COUNT, as krait writes them; CPython's sampler has the thread first."""
    right = total = 0
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            stack, _, count = line.rpartition(" ")
            total += int(count)
            right += int(count) * (stack.count(";") == depth)
    if right < 0.95 * total or not total:
        raise CantMeasure("%s: %d of %d stacks have %d frames" % (who, right, total, depth))


# ---- What a sample costs ----


def krait_cost(target, seconds, folder):
    path = os.path.join(folder, "krait.folded")
    with Krait("-p", target.pid, "-F", FREQ_HZ, "-q", "-o", path) as krait, Watch(krait) as watch:
        watch.wait(lambda r: r.samples > 0, "samples")
        start = cpu_ns(krait.pid)
        time.sleep(OLD_S)
        before, own_before = watch.read(), cpu_ns(krait.pid)
        time.sleep(seconds)
        after, own_after = watch.read(), cpu_ns(krait.pid)
        krait.stop()
        check_folded(path, DEPTH, "krait")
    d = minus(after, before)
    if d.samples < 100:
        raise CantMeasure("%d samples only" % d.samples)
    kernel, own = d.run_ns / d.samples, (own_after - own_before) / d.samples
    young = own_before + before.run_ns
    rate_hz = d.samples / d.time_ns * 1e9
    return Cost(kernel, own, d.runs / d.samples, start, young, rate_hz)


def austin_cost(target, seconds, folder):
    with Austin(target.pid, folder) as peer:
        peer.wait()
        start = peer.cpu_ns()
        time.sleep(SETTLED_S)
        before, own_before, begin = peer.samples(), peer.cpu_ns(), time.monotonic()
        time.sleep(seconds)
        own, end, samples = peer.cpu_ns() - own_before, time.monotonic(), peer.samples() - before
        peer.check(DEPTH)
    if samples < 100:
        raise CantMeasure("Austin: %d samples only" % samples)
    return Cost(0, own / samples, 0, start, 0, samples / (end - begin))


class Python315(Peer):
    """CPython's own sampler. Under the host's root, since in a chroot it would have no /proc."""

    def __init__(self, py, pid, seconds, path):
        argv = ["/usr/bin/env"] + (["PYTHONHOME=%s/usr" % py.root] if py.root else [])
        argv += austin.loader(py.root) if py.root else []
        argv += [py.executable, "-B", "-m", "profiling.sampling", "attach", "-r", FREQ_HZ]
        super().__init__(*argv, "-d", seconds, "--collapsed", "-o", path, pid)


def python315_cost(py, target, seconds, folder):
    path = os.path.join(folder, "python.collapsed")
    with Python315(py, target.pid, seconds + 3, path) as peer:
        time.sleep(2)  # it says nothing when it begins; importing itself takes some tenths
        before, begin = peer.cpu_ns(), time.monotonic()
        time.sleep(seconds)
        own, took_s = peer.cpu_ns() - before, time.monotonic() - begin
        peer.end()
        rate = re.search(r"Sample rate: ([\d.,]+)", peer.footer())
        check_folded(path, DEPTH, "CPython's sampler")
    if not rate:
        raise CantMeasure("CPython's sampler: " + peer.footer())
    rate_hz = float(rate[1].replace(",", ""))
    return Cost(0, own / took_s / rate_hz, 0, 0, 0, rate_hz)


def take_turns(py, measures, rounds):
    """{name: [Cost, ...]}: of each in each round, over a fresh target; in order and in reverse."""
    costs = {name: [] for name in measures}
    with tempfile.TemporaryDirectory(prefix="krait-bench-") as folder, stats():
        for i in range(rounds):
            with Target(py, "stack", DEPTH, cpu=CPU) as target:
                for name in sorted(measures, reverse=i % 2 == 1):
                    costs[name].append(measures[name](target, folder))
    return costs


def totals(costs):
    return [cost.kernel + cost.own for cost in costs]


def middle(costs, field):
    return median(getattr(cost, field) for cost in costs)


def cost_row(report, label, costs):
    note = "%s samples/s" % number(middle(costs, "rate_hz"))
    if costs[0].kernel:
        parts = [number(middle(costs, part)) for part in ("kernel", "own")]
        note = "BPF %s, own %s; %s of %.1f ticks" % (*parts, note, middle(costs, "ticks"))
    text = number(median(totals(costs))) + " ns"
    report.row(label + ", per sample", text, note=note + "; " + spread(totals(costs)))


def bar_row(report, label, krait_ns, peer_ns, times, note):
    text = "%.0f times" % (peer_ns / krait_ns)
    report.row(label, text, bar=round(peer_ns / times), value=krait_ns, note=note)


def start_rows(report, costs):
    for name in costs:
        start_ms = [cost.start / 1e6 for cost in costs[name]]
        note = spread(start_ms)
        if name == "krait":
            young_ms = middle(costs[name], "young") / 1e6
            note += "; %.1f ms with all of the %.1f s after it" % (young_ms, OLD_S)
        report.row(name + ", CPU until its first sample", "%.1f ms" % median(start_ms), note=note)


def samples(bench, report, why_no_austin):
    """The rows; what krait's program takes for a sample, in ns."""
    rounds, seconds = (1, 2) if bench.quick else (4, 3)
    measures = {"krait": lambda *args: krait_cost(args[0], seconds, args[1])}
    if not why_no_austin:
        measures["Austin"] = lambda *args: austin_cost(args[0], seconds, args[1])
    costs = take_turns(bench.py, measures, rounds)
    krait_ns = median(totals(costs["krait"]))
    for name in costs:
        cost_row(report, name, costs[name])
    if not why_no_austin:
        austin_ns = median(totals(costs["Austin"]))
        note = "the bar: a %dth of Austin's" % TIMES_AUSTIN
        bar_row(report, "less than Austin", krait_ns, austin_ns, TIMES_AUSTIN, note)
    note = "py-spy's 500 us per sample were NOT measured in this run"
    bar_row(report, "less than py-spy", krait_ns, PYSPY_NS, TIMES_PYSPY, note)
    report.row("a cpu-clock interrupt itself", "not in it", note="see the empty program below")
    start_rows(report, costs)
    return middle(costs["krait"], "kernel")


def samples_315(bench, report):
    py = pick(bench.found, [(3, 15)])
    if not py:
        raise CantMeasure("no CPython 3.15 here (tests/pythons.py says why)")
    seconds = 2 if bench.quick else 3
    measures = {
        "krait": lambda *args: krait_cost(args[0], seconds, args[1]),
        "its own sampler": lambda *args: python315_cost(py, args[0], seconds, args[1]),
    }
    costs = take_turns(py, measures, 1 if bench.quick else 2)
    for name in costs:
        cost_row(report, "%s: %s" % (py.name, name), costs[name])


# ---- What the target notices ----


class Stopped:
    """A peer, which is stopped while it is not its turn."""

    def __init__(self, peer):
        self.peer = peer

    def put(self, on):
        os.kill(self.peer.pid, signal.SIGCONT if on else signal.SIGSTOP)


def slowdown(bench, report, why_no_austin):
    def with_austin(target, stack):
        if why_no_austin:
            return {}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="krait-bench-"))
        peer = stack.enter_context(Austin(target.pid, folder))
        target.ask("0.5")
        peer.wait()
        return {"Austin": Stopped(peer)}

    slowdown_at(
        bench, report, FREQ_HZ, lambda low, high: {"bar": 1, "value": round(high, 2)}, with_austin
    )


def peers(bench, report):
    what = "all the CPU time of a sample, beside other profilers: %d frames, %d Hz, load %.1f"
    report.head(what % (DEPTH, FREQ_HZ, os.getloadavg()[0]))
    why_no_austin = austin.install()
    with report.attempt("Austin"):
        if why_no_austin:
            raise CantMeasure(why_no_austin)
    kernel_ns = samples(bench, report, why_no_austin)
    with report.attempt("CPython 3.15's own sampler"):
        samples_315(bench, report)
    report.head("work that a target loses at %d Hz" % FREQ_HZ)
    slowdown(bench, report, why_no_austin)
    report.row("computed from krait's BPF run time", "%.2f %%" % (100 * kernel_ns * FREQ_HZ / 1e9))
