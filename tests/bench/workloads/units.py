# SPDX-License-Identifier: BSD-2-Clause
"""For each line of stdin, a number of seconds: works so long; says units of work per CPU second, and
per second. A unit is the same small computation every time, 30 frames deep."""
import sys
import time


def unit():
    total = 0
    for i in range(200):
        total += i * i
    return total


def measure(seconds):
    units, cpu, begin = 0, time.process_time(), time.monotonic()
    while time.monotonic() < begin + seconds:
        for _ in range(20):
            unit()
        units += 20
    return units / (time.process_time() - cpu), units / (time.monotonic() - begin)


def serve():
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(*measure(float(line)), flush=True)


def deeper(more):
    return deeper(more - 1) if more else serve()


deeper(25)  # and the module's frame, serve, measure, unit: 30
