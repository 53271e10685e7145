# SPDX-License-Identifier: BSD-2-Clause
"""
Whose frames they are: threads that come and go, threads that C code started, threads in more than
one interpreter. One recording per interpreter, and one of greenlets.
"""
import contextlib
import os
import re
import subprocess

import pytest

import folded
import kraitrun
import targets
from callgraph import call_graph
from targets import chance

FREQ_HZ = 2999
# Of each of the threads in cthreads.c, and half of it of the main thread: some 1,000 ticks each.
CPU_S = 0.4
LIVES = 200  # of threads that come and go
WORKLOADS = ["churn", "cthreads", "subs", "crossed"]
SCRIPTS = {"crossed": "subs"}  # where that is not the name
# Some ticks are missed by the timer of a busy virtual CPU, and some fall into ctypes' code
# around a call. What these bounds must tell apart is twice as much and none at all.
LEAST, MOST = 0.5, 1.2


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """cthreads.c, built for the host; the root tree's C library is newer and takes it too."""
    path = tmp_path_factory.mktemp("cthreads") / "libcthreads.so"
    source = os.path.join(targets.WORKLOADS, "cthreads.c")
    compiler = os.environ.get("CC") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-pthread", "-o", path, source], check=True)
    return path


class Recorded:
    def __init__(self):
        self.workloads = {}
        self.run = None
        self.measured = {}
        self.stacks = []

    def of(self, name):
        return folded.of_pid(self.stacks, self.workloads[name].pid)

    def of_tid(self, name, tid):
        return [stack for stack in self.of(name) if stack.tid == tid]


@pytest.fixture(scope="module")
def recorded(py, library, tmp_path_factory):
    recorded = Recorded()
    output = tmp_path_factory.mktemp("threads") / "run.folded"
    args = {
        "cthreads": [py.path_for(library), CPU_S],
        "churn": [LIVES],
        "crossed": ["crossed"],
    }
    with contextlib.ExitStack() as started:
        for name in filter(lambda name: targets.can_run(py, SCRIPTS.get(name, name)), WORKLOADS):
            workload = targets.Workload(py, SCRIPTS.get(name, name), *args.get(name, []))
            recorded.workloads[name] = started.enter_context(workload)
        pids = ",".join(str(workload.pid) for workload in recorded.workloads.values())
        with kraitrun.start_record("-p", pids, "-F", FREQ_HZ, "-t", "-o", output) as krait:
            cthreads = recorded.workloads.get("cthreads")
            churn = recorded.workloads["churn"]
            for workload in filter(None, [cthreads, churn]):
                workload.tell("go")
            others = [w.pid for w in recorded.workloads.values() if w is not cthreads]
            targets.wait_cpu(others, CPU_S)
            churn.hear("enough")
            if cthreads:
                recorded.measured = cthreads.hear("measured")
            recorded.run = krait.stop()
        for workload in recorded.workloads.values():
            workload.stop()
    recorded.stacks = folded.read(output)
    return recorded


@pytest.fixture
def measured(py, recorded):
    """What the threads of C code measured of themselves."""
    targets.skip_unless_run(py, "cthreads")
    return recorded.measured


def short_names(stack):
    return [folded.short_name(frame) for frame in stack.frames]


# ---- Threads that come and go ----


def test_no_thread_shows_the_frames_of_another(recorded):
    """Of hundreds, each lives for some ticks only."""
    truth = recorded.workloads["churn"].truth
    lives, sampled = truth["lives"], truth["lives"][slice(*truth["sampled"])]
    number_of = dict(lives)
    assert len(number_of) == len(lives) > LIVES
    met = set()
    for stack in recorded.of("churn"):
        names = short_names(stack)
        if stack.tid not in number_of:
            assert not any(name.startswith("short_") for name in names), stack
            continue
        number = number_of[stack.tid]
        own = ["run", "short_%d" % number, "spin"]
        assert names == own[: len(names)] or names[0] == "run" and "short" not in str(names), stack
        # A tick may come while the kernel writes the name, and eight characters are a word of it:
        # behind them may stand the rest of the old one.
        is_named = stack.thread.startswith("short-")
        assert not is_named or stack.thread[:8] == "short-%02d" % number, stack
        met.add(stack.tid)
    # A tick falls into the half a millisecond of CPU time of one of two, and more.
    met &= {tid for tid, _ in sampled}
    assert chance.at_least(len(met), len(sampled), 0.4)


