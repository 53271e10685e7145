# SPDX-License-Identifier: BSD-2-Clause
"""Stacks that are hard to get right: frames that never rest, no GIL, a cut at --max-depth."""
import ast
import os
import re

import folded
import targets

FAMILIES = re.compile(r"/families[23]?\.py$")


def call_graph(name):
    """{(caller, callee): lines of the calls}, read from the source."""
    with open(os.path.join(targets.WORKLOADS, name + ".py"), encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    edges = {}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    top = [node for node in tree.body if node not in functions]
    for caller, body in [("<module>", top)] + [(f.name, f.body) for f in functions]:
        for node in (inner for statement in body for inner in ast.walk(statement)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                edges.setdefault((caller, node.func.id), set()).add(node.lineno)
    return edges


def is_marked(stack):
    """True if krait itself says that the outer frames could not be read."""
    return stack.frames[0].name.startswith("[unreadable: ")


def why_impossible(stack, edges, lines):
    """None, or what the program can never do. A marker at the root stands for what is missing."""
    inner = stack.frames[1:] if is_marked(stack) else stack.frames
    frames = [f for f in inner if FAMILIES.search(f.file)]
    others = inner[len(frames) :]
    if others and (frames != list(inner[: len(frames)]) or "harness" not in others[0].file):
        return "a frame of another file"
    if not is_marked(stack) and (not frames or frames[0].name != "<module>"):
        return "no <module> at the root"
    if not frames:
        return None
    for caller, callee in zip(frames, frames[1:]):
        if caller.line not in edges.get((caller.name, callee.name), ()):
            return "%s at line %s does not call %s" % (caller.name, caller.line, callee.name)
    leaf = frames[-1]
    if leaf.name != "<module>" and leaf.line not in lines[leaf.name]:
        return "line %s is not in %s" % (leaf.line, leaf.name)
    return None


def test_alternating_families_at_5_khz(py, tmp_path):
    """Not one stack, of thousands, that the program's call graph does not have."""
    output = tmp_path / "run.folded"
    with targets.Workload(py, "families") as workload:
        args = ("-p", workload.pid, "-F", 5000, "-o", output)
        run = targets.record_cpu([workload.pid], 1.8, *args)
        workload.stop()
    stacks = folded.read(output)
    assert run.ledger.samples > 1000
    assert run.ledger.samples >= 0.99 * run.ledger.ticks, run
    assert {n[0] for s in stacks for n in folded.names(s)} >= {"a", "b"}
    edges, lines = call_graph("families"), workload.facts["lines"]
    edges.update(call_graph("families3" if py.minor >= (3, 3) else "families2"))
    judged = [(why_impossible(stack, edges, lines), stack) for stack in stacks]
    wrong = [pair for pair in judged if pair[0]]
    assert not wrong, "%d stacks, such as %s" % (len(wrong), wrong[:3])
    assert folded.total(filter(is_marked, stacks)) <= 0.005 * run.ledger.samples


def test_time_without_the_gil_keeps_its_stack(py, tmp_path):
    """Two threads in zlib: at least 95 % of the ticks on them have the Python stack."""
    output = tmp_path / "run.folded"
    with targets.Workload(py, "zlibs") as workload:
        args = ("-p", workload.pid, "-F", 499, "-t", "-o", output)
        run = targets.record_cpu([workload.pid], 1.2, *args)
        tids = workload.facts["tids"]
        workload.stop()
    stacks = folded.having(folded.read(output), "squeeze")
    assert run.ledger.ticks > 100
    assert folded.total(stacks) >= 0.95 * run.ledger.ticks, run
    marks = targets.markers("zlibs")
    for tid in tids:
        mine = [stack for stack in stacks if stack.tid == tid]
        assert folded.total(mine) > 20
        tails = {tuple((f.name, f.line) for f in s.frames[-2:]) for s in mine}
        assert (("worker", marks["line: worker"]), ("squeeze", marks["line: squeeze"])) in tails


def test_max_depth_keeps_the_innermost_frames(py, tmp_path):
    output = tmp_path / "run.folded"
    with targets.Workload(py, "deep") as workload:
        args = ("-p", workload.pid, "-F", 499, "--max-depth", 100, "-o", output)
        targets.record_cpu([workload.pid], 0.5, *args)
        workload.stop()
    stacks = folded.read(output)
    assert folded.total(stacks) > 20
    for stack in stacks:
        names = folded.names(stack)
        assert names[0] == "[truncated]"
        assert len(names) == 101
        inner = names[names.index("bottom") :]
        assert len(inner) <= 2
        assert set(names[1 : -len(inner)]) == {"deep"}
