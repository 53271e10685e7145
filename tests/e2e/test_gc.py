# SPDX-License-Identifier: BSD-2-Clause
"""Time in the garbage collector is shown as such, and as the collecting thread's alone."""
import math

import pytest

import folded
import targets

FREQ_HZ = 1999
Z = 4  # standard errors: passed by chance once in 16,000 tests


@pytest.fixture(scope="module")
def recorded(py, tmp_path_factory):
    """(workload, the stacks of its run)."""
    path = tmp_path_factory.mktemp("gc") / "x.folded"
    with targets.Workload(py, "gcs") as workload:
        args = ("-p", workload.pid, "-F", FREQ_HZ, "-t", "-o", path)
        targets.record_cpu([workload.pid], 1.5, *args)
        workload.stop()
    return workload, folded.read(path)


def is_told(py):
    """Before 3.7 the flag is a static variable."""
    return py.minor >= (3, 7)


def test_only_the_collector_is_in_gc(py, recorded):
    _, stacks = recorded
    in_gc = [stack for stack in stacks if stack.gc]
    assert bool(in_gc) == is_told(py)
    for stack in in_gc:
        assert stack.frames[-1].name == "collects", stack


def test_share_of_gc(py, recorded):
    """
    The ticks in collects() are in the collector but for some microseconds of a call that lasts
    milliseconds; its share of the thread's ticks is that of its CPU time, within Z standard errors
    of a binomial share.
    """
    if not is_told(py):
        pytest.skip("the collector is not told in this CPython")
    workload, stacks = recorded
    mine = [stack for stack in stacks if stack.tid == workload.facts["tid"]]
    collects = folded.total(folded.having(mine, "collects"))
    in_gc = folded.total(stack for stack in mine if stack.gc)
    assert in_gc >= 0.95 * collects > 50
    spent = workload.truth["spent"]
    share = spent["collects"] / sum(spent.values())
    cnt = collects + folded.total(folded.having(mine, "computes"))
    assert abs(collects / cnt - share) <= Z * math.sqrt(share * (1 - share) / cnt)
