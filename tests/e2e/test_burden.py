# SPDX-License-Identifier: BSD-2-Clause
"""
krait beside production: what it takes is bounded, whatever runs. The sizes that take longer are in
tests/trust.
"""
import contextlib
import os
import re
import resource
import signal
import subprocess
import time

import pytest

import folded
import kraitrun
import targets

CC = os.environ.get("CC") or "cc"
# What krait may take if it is not told: 1 % of the host, and 5 % of one CPU at least (--help).
CEILING = max(0.01 * os.cpu_count(), 0.05)
# Kept for a start or a burst, in seconds of the ceiling: user/session/governor.h and scans.c.
SAVED_S = 8
# Beside what the ceiling is about: to load the programs, and to write the profile.
START_AND_END_S = 1
LONG_S = 60  # for what takes ten seconds or two, on a busy host
MAPPINGS = 60000  # vm.max_map_count is 65,530 by default


def own_cpu(run):
    """(seconds of CPU, seconds) of the footer."""
    return tuple(map(float, re.search(r"krait itself: ([\d.]+) s of CPU in ([\d.]+) s", run.err).groups()))


def assert_below_ceiling(run):
    took_s, seconds = own_cpu(run)
    assert took_s < CEILING * (seconds + SAVED_S) + START_AND_END_S, run.err


@contextlib.contextmanager
def speaking(command):
    """A process that says "ready" and ends with its stdin."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kraitrun.ENV
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def mappings(tmp_path_factory):
    """The program workloads/mappings.c."""
    program = tmp_path_factory.mktemp("mappings") / "mappings"
    source = os.path.join(targets.WORKLOADS, "mappings.c")
    subprocess.run([CC, "-O2", "-pthread", "-o", program, source], check=True)
    return program


@pytest.fixture
def spin(one_py):
    with targets.Workload(one_py, "spin") as workload:
        yield workload


def test_process_that_is_dear_to_scan(mappings, spin, tmp_path):
    """The kernel asks about it at each of its ticks, and each answer takes longer than the pause
    between two questions. Such a run took minutes of CPU, past its end."""
    output = tmp_path / "run.folded"
    with speaking([mappings, str(MAPPINGS), "8"]) as dear:
        assert len(open("/proc/%d/maps" % dear.pid).readlines()) > MAPPINGS
        run = kraitrun.krait("record", "-d", 5, "-o", output, timeout=LONG_S)
    kraitrun.check(run, 0)
    assert_below_ceiling(run)
    assert own_cpu(run)[1] < LONG_S / 2
    assert folded.total(folded.having(folded.read(output), "spin")) > 0


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as stream:
        return list(map(int, stream.read().split()))


def the_scanner(krait):
    """The process that scans: the child of krait's only child."""
    (keeper,) = children(krait.pid)
    (worker,) = children(keeper)
    return worker


def test_scanner_that_hangs_is_replaced(one_py, spin, tmp_path):
    """Processes that come after it are found, and the run ends in time."""
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-o", output) as krait:
        targets.wait_cpu([spin.pid], 0.5)
        worker = the_scanner(krait)
        os.kill(worker, signal.SIGSTOP)
        # The first new process finds the scanner hanging; the second one its successor.
        with targets.Workload(one_py, "spin", "first"), targets.Workload(one_py, "spin", "second"):
            end = time.monotonic() + LONG_S
            while the_scanner(krait) == worker:
                assert time.monotonic() < end, "not replaced"
                time.sleep(0.01)
            with targets.Workload(one_py, "deep") as deep:
                targets.wait_cpu([deep.pid], 1)
        run = krait.stop()
    assert "in time" in run.err
    stacks = folded.read(output)
    assert folded.total(folded.of_pid(stacks, spin.pid)) > 0
    assert folded.total(folded.of_pid(stacks, deep.pid)) > 0


def test_an_ordinary_task(spin, tmp_path):
    with kraitrun.start_record("-o", tmp_path / "run.folded") as krait:
        pids = [krait.pid, the_scanner(krait)] + children(krait.pid)
        assert [os.sched_getscheduler(pid) for pid in pids] == [os.SCHED_OTHER] * 3
        assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids] == [0] * 3
        krait.stop()


