# SPDX-License-Identifier: BSD-2-Clause
"""
Which stacks the workloads can have, read from their sources, and why any other is impossible. A
marker ("[unreadable: ...]") stands for the frames that are missing there; a frame that is missing
without one, or that belongs to another moment, is what this looks for.
"""
import re

from callgraph import call_graph, source
from folded import is_marked, is_marker

FAMILIES = re.compile(r"/families[23]?\.py$")
PAIRS = re.compile(r"/pairs\.py$")
MARK = re.compile(r"# (one|two)$")
# Where a function of pair N may be executing, by its source in workloads/generated.py; added to
# N % SHIFTS. The module's frame is at its two statements, or at the first line before those.
GENERATED = {"inner": {1, 2, 3, 4, 5}, "outer": {8, 9}, "<module>": {1, 8}}
PAIR_FILE = re.compile(r"pair_(\d+)\.py$")
PAIR_NAME = re.compile(r"(inner|outer)_(\d+)$")


def own_frames(stack, own):
    """A workload's frames and the markers between them; what they called in the harness is cut off.
    None if there are others."""
    frames = [f for f in stack.frames if own.search(f.file) or is_marker(f)]
    others = stack.frames[len(frames) :]
    if others and (frames != list(stack.frames[: len(frames)]) or "harness" not in others[0].file):
        return None
    return frames


def why_not_called(stack, own, edges, lines):
    """None, or which frames are not as the call graph and the functions' lines have it."""
    frames = own_frames(stack, own)
    if not frames:
        return "a frame of another file"
    if not is_marker(frames[0]) and frames[0].name != "<module>":
        return "no <module> at the root"
    for caller, callee in zip(frames, frames[1:]):
        if is_marker(caller) or is_marker(callee):
            continue
        if caller.line not in edges.get((caller.name, callee.name), ()):
            return "%s at line %s does not call %s" % (caller.name, caller.line, callee.name)
    leaf = frames[-1]
    if leaf.name in lines and leaf.line not in lines[leaf.name]:
        return "line %s is not in %s" % (leaf.line, leaf.name)
    return None


class Families:
    """families.py: the call graph."""

    def __init__(self, workload):
        self.edges = call_graph("families")
        self.edges.update(call_graph("families3" if workload.py.minor >= (3, 3) else "families2"))
        self.lines = workload.facts["lines"]

    def why(self, stack):
        return why_not_called(stack, FAMILIES, self.edges, self.lines)


class Pairs:
    """pairs.py: the call graph, one family per stack, a recursion that is as deep as it says."""

    def __init__(self, workload):
        self.lines = workload.facts["lines"]
        self.depth = workload.facts["depth"]
        self.edges = call_graph("pairs")
        for (caller, callee), at in list(self.edges.items()):
            if callee == "next":  # which resumes the generator
                self.edges[caller, "turns"] = at
        self.family = {}
        for number, line in enumerate(source("pairs").splitlines(), 1):
            mark = MARK.search(line)
            if mark:
                self.family[number] = mark[1]

    def why(self, stack):
        wrong = why_not_called(stack, PAIRS, self.edges, self.lines)
        if wrong:
            return wrong
        own = [frame for frame in stack.frames if PAIRS.search(frame.file)]
        if len({self.family[frame.line] for frame in own if frame.line in self.family}) > 1:
            return "lines of both families"
        depth = sum(frame.name in ("even", "odd") for frame in own)
        at_end = any(frame.name in ("end_one", "end_two") for frame in own)
        if depth > self.depth + 1 or (at_end and depth <= self.depth and not is_marked(stack)):
            return "a recursion %d deep" % depth
        return None


class Generated:
    """generated.py: name, file and line of each frame, and all of a stack's, are of one pair."""

    def __init__(self, workload):
        self.shifts = workload.facts["shifts"]

    def why(self, stack):
        numbers = set()
        for frame in stack.frames:
            name, file = PAIR_NAME.match(frame.name), PAIR_FILE.search(frame.file)
            if not name and not file:
                continue
            if not file or not (name or frame.name == "<module>"):
                return "%s is not in %s" % (frame.name, frame.file)
            number = int(file[1])
            numbers |= {number, int(name[2]) if name else number}
            if not self.has_line(frame, number):
                return "%s at line %s" % (frame.name, frame.line)
        return "of the pairs %s" % sorted(numbers) if len(numbers) > 1 else None

    def has_line(self, frame, number):
        if frame.name == "<module>" and frame.line in (0, 1):
            return True  # before its first statement
        return frame.line - number % self.shifts in GENERATED[frame.name.partition("_")[0]]


CHECKERS = {"families": Families, "pairs": Pairs, "generated": Generated}
# What each of them must have been sampled in, for its result to mean anything, and which share of its
# CPU time each of these has at least, in every CPython and its debug build: measured, and halved.
BOTH = {"families": {"a_leaf", "b_leaf"}, "pairs": {"one", "two", "turns", "end_one", "end_two"}}
LEAST_SHARE = 0.005
# Functions that are on a stack some hundred times.
RECURSIONS = {"even", "odd", "descend"}