# ---- Threads of C code ----

INSIDE = {"new_state": ["called_new", "inside_new"], "own_state": ["called_own", "inside_own"]}


def test_thread_that_never_enters_python(recorded, measured):
    assert recorded.of_tid("cthreads", measured["only_c"]["tid"]) == []


@pytest.mark.parametrize("kind", ["new_state", "own_state"])
def test_thread_that_enters_python_for_a_moment(recorded, measured, kind):
    """Its frames while it is in there, and nothing stale while it is not."""
    mine = measured[kind]
    stacks = recorded.of_tid("cthreads", mine["tid"])
    for stack in stacks:
        names = folded.names(stack)
        assert names == INSIDE[kind][: len(names)], stack
    expected = FREQ_HZ * mine["in_py"]
    assert LEAST * expected <= folded.total(stacks) <= MOST * expected, recorded.run


@pytest.mark.parametrize("kind", ["only_c", "new_state", "own_state"])
def test_time_outside_of_python_is_the_process_s(recorded, measured, kind):
    """Of a thread without a state, of one between two calls, of one whose state runs no frame."""
    mine = [s for s in recorded.stacks.outside if s.tid == measured[kind]["tid"]]
    assert {stack.pid for stack in mine} == {recorded.workloads["cthreads"].pid}
    expected = FREQ_HZ * measured[kind]["in_c"]
    assert LEAST * expected <= folded.total(mine) <= MOST * expected, recorded.run


def test_footer_tells_of_the_time_outside_of_python(recorded, measured):
    found = re.findall(r"^krait: outside of Python: (\d+) samples ", recorded.run.err, re.M)
    assert found == [str(folded.total(recorded.stacks.outside))], recorded.run
    assert folded.total_all(recorded.stacks) == recorded.run.ledger.samples
    assert "idle" not in recorded.run.err


def test_thread_with_an_idle_state_in_another_interpreter(recorded, measured):
    """That interpreter is the newest, and what runs is in the oldest."""
    mine = measured["main"]
    stacks = recorded.of_tid("cthreads", mine["tid"])
    spinning = [stack for stack in stacks if "main_spin" in folded.names(stack)]
    assert folded.total(spinning) >= LEAST * FREQ_HZ * mine["in_py"], recorded.run


# ---- Threads in two interpreters ----


def count_interpreters(stacks, letter):
    """How many samples of a thread of subs.py show it in its own code, in the call that enters the
    other interpreter, and in there. Nothing of the other thread's in any."""
    other = "_b" if letter == "a" else "_a"
    sub = ["<module>", "sub_" + letter]
    counts = {"sub": 0, "main": 0, "enter": 0}
    sub_interps = {stack.interp for stack in stacks if "sub_" in str(short_names(stack))}
    assert len(sub_interps) == 1 and 0 not in sub_interps
    for stack in stacks:
        names = short_names(stack)
        assert stack.interp == 0 or "sub_" in str(names) or names == ["<module>"], stack
        assert not any(n.startswith(("sub" + other, "main" + other)) for n in names), stack
        if any(name.startswith("sub_") for name in names):
            assert names[:2] == sub and len(names) <= 3, stack
            assert set(names[2:]) <= {sub[1] + "_" + f for f in ("leaf", "loop", "squeeze")}, stack
            counts["sub"] += stack.count
        elif names[-1] == "main_" + letter:
            counts["main"] += stack.count
        elif names[-1] == "enter":
            counts["enter"] += stack.count
    return counts


