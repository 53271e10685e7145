# SPDX-License-Identifier: BSD-2-Clause
"""What the targets notice of krait, and whether krait notices all of them."""
import re
import time

from harness import ANSWER_S, CPU, CantMeasure, Krait, Probe, Target, Watch, median, number

SLOWDOWN_FREQ_HZ = 99
LOSS_FREQ_HZ = 10000
MAX_FREQ_HZ = 20000  # user/cmd/record.c, FREQ_MAX_HZ
LOSS_STEP_HZ, LOSS_STEP_S = 2500, 10


# ---- Slowdown ----


def work(target, seconds):
    """(units per CPU second, units per second) of workloads/units.py."""
    return [float(rate) for rate in target.ask(str(seconds)).split()]


def units_under_krait(target, seconds):
    args = ["-p", target.pid, "-F", SLOWDOWN_FREQ_HZ, "-q", "-f", "folded", "-o", "/dev/null"]
    with Krait(*args) as krait, Watch(krait) as watch:
        end = time.monotonic() + ANSWER_S
        while watch.read().samples < 5 and time.monotonic() < end:
            target.ask("0.2")  # it only works when it is asked to
        before = watch.read().samples
        units = work(target, seconds)[0]
        if watch.read().samples - before < 10:
            raise CantMeasure("the target was not sampled")
        krait.stop()
        return units


def units_under_empty(target, seconds):
    with Probe("empty", SLOWDOWN_FREQ_HZ):
        target.ask("0.2")
        return work(target, seconds)[0]


def slowdown(bench, report):
    report.head("slowdown of the target at %d Hz, beside the empty program" % SLOWDOWN_FREQ_HZ)
    pairs, seconds = (2, 1) if bench.quick else (5, 2)
    measures = [units_under_krait, units_under_empty]
    loss = []
    with Target(bench.py, "units", cpu=CPU) as target:
        target.ask("0.5")
        for pair in range(pairs):
            # ABBA: what drifts with time falls on both alike.
            order = measures if pair % 2 == 0 else measures[::-1]
            got = {measure: measure(target, seconds) for measure in order}
            loss.append(100 * (1 - got[units_under_krait] / got[units_under_empty]))
    report.row(
        "work per CPU second lost",
        "%.2f %%" % median(loss),
        note="%d pairs, %.2f to %.2f" % (pairs, min(loss), max(loss)),
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
