# SPDX-License-Identifier: BSD-2-Clause
"""How a recording is aimed, ended and written."""
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest

import folded
import kraitrun
import targets

sys.path.append(os.path.join(kraitrun.TREE, "tests", "bench"))

from recording import read as read_recording

CPU_S = 0.2


def assert_only(folder, *names):
    """No temporary file is left beside the output."""
    assert sorted(os.listdir(folder)) == sorted(names)


@pytest.fixture
def spin(one_py):
    with targets.Workload(one_py, "spin") as workload:
        yield workload


# ---- How it ends ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_writes_what_there_is(spin, tmp_path, number):
    names = ["run.folded", "run.krait", "run.pb.gz"]
    outputs = [arg for name in names for arg in ("-o", tmp_path / name)]
    with kraitrun.start_record("-p", spin.pid, *outputs) as krait:
        targets.wait_cpu([spin.pid], 2 * CPU_S)
        assert not (tmp_path / "run.folded").exists()
        run = krait.stop(number)
    assert_only(tmp_path, *names)
    stacks = folded.read(tmp_path / "run.folded")
    assert folded.total_all(stacks) == run.ledger.samples > 0
    again = kraitrun.krait("report", tmp_path / "run.krait", "-o", "-")
    assert again.code == 0 and again.out == (tmp_path / "run.folded").read_bytes()


def test_snapshot(spin, tmp_path):
    """SIGUSR1 writes what there is so far, and the run goes on."""
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-p", spin.pid, "-F", 499, "-o", output) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        first = folded.total_all(krait.snapshot(output))
        targets.wait_cpu([spin.pid], CPU_S)
        run = krait.stop()
    assert 0 < first < folded.total_all(folded.read(output)) == run.ledger.samples
    assert_only(tmp_path, "run.folded")


def read_pipe(path):
    """The samples of a profile that is written into a named pipe."""
    command = ["cat", path]
    run = subprocess.run(command, stdout=subprocess.PIPE, timeout=kraitrun.GRACE_S, check=True)
    return folded.total_all(folded.parse(run.stdout))


def test_a_snapshot_that_nobody_reads(spin, tmp_path):
    """What is slow to write holds up no sample; and who asks again meanwhile gets another one."""
    output = tmp_path / "run.folded"
    os.mkfifo(output)
    args = ["-p", spin.pid, "-F", 9999, "-f", "folded", "-o", output]
    with kraitrun.start_record(*args) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        krait.send(signal.SIGUSR1)
        # A CPU's ring holds 1.6 s of samples at this rate.
        targets.wait_cpu([spin.pid], 4)
        krait.send(signal.SIGUSR1)
        targets.wait_cpu([spin.pid], CPU_S)
        first, second = read_pipe(output), read_pipe(output)
        krait.send(signal.SIGINT)
        last = read_pipe(output)
        run = krait.wait()
    kraitrun.check(run, 0)
    assert 0 < first < second <= last == run.ledger.samples
    assert "ring buffer was full" not in run.err, run


def test_target_that_ends_during_the_run(spin, tmp_path):
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-p", spin.pid, "-d", 2, "-o", output) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        spin.stop()
        run = krait.wait()
    kraitrun.check(run, 0)
    assert folded.total(folded.having(folded.read(output), "spin")) > 5


def test_samples_that_nobody_reads(spin, tmp_path):
    """
    A krait that does not come to run. A CPU has room for some two seconds of samples; what comes
    after is lost, is told, and the ledger balances. What came before is all there.
    """
    output = tmp_path / "run.folded"
    os.sched_setaffinity(spin.pid, [min(os.sched_getaffinity(spin.pid))])
    with kraitrun.start_record("-p", spin.pid, "-F", 499, "-o", output) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        krait.send(signal.SIGSTOP)
        targets.wait_cpu([spin.pid], 3)
        krait.send(signal.SIGCONT)
        targets.wait_cpu([spin.pid], CPU_S)
        run = krait.stop()
    lost = kraitrun.losses(run.err)["because the ring buffer was full"]
    assert lost > 0
    assert folded.total_all(folded.read(output)) == run.ledger.samples >= 2 * 499


def test_two_at_once(spin, tmp_path):
    """Two kraits do not disturb one another."""
    outputs = [tmp_path / "one.folded", tmp_path / "two.folded"]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(kraitrun.start_record("-p", spin.pid, "-F", 499, "-o", output))
            for output in outputs
        ]
        targets.wait_cpu([spin.pid], CPU_S)
        for krait in both:
            krait.stop()
    for output in outputs:
        assert folded.total(folded.having(folded.read(output), "spin")) > 20


