#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What krait costs, measured; `make bench` runs it. How each figure is taken: README.md.

    tests/bench/run.py [--quick] [--only NAME]...

Needs root. A figure that misses its bar is no failure: exit 0 when all was measured, 1 when
something could not be.
"""
import argparse
import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import time

import kernel_cost
import krait_cost
import peer_cost
import recorded_cost
import target_cost
import written_cost
from harness import CantMeasure, KRAIT, build_probe, find_pythons, pick

SECTIONS = {
    "sample": kernel_cost.samples,
    "reject": kernel_cost.rejects,
    "cpu": krait_cost.cpu,
    "start": krait_cost.start,
    "memory": krait_cost.memory,
    "written": written_cost.written,
    "report": recorded_cost.recorded,
    "slowdown": target_cost.slowdown,
    "loss": target_cost.loss,
    "peers": peer_cost.peers,
}


class Report:
    """The rows, printed as they come."""

    def __init__(self):
        self.missed = 0  # bars
        self.failed = 0  # measurements

    @contextlib.contextmanager
    def attempt(self, label):
        """What can't be measured in here is a row that says so; the rest goes on."""
        try:
            yield
        except (CantMeasure, OSError, ValueError) as error:
            print("  %-44s NOT MEASURED: %s" % (label, error), flush=True)
            self.failed += 1

    def head(self, text):
        print("\n%s" % text, flush=True)

    def row(self, label, text, bar=None, value=None, note=""):
        """One figure; `value` is compared with the bar."""
        result = ""
        if bar is not None:
            result = "%-6s bar %s" % ("ok" if value <= bar else "MISSED", "{:,}".format(bar))
            self.missed += value > bar
        columns = (label, text, result, "(%s)" % note if note else "")
        print(("  %-44s %12s   %-18s %s" % columns).rstrip(), flush=True)


class Bench:
    """What the measurements share."""

    def __init__(self, quick):
        self.quick = quick
        self.found = find_pythons()
        self.py = pick(self.found, [(3, 11)]) or pick(self.found, [(3, 12), (3, 13), (3, 14)])
        self.default_beyond_ns = None  # measured by "sample", used by "slowdown"
        if not self.py:
            raise CantMeasure("no CPython from 3.11 on (tests/pythons.py lists what there is)")


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return re.search(r"^model name\s*: (.*)$", stream.read(), re.M)[1]
    except (OSError, TypeError):
        return platform.machine()


def print_header(bench):
    version = subprocess.run([KRAIT, "--version"], stdout=subprocess.PIPE, text=True).stdout
    load = os.getloadavg()[0]
    print("machine  %s, %d CPUs, load %.1f" % (cpu_model(), os.cpu_count(), load))
    print("kernel   %s %s" % (platform.release(), platform.machine()))
    print("CPython  %s (%s)" % (bench.py.name, bench.py.executable))
    print("krait    %s" % version.partition("\n")[0].replace("krait ", ""))
    print("Absolute times vary with the machine and with what else it does.")


def measure(bench, names):
    """Runs the sections; how many measurements failed."""
    report = Report()
    for name in names:
        with report.attempt(name):
            SECTIONS[name](bench, report)
    print("\nbench: %d bars missed, %d not measured" % (report.missed, report.failed))
    return report.failed


def stop(number, _):
    """Unwinds, so that every process is ended by its context."""
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description="what krait costs, measured")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter runs: a minute")
    parser.add_argument("--only", action="append", metavar="NAME", choices=SECTIONS, default=[])
    args = parser.parse_args()
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if os.geteuid() != 0:
        print("bench: needs root", file=sys.stderr)
        return 1
    begin = time.monotonic()
    try:
        build_probe()
        bench = Bench(args.quick)
    except CantMeasure as error:
        print("bench: %s" % error, file=sys.stderr)
        return 1
    print_header(bench)
    failed = measure(bench, args.only or list(SECTIONS))
    print("bench: %.0f s" % (time.monotonic() - begin))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
