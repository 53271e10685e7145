# SPDX-License-Identifier: BSD-2-Clause
"""
100 attackers beside 10 honest processes for two minutes (KRAIT_TRUST_S): krait goes on, answers, does
not grow, and the honest ones lose nothing to speak of.

What the honest ones lose is told in two ways. What all processes share (the rings, the answer to what
a process is) loses at most 1 % of the honest ones' samples, by the ledger. And a second krait that
looks at the honest ones alone, at the same time, has no more samples of them than 1 % above the first
one's. Two counts of the same n ticks that come at chance differ by more than 5 sqrt(2 n) in less than
one of 10^6 runs; krait's come at regular times, and differ by less.
"""
import contextlib
import os
import signal
import threading
import time

import folded
import hostile
import kraitrun
import targets

SECONDS = int(os.environ.get("KRAIT_TRUST_S", 120))
FREQ_HZ = 199
ATTACKERS, HONEST = 100, 10
SHARE = 2  # percent of a CPU each
STALL_S = 1
GROWTH_MB = 16
CALM_S = 3
SHARED = [
    "because the ring buffer was full",
    "because the ring buffer had no room for the stack",
    "without a layout for the interpreter",
]


def nice(priority):
    return {"preexec_fn": lambda: os.nice(priority)}


def rss_mb(pid):
    """Of the process and those that it started."""
    pids, total = [pid], 0
    for member in pids:
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%d/children" % (member, member), encoding="ascii") as stream:
                pids += map(int, stream.read().split())
            with open("/proc/%d/statm" % member, encoding="ascii") as stream:
                total += int(stream.read().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


class Lateness(threading.Thread):
    """How late a task of this host's may be: krait can't be on time where nobody is."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst = 0
        self.is_over = False
        self.start()

    def run(self):
        while not self.is_over:
            before = time.monotonic()
            time.sleep(0.01)
            self.worst = max(self.worst, time.monotonic() - before - 0.01)


def time_snapshot(krait, path):
    """Seconds until SIGUSR1 has been answered, less how late this host makes everybody."""
    before = os.stat(path).st_ino if os.path.exists(path) else None
    lateness, begin = Lateness(), time.monotonic()
    krait.send(signal.SIGUSR1)
    while not os.path.exists(path) or os.stat(path).st_ino == before:
        assert time.monotonic() < begin + kraitrun.GRACE_S, "krait does not answer"
        time.sleep(0.005)
    took = time.monotonic() - begin
    lateness.is_over = True
    return took - 2 * lateness.worst


def attackers(started, folder):
    modes = hostile.modes()
    files = [image.write(folder / name) for name, image in hostile.elf_files().items()]
    cut = folder / "cut"
    cut.write_bytes(open(hostile.build("forger"), "rb").read())
    made = [started.enter_context(hostile.mapper("-t", cut, **nice(19)))]
    made += [started.enter_context(hostile.mapper(path, **nice(19))) for path in files]
    while len(made) < ATTACKERS:
        mode = modes[len(made) % len(modes)]
        made.append(started.enter_context(hostile.forger(mode, SHARE, **nice(19))))
    return made


class Watch:
    """What is measured while they run."""

    def __init__(self):
        self.waits = []
        self.rss = []

    def go_on(self, krait, snapshot, started):
        """An attacker more ends and another one comes, each second."""
        modes, end = hostile.modes(), time.monotonic() + SECONDS
        while time.monotonic() < end:
            with hostile.forger(modes[len(self.rss) % len(modes)], SHARE, **nice(19)):
                time.sleep(1)
            self.rss.append(rss_mb(krait.pid))
            if len(self.rss) % 5 == 0:
                self.waits.append(time_snapshot(krait, snapshot))


def test_hundred_attackers(one_py, tmp_path):
    watch, output = Watch(), tmp_path / "all.folded"
    with contextlib.ExitStack() as started:
        honest = [
            started.enter_context(targets.Workload(one_py, "spin", prefix=["nice", "-n", "10"]))
            for _ in range(HONEST)
        ]
        pids = [workload.pid for workload in honest]
        bad = {attacker.pid for attacker in attackers(started, tmp_path)}
        only = ["-p", ",".join(map(str, pids)), "-F", FREQ_HZ, "-o", tmp_path / "only.folded"]
        every = ["-a", "-F", FREQ_HZ, "-o", output]
        with kraitrun.start_record(*every) as krait, kraitrun.start_record(*only) as control:
            time.sleep(CALM_S)
            watch.go_on(krait, output, started)
            reference = control.stop()
            begin, lateness = time.monotonic(), Lateness()
            run = krait.stop()
            watch.waits.append(time.monotonic() - begin - 2 * lateness.worst)
            lateness.is_over = True
    stacks = folded.read(output)
    print("hundred: waits %.2f s at most; memory %.1f to %.1f MB" % (
        max(watch.waits), watch.rss[0], max(watch.rss)))
    print(run.err)
    assert max(watch.waits) < STALL_S, watch.waits
    assert max(watch.rss) - watch.rss[0] < GROWTH_MB, watch.rss
    own = [stack for stack in stacks if stack.pid in pids]
    assert_right(own)
    assert_few_lost(folded.total(own), run, reference)
    assert {stack.pid for stack in stacks} & bad


def assert_right(own):
    for stack in own:
        names = folded.names(stack)
        assert names[0] == "<module>" and set(names[1:]) <= {"spin", "running"}, stack


def assert_few_lost(samples, run, reference):
    expected = reference.ledger.ticks
    print("hundred: %d samples of the honest ones, %d by the control" % (samples, expected))
    lost = kraitrun.losses(run.err)
    assert sum(lost.get(reason, 0) for reason in SHARED) <= 0.01 * samples, run.err
    assert samples >= 0.99 * expected - 5 * (2 * expected) ** 0.5
