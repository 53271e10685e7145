# SPDX-License-Identifier: BSD-2-Clause
"""What the targets notice of krait, and whether krait notices all of them."""
import contextlib
import math
import re
import time

from harness import CPU, CantMeasure, Krait, OLD_S, Probe, Target, Watch, median, number

SLOWDOWN_FREQ_HZ = 99
# So short that the machine's moods, which last longer, fall on neighbours alike.
SLICE_S = 0.05
ROUNDS, ROUNDS_QUICK = 400, 40
LOSS_FREQ_HZ = 10000
MAX_FREQ_HZ = 20000  # user/cmd/record.c, FREQ_MAX_HZ
LOSS_STEP_HZ, LOSS_STEP_S = 2500, 10


# ---- Slowdown ----


class Timers:
    """The timers of a process, krait's or the empty program's, which can be put on and off."""

    def __init__(self, process):
        self.probe = Probe("switch", process.pid)
        if not self.probe.facts["timers"]:
            raise CantMeasure("%s has no timers" % process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.probe.__exit__(*exc)

    def put(self, on):
        self.probe.ask("1" if on else "0")


def interval(values):
    """(the median, where it begins, where it ends): of 100 such intervals, 95 hold the true median,
    whatever the distribution (the ranks are those of a binomial one)."""
    values, n = sorted(values), len(values)
    half = 0.98 * math.sqrt(n)
    low, high = math.floor(n / 2 - half) - 1, math.ceil(n / 2 + half)
    return median(values), values[max(0, low)], values[min(n - 1, high)]


def slices(target, contenders, rounds):
    """[{name: (units per CPU second, units per second)}], a slice of work under each contender and one
    under none ("nothing") in every round. There and back, so that what drifts falls on all alike."""
    for contender in contenders.values():
        contender.put(False)
    got = []
    for i in range(rounds):
        names = ["nothing"] + list(contenders)
        of_round = {}
        for name in names if i % 2 == 0 else names[::-1]:
            if name in contenders:
                contenders[name].put(True)
            of_round[name] = [float(rate) for rate in target.ask(str(SLICE_S)).split()]
            if name in contenders:
                contenders[name].put(False)
        got.append(of_round)
    return got


def say_lost(report, got, label, name, beside="nothing", bar_of=None):
    """What the target does less under `name` than under `beside`. bar_of(low, high): the bar."""
    for i, per in enumerate(("CPU second", "second")):
        percents = [100 * (1 - of_round[name][i] / of_round[beside][i]) for of_round in got]
        middle, low, high = interval(percents)
        note = "95 %% interval %.2f to %.2f; %d slices" % (low, high, len(got))
        bar = bar_of(low, high) if bar_of else {}
        report.row("%s, per %s" % (label, per), "%.2f %%" % middle, note=note, **bar)


def slowdown_at(bench, report, freq_hz, bar_of, more=lambda target, stack: {}):
    """What krait and the empty program take from one target at this rate, and what more(target,
    stack) adds to them."""
    rounds = ROUNDS_QUICK if bench.quick else ROUNDS
    args = ["-F", freq_hz, "-q", "-f", "folded", "-o", "/dev/null"]
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(Target(bench.py, "units", cpu=CPU))
        empty = stack.enter_context(Probe("empty", freq_hz))
        krait = stack.enter_context(Krait("-p", target.pid, *args))
        watch = stack.enter_context(Watch(krait))
        end = time.monotonic() + OLD_S
        while time.monotonic() < end:
            target.ask("0.1")  # it only works when it is asked to
        contenders = {
            "the empty program": stack.enter_context(Timers(empty)),
            "krait": stack.enter_context(Timers(krait)),
        }
        contenders.update(more(target, stack))
        before = watch.read().samples
        got = slices(target, contenders, rounds)
        if watch.read().samples - before < rounds * SLICE_S * freq_hz / 2:
            raise CantMeasure("the target was hardly sampled")
        for name in contenders:
            say_lost(report, got, "to %s" % name, name)
        bar_of = None if bench.quick else bar_of  # too few slices to tell
        say_lost(report, got, "to krait beyond empty", "krait", "the empty program", bar_of)


def slowdown(bench, report):
    """At the default rate no difference is to be seen: the interval has 0 in it."""
    report.head("work that a target loses at %d Hz" % SLOWDOWN_FREQ_HZ)
    slowdown_at(
        bench, report, SLOWDOWN_FREQ_HZ, lambda low, high: {"bar": 0, "value": round(low, 2)}
    )
    if bench.default_beyond_ns:
        computed = 100 * bench.default_beyond_ns * SLOWDOWN_FREQ_HZ / 1e9
        report.row("computed from the cost of a sample", "%.3f %%" % computed)


# ---- No loss ----


def losses(footer):
    """(samples, lost, the sentences about it) of a run's footer (user/cmd/footer.c)."""
    ledger = re.search(r"^krait: ledger: (\d+) ticks on targets = (\d+) samples", footer, re.M)
    if not ledger:
        raise CantMeasure("no balanced ledger: " + footer)
    lines = re.findall(r"^krait: +(lost \d+ .*)$", footer, re.M)
    lines += re.findall(r"^krait: .*(\d+ process events lost.*)$", footer, re.M)
    return int(ledger[2]), sum(int(re.search(r"\d+", line)[0]) for line in lines), lines


def cpu_seconds(pid):
    """Of a target of one thread: the first number of /proc/PID/schedstat, in ns."""
    with open("/proc/%d/schedstat" % pid, encoding="ascii") as stream:
        return int(stream.read().split()[0]) / 1e9


def lossy_run(bench, freq_hz, seconds):
    """(samples, those lost for want of room, all sentences about losses, samples per CPU second, CPU
    seconds) of a run over two targets, of hundreds of stacks each."""
    with Target(bench.py, "work", 1, 0) as one, Target(bench.py, "work", 1, 0) as two:
        args = ["-p", "%d,%d" % (one.pid, two.pid), "-F", freq_hz, "-f", "folded"]
        with Krait(*args, "-o", "/dev/null") as krait, Watch(krait) as watch:
            watch.wait(lambda r: r.samples > 20, "samples")
            before, busy = watch.read(), cpu_seconds(one.pid) + cpu_seconds(two.pid)
            time.sleep(seconds)
            after, busy = watch.read(), cpu_seconds(one.pid) + cpu_seconds(two.pid) - busy
            krait.stop()
            taken, _, lines = losses(krait.footer())
    lost = sum(int(re.search(r"\d+", line)[0]) for line in lines if "ring buffer" in line)
    return taken, lost, lines, (after.samples - before.samples) / busy, busy


def loss(bench, report):
    seconds = 3 if bench.quick else 60
    report.head("losses at %d Hz on every CPU, %d s" % (LOSS_FREQ_HZ, seconds))
    taken, lost, lines, rate, busy = lossy_run(bench, LOSS_FREQ_HZ, seconds)
    report.row(
        "samples lost for want of room, of %s" % number(taken + lost),
        number(lost),
        bar=0,
        value=lost,
        note="; ".join(lines),
    )
    report.row("samples per CPU second of the targets", number(rate), note="%.1f CPU s" % busy)
    if bench.quick:
        return
    begins = "above %s Hz" % number(MAX_FREQ_HZ)
    for freq_hz in range(LOSS_FREQ_HZ + LOSS_STEP_HZ, MAX_FREQ_HZ + 1, LOSS_STEP_HZ):
        taken, lost, lines, rate, busy = lossy_run(bench, freq_hz, LOSS_STEP_S)
        if lost:
            begins = "%s Hz" % number(freq_hz)
            break
    report.row(
        "losses begin",
        begins,
        note="%s of %s in %d s at %s Hz, %s per CPU second"
        % (number(lost), number(taken + lost), LOSS_STEP_S, number(freq_hz), number(rate)),
    )
