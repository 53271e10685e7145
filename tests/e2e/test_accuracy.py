# SPDX-License-Identifier: BSD-2-Clause
"""
What a recording of known programs says, against what those programs and the kernel say of
themselves: shares, lines, threads, depth, generators. One run per interpreter serves every test.
"""
import contextlib
import gzip

import pytest

import folded
import kraitrun
import pprof
import targets
from targets import chance

FREQ_HZ = 3999
CPU_S = 0.8  # of each workload: 3,200 samples, about 100 for each of the lines
THREAD_S = 0.02  # of each of the eight threads: 80 samples
WORKLOADS = ["split", "lines", "threads", "deep", "gens", "coros"]
DEPTH = 900
# The least share of its workload's samples that a line of lines.py has, or a leaf of gens.py and
# coros.py: half of what is usual in the slowest CPython, a debug build.
LINE_SHARE, LEAF_SHARE = 0.01, 0.06
# Of the samples of a leaf, those at the call in which it spends its time, for the least.
CALL_SHARE = 0.93
# How many stacks are met with a frame half pushed: a few in 10,000 (more is a broken layout).
MARKED_SHARE = 0.0003
LABELS = [key.partition(" ")[2] for key in targets.markers("lines") if key.startswith("drive")]


class Recorded:
    """One recording of all the workloads, in every format."""

    def __init__(self, folder):
        self.folder = folder
        self.workloads = {}
        self.run = None
        self.stacks = []
        self.cpu_s = 0.0

    def path(self, suffix):
        return str(self.folder / ("run" + suffix))

    def of(self, name):
        return folded.of_pid(self.stacks, self.workloads[name].pid)

    def facts(self, name):
        return self.workloads[name].facts


def record_all(recorded):
    pids = [workload.pid for workload in recorded.workloads.values()]
    args = ["-p", ",".join(map(str, pids)), "-F", FREQ_HZ, "-t", "--full-path"]
    for suffix in (".folded", ".pb.gz", ".krait"):
        args += ["-o", recorded.path(suffix)]
    with kraitrun.start_record(*args) as krait:
        before = sum(map(targets.cpu_seconds, pids))
        targets.wait_cpu(pids, CPU_S)
        tids = recorded.facts("threads")["tids"]
        targets.wait_threads(recorded.workloads["threads"].pid, tids, THREAD_S)
        recorded.run = krait.stop()
        recorded.cpu_s = sum(map(targets.cpu_seconds, pids)) - before


@pytest.fixture(scope="module")
def recorded(py, tmp_path_factory):
    recorded = Recorded(tmp_path_factory.mktemp("accuracy"))
    with contextlib.ExitStack() as started:
        for name in filter(lambda name: targets.can_run(py, name), WORKLOADS):
            recorded.workloads[name] = started.enter_context(targets.Workload(py, name))
        record_all(recorded)
        for workload in recorded.workloads.values():
            workload.stop()
    recorded.stacks = folded.read(recorded.path(".folded"))
    return recorded


# ---- The whole run ----


def test_every_tick_is_accounted_for(recorded):
    """What the kernel counted, what the footer says and what the file holds are one number; and it
    is the number that the processes' CPU time calls for, within a tenth."""
    ledger = recorded.run.ledger
    assert folded.total_all(recorded.stacks) == ledger.samples
    assert ledger.samples >= 0.95 * recorded.run.walked, recorded.run
    assert ledger.ticks == pytest.approx(FREQ_HZ * recorded.cpu_s, rel=0.1)


def test_only_what_was_asked_for(recorded):
    pids = {workload.pid for workload in recorded.workloads.values()}
    assert {stack.pid for stack in recorded.stacks} == pids


def test_process_root_is_the_command_line(recorded):
    for name in recorded.workloads:
        cmdlines = {stack.cmdline for stack in recorded.of(name)}
        script = targets.script(recorded.workloads[name].py, name)
        assert len(cmdlines) == 1 and cmdlines.pop().endswith(" " + script)


