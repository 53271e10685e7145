# SPDX-License-Identifier: BSD-2-Clause
"""
A name is never an old one: code objects that are compiled, run, freed and made anew at the same address, in a tight
loop, at a high rate.
"""
import re

import folded
from targets import Workload, record_cpu

# Where outer_N and inner_N may be executing, by their source in workloads/generated.py.
LINES = {"inner": {1, 2, 3, 4, 5}, "outer": {8, 9}}
# Some thousand pairs: of so many samples several were wrong when a name was trusted for a second.
FREQ_HZ = 4999
CPU_S = 2.5


def test_generated_code_keeps_its_own_names(py, tmp_path):
    path = tmp_path / "x.folded"
    with Workload(py, "generated") as workload:
        args = ("-p", workload.pid, "-F", FREQ_HZ, "--full-path", "-o", path)
        record_cpu([workload.pid], CPU_S, *args)
        workload.stop()
    seen = set()
    for stack in folded.read(path):
        generated = [f for f in stack.frames if f.name.startswith(("inner_", "outer_"))]
        numbers = {re.search(r"_(\d+)$", f.name)[1] for f in generated}
        numbers |= {re.search(r"pair_(\d+)\.py$", f.file)[1] for f in generated}
        assert len(numbers) <= 1, stack
        for frame in generated:
            assert frame.line in LINES[frame.name[:5]], stack
        seen |= numbers
    # The workload did what it is for: many different pairs were met.
    assert len(seen) > 100


def test_threads_that_a_fork_left_behind_are_gone(py, tmp_path):
    path = tmp_path / "x.folded"
    with Workload(py, "refork") as workload:
        pid = workload.facts["child"]
        record_cpu([pid], 0.8, "-p", pid, "-F", FREQ_HZ, "-o", path)
        workload.stop()
    stacks = folded.of_pid(folded.read(path), pid)
    assert folded.having(stacks, "left_behind") == []
    assert folded.total(folded.having(stacks, "newcomer")) > 5
    assert folded.total(folded.having(stacks, "child")) > 300
