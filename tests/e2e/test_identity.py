# SPDX-License-Identifier: BSD-2-Clause
"""A name is never an old one. (Of code that was freed: tests/accuracy.)"""
import folded
from targets import Workload, record_cpu

FREQ_HZ = 4999


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
