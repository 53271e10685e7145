# SPDX-License-Identifier: BSD-2-Clause
"""What krait itself takes: CPU time in user space, time to start, memory."""
import contextlib
import os
import re
import tempfile
import time

import recording
from harness import CPU, CantMeasure, Krait, OLD_S, Target, Watch, median, minus, number, spread
from harness import stats, targets

CPU_FREQ_HZ = 4999  # many samples in a short time
OWN_BAR_US, CORE_BAR_PERCENT = 1, 0.1
BYTES_BAR = 48
SAMPLE_BYTES = 40  # bpf/abi/record.h, struct krait_sample_rec: not in the counter of the ring's bytes
FEW, MANY = 10, 50
START_BAR_MS = {1: 200, FEW: 100, MANY: 200}  # so many Pythons
MEMORY_BAR_MB = {1: 8, MANY: 20}
MAPS_BAR_MB = 16


def cpu_ns(pid):
    """What a process of one thread has run so far: /proc/PID/schedstat, its first number, in ns
    (Documentation/scheduler/sched-stats.rst). utime and stime count in steps of 10 ms."""
    with open("/proc/%d/schedstat" % pid, encoding="ascii") as stream:
        return int(stream.read().split()[0])


# ---- CPU time ----


def own_cpu(target, freq_hz, seconds):
    """(CPU ns of a second, what was sampled in all of them) of a steady krait over one target. The
    median second: each has an epoch and four readings of the rings in it, and some a lump of what
    else the machine does."""
    args = ["-p", target.pid, "-F", freq_hz, "-q", "-f", "folded", "-o", "/dev/null"]
    with Krait(*args) as krait, Watch(krait) as watch:
        watch.wait(lambda r: r.samples > 5, "samples")
        time.sleep(OLD_S)
        readings, own = [watch.read()], [cpu_ns(krait.pid)]
        for _ in range(seconds):
            time.sleep(1)
            readings.append(watch.read())
            own.append(cpu_ns(krait.pid))
        krait.stop()
        total = minus(readings[-1], readings[0])
        if total.samples < 10:
            raise CantMeasure("%d samples only" % total.samples)
        spent = [b - a for a, b in zip(own, own[1:])]
        walls = [b.time_ns - a.time_ns for a, b in zip(readings, readings[1:])]
        return median(ns / wall * 1e9 for ns, wall in zip(spent, walls)), total


def cpu(bench, report):
    report.head("krait's own CPU time in user space and its system calls, steady state")
    seconds = 2 if bench.quick else 5
    for label, args in (("one stack", ("stack", 30)), ("hundreds of stacks", ("work", 1, 0))):
        with Target(bench.py, *args, cpu=CPU) as target:
            ns, total = own_cpu(target, CPU_FREQ_HZ, seconds)
            us = ns / (total.samples / total.time_ns * 1e9) / 1e3
            report.row(
                "per sample, " + label,
                "%.2f µs" % us,
                bar=OWN_BAR_US,
                value=us,
                note="%s samples at %d Hz, %s stacks sent"
                % (number(total.samples), CPU_FREQ_HZ, number(total.stacks)),
            )
            if not bench.quick:
                with stats():
                    at_100_hz(report, label, *own_cpu(target, 100, seconds))


def at_100_hz(report, label, own_ns, total):
    one_stack = label == "one stack"
    core = own_ns / 1e7  # percent
    report.row(
        "of one core at 100 Hz, " + label,
        "%.3f %%" % core,
        bar=CORE_BAR_PERCENT,
        value=core,
        note="%.3f with the BPF program; %s samples"
        % (core + 100 * total.run_ns / total.time_ns, number(total.samples)),
    )
    size = SAMPLE_BYTES + total.ring_bytes / total.samples
    report.row(
        "bytes of a sample, " + label,
        "%.1f B" % size,
        bar=BYTES_BAR if one_stack else None,
        value=size,
        note="at 100 Hz; %s stacks sent" % number(total.stacks),
    )


# ---- Start ----


def first_sample_ms(pids):
    """(exec to timers, exec to the first sample of one of these) of one run."""
    with tempfile.TemporaryDirectory(prefix="krait-bench-") as folder:
        path = os.path.join(folder, "run.krait")
        with Krait("-a", "-d", "0.7", "-q", "-o", path) as krait:
            krait.end()
            taken = [s.time_ns for s in recording.read(path).samples if s.pid in pids]
            if not taken:
                raise CantMeasure("no sample")
            return (min(taken) - krait.exec_ns) / 1e6


def start(bench, report):
    report.head("from exec of krait to its first sample, 99 Hz")
    runs = 2 if bench.quick else 5
    for count, bar in START_BAR_MS.items():
        idle = count - 1
        label = "1 busy and %d idle Pythons" % idle if idle else "1 busy Python"
        with targets(bench.py, idle, "work", 0, 1000), Target(bench.py, "stack", 30) as busy:
            ms = [first_sample_ms({busy.pid}) for _ in range(runs)]
        report.row(
            label,
            "%.0f ms" % median(ms),
            bar=bar,
            value=median(ms),
            note=spread(ms),
        )


# ---- Memory ----


def rss_kb(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as stream:
        return int(re.search(r"^VmRSS:\s*(\d+) kB$", stream.read(), re.M)[1])


def peak(bench, count):
    """In MB: (peak RSS, RSS after some seconds, BPF maps), and how many Pythons were sampled, where
    so many work."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="krait-bench-"))
        path = os.path.join(folder, "run.krait")
        busy_ms, pause_ms = (1, 0) if count == 1 else (4, 250)
        started = stack.enter_context(targets(bench.py, count, "work", busy_ms, pause_ms))
        args = ["-a", "-F", 999, "-q", "-o", path, "-o", os.path.join(folder, "run.pb.gz")]
        krait = stack.enter_context(Krait(*args))
        with Watch(krait) as watch:
            watch.wait(lambda r: r.samples > 5, "samples")
            time.sleep(1.5 if bench.quick else 5)
            maps_bytes, later_kb = watch.read().maps_bytes, rss_kb(krait.pid)
        peak_kb = krait.stop()["maxrss_kb"]
        sampled = {s.pid for s in recording.read(path).samples} & {t.pid for t in started}
        return peak_kb / 1024, later_kb / 1024, maps_bytes / (1 << 20), len(sampled)


def memory(bench, report):
    report.head("krait's memory at its peak, at 999 Hz, with two outputs")
    for count, bar in MEMORY_BAR_MB.items():
        peak_mb, later_mb, maps_mb, sampled = peak(bench, count)
        report.row(
            "%d busy Python%s" % (count, "s" if count > 1 else ""),
            "%.1f MB" % peak_mb,
            bar=bar,
            value=peak_mb,
            note="%.1f later; %d of %d sampled" % (later_mb, sampled, count),
        )
    report.row("the BPF maps", "%.1f MB" % maps_mb, bar=MAPS_BAR_MB, value=maps_mb)
