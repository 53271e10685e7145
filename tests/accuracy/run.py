#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
How right krait is, in figures: a row per CPython of this host, a column per kind of error.

    run.py ORACLE      the whole table; ORACLE is the program of tests/oracle
    run.py --short     (a), (b) and (e) in a few seconds each

(a) Impossible stacks at 10 kHz, of programs that say which stacks they can have (expected.py): none,
    and next to no tick without a stack, since those programs are always in Python code.
(b) The distance between krait's shares of a program's sections and those that the program
    measured itself, with its thread's CPU clock: krait's ticks follow the CPUs' time. At most
    chance.distance_bar().
(c) Wrong lines, among those of every code unit of the standard library: none. CPython is asked.
(d) Ticks on threads in C code without the GIL that have the Python stack: at least 99 %.
(e) Frames of all these stacks that krait could not read, cut, or has no line for where CPython has
    one: less than 0.01 %. Frames of plain recursions are not counted: there are so many of them.

Each cell is a test; the last line counts them. What chance may do to each figure, and how often it
does more, is reckoned in tests/chance.py. Needs root.
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [TESTS, os.path.join(TESTS, "e2e")]

import chance
import folded
import expected
import kraitrun
import targets

FREQ_HZ = 10000
# CPU time that each program has while krait samples. In the short form it is still 2 s of wall
# time on two CPUs, in which krait comes to trust what it has seen for two epochs (bpf/code.h).
STACKS_S = {"full": 4, "short": 1}
# The sections run meanwhile, and longer: their samples make the bar, of 0.031 in the short form.
SECTIONS_S = {"full": 4, "short": 1.6}
NOGIL_S = 3
WAIT_S = 200  # on a busy host they get less in it; the workloads give up after 300
# Of the samples that so much CPU time calls for: with fewer a figure would say nothing.
ENOUGH = 0.5
# The moment in which 3.12 suspends a generator is one without a way from its frame to the callers
# (Python/bytecodes.c, YIELD_VALUE): 0.12 % of the ticks on these programs.
LOST = 0.002
KEPT = 0.99
# (e) of a frame in 100,000, which is what chance.at_most() takes for less than 1 in 10,000 of
# the 150,000 frames of the short form.
MARKED = 0.00001
# With more leaps of the CPU clock than that (b) says nothing.
LEAPT_MOST = 0.25
# A part of each of the GIL-free kinds: one of SHA-256 takes a tenth of the time of the others'.
NOGIL_PART = 0.01
REUSED = 200  # addresses of generated code, at least; a debug build is slow
SHOWN = 3  # impossible stacks per program
COLUMNS = ["(a) impossible", "(b) distance", "(c) wrong lines", "(d) without GIL", "(e) marked"]
FAILURES = (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError)


class Row:
    """The cells of one interpreter: {column: (text, is it good)}."""

    def __init__(self, py, form):
        self.py = py
        self.form = form
        self.cells = {}
        self.notes = []
        self.frames = Counter()
        self.lineless = Counter()

    def set(self, column, good, text):
        self.cells[column] = (text, good)

    def text(self):
        cells = [self.cells.get(column, ("-", True)) for column in "abcde"]
        return [text + ("" if good else " BAD") for text, good in cells]

    def count(self, stacks):
        """Counts the frames for (e)."""
        for stack in stacks:
            for frame in stack.frames:
                if frame.name.startswith("["):
                    self.frames["marked"] += stack.count
                elif frame.line == 0:
                    self.lineless[frame.file, frame.name] += stack.count
                if frame.name not in expected.RECURSIONS:
                    self.frames["all"] += stack.count


# ---- (a), (b): one run over all these programs ----


def section_shares(stacks, names):
    """The samples of each section; what is in none of them is "between" them."""
    found = {name: folded.total(folded.having(stacks, name)) for name in names}
    found["between"] = folded.total(stacks) - sum(found.values())
    return found


def true_shares(measured, found):
    """
    The shares that the program measured itself. In a leap of its clock there may have been ticks or
    none (sections.py), so each section has its time without and up to its time with its leaps: of
    what is possible, what comes nearest to the shares found. Where the clock never leapt, that is
    one value.
    """
    spent, leaps = measured["spent"], measured["leaps"]
    times = dict(spent)
    for _ in range(20):
        total = sum(times.values())
        for name in times:
            most = spent[name] + leaps[name]
            times[name] = min(max(found[name] * total, spent[name]), most)
    total = sum(times.values())
    return {name: seconds / total for name, seconds in times.items()}


