# SPDX-License-Identifier: BSD-2-Clause
"""Time in the garbage collector is shown as such, and as the collecting thread's alone."""
import pytest

import folded
import targets
from targets import chance

FREQ_HZ = 4999
# Of the ticks in collects(), those in the collector itself: all but the first and last microseconds.
GC_SHARE = 0.98
# The workload measures all of its life, krait the most of it.
SLACK = 0.04


def record(py, path, *args, name="gcs", seconds=1.5):
    """(workload, the stacks of its run)."""
    with targets.Workload(py, name, *args) as workload:
        args = ("-p", workload.pid, "-F", FREQ_HZ, "-t", "-o", path)
        targets.record_cpu([workload.pid], seconds, *args)
        workload.stop()
    return workload, folded.read(path)


@pytest.fixture(scope="module")
def recorded(py, tmp_path_factory):
    # From 3.15 on a finalizer's time is told from the collector's.
    args = ["finalizers"] if py.minor >= (3, 15) else []
    return record(py, tmp_path_factory.mktemp("gc") / "x.folded", *args)


def assert_gc_is_told(stacks):
    """That ticks in collects(), but for a finalizer's, are in the collector. Returns how many."""
    within = folded.having(stacks, "collects")
    direct = folded.total(stack for stack in within if stack.frames[-1].name == "collects")
    assert chance.at_least(folded.total(stack for stack in stacks if stack.gc), direct, GC_SHARE)
    return folded.total(within)


def test_only_the_collector_is_in_gc(py, recorded):
    _, stacks = recorded
    in_gc = [stack for stack in stacks if stack.gc]
    assert in_gc
    for stack in in_gc:
        assert stack.frames[-1].name == "collects", stack


def test_share_of_gc(py, recorded):
    """
    The ticks in collects() are in the collector but for some microseconds of a call that lasts
    milliseconds; its share of the thread's ticks is that of its CPU time.
    """
    workload, stacks = recorded
    mine = [stack for stack in stacks if stack.tid == workload.facts["tid"]]
    collects = assert_gc_is_told(mine)
    spent = workload.truth["spent"]
    share = spent["collects"] / sum(spent.values())
    cnt = collects + folded.total(folded.having(mine, "computes"))
    assert chance.near(collects, cnt, share)


def test_alone_without_a_gil(nogil_py, tmp_path):
    """The only thread is the collector, also while it frees what it found, and nobody waits."""
    _, stacks = record(nogil_py, tmp_path / "x.folded", "alone")
    assert_gc_is_told(stacks)


def test_collections_of_several_threads(nogil_py, tmp_path):
    """Without a GIL, whoever is made to collect, and whatever the others do meanwhile: the share of
    the marked samples is what the workload's own callbacks have measured of CPU time."""
    workload, stacks = record(nogil_py, tmp_path / "x.folded", name="litter", seconds=4)
    mine = [stack for stack in stacks if any(f.name == "litter" for f in stack.frames)]
    cnt = folded.total(mine)
    assert cnt > 2000
    share = workload.truth["share"]
    told = folded.total(stack for stack in mine if stack.gc)
    assert chance.near(told, cnt, share, SLACK), (told, cnt, share)
