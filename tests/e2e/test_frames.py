# SPDX-License-Identifier: BSD-2-Clause
"""
Frames that are easy to get wrong: coroutines and generators, frames larger than a data-stack chunk,
deep recursion, and Python code that C code calls. The workloads' sources say which stacks there can
be (chains.py), and every stack of a recording must be one of them. One run per interpreter serves
most tests.
"""
import contextlib
import re

import pytest

import folded
import kraitrun
import targets
from chains import Chains, assert_possible, assert_whole, brief
from folded import Frame
from targets import chance

# Some 3,200 samples of each workload. What share of them a place has at least: half of what is usual in
# the slowest CPython, a debug build.
FREQ_HZ = 3999
CPU_S = 0.8
WORKLOADS = {"shapes": 0.012, "wide": 0.02, "awaits": 0.012}
DEPTHS = (300, 900, 5000)
# Up to 3.10 a tick on 5,000 frames takes half a millisecond: at a higher rate the target would get
# nowhere. Some 100 samples for each of the depths, which last for ten ticks or more.
DEPTHS_HZ = 499
DEPTHS_CPU_S = 0.6
DIVE_SHARE = 0.2

STRING = "<string>"
CONTEXTLIB = Frame(None, "/contextlib.py", None)
SHAPES = {
    "del": ["lose", "Doomed.__del__"],
    "weakref": ["bury", "mourn"],
    "sorted": ["by_key"],
    "map": ["mapped"],
    "lambda": ["<lambda>"],
    "reduce": ["folded"],
    "partial": ["partly"],
    "init": ["Thing.__init__"],
    "lt": ["Thing.__lt__"],
    "hash": ["Thing.__hash__"],
    "getattr": ["Thing.__getattr__"],
    "str": ["Thing.__str__"],
    "call": ["Thing.__call__"],
    "next": ["Steps.__next__"],
    "enter": ["enter", "Manager.__enter__"],
    "leave": ["leave", "Leaver.__exit__"],
    "manage": ["manage", CONTEXTLIB, "managed"],
    "wrapped": ["twice.<locals>.wrapper", "wrapped"],
    "decorator": ["define", "traced"],
    "class": ["make_class", "make_class.<locals>.Body"],
    "metaclass": ["shape", "Shape.__new__"],
    "eval": [Frame("<module>", STRING, 3), "evaluated"],
    "exec": [Frame("<module>", STRING, 7), Frame("in_string", STRING, 4)],
}
# What these lines do besides: too short to be met in every run.
SHAPES_PASSING = {
    "next": [["Steps.__init__"], ["Steps.__iter__"]],
    "enter": [["enter", "Manager.__exit__"]],
    "leave": [["leave", "Leaver.__enter__"]],
    "manage": [
        ["manage", CONTEXTLIB, "managed@yield"],
        ["manage", CONTEXTLIB, CONTEXTLIB, "managed@yield"],
    ],
}


def wide(local_cnt):
    return Frame("wide_%d" % local_cnt, "<wide>", 4)


WIDE = {
    "end": [wide(1800), "spin"],
    "middle": [wide(1800), "middle_1", wide(9000), "middle_2", wide(2047), "middle_3", "spin"],
    "hot": ["hot"],
}
WIDE_PASSING = {"hot": [["hot", wide(1800), "nothing"]]}
TREE_DEPTH = 200
AWAITS = {
    "hand": [
        ["by_hand", "send_a", "a_outer", "a_inner", "a_spin"],
        ["by_hand", "send_b", "b_outer", "b_middle", "b_inner", "b_spin"],
    ],
    "asyncio": [
        ["by_asyncio", "c_outer", "c_inner", "c_spin"],
        ["by_asyncio", "b_outer", "b_middle", "b_inner", "b_spin"],
    ],
    "agen": [["by_agen", "d_outer", "d_agen", "d_spin"]],
    "close": [["by_close", "e_closed"]],
    "throw": [["by_throw", "throw_into", "e_thrown"]],
    "through": [["by_through", "throw_into", "e_through", "e_thrown"]],
    "tree": [["by_tree"] + ["tree"] * (TREE_DEPTH - 1) + ["tree@end"]],
}
EVENT_LOOP = re.compile(r"/(asyncio/\w+|selectors|_weakrefset|weakref)\.py$")
PAUSE = "Pause.__await__"
AWAITS_PASSING = {
    "hand": [
        ["by_hand@make", "a_outer"],
        ["by_hand@make", "b_outer"],
        ["by_hand", "send_a", "a_outer", "a_inner@await", PAUSE],
        ["by_hand", "send_b", "b_outer", "b_middle", "b_inner@await", PAUSE],
    ],
    "asyncio": [
        ["by_asyncio", "both", "c_outer"],
        ["by_asyncio", "both", "b_outer"],
        ["by_asyncio", "c_outer", "c_inner@await"],
        ["by_asyncio", "b_outer", "b_middle", "b_inner@await", "nap"],
    ],
    "agen": [["by_agen@make", "d_outer"], ["by_agen", "d_outer", "d_agen@await", PAUSE]],
    "close": [["by_close@make", "e_closed@yield"], ["by_close@next", "e_closed@yield"]],
    "throw": [
        ["by_throw", "e_thrown@yield"],
        ["by_throw", "throw_into@next", "e_thrown@yield"],
    ],
    "through": [
        ["by_through", "e_through"],
        ["by_through", "throw_into@next", "e_through", "e_thrown@yield"],
    ],
}