def check_distance(row, stacks, measured):
    cnt = folded.total(stacks)
    sections = section_shares(stacks, measured["spent"].keys() - {"between"})
    found = {name: sections[name] / max(cnt, 1) for name in sections}
    shares = true_shares(measured, found)
    leapt, spent = (sum(measured[what].values()) for what in ("leaps", "spent"))
    distance = 0.5 * sum(abs(found[name] - shares[name]) for name in shares)
    bar = chance.distance_bar(len(shares), cnt)
    good = distance <= bar and is_enough(row, cnt, SECTIONS_S) and leapt < LEAPT_MOST * spent
    row.set("b", good, "%.4f < %.4f, n %d" % (distance, bar, cnt))
    if not good:
        row.notes += ["%s: %.4f is %.4f" % (n, shares[n], found[n]) for n in sorted(shares)]
    if leapt:
        row.notes.append("sections: its CPU clock leapt, in all by %.3f s" % leapt)


def is_enough(row, cnt, seconds):
    if cnt < ENOUGH * FREQ_HZ * seconds[row.form]:
        row.notes.append("too few samples: %d" % cnt)
        return False
    return True


def why_not_tried(name, stacks, truth):
    """None, or what the program that was sampled did not do, so that nothing was shown."""
    if name == "generated" and truth["made"] < truth["addresses"] + REUSED:
        return "%(made)d pairs at %(addresses)d addresses" % truth
    cnt = folded.total(stacks)
    for place in sorted(expected.BOTH.get(name, ())):
        found = folded.total(folded.having(stacks, place))
        if not chance.at_least(found, cnt, expected.LEAST_SHARE):
            return "%d of %d samples in %s" % (found, cnt, place)
    return None


def check_stacks(row, stacks, workloads, run):
    cnt = wrong = 0
    good = True
    for name, kind in expected.CHECKERS.items():
        mine = folded.of_pid(stacks, workloads[name].pid)
        checker = kind(workloads[name])
        bad = [(why, stack) for why, stack in ((checker.why(s), s) for s in mine) if why]
        tried = why_not_tried(name, mine, workloads[name].truth)
        row.notes += ["%s: %s: %s" % (name, why, tail(stack)) for why, stack in bad[:SHOWN]]
        row.notes += ["%s: %s" % (name, tried)] if tried else []
        good &= not tried and is_enough(row, folded.total(mine), STACKS_S)
        wrong += folded.total(stack for _, stack in bad)
        cnt += folded.total(mine)
    lost = run.walked - run.ledger.samples
    if not chance.at_most(lost, run.walked, LOST):
        row.notes += ["%d of %d ticks have no sample" % (lost, run.walked), run.err]
        good = False
    row.set("a", good and not wrong, "%d of %d" % (wrong, cnt))


def tail(stack):
    return " > ".join("%s@%s" % (frame.name, frame.line) for frame in stack.frames[-5:])


def let_run(seconds):
    """Until each pid has had its CPU time, or for WAIT_S: is_enough() says whether that will do."""
    with contextlib.suppress(AssertionError):
        targets.wait_each_cpu(seconds, WAIT_S)


def measure_stacks(row, folder):
    path = os.path.join(folder, "stacks.folded")
    with contextlib.ExitStack() as started:
        workloads = {}
        for name in list(expected.CHECKERS) + ["sections"]:
            workloads[name] = started.enter_context(targets.Workload(row.py, name))
        pids = [workload.pid for workload in workloads.values()]
        args = ("-p", ",".join(map(str, pids)), "-F", FREQ_HZ, "--full-path", "-o", path)
        krait = started.enter_context(kraitrun.start_record(*args))
        workloads["sections"].tell("go")
        seconds = dict.fromkeys(pids, STACKS_S[row.form])
        seconds[workloads["sections"].pid] = SECTIONS_S[row.form]
        let_run(seconds)
        workloads["sections"].tell("stop")
        measured = workloads["sections"].hear("measured")
        run = krait.stop()
        for workload in workloads.values():
            workload.stop()
    stacks = folded.read(path)
    row.count(stacks)
    check_stacks(row, stacks, workloads, run)
    check_distance(row, folded.of_pid(stacks, workloads["sections"].pid), measured)


# ---- (c) ----


