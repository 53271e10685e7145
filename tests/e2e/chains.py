# SPDX-License-Identifier: BSD-2-Clause
"""
The stacks that a workload can have, exactly, and what of a recording is none of them.

Such a workload calls drive() from its top level, on the line marked "# line: module". Each line of
drive() that leads somewhere is marked "# drive: LABEL", and for each label the test gives the chain
of functions below it, by their qualified names. A function goes on to the next one of the chain on
the line marked "# line: QUALIFIED.NAME"; where it has another such line, that one is marked "# line:
QUALIFIED.NAME@WHERE", and is so named in the chain.
"""
import ast
import itertools
import os

import targets
from folded import Frame, is_marker
from targets import chance

# Of the samples, how many have a marker in place of frames: a walk can be caught in the middle of a
# push. More is a defect.
MARKED_SHARE = 0.002


def spans(name):
    """{qualified name: (first line, last line)} of the functions and classes of a workload."""
    found = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                first = min([child.lineno] + [d.lineno for d in child.decorator_list])
                found[prefix + child.name] = (first, child.end_lineno)
                is_class = isinstance(child, ast.ClassDef)
                inner = prefix + child.name + (".<locals>." if not is_class else ".")
            visit(child, inner)

    with open(os.path.join(targets.WORKLOADS, name + ".py"), encoding="utf-8") as stream:
        visit(ast.parse(stream.read()), "")
    return found


class Chains:
    """
    chains: {label: [chain, ...]}, each a list of qualified names, or of Frames for what is not in
    the workload's file: of those the file is compared by its end, and a name or line of None is any. A
    recording must have each of them; those in `passing` ({label: [chain, ...]}) it may have.
    """

    def __init__(self, workload, chains, passing=()):
        self.py = workload.py
        self.file = targets.script(workload.py, workload.name)
        self.marks = targets.markers(workload.name)
        self.spans = spans(workload.name)
        self.chains = {label: list(map(self.whole, ways)) for label, ways in chains.items()}
        self.passing = {label: list(map(self.whole, ways)) for label, ways in dict(passing).items()}
        self.labels = {self.marks["drive: " + label]: label for label in chains}

    def whole(self, chain):
        """The chain's frames, at their marked lines."""
        return [
            frame
            if isinstance(frame, Frame)
            else Frame(frame.partition("@")[0], self.file, self.marks["line: " + frame])
            for frame in chain
        ]

    def move(self, name, line):
        """Where this interpreter itself says that the function goes on."""
        for ways in self.chains.values():
            for chain in ways:
                chain[:] = [f._replace(line=line) if f.name == name else f for f in chain]

    def is_same(self, frame, want, is_leaf):
        name = want.name or frame.name
        if self.py.minor < (3, 11):
            name = name.rpartition(".")[2]
        if frame.name != name or not frame.file.endswith(want.file):
            return False
        if is_leaf and want.name in self.spans:
            first, last = self.spans[want.name]
            return frame.line == 0 or first <= frame.line <= last
        return want.line is None or is_leaf or frame.line == want.line

    def fits(self, frames, chain):
        """Whether the frames are the beginning of the chain."""
        if len(frames) > len(chain):
            return False
        last = len(frames) - 1
        return all(self.is_same(f, chain[i], i == last) for i, f in enumerate(frames))

    def ends_chain(self, frames, chain):
        """Whether the chain is whole, and at its last frame's own line."""
        return len(frames) == len(chain) and all(
            self.is_same(frame, want, False) for frame, want in zip(frames, chain)
        )

    def of_label(self, stacks, label):
        line = self.marks["drive: " + label]
        return [s for s in stacks if len(s.frames) > 1 and s.frames[1][::2] == ("drive", line)]

    def ways(self, label):
        return self.chains.get(label, []) + self.passing.get(label, [])

    def is_possible(self, stack):
        frames = list(stack.frames)
        if is_marker(frames[0]):
            inner = list(itertools.dropwhile(is_marker, frames))
            every = [chain for label in self.chains for chain in self.ways(label)]
            starts = [chain[i:] for chain in every for i in range(len(chain))]
            return not inner or any(self.fits(inner, chain) for chain in starts)
        if frames[0][:2] != ("<module>", self.file):
            return False
        if len(frames) == 1 or all(f.file.endswith("/harness.py") for f in frames[1:]):
            return True
        if frames[0].line != self.marks["line: module"] or frames[1][:2] != ("drive", self.file):
            return False
        if len(frames) == 2:
            return True
        ways = self.ways(self.labels.get(frames[1].line))
        return any(self.fits(frames[2:], chain) for chain in ways)


def total(stacks):
    return sum(stack.count for stack in stacks)


def assert_possible(chains, stacks):
    """Not one stack that the source does not have; and of markers no more than there may be."""
    wrong = [stack for stack in stacks if not chains.is_possible(stack)]
    # Worded here: pytest takes minutes over two long stacks.
    text = "; ".join(map(brief, wrong[:3]))
    assert not wrong, "%d impossible stacks, such as %s" % (len(wrong), text)
    marked = [stack for stack in stacks if is_marker(stack.frames[0])]
    assert chance.at_most(total(marked), total(stacks), MARKED_SHARE), brief(marked[0])


def brief(stack):
    frames = ["%s:%s" % (frame.name, frame.line) for frame in stack.frames]
    if len(frames) > 40:
        frames[20:-20] = ["... %d ..." % (len(frames) - 40)]
    return "%d * %s" % (stack.count, " > ".join(frames))


def assert_whole(chains, stacks, label, share):
    """Each chain of the label was met, whole and at its very line: the workload spends that share of
    its time there, or more."""
    cnt = total(stacks)
    mine = chains.of_label(stacks, label)
    for chain in chains.chains[label]:
        found = [s for s in mine if chains.ends_chain(list(s.frames[2:]), chain)]
        text = "; ".join(map(brief, mine[:3]))
        is_met = chance.at_least(total(found), cnt, share)
        text = "%d of %d samples of %s, and %s" % (total(found), cnt, chain[-1], text)
        text += "; of all: %s" % {name: total(chains.of_label(stacks, name)) for name in chains.chains}
        assert is_met, "%s: %s" % (label, text)