def alone(chains):
    return {label: [chain] for label, chain in chains.items()}


class Recorded:
    """One recording of all the workloads."""

    def __init__(self):
        self.workloads = {}
        self.stacks = []

    def of(self, name):
        return folded.of_pid(self.stacks, self.workloads[name].pid)


def record(pids, freq_hz, max_depth, output, cpu_s):
    """Until each of the processes has used so much CPU time."""
    args = ("-p", ",".join(map(str, pids)), "-F", freq_hz, "--max-depth", max_depth)
    with kraitrun.start_record(*args, "--full-path", "-o", output) as krait:
        targets.wait_cpu(pids, cpu_s)
        return krait.stop()


@pytest.fixture(scope="module")
def recorded(py, tmp_path_factory):
    recorded = Recorded()
    output = tmp_path_factory.mktemp("frames") / "run.folded"
    with contextlib.ExitStack() as started:
        for name in filter(lambda name: targets.can_run(py, name), WORKLOADS):
            recorded.workloads[name] = started.enter_context(targets.Workload(py, name))
        pids = [workload.pid for workload in recorded.workloads.values()]
        run = record(pids, FREQ_HZ, 1024, output, CPU_S)
        for workload in recorded.workloads.values():
            workload.stop()
    recorded.stacks = folded.read(output)
    assert folded.total(recorded.stacks) >= 0.95 * run.walked, run
    return recorded


def check(chains, stacks, share, but=()):
    assert_possible(chains, stacks)
    for label in chains.chains.keys() - set(but):
        assert_whole(chains, stacks, label, share)


def test_what_c_code_calls_and_code_of_unusual_kinds(recorded):
    chains = Chains(recorded.workloads["shapes"], alone(SHAPES), SHAPES_PASSING)
    chains.move("define", recorded.workloads["shapes"].facts["define"])
    check(chains, recorded.of("shapes"), WORKLOADS["shapes"])


def test_frames_larger_than_a_chunk(recorded):
    chains = Chains(recorded.workloads["wide"], alone(WIDE), WIDE_PASSING)
    check(chains, recorded.of("wide"), WORKLOADS["wide"])


def test_coroutines_and_generators(py, recorded):
    """Running ones are under what drives them, suspended ones nowhere."""
    targets.skip_unless_run(py, "awaits")
    chains = Chains(recorded.workloads["awaits"], AWAITS, AWAITS_PASSING)
    stacks = [without_asyncio(stack) for stack in recorded.of("awaits")]
    check(chains, stacks, WORKLOADS["awaits"], but=["through"] if py.minor < (3, 11) else [])


def is_of_loop(frame):
    return EVENT_LOOP.search(frame.file) is not None


def without_asyncio(stack):
    """The stack less the event loop's own frames, which differ by version. They are left where they
    don't belong: elsewhere than right below by_asyncio and at the end."""
    frames = list(stack.frames)
    if "by_asyncio" not in folded.names(stack)[2:3]:
        return stack
    while len(frames) > 3 and is_of_loop(frames[3]):
        del frames[3]
    while len(frames) > 3 and is_of_loop(frames[-1]):
        del frames[-1]
    return stack._replace(frames=tuple(frames))


def dives():
    """{label: chain} of depths.py."""
    return {str(n): ["deep"] * (n - 1) + ["deep@bottom", "bottom"] for n in DEPTHS}


def dive(py, max_depth, tmp_path):
    """(the workload, the run, its stacks)"""
    output = tmp_path / "run.folded"
    with targets.Workload(py, "depths") as workload:
        run = record([workload.pid], DEPTHS_HZ, max_depth, output, DEPTHS_CPU_S)
        workload.stop()
    return workload, run, folded.read(output)


def test_recursions_300_900_and_5000_deep(py, tmp_path):
    """Whole, over dozens of chunks."""
    workload, _, stacks = dive(py, 8192, tmp_path)
    check(Chains(workload, alone(dives())), stacks, DIVE_SHARE)


def test_max_depth_cuts_the_outermost_frames(py, tmp_path):
    """At 1,000 frames the two recursions that fit are whole, and the third is cut and counted."""
    workload, run, stacks = dive(py, 1000, tmp_path)
    cut = [stack for stack in stacks if stack.frames[0].name == "[truncated]"]
    chains = Chains(workload, alone(dives()))
    check(chains, [stack for stack in stacks if stack not in cut], DIVE_SHARE, but=["5000"])
    assert {len(stack.frames) for stack in cut} == {1001}
    ends = [chains.whole(["deep"] * 1000), chains.chains["5000"][0][-1000:]]
    wrong = [s for s in cut if not any(chains.fits(list(s.frames[1:]), end) for end in ends)]
    assert not wrong, list(map(brief, wrong[:3]))
    assert chance.at_least(folded.total(cut), folded.total(stacks), DIVE_SHARE)
    counted = re.findall(r"^krait: stacks truncated: (\d+) samples", run.err, re.M)
    assert counted == [str(folded.total(cut))]
