# SPDX-License-Identifier: BSD-2-Clause
"""Stacks that are hard to get right: no GIL, a cut at --max-depth. More of them: tests/accuracy."""
import folded
import kraitrun
import targets
from targets import chance

SQUEEZED_S = 0.3  # of CPU time of each of the threads: 150 samples


def test_time_without_the_gil_keeps_its_stack(py, tmp_path):
    """Two threads in zlib: all but the few ticks between two calls have the Python stack."""
    output = tmp_path / "run.folded"
    with targets.Workload(py, "zlibs") as workload:
        args = ("-p", workload.pid, "-F", 499, "-t", "-o", output)
        tids = workload.facts["tids"]
        with kraitrun.start_record(*args) as krait:
            targets.wait_threads(workload.pid, tids, SQUEEZED_S)
            run = krait.stop()
        workload.stop()
    stacks = folded.having(folded.read(output), "squeeze")
    assert run.walked > 100
    assert chance.at_least(folded.total(stacks), run.walked, 0.97), run
    marks = targets.markers("zlibs")
    for tid in tids:
        mine = [stack for stack in stacks if stack.tid == tid]
        assert chance.at_least(folded.total(mine), folded.total(stacks), 0.2)
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