# ---- What it is aimed at ----


def test_processes_that_start_later(one_py, tmp_path):
    """-a, and a Python that did not exist when krait began."""
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-a", "-F", 499, "-o", output) as krait:
        with targets.Workload(one_py, "spin") as late:
            targets.wait_cpu([late.pid], 2 * CPU_S)
            late.stop()
        run = krait.stop()
    stacks = folded.read(output)
    assert folded.total_all(stacks) == run.ledger.samples
    mine = folded.having(folded.of_pid(stacks, late.pid), "spin")
    assert folded.total(mine) + run.early >= 0.7 * 499 * 2 * CPU_S


def test_several_pids_and_no_others(one_py, spin, tmp_path):
    output = tmp_path / "run.folded"
    with contextlib.ExitStack() as stack:
        two = [stack.enter_context(targets.Workload(one_py, "spin")) for _ in range(2)]
        pids = [workload.pid for workload in two]
        args = ["-p", "%d,%d" % tuple(pids), "-F", 499, "-o", output]
        with stack.enter_context(kraitrun.start_record(*args)) as krait:
            targets.wait_cpu(pids + [spin.pid], CPU_S)
            krait.stop()
    assert {stack.pid for stack in folded.read(output)} == set(pids)


def test_comm(one_py, spin, tmp_path):
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "spin", "krait-e2e-comm") as named:
        with kraitrun.start_record("--comm", "krait-e2e-comm", "-F", 499, "-o", output) as krait:
            # On a host full of others they may have to be classified first.
            while not folded.of_pid(krait.snapshot(output), named.pid):
                targets.wait_cpu([named.pid, spin.pid], CPU_S)
            krait.stop()
    assert {stack.pid for stack in folded.read(output)} == {named.pid}


def test_no_children(one_py, tmp_path):
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "forks") as forks, targets.Workload(one_py, "spin") as spin:
        args = ["-p", "%d,%d" % (forks.pid, spin.pid), "--no-children", "-F", 499, "-o", output]
        with kraitrun.start_record(*args) as krait:
            forks.tell("go")
            forks.hear("forked")
            targets.wait_cpu([forks.facts["early"], spin.pid], CPU_S)
            krait.stop()
        forks.stop()
    assert {stack.pid for stack in folded.read(output)} <= {forks.pid, spin.pid}


# ---- What is sent ----


def test_a_stack_is_sent_once(spin, tmp_path):
    """Whatever the ring took user space has. (That a stack is looked at again each second:
    test_identity.py.)"""
    path = tmp_path / "x.krait"
    kraitrun.record("-p", spin.pid, "-d", 4, "-F", 499, "-o", path, seconds=4)
    sent = Counter(stack.stack_id for stack in read_recording(str(path)).stacks)
    assert sent and max(sent.values()) == 1, sent


# ---- Where it writes ----


def test_stdout_is_data_and_nothing_else(spin):
    run = kraitrun.record("-p", spin.pid, "-d", 1, "-F", 499, "-o", "-", seconds=1)
    stacks = folded.parse(run.out)
    assert folded.total_all(stacks) == run.ledger.samples > 0


def test_format_overrides_the_name(spin, tmp_path):
    output = tmp_path / "profile.data"
    kraitrun.record("-p", spin.pid, "-d", 1, "-f", "folded", "-o", output, seconds=1)
    assert folded.having(folded.read(output), "spin")


def test_an_older_file_is_replaced_whole(spin, tmp_path):
    output = tmp_path / "run.folded"
    output.write_text("older\n" * 100000)
    kraitrun.record("-p", spin.pid, "-d", 1, "-o", output, seconds=1)
    assert folded.having(folded.read(output), "spin")
    assert_only(tmp_path, "run.folded")


def test_a_full_disk_is_said(spin):
    run = kraitrun.krait("record", "-p", spin.pid, "-d", 1, "-f", "folded", "-o", "/dev/full")
    assert run.code == 1
    assert "/dev/full" in run.err


def test_quiet_says_nothing(spin, tmp_path):
    output = tmp_path / "run.folded"
    run = kraitrun.krait("record", "--quiet", "-p", spin.pid, "-d", 1, "-o", output)
    assert (run.code, run.out, run.err) == (0, b"", "")