def test_realtime_is_for_the_drain_alone(spin, tmp_path):
    with kraitrun.start_record("--realtime", "-o", tmp_path / "run.folded") as krait:
        targets.wait_cpu([spin.pid], 0.2)
        assert os.sched_getscheduler(krait.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
        for pid in [the_scanner(krait)] + children(krait.pid):
            assert os.sched_getscheduler(pid) == os.SCHED_OTHER
        soft, _ = resource.prlimit(krait.pid, resource.RLIMIT_RTTIME)
        assert soft == 200000  # microseconds: user/session/priority.h
        # What the kernel sends when it has run for so long in one go.
        krait.send(signal.SIGXCPU)
        targets.wait_cpu([spin.pid], 0.2)
        assert os.sched_getscheduler(krait.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
        run = krait.stop()
    assert "--realtime ended early" in run.err


def test_over_the_ceiling(one_py, tmp_path):
    """It samples less often, each sample counts for more, and the sums stay true."""
    hz, output = 19999, tmp_path / "run.folded"
    with targets.Workload(one_py, "wide") as wide:
        args = ["-p", wide.pid, "-F", hz, "--max-cpu", 1, "-o", output, "-o", tmp_path / "run.krait"]
        with kraitrun.start_record(*args) as krait:
            began_s = targets.cpu_seconds(wide.pid)
            targets.wait_cpu([wide.pid], 8)
            used_s = targets.cpu_seconds(wide.pid) - began_s
            run = krait.stop()
    assert re.search(r"over its --max-cpu krait sampled down to 1/\d+ as often", run.err)
    # Of ticks that are lost or that come before the first look some hundreds at the start. That the
    # rate halves between two ticks may count one wrongly.
    assert folded.total_all(folded.read(output)) == run.ledger.samples
    assert run.ledger.ticks / hz == pytest.approx(used_s, rel=0.1)
    again = kraitrun.krait("report", tmp_path / "run.krait", "-o", "-")
    assert again.code == 0 and again.out == output.read_bytes()


def test_without_a_ceiling(one_py, tmp_path):
    with targets.Workload(one_py, "spin") as spin:
        run = targets.record_cpu([spin.pid], 4, "-p", spin.pid, "-F", 19999, "--max-cpu", 100, "-o", tmp_path / "x.folded")
    assert "--max-cpu" not in run.err


def test_ticks_before_the_classification_are_in_the_ledger(one_py, tmp_path):
    """Short processes: their first ticks have no sample, and are counted on both sides."""
    code = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: sum(range(1000))"
    with kraitrun.start_record("-F", 999, "-o", tmp_path / "run.folded") as krait:
        for _ in range(20):
            subprocess.run(one_py.argv(["-S", "-c", code]), env=kraitrun.ENV, check=True)
        run = krait.stop()
    losses = kraitrun.losses(run.err)
    assert any("not yet verified" in sentence for sentence in losses), run.err
    assert "not yet known" not in run.err
    assert run.ledger.losses >= sum(losses.values()) > 0


@pytest.fixture
def fuses(one_py, tmp_path):
    """A process that has mapped a file whose server does not answer who opens it."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse")
    (tmp_path / "mount").mkdir()
    with targets.Workload(one_py, "fuses", tmp_path / "mount", tmp_path) as workload:
        yield workload


def test_file_on_a_server_that_does_not_answer(one_py, fuses, tmp_path):
    """The scan waits in the kernel, where not even SIGKILL reaches it; it is left behind, and the
    processes that come later are found."""
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-o", output) as krait:
        end = time.monotonic() + LONG_S
        while not (tmp_path / "asked").exists():
            assert time.monotonic() < end, "krait has not tried to open it"
            time.sleep(0.01)
        with targets.Workload(one_py, "spin") as late:
            targets.wait_cpu([late.pid], 3)
        run = krait.stop()
    assert "could not be read in time" in run.err
    assert folded.total(folded.of_pid(folded.read(output), late.pid)) > 0
    ps = kraitrun.krait("ps", timeout=LONG_S)
    assert ps.code == 0 and "could not be read in time" in ps.err