@pytest.mark.parametrize("letter", ["a", "b"])
def test_thread_in_two_interpreters_shows_the_one_that_runs(py, recorded, letter):
    targets.skip_unless_run(py, "subs")
    tid = recorded.workloads["subs"].facts["tids"][letter]
    stacks = recorded.of_tid("subs", tid)
    counts = count_interpreters(stacks, letter)
    # A turn is a third and more in each of them; to go in takes far less than a millisecond of its
    # ten and more.
    cnt = folded.total(stacks)
    assert chance.at_least(counts["sub"], cnt, 0.3), counts
    assert chance.at_least(counts["main"], cnt, 0.3), counts
    assert chance.at_most(counts["enter"], cnt, 0.2), counts


@pytest.mark.parametrize("letter", ["a", "b"])
def test_thread_in_an_interpreter_that_another_made(py, recorded, letter):
    """While the maker works as well, in its own code and in an interpreter that this one made."""
    targets.skip_unless_run(py, "subs")
    tid = recorded.workloads["crossed"].facts["tids"][letter]
    stacks = recorded.of_tid("crossed", tid)
    counts = count_interpreters(stacks, letter)
    assert counts["main"] > 0.2 * folded.total(stacks) > 10, counts
    if py.minor >= (3, 10):
        assert counts["sub"] > 0.2 * folded.total(stacks), counts
        assert chance.at_most(counts["enter"], folded.total(stacks), 0.2), counts
    else:
        # Only the evaluation loop itself is proof there, a third of the time in the interpreter.
        assert counts["sub"] > 0.05 * folded.total(stacks), counts
    # Not the maker's name, whose id the state in there has.
    names = {stack.thread for stack in stacks if stack.interp}
    assert ("other" in str(names)) == (letter == "b"), names


# ---- Greenlets ----


def why_no_greenlets(py):
    asked = subprocess.run(py.argv(["-c", "import greenlet"]), stderr=subprocess.PIPE, cwd="/")
    return asked.stderr.decode().strip().rpartition("\n")[2]


def is_possible(stack, edges):
    """Whether a greenlet can have this stack. One begins at its own function."""
    frames = [frame for frame in stack.frames if frame.file.endswith("greens.py")]
    names = [frame.name for frame in frames]
    if frames != list(stack.frames[: len(frames)]) or names.count("b_deep") > 21:
        return False
    if names[:1] not in (["a_main"], ["b_main"], ["<module>"]):
        return False
    return all(
        caller.line in edges.get((caller.name, callee.name), ())
        for caller, callee in zip(frames, frames[1:])
    )


def test_greenlets_show_the_one_that_runs(py, tmp_path):
    """Two that switch some 100,000 times a second: never a frame of the one in the other."""
    reason = why_no_greenlets(py)
    if reason:
        pytest.skip("no greenlets: " + reason)
    output = tmp_path / "run.folded"
    with targets.Workload(py, "greens") as workload:
        with kraitrun.start_record("-p", workload.pid, "-F", 4999, "-o", output) as krait:
            targets.wait_cpu([workload.pid], 1)
            run = krait.stop()
        workload.stop()
    # A switch copies the C stack, and with it what leads to the frames in 3.11 and 3.12.
    stacks = [s for s in folded.read(output) if not folded.is_marker(s.frames[0])]
    edges = call_graph("greens")
    wrong = [stack for stack in stacks if not is_possible(stack, edges)]
    assert not wrong, "%d stacks, such as %s" % (len(wrong), wrong[:3])
    cnt = folded.total(stacks)
    assert chance.at_least(cnt, run.ledger.samples, 0.96) and cnt > 1000
    for name in ("a_switch", "b_switch"):
        assert chance.at_least(folded.total(folded.having(stacks, name)), cnt, 0.1)