def test_no_frame_is_unreadable(recorded):
    marked = [s for s in recorded.stacks if folded.is_marked(s)]
    cnt = folded.total(recorded.stacks)
    assert chance.at_most(folded.total(marked), cnt, MARKED_SHARE), marked[:5]


# ---- Shares ----


def test_cpu_split(recorded):
    """The share of a function among the samples, against its share of the thread's CPU time as the
    workload's own clock has it."""
    spent = recorded.workloads["split"].truth["spent"]
    found = {name: folded.total(folded.having(recorded.of("split"), name)) for name in spent}
    cnt = sum(found.values())
    assert cnt > 1000
    for name, seconds in spent.items():
        assert chance.near(found[name], cnt, seconds / sum(spent.values())), (name, found, spent)


# ---- Lines ----


def oracle_entry(recorded, label):
    """What the interpreter itself says of the code object whose time the label stands for."""
    entries = [e for e in recorded.facts("lines")["table"] if label in e["calls"]]
    assert len(entries) == 1
    return entries[0]


def test_the_oracle_agrees_with_the_source(recorded):
    """A test of the workload: the lines that CPython reports are those of the comments."""
    marks = targets.markers("lines")
    for label in LABELS:
        lines = oracle_entry(recorded, label)["calls"][label]
        if "line: " + label in marks:
            assert lines == [marks["line: " + label]]
        elif "begin: " + label in marks:
            assert len(lines) == 1
            assert marks["begin: " + label] <= lines[0] <= marks["end: " + label]
        else:
            assert lines == {"far": [70302], "wide": [3]}[label]


@pytest.mark.parametrize("label", LABELS)
def test_line(recorded, label):
    """Function, file and line of the leaf, and the line in each of its two outermost callers."""
    marks = targets.markers("lines")
    entry = oracle_entry(recorded, label)
    file = targets.script(recorded.workloads["lines"].py, "lines")
    every = recorded.of("lines")
    stacks = [s for s in every if s.frames[-1][:2] == (entry["name"], entry["file"])]
    assert chance.at_least(folded.total(stacks), folded.total(every), LINE_SHARE)
    at_call = [s for s in stacks if s.frames[-1].line in entry["calls"][label]]
    assert chance.at_least(folded.total(at_call), folded.total(stacks), CALL_SHARE)
    for stack in stacks:
        assert stack.frames[0] == folded.Frame("<module>", file, marks["line: module"])
        assert stack.frames[1] == folded.Frame("drive", file, marks["drive: " + label])


def test_every_line_is_one_of_its_code_object(recorded):
    """No frame, leaf or caller, has a line that CPython's own tables do not give its function."""
    allowed = {}
    for entry in recorded.facts("lines")["table"]:
        allowed.setdefault((entry["name"], entry["file"]), set()).update(entry["lines"])
    script = targets.script(recorded.workloads["lines"].py, "lines")
    for stack in recorded.of("lines"):
        for frame in stack.frames:
            if frame.file in (script, "far/away.py", "far/wide.py"):
                assert frame.line in allowed[frame[:2]], (frame, stack)
            else:
                assert frame.file.endswith("/harness.py"), frame


# ---- Threads ----


def test_threads(recorded):
    """Eight threads, each with its TID, its name and only its own function. (Ticks come evenly in a
    thread's CPU time too: one without any is no chance.)"""
    tids = recorded.facts("threads")["tids"]
    assert len(set(tids)) == 8
    for index, tid in enumerate(tids):
        stacks = [stack for stack in recorded.of("threads") if stack.tid == tid]
        assert stacks, "no sample of thread %d" % index
        # Half of them have told the kernel another one: prctl(2).
        assert {stack.thread for stack in stacks} == {"named-%d" % index}
        for stack in stacks:
            names = [n for n in map(folded.short_name, stack.frames) if n.startswith("work_")]
            assert names == ["work_%d" % index], stack


def test_every_stack_has_a_thread_of_its_process(recorded):
    for name in recorded.workloads.keys() - {"threads"}:
        assert {stack.tid for stack in recorded.of(name)} == {recorded.workloads[name].pid}


