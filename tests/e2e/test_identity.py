# SPDX-License-Identifier: BSD-2-Clause
"""A name is never an old one. (Of code that was freed: tests/accuracy.)"""
import contextlib
import os
import signal
import sys
import time

import folded
import kraitrun
import targets
from targets import Workload, chance, record_cpu, wait_cpu

sys.path.insert(0, os.path.join(kraitrun.TREE, "tests", "accuracy"))

import expected

# A process that does little but start threads: of a free-threaded one's ticks three of four are in no
# Python frame. Of the samples, newcomers have that share at least.
FREQ_HZ, CPU_S = 9999, 1
NEWCOMER_SHARE = 0.015
STOPPED_CNT = 5
# Two epochs of trust (bpf/code.h, TRUST_EPOCHS), of a second each.
STOPPED_S = 2.1
REPLACED_S, REPLACED_FREQ_HZ = 4, 499  # longer than it takes to trust, and to look again


def test_a_stop_makes_no_code_trustworthy(one_py, tmp_path):
    """
    A program that is stopped for seconds is in code that is no older for it: when it goes on, the
    next code at that address has its own name. By chance a stop hits none that was sampled, so
    several are stopped, all at once.
    """
    path = tmp_path / "x.folded"
    with contextlib.ExitStack() as started:
        workloads = [started.enter_context(Workload(one_py, "generated")) for _ in range(STOPPED_CNT)]
        pids = [workload.pid for workload in workloads]
        args = ("-p", ",".join(map(str, pids)), "-F", 10000, "--full-path", "-o", path)
        with kraitrun.start_record(*args) as krait:
            wait_cpu(pids, 0.2)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            wait_cpu(pids, 0.3)
            krait.stop()
        for workload in workloads:
            workload.stop()
    stacks = folded.read(path)
    for workload in workloads:
        mine, why = folded.of_pid(stacks, workload.pid), expected.Generated(workload).why
        wrong = [(why(stack), stack) for stack in mine if why(stack)]
        assert not wrong, "%d stacks, such as %s" % (len(wrong), wrong[:3])
        assert folded.total(mine) > 1000


def test_code_that_is_replaced_after_seconds(one_py, tmp_path):
    """
    Another function's code at the same address, its instructions at the same places: a stack that
    was known for seconds is looked at again within one, and then has the new name.
    """
    path = tmp_path / "x.folded"
    command = targets.command(one_py, "replaced", REPLACED_S)
    kraitrun.record("-F", REPLACED_FREQ_HZ, "-o", path, "--", *command)
    stacks = folded.read(path)
    old, new = (folded.total(folded.having(stacks, name)) for name in ("old", "new"))
    each = REPLACED_S * REPLACED_FREQ_HZ
    assert new > each / 2, (old, new)
    assert old + new > 1.7 * each


def test_threads_that_a_fork_left_behind_are_gone(py, tmp_path):
    path = tmp_path / "x.folded"
    with Workload(py, "refork") as workload:
        pid = workload.facts["child"]
        record_cpu([pid], CPU_S, "-p", pid, "-F", FREQ_HZ, "-o", path)
        workload.stop()
    stacks = folded.of_pid(folded.read(path), pid)
    assert folded.having(stacks, "left_behind") == []
    cnt = folded.total(stacks)
    assert chance.at_least(folded.total(folded.having(stacks, "newcomer")), cnt, NEWCOMER_SHARE)
    assert chance.at_least(folded.total(folded.having(stacks, "child")), cnt, 0.2)