def test_verbose_says_more(spin, tmp_path):
    args = ["-p", spin.pid, "-d", 1, "-o", tmp_path / "run.folded"]
    plain = kraitrun.record(*args, seconds=1)
    verbose = kraitrun.record("--verbose", *args, seconds=1)
    assert len(verbose.err.splitlines()) > len(plain.err.splitlines())
    assert all(line.startswith("krait: ") for line in verbose.err.splitlines())
    # The slow way to load, for kernels on which the fast one fails: on no kernel that is known.
    assert "all of the kernel's BTF is read" not in verbose.err


def stats_of(err):
    """{what is measured: the number} of --stats, and of the ids that were sent."""
    numbers = {
        "tick_ns": r"stats: (\d+) ns per tick in BPF",
        "ticks": r"in BPF, (\d+) ticks",
        "cpu_us": r"stats: ([\d.]+) us of krait's CPU per sample",
        "start_ms": r"the start, which took (\d+) ms",
        "bytes": r"; ([\d.]+) bytes per sample",
        "stacks_sent": r"stats: (\d+) stacks and",
        "codes_sent": r"and (\d+) code objects sent",
        "maps_mb": r"maps of ([\d.]+) MB",
        "processes": r"MB: (\d+) of 16384 processes",
        "stacks": r" (\d+) of 65536 stacks",
        "codes": r" (\d+) of 65536 code objects",
        "waiting": r"at most (\d+) of \d+ bytes of records",
        "samples": r"and (\d+) of 1024 samples of a CPU",
    }
    return {name: float(re.search(pattern, err)[1]) for name, pattern in numbers.items()}


def test_stats(spin, tmp_path):
    """What is sent is what the maps of the ids hold. A sample has 40 bytes, a stack more. A CPU has
    room for two seconds of samples, and they are read four times a second."""
    args = ["-p", spin.pid, "-d", 2, "-F", 499, "-o", tmp_path / "run.folded"]
    run = kraitrun.record("--stats", *args, seconds=2)
    s = stats_of(run.err)
    assert s["tick_ns"] > 0 and s["cpu_us"] > 0 and s["start_ms"] > 0
    assert s["ticks"] >= run.ledger.samples
    assert s["bytes"] >= 40 + 40 * s["stacks_sent"] / run.ledger.samples
    assert (s["stacks"], s["codes"]) == (s["stacks_sent"], s["codes_sent"])
    assert s["stacks"] >= 1 and s["codes"] >= 1 and s["processes"] == 1
    assert 1 < s["maps_mb"] < 16
    assert s["waiting"] >= 40 and 0 < s["samples"] <= 1024


# ---- Lines: --function, --no-lineno ----


@pytest.fixture(scope="module")
def recording(one_py, tmp_path_factory):
    """A recording of many lines, the first line of each function, and the stacks."""
    folder = tmp_path_factory.mktemp("recording")
    with targets.Workload(one_py, "families") as workload:
        args = ["-p", workload.pid, "-d", 1, "-F", 999, "-o", folder / "x.krait"]
        kraitrun.record(*args, seconds=1)
    run = kraitrun.krait("report", folder / "x.krait", "--full-path", "-o", "-")
    return folder / "x.krait", workload.facts["first"], folded.parse(run.out)


def test_no_lineno(recording):
    path, _, stacks = recording
    run = kraitrun.krait("report", path, "--no-lineno", "--full-path", "-o", "-")
    bare = folded.parse(run.out)
    assert {frame.line for stack in bare for frame in stack.frames} == {None}
    assert folded.total_all(bare) == folded.total_all(stacks)
    assert len(bare) < len(stacks)


def test_function_merges_lines(recording):
    path, first, stacks = recording
    run = kraitrun.krait("report", path, "--function", "--full-path", "-o", "-")
    merged = folded.parse(run.out)
    assert folded.total_all(merged) == folded.total_all(stacks)
    assert len(merged) < len(stacks)
    for frame in {frame for stack in merged for frame in stack.frames}:
        if frame.file.endswith("families.py") and frame.name != "<module>":
            assert frame.line == first[frame.name]


def test_report_without_output_prints_a_table(recording):
    run = kraitrun.krait("report", recording[0])
    assert run.code == 0
    assert "drive" in run.out.decode() and "%" in run.out.decode()