# ---- Depth, generators ----


def test_deep_recursion_is_whole(recorded):
    marks = targets.markers("deep")
    names = ["<module>"] + ["deep"] * DEPTH + ["bottom"]
    lines = [marks["line: deeper"]] * (DEPTH - 1) + [marks["line: deepest"]]
    stacks = recorded.of("deep")
    assert folded.total(stacks) > 100
    for stack in stacks:
        # Compared outside of the assert: pytest takes minutes to word how two such lists differ.
        has_names = folded.names(stack)[: DEPTH + 2] == names
        assert has_names, (len(stack.frames), stack.frames[:3], stack.frames[-3:])
        has_lines = [frame.line for frame in stack.frames[1 : DEPTH + 1]] == lines
        assert has_lines, (stack.frames[:3], stack.frames[-3:])
    at_bottom = [stack for stack in stacks if stack.frames[-1].line == marks["line: bottom"]]
    assert chance.at_least(folded.total(at_bottom), folded.total(stacks), 0.9)


@pytest.mark.parametrize(
    "workload, chain",
    [
        ("gens", ["driver", "gen", "leaf"]),
        ("coros", ["driver_deleg", "gen_outer", "gen_inner", "leaf_deleg"]),
        ("coros", ["driver_coro", "coro_outer", "coro_inner", "leaf_coro"]),
        ("gens", ["driver_genexpr", "<genexpr>", "leaf_genexpr"]),
    ],
    ids=["generator", "yield-from", "coroutine", "genexpr"],
)
def test_callers_through_generators(py, recorded, workload, chain):
    targets.skip_unless_run(py, workload)
    marks = targets.markers(workload)
    every = recorded.of(workload)
    stacks = folded.having(every, chain[-1])
    assert chance.at_least(folded.total(stacks), folded.total(every), LEAF_SHARE)
    for stack in stacks:
        assert [folded.short_name(f) for f in stack.frames] == ["<module>", "drive"] + chain
        for frame in stack.frames[2:-1]:
            name = "driver_genexpr" if "genexpr" in frame.name else frame.name
            assert frame.line == marks["line: " + name], stack
    at_work = [s for s in stacks if s.frames[-1].line == marks["line: " + chain[-1]]]
    assert chance.at_least(folded.total(at_work), folded.total(stacks), CALL_SHARE)


# ---- The other formats of the same run ----


@pytest.mark.parametrize("suffix", [".folded", ".pb.gz"])
def test_report_gives_what_the_live_run_gave(recorded, suffix, tmp_path):
    again = tmp_path / ("again" + suffix)
    args = ["report", recorded.path(".krait"), "-t", "--full-path", "-o", again]
    run = kraitrun.krait(*args)
    assert run.code == 0, run
    with open(recorded.path(suffix), "rb") as stream:
        assert again.read_bytes() == stream.read()


def test_pprof_is_read_by_pprof(recorded):
    total, rows = pprof.top(recorded.path(".pb.gz"))
    assert total == recorded.run.ledger.samples
    assert sum(flat for flat, _, _ in rows) == total
    with gzip.open(recorded.path(".pb.gz")) as stream:
        assert b"split_60" in stream.read()


def test_pprof_has_the_right_top_function(recorded):
    """Of n > 1,000 samples: that the function of 30 % has more than that of 60 % has a probability of
    exp(-n (sqrt(0.6) - sqrt(0.3))^2) < 1e-22 at most, which is Chernoff's bound."""
    _, rows = pprof.top(recorded.path(".pb.gz"), "-focus=^split_")
    assert [name for _, _, name in rows[:2]] == ["split_60", "split_30"], rows
    for flat, cum, name in rows[:3]:
        mine = folded.having(recorded.of("split"), name)
        leaf = [stack for stack in mine if folded.short_name(stack.frames[-1]) == name]
        assert (flat, cum) == (folded.total(leaf), folded.total(mine)), rows
