# SPDX-License-Identifier: BSD-2-Clause
"""Free-threaded CPython: threads that are really busy at once, in the same functions."""
import folded
import kraitrun
import targets
from targets import chance

FREQ_HZ = 2999
CPU_S = 2  # of the process: 1,500 samples of each thread
# Between the two looks at the threads' clocks, krait starts and writes: they may share that time
# otherwise than the one in which it samples.
SLACK = 0.05


def record_parallel(nogil_py, output):
    """(the stacks, the CPU seconds of each thread by TID, file name of the workload)"""
    with targets.Workload(nogil_py, "parallel") as workload:
        assert workload.facts["gil"] is False
        tids = workload.facts["tids"]
        args = ["-p", workload.pid, "-F", FREQ_HZ, "-t", "--full-path", "-o", output]
        with kraitrun.start_record(*args) as krait:
            before = {tid: targets.thread_seconds(workload.pid, tid) for tid in tids}
            targets.wait_cpu([workload.pid], CPU_S)
            run = krait.stop()
            after = {tid: targets.thread_seconds(workload.pid, tid) for tid in tids}
            spent = {tid: after[tid] - before[tid] for tid in tids}
        workload.stop()
    # The main thread sleeps, and the odd tick may fall on a thread in the kernel's hands.
    stacks = folded.read(output)
    assert folded.total(stacks) >= 0.98 * run.walked, run
    return stacks, spent


def test_threads_at_once(nogil_py, tmp_path):
    """Each thread has its share of the samples, its own whole stack, and the right lines in it."""
    stacks, spent = record_parallel(nogil_py, tmp_path / "run.folded")
    marks = targets.markers("parallel")
    file = targets.script(nogil_py, "parallel")
    callers = [folded.Frame(name, file, marks["line: " + name]) for name in ("work", "between")]
    by_tid = {tid: [stack for stack in stacks if stack.tid == tid] for tid in spent}
    cnt = sum(map(folded.total, by_tid.values()))
    assert cnt > 3000
    for index, (tid, seconds) in enumerate(spent.items()):
        mine = by_tid[tid]
        share = seconds / sum(spent.values())
        assert chance.near(folded.total(mine), cnt, share, SLACK), (index, spent)
        at = {}
        for stack in mine:
            frames = [frame for frame in stack.frames if frame.file == file]
            if frames[-1].name == "shared":
                assert frames[:-1] == callers, stack
                at[frames[-1].line] = at.get(frames[-1].line, 0) + stack.count
        assert chance.at_least(sum(at.values()), folded.total(mine), 0.95), mine
        assert set(at) <= {marks["line: first"] - 1, marks["line: first"], marks["line: second"]}
        long = marks["line: first" if index % 2 == 0 else "line: second"]
        assert chance.near(at[long], sum(at.values()), 0.9, SLACK), at
