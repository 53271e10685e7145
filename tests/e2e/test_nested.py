# SPDX-License-Identifier: BSD-2-Clause
"""
A tick in the middle of taking a stack: kraits with one more program, that takes a stack at each
system call, in the task's context (tests/nested). Nearly every tick hits that one at its work.

"single" has one level of memory for each CPU: the tick is lost, and says so, which also shows that it
does hit. With two, as "ticks" and "events" have, nothing is. "unmarked" shows what the mark of a level
is for.
"""
import gzip
import subprocess

import pytest

import folded
import kraitrun
import targets

NESTED = "because they came in the middle of taking another sample"
DEPTH, WAYS = 120, 6  # of the workload
CPU_S = 1.5  # of the workload: the host may be busy
HZ = 9999  # and as many samples the rings hold: there are more calls than that


def build(variant):
    path = ".output/nested/%s/krait" % variant
    made = subprocess.run(["make", "-s", "-C", kraitrun.TREE, path], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return "%s/%s" % (kraitrun.TREE, path)


@pytest.fixture
def run_nested(monkeypatch, one_py, tmp_path):
    """Of a variant: (the run, its output) of the workload "calls"."""

    def run(variant, suffix="folded"):
        monkeypatch.setattr(kraitrun, "KRAIT", build(variant))
        output = tmp_path / ("run." + suffix)
        with targets.Workload(one_py, "calls", DEPTH, WAYS) as workload:
            args = "-p", workload.pid, "-F", HZ, "-o", output
            if variant == "unmarked":  # whose ledger does not balance, as that of any other must
                run = kraitrun.krait("record", *kraitrun.UNGOVERNED, *args, "-d", 3)
            else:
                run = targets.record_cpu([workload.pid], CPU_S, *args)
            workload.stop()
        assert run.code == 0, run
        return run, output

    return run


MARKS = targets.markers("calls")
LINES = {label[len("line: ") :]: line for label, line in MARKS.items()}


def is_possible(stack):
    """Whether the workload can have that stack: so many of its calls, and each on a line of its own."""
    names, lines = folded.names(stack), [frame.line for frame in stack.frames]
    if names[:2] != ["<module>", "drive"][: len(names)] or "down" not in names:
        return not any(name in ("down", "bottom") or name.startswith("[") for name in names)
    calls = names[2:]
    is_whole = calls[-1] == "bottom"
    downs = len(calls) - is_whole
    if calls[:downs] != ["down"] * downs or downs > DEPTH + 1 or (is_whole and downs != DEPTH + 1):
        return False
    # All but the innermost one stand at a call.
    at = lines[2 : 2 + downs - (not is_whole)]
    if is_whole:
        at, deepest = at[:-1], at[-1]
        if deepest != LINES["deepest"] or lines[-1] not in (LINES["bottom"] - 1, LINES["bottom"]):
            return False  # the line before: it has just been entered
    ways = at[:WAYS]
    return set(ways) <= {LINES["one"], LINES["other"]} and set(at[WAYS:]) <= {LINES["other"]}


def impossible(stacks):
    return [stack for stack in stacks if not is_possible(stack)]


@pytest.mark.parametrize("variant", ["ticks", "single"])
def test_no_stack_is_mixed(run_nested, variant):
    run, output = run_nested(variant)
    stacks = folded.read(output)
    assert sum(s.count for s in stacks if s.frames[-1].name == "bottom") > 1000, run
    assert not impossible(stacks), impossible(stacks)[0]
    assert run.ledger.samples == folded.total(stacks) + folded.total(stacks.outside)
    lost = kraitrun.losses(run.err).get(NESTED, 0)
    assert lost > 100 if variant == "single" else lost == 0, run


def test_without_the_mark_they_are(run_nested):
    _, output = run_nested("unmarked")
    assert impossible(folded.read(output))


def test_two_events(run_nested):
    """The calls are an event of their own: the clock's ledger and counts are without them."""
    run, output = run_nested("events")
    stacks = folded.read(output)
    assert not impossible(stacks), impossible(stacks)[0]
    assert run.ledger.samples == folded.total(stacks) + folded.total(stacks.outside)
    assert "of the event calls:" in run.err and "BALANCE" not in run.err
    run, output = run_nested("events", "pb.gz")
    assert b"calls" in gzip.decompress(output.read_bytes())
