# SPDX-License-Identifier: BSD-2-Clause
"""
Processes that come and go under a running recording: fork, exec, multiprocessing; and, in the same
run, names that try to break out of the output. The run has no -d: SIGINT ends it.
"""
import contextlib

import pytest

import folded
import kraitrun
import targets
from targets import chance

# Two dozen names share these ticks, and have this share of them each, or more.
FREQ_HZ = 3999
CPU_S = 0.3
# Of a child's ticks, those in which the kernel copies a page: one in 1,600 of children of 4 ms.
COPIED_SHARE = 0.005
NAME_SHARE = 0.025


def other_python(py, found):
    """Another minor version that lives in the same root tree, so that one can exec the other."""
    others = [other for other in found if other.root == py.root and other.minor != py.minor]
    return others[-1] if others else None


def exec_argv(py):
    """The command for execs.py's second phase, as seen from where py runs."""
    other = other_python(py, targets.SUPPORTED)
    if not other:
        return None
    return [other.path, targets.script(py, "execs")]


class Lives:
    def __init__(self):
        self.workloads = {}
        self.run = None
        self.stacks = []
        self.forked = {}

    def pid(self, name):
        return self.workloads[name].pid


def pool_pids(lives):
    """multiprocessing's children."""
    pools = lives.workloads.get("pools")
    return [pools.facts["fork"], pools.facts["spawn"]] if pools else []


def live_through(lives, output):
    """What happens while krait records."""
    w = lives.workloads
    pids = ",".join(str(workload.pid) for workload in w.values())
    with kraitrun.start_record("-p", pids, "-F", FREQ_HZ, "-o", output) as krait:
        w["forks"].tell("go")
        if "execs" in w:
            w["execs"].tell("go")
            lives.second = w["execs"].hear("ready")
        lives.forked = w["forks"].hear("forked")
        busy = [lives.forked["late"], w["forks"].facts["early"]]
        busy += [lives.pid("names")] + pool_pids(lives)
        targets.wait_cpu(busy + ([lives.pid("execs")] if "execs" in w else []), CPU_S)
        lives.run = krait.stop()


@pytest.fixture(scope="module")
def lives(py, tmp_path_factory):
    lives = Lives()
    output = tmp_path_factory.mktemp("lives") / "run.folded"
    second = exec_argv(py)
    with contextlib.ExitStack() as started:
        for name in filter(lambda name: targets.can_run(py, name), ("names", "forks", "pools")):
            lives.workloads[name] = started.enter_context(targets.Workload(py, name))
        if second:
            execs = targets.Workload(py, "execs", *second)
            lives.workloads["execs"] = started.enter_context(execs)
        live_through(lives, output)
        for workload in lives.workloads.values():
            workload.stop()
    lives.stacks = folded.read(output)
    return lives


def assert_all_in(stacks, name, least):
    """At least so many samples, each of them with that function."""
    assert folded.total(stacks) >= least
    others = [stack for stack in stacks if stack not in folded.having(stacks, name)]
    assert folded.total(others) <= 0.1 * folded.total(stacks), others[:3]


def test_the_file_holds_every_sample(lives):
    assert folded.total_all(lives.stacks) == lives.run.ledger.samples


def test_the_last_samples_of_a_life_have_its_name(lives):
    """Those that still wait when a process ends, or becomes another program, are the old one's."""
    assert not [stack for stack in lives.stacks if stack.cmdline == "[unknown]"]


def test_children_that_were_there_before(lives):
    early = folded.of_pid(lives.stacks, lives.workloads["forks"].facts["early"])
    assert_all_in(early, "child_early", 20)


def test_child_forked_during_the_run(lives):
    assert_all_in(folded.of_pid(lives.stacks, lives.forked["late"]), "child_late", 20)


def test_children_that_live_60_ms(lives):
    """0.06 s at 3999 Hz are 240 ticks: each child is seen, and by its own pid."""
    for pid in lives.forked["brief"]:
        stacks = folded.of_pid(lives.stacks, pid)
        assert folded.total(folded.having(stacks, "child_brief")) >= 40
        marked = [stack for stack in stacks if folded.is_marked(stack)]
        assert chance.at_most(folded.total(marked), folded.total(stacks), COPIED_SHARE), marked[:3]
        # What else it does, whatever part of so short a life that is on a busy host: what fork()
        # calls in the child, and its end.
        others = [s for s in stacks if "fork" not in folded.names(s) and s not in marked]
        assert not others, others[:3]