def measure_lines(row, oracle):
    script = row.py.path_for(os.path.join(TESTS, "oracle", "dump_lines.py"))
    with subprocess.Popen(row.py.argv([script]), stdout=subprocess.PIPE, cwd="/") as dump:
        asked = subprocess.run(
            [os.path.abspath(oracle)], stdin=dump.stdout, capture_output=True, text=True
        )
    found = re.search(r"(\d+) code units, (\d+) mismatches", asked.stdout)
    good = not asked.returncode and not dump.returncode
    row.notes += asked.stderr.splitlines()[:SHOWN]
    row.set("c", good, "%s of %s" % (found[2], found[1]))


# ---- (d) ----


def measure_nogil(row, folder):
    path = os.path.join(folder, "nogil.folded")
    with targets.Workload(row.py, "nogil") as workload:
        with kraitrun.start_record("-p", workload.pid, "-F", FREQ_HZ, "-o", path) as krait:
            let_run({workload.pid: NOGIL_S})
            run = krait.stop()
        workload.stop()
    stacks = folded.read(path)
    row.count(stacks)
    marks = targets.markers("nogil")
    kept = Counter()
    for stack in stacks:
        at = [(frame.name, frame.line) for frame in stack.frames]
        for key in marks:
            name = key.partition(" ")[2]
            if at[-2:] == [("worker", marks["line: worker"]), (name, marks[key])]:
                kept[name] += stack.count
    ticks, all_kept = run.walked, sum(kept.values())
    good = ticks > ENOUGH * FREQ_HZ * NOGIL_S and all_kept >= KEPT * ticks
    good &= all(kept[n] > NOGIL_PART * ticks for n in ("do_zlib", "do_sha256", "do_sqlite"))
    row.set("d", good, "%.2f %% of %d" % (100.0 * all_kept / ticks, ticks))
    row.notes += [] if good else ["without GIL: %s" % dict(kept), run.err]


# ---- (e) ----


def lineless_by_right(py, functions):
    """Which of these (file, name) have instructions that CPython itself has no line for."""
    asked = subprocess.run(
        targets.command(py, "lineless"),
        input=json.dumps(functions),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd="/",
    )
    return {tuple(pair) for pair in json.loads(asked.stdout)}


def check_marked(row):
    by_right = lineless_by_right(row.py, list(row.lineless))
    unknown = {key: cnt for key, cnt in row.lineless.items() if key not in by_right}
    bad, cnt = row.frames["marked"] + sum(unknown.values()), row.frames["all"]
    good = cnt > 0 and chance.at_most(bad, cnt, MARKED)
    row.set("e", good, "%.4f %% of %d" % (100.0 * bad / max(cnt, 1), cnt))
    if not good:
        row.notes.append("%d marked; no line: %s" % (row.frames["marked"], unknown))


# ---- The table ----


def attempt(row, columns, measure, *args):
    """A measurement that breaks off is a bad cell, and the table goes on."""
    try:
        measure(row, *args)
    except FAILURES as error:
        row.notes.append("%s: %s" % (type(error).__name__, error))
    for column in columns:
        if column not in row.cells:
            row.set(column, False, "none")


def make_row(py, form, oracle):
    row = Row(py, form)
    with tempfile.TemporaryDirectory(prefix="krait-") as folder:
        attempt(row, "ab", measure_stacks, folder)
        if form == "full":
            attempt(row, "c", measure_lines, oracle)
            if targets.can_run(py, "nogil"):
                attempt(row, "d", measure_nogil, folder)
        attempt(row, "e", check_marked)
    return row


def show(name, texts):
    print(("%-20s" + "%-22s%-33s%-19s%-21s%s") % tuple([name] + texts), flush=True)


def main(argv):
    if len(argv) != 2 or (argv[1].startswith("-") and argv[1] != "--short"):
        sys.stderr.write(__doc__)
        return 2
    form = "short" if argv[1] == "--short" else "full"
    good = bad = 0
    show("CPython", COLUMNS)
    for py in targets.SUPPORTED:
        row = make_row(py, form, argv[1])
        show(py.name, row.text())
        for line in "\n".join(row.notes).splitlines():
            print("    " + line)
        good += sum(is_good for _, is_good in row.cells.values())
        bad += sum(not is_good for _, is_good in row.cells.values())
    missing = targets.pythons.missing(targets.SUPPORTED)
    for reason in missing:
        print("accuracy: skipped: " + reason)
    text, is_within = chance.account("accuracy")
    print(text)
    bad += not is_within
    print("%d passed, %d failed, %d skipped" % (good, bad, len(missing)))
    return 1 if bad or not good else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
