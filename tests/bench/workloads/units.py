# SPDX-License-Identifier: BSD-2-Clause
"""For each line of stdin, a number of seconds: works so long; says units of work per CPU second, and
per second.

A unit is the same small computation every time, 30 frames deep. Measured in slices of
50 ms, and the rate is what one slice in twenty exceeds: what else runs on the machine slows some
slices down, by far more than a profiler does, whereas the profiler's ticks fall on all of them.
"""
import sys
import time


def unit():
    total = 0
    for i in range(200):
        total += i * i
    return total


def piece():
    """The rates of one slice."""
    units, cpu, begin = 0, time.process_time(), time.monotonic()
    while time.monotonic() < begin + 0.05:
        for _ in range(20):
            unit()
        units += 20
    return units / (time.process_time() - cpu), units / (time.monotonic() - begin)


def measure(seconds):
    end = time.monotonic() + seconds
    rates = []
    while time.monotonic() < end:
        rates.append(piece())
    return [sorted(of_one)[len(rates) * 19 // 20] for of_one in zip(*rates)]


def serve():
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(*measure(float(line)), flush=True)


def deeper(more):
    return deeper(more - 1) if more else serve()


deeper(24)  # and the module's frame, serve, measure, piece, unit: 30
