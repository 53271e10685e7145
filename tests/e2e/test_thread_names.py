# SPDX-License-Identifier: BSD-2-Clause
"""
What Python's threading module calls its threads: one recording per interpreter, and what happens
when a name changes.
"""
import contextlib
import os
import re
import time

import pytest

import folded
import kraitrun
import targets

FREQ_HZ = 1999
# Of fifteen threads that share a GIL; and of each of them, so that it has had 20 ticks and more.
CPU_S = 1.2
THREAD_S = 0.01
NAMES = {
    "plain": "io-worker",
    "long": "a name that is longer than fifteen bytes",
    "longest": 160 * "x" + "\u2026",
    "foreign": "na\xefve \u5de5\u4f5c \U0001d4b3",
    "hostile": "a:b\\x0ac\\x1b[2J",  # the colon is of the folded format
    "many": "many",
    "slots": "slots",
    "dict": "dict",
    "renamed": "before",
    "main": "MainThread",
    "child": "in the child",
    "child main": "MainThread",
}


class Recorded:
    def __init__(self):
        self.stacks = []
        self.tids = {}
        self.lives = []
        self.comm = ""
        self.live = self.again = b""

    def names(self, tid):
        return {stack.thread for stack in self.stacks if stack.tid == tid}


def threads_of(pid, native_ids):
    """Those threads of the process that have these ids in their own pid namespace, as krait has them."""
    found = []
    for tid in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(OSError):  # some don't live long
            # Its name may be cut in the middle of a character.
            path = "/proc/%d/task/%s/status" % (pid, tid)
            with open(path, encoding="utf-8", errors="replace") as stream:
                ids = re.search(r"^NSpid:\s(.*)$", stream.read(), re.M)[1].split()
            if int(ids[-1]) in native_ids:
                found.append(int(tid))
    return found


def record(pids, workload, *args):
    """Until each of the threads that the workload names, and that are these processes', has had its
    time."""
    native_ids = set(workload.facts["tids"].values())
    with kraitrun.start_record("-p", pids[0], "-t", "-F", FREQ_HZ, *args) as krait:
        targets.wait_cpu(pids[:1], CPU_S)
        for pid in pids:
            targets.wait_threads(pid, threads_of(pid, native_ids), THREAD_S)
        return krait.stop()


def read_comm(pid):
    with open("/proc/%d/comm" % pid, encoding="utf-8") as stream:
        return stream.read().rstrip("\n")


@pytest.fixture(scope="module")
def recorded(py, tmp_path_factory):
    recorded = Recorded()
    folder = tmp_path_factory.mktemp("names")
    outputs = ["-o", folder / "run.folded", "-o", folder / "run.krait"]
    with targets.Workload(py, "threadnames") as workload:
        recorded.comm = read_comm(workload.pid)
        record([workload.pid, workload.facts["tids"]["child main"]], workload, *outputs)
        recorded.lives = workload.stop()["lives"]
        recorded.tids = workload.facts["tids"]
    recorded.live = (folder / "run.folded").read_bytes()
    recorded.again = kraitrun.krait("report", folder / "run.krait", "-t", "-o", "-").out
    recorded.stacks = folded.parse(recorded.live)
    return recorded


@pytest.mark.parametrize("key", NAMES)
def test_name(recorded, key):
    assert recorded.names(recorded.tids[key]) == {NAMES[key]}


def test_threads_that_threading_does_not_know(py, recorded):
    """The kernel's name. A thread of C code that has asked for its object has one, which is known to
    be its own from 3.8 on."""
    assert recorded.names(recorded.tids["unknown"]) == {recorded.comm}
    dummy, named = (recorded.names(recorded.tids[key]) for key in ("dummy", "dummy named"))
    if py.minor < (3, 8):
        assert dummy == named == {recorded.comm}
    else:
        assert named == {"by C"}
        assert len(dummy) == 1 and dummy.pop().startswith("Dummy-")


def test_no_thread_has_the_name_of_another(py, recorded):
    """Those that have ended before krait came to them have left their ident to the next one."""
    named = 0
    for tid, number in recorded.lives:
        name = "short %d" % number
        names = recorded.names(tid)
        # A tick may come before the thread knows its name; from 3.14 on the kernel has it too.
        assert names <= {name, recorded.comm}, (tid, names)
        named += name in names
    assert named > 0


def test_report_says_the_same(recorded):
    assert recorded.again == recorded.live


# ---- Another pid namespace ----


def test_names_in_a_pid_namespace(one_py, tmp_path):
    """A thread's native id is not krait's there."""
    output = tmp_path / "run.folded"
    prefix = ["unshare", "--pid", "--fork", "--kill-child"]
    with targets.Workload(one_py, "threadnames", prefix=prefix) as workload:
        with open("/proc/%d/task/%d/children" % (workload.pid, workload.pid)) as stream:
            pid = int(stream.read())
        record([pid], workload, "-o", output)
        workload.stop()
    assert workload.facts["pid"] == 1
    found = {stack.thread for stack in folded.of_pid(folded.read(output), pid)}
    assert {NAMES[key] for key in ("plain", "long", "many", "main")} <= found, found


# ---- Another name ----


def name_of(tid, path):
    """The one name of a thread in a folded file."""
    names = {stack.thread for stack in folded.read(path) if stack.tid == tid}
    assert len(names) == 1, names
    return names.pop()


def change(workload, command):
    workload.tell(command)
    workload.hear("renamed")


def test_name_given_within_a_second(one_py, tmp_path):
    """Every thread is looked at twice."""
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "threadnames") as workload:
        tid = workload.facts["tids"]["renamed"]
        with kraitrun.start_record("-p", workload.pid, "-t", "-F", FREQ_HZ, "-o", output) as krait:
            start = time.monotonic()
            while ("before", tid) not in {(s.thread, s.tid) for s in krait.snapshot(output)}:
                assert time.monotonic() < start + kraitrun.GRACE_S, "no sample of the thread"
            assert name_of(tid, output) == "before"
            change(workload, "rename")
            took_s = time.monotonic() - start
            krait.stop()
        workload.stop()
    if took_s > 1:
        pytest.skip("the host is too busy: it took %.1f s" % took_s)
    assert name_of(tid, output) == "after"


def test_name_given_later(one_py, tmp_path):
    """It is looked at again when the kernel's name changes, which is looked for once a second."""
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "threadnames") as workload:
        tid = workload.facts["tids"]["renamed"]
        with kraitrun.start_record("-p", workload.pid, "-t", "-F", FREQ_HZ, "-o", output) as krait:
            targets.wait_cpu([workload.pid], 3)  # both looks are over
            change(workload, "comm")
            targets.wait_cpu([workload.pid], 3)
            krait.stop()
        workload.stop()
    assert name_of(tid, output) == "at last"