def test_stack_of_a_forked_child_has_its_parents_callers(lives):
    late = folded.having(lives.stacks, "child_late")
    stacks = [stack for stack in late if not folded.is_marked(stack)]
    assert {tuple(folded.names(s)[:3]) for s in stacks} == {("<module>", "fork", "child_late")}


def test_multiprocessing_by_fork(py, lives):
    targets.skip_unless_run(py, "pools")
    pid = lives.workloads["pools"].facts["fork"]
    assert_all_in(folded.of_pid(lives.stacks, pid), "work_fork", 20)


def test_multiprocessing_by_spawn(py, lives):
    targets.skip_unless_run(py, "pools")
    pid = lives.workloads["pools"].facts["spawn"]
    assert_all_in(folded.of_pid(lives.stacks, pid), "work_spawn", 20)


def test_exec_into_another_python(lives):
    """One pid, two interpreters: both phases are named, each under its own command line."""
    if "execs" not in lives.workloads:
        pytest.skip("no second CPython in the same root tree")
    execs = lives.workloads["execs"]
    assert lives.second["pid"] == execs.pid
    assert lives.second["version"][:2] != list(execs.py.minor)
    stacks = folded.of_pid(lives.stacks, execs.pid)
    one, two = folded.having(stacks, "phase_one"), folded.having(stacks, "phase_two")
    assert folded.total(one) >= 20 and folded.total(two) >= 20
    assert not {stack.cmdline for stack in one} & {stack.cmdline for stack in two}
    assert folded.total(one) + folded.total(two) >= 0.5 * folded.total(stacks)


def test_no_process_that_was_not_asked_for(lives):
    known = {workload.pid for workload in lives.workloads.values()}
    known |= {lives.workloads["forks"].facts["early"], lives.forked["late"]}
    known |= set(lives.forked["brief"])
    known |= set(pool_pids(lives))
    # multiprocessing's own helper process; it sleeps, but it is a child.
    others = [s for s in lives.stacks if s.pid not in known and "resource_tracker" not in s.cmdline]
    assert others == []


# ---- Names ----


def safe(text):
    """What krait makes of foreign text, and folded of ';' (see user/base/text.h)."""
    out = []
    for char in text:
        cp = ord(char)
        if cp < 0x20 or 0x7F <= cp <= 0x9F:
            out.append("\\x%02x" % cp)
        elif 0x2028 <= cp <= 0x202E or 0x2066 <= cp <= 0x2069 or cp in (0x61C, 0x200E, 0x200F):
            out.append("\\u%04x" % cp)
        elif 0xD800 <= cp <= 0xDFFF:
            out.append("\ufffd")
        else:
            out.append(":" if char == ";" else char)
    return "".join(out)


def test_names(lives):
    """Every name is there, made safe, and spelled right: ASCII, Latin-1, UCS-2, UCS-4, hostile."""
    stacks = folded.of_pid(lives.stacks, lives.pid("names"))
    chance.enough(folded.total(stacks), NAME_SHARE)
    leaves = {stack.frames[-1].name for stack in stacks}
    for name in ["".join(map(chr, cps)) for cps in lives.workloads["names"].facts["names"]]:
        if len(name) < 1000:
            assert safe(name) in leaves
        else:
            cut = [leaf for leaf in leaves if leaf.startswith(name[:1000])]
            assert len(cut) == 1 and len(cut[0]) < len(name) and cut[0] != name[: len(cut[0])]


def test_no_name_makes_a_line_or_a_frame(lives):
    """Each stack of that program has exactly its three frames, whatever the names hold."""
    stacks = folded.of_pid(lives.stacks, lives.pid("names"))
    for stack in stacks:
        assert folded.names(stack)[0] == "<module>"
        assert len(stack.frames) <= 3, stack
    assert not [s for s in lives.stacks if s.cmdline == "x" or s.pid == 1]


def test_odd_file_name(lives):
    facts = lives.workloads["names"].facts
    leaves = [s.frames[-1] for s in folded.having(lives.stacks, "in_odd_file")]
    assert leaves and {leaf.line for leaf in leaves} <= {facts["line"], facts["line"] - 1}
    for leaf in leaves:
        assert safe(facts["file"]).endswith(leaf.file) and leaf.file.endswith('file "x".py')


def test_short_paths(lives):
    """Without --full-path, a path is a tail of the file's name."""
    for name in lives.workloads.keys() & {"forks", "pools"}:
        script = targets.script(lives.workloads[name].py, name)
        files = {f.file for s in folded.having(lives.stacks, "<module>") for f in s.frames}
        short = [file for file in files if file.endswith("/" + name + ".py")]
        assert short and all(script.endswith(file) and file != script for file in short)
