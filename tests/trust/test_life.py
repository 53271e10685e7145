# SPDX-License-Identifier: BSD-2-Clause
"""
Life goes on. Elsewhere: exec into another Python and children of all kinds (tests/e2e/test_lives.py),
a program that is replaced while it runs, and runs what replaced it (test_builds.py, replaced_later and
test_exec_of_what_replaced_it), the main thread's end (below), samples that nobody reads for a while
(test_run.py, at one rate; here at the highest).
"""
import os
import signal
import subprocess
import sys
import time

import pytest

import folded
import hostile
import kraitrun
import targets

sys.path.append(os.path.join(kraitrun.TREE, "tests", "bench"))

from recording import read as read_recording

HERE = os.path.dirname(os.path.abspath(__file__))
FREQ_HZ = 499
CPU_S = 0.4
ONLINE = "/sys/devices/system/cpu/cpu1/online"


def spins(stacks):
    return folded.total(folded.having(stacks, "spin"))


# ---- A pid that is used again ----


@pytest.fixture(scope="module")
def aspid(tmp_path_factory):
    path = tmp_path_factory.mktemp("aspid") / "aspid"
    subprocess.run([hostile.COMPILER, "-o", path, os.path.join(HERE, "aspid.c")], check=True)
    return str(path)


def test_pid_used_again(one_py, aspid, tmp_path):
    """Two processes of one number, one after the other: each with its own names and command line."""
    output = tmp_path / "run.folded"
    with kraitrun.start_record("-a", "-F", FREQ_HZ, "-o", output) as krait:
        with targets.Workload(one_py, "spin") as first:
            targets.wait_cpu([first.pid], CPU_S)
            first.stop()
        prefix = [aspid, str(first.pid)]
        with targets.Workload(one_py, "deep", 20, prefix=prefix) as second:
            assert second.facts["pid"] == first.pid
            targets.wait_cpu([first.pid], CPU_S)
            second.stop()
        krait.stop()
    stacks = folded.of_pid(folded.read(output), first.pid)
    old = [stack for stack in stacks if "spin.py" in stack.cmdline]
    new = [stack for stack in stacks if "deep.py" in stack.cmdline]
    assert folded.total(old) > 20 and folded.total(new) > 20
    assert len(old) + len(new) == len(stacks)
    assert not folded.having(old, "deep") and not folded.having(new, "spin")


# ---- A main thread that ends ----

GONE = """
import ctypes, os, sys, threading
sys.path.insert(0, %r)
from harness import ready
libc = ctypes.CDLL(None)
def stays():
    while True:
        sum(range(5000))
threading.Thread(target=stays, daemon=True).start()
ready()
os.read(0, 1)
libc.syscall(60, 0)
"""


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "during"])
def test_main_thread_gone(one_py, tmp_path, is_before):
    """The process is a zombie by its /proc entry, and runs on. (ctypes gives the GIL up for a call, so
    the main thread takes nothing along.)"""
    script = tmp_path / "leaves.py"
    script.write_text(GONE % targets.WORKLOADS)
    output = tmp_path / "run.folded"
    with subprocess.Popen(
        one_py.argv([str(script)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kraitrun.ENV
    ) as process:
        try:
            assert process.stdout.readline().startswith(b"ready ")
            if is_before:
                leave(process)
            with kraitrun.start_record("-a", "-F", FREQ_HZ, "-o", output) as krait:
                if not is_before:
                    targets.wait_cpu([process.pid], CPU_S)
                    leave(process)
                targets.wait_cpu([process.pid], 2 * CPU_S)
                krait.stop()
        finally:
            process.kill()
    stacks = folded.of_pid(folded.read(output), process.pid)
    assert folded.total(folded.having(stacks, "stays")) > 20, stacks


def leave(process):
    process.stdin.write(b"x")
    process.stdin.flush()
    end = time.monotonic() + kraitrun.GRACE_S
    while True:
        with open("/proc/%d/stat" % process.pid, encoding="ascii", errors="replace") as stream:
            if stream.read().rpartition(")")[2].split()[0] == "Z":
                return
        assert time.monotonic() < end, "the main thread does not end"
        time.sleep(0.02)


# ---- A CPU that goes and comes back ----


def set_online(value):
    with open(ONLINE, "w", encoding="ascii") as stream:
        stream.write(str(value))


def test_cpu_hotplug(one_py, tmp_path):
    """Off, and on again: samples of that CPU within 2 s."""
    if not os.access(ONLINE, os.W_OK):
        pytest.skip("this machine's CPUs can't be taken offline")
    if not os.environ.get("KRAIT_TRUST_HOTPLUG"):
        pytest.skip("takes a CPU of this host away for a second (KRAIT_TRUST_HOTPLUG=1 allows it)")
    output = tmp_path / "run.krait"
    with targets.Workload(one_py, "spin") as spin:
        with kraitrun.start_record("-p", spin.pid, "-F", FREQ_HZ, "-o", output) as krait:
            targets.wait_cpu([spin.pid], CPU_S)
            try:
                set_online(0)
                time.sleep(0.3)
            finally:
                set_online(1)
            time.sleep(2)
            back_ns = time.monotonic_ns()
            os.sched_setaffinity(spin.pid, [1])
            before = targets.cpu_seconds(spin.pid)
            targets.wait_cpu([spin.pid], 2 * CPU_S)
            used = targets.cpu_seconds(spin.pid) - before
            krait.stop()
    again = kraitrun.krait("report", output, "-o", "-")
    assert again.code == 0
    samples = [sample for sample in read_recording(str(output)).samples if sample.cpu == 1]
    late = [sample for sample in samples if sample.time_ns >= back_ns]
    assert sum(sample.weight for sample in late) >= 0.5 * used * FREQ_HZ


# ---- A krait that does not come to run ----


def test_stopped_for_ten_seconds(one_py, tmp_path):
    """At the highest rate. The ledger balances, the loss is told, and what comes after is whole again:
    also a process that began meanwhile, whose code came when the rings were full."""
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "spin") as spin:
        args = ["-a", "-F", 9999, "--max-cpu", "50", "-o", output]
        with kraitrun.start_record(*args) as krait:
            targets.wait_cpu([spin.pid], CPU_S)
            krait.send(signal.SIGSTOP)
            end = time.monotonic() + 10
            with targets.Workload(one_py, "deep", 20) as deep, hostile.forger("codes-change", 30):
                while time.monotonic() < end:
                    time.sleep(0.1)
                # On a busy host ten seconds are too few for the rings, which hold 1.6 s of each CPU.
                targets.wait_cpu([spin.pid, deep.pid], 4)
                krait.send(signal.SIGCONT)
                targets.wait_cpu([spin.pid, deep.pid], 3)
                run = krait.stop()
    stacks = folded.read(output)
    assert folded.total_all(stacks) == run.ledger.samples
    assert kraitrun.losses(run.err)["because the ring buffer was full"] > 0
    for pid, name in (spin.pid, "spin"), (deep.pid, "bottom"):
        own = folded.of_pid(stacks, pid)
        good = folded.total([s for s in own if not any(f.name[0] == "[" for f in s.frames)])
        # Of the 3 s afterwards at least one, on a host that is full: the governor may have halved it.
        assert good > 9999 / 4, (pid, good)
        bad = folded.total(own) - good
        assert bad <= 0.01 * good, own[:3]
        assert folded.total(folded.having(own, name)) > 0.5 * good


# ---- Clocks ----


def test_time_namespace(one_py, tmp_path):
    """krait's clock is CLOCK_MONOTONIC, which no step of the host's time moves; and the kernel's and its
    own are told apart by nothing: so also where a time namespace gives it another one."""
    enter = ["unshare", "--time", "--monotonic", "100000", "--fork"]
    if subprocess.run(enter + ["true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces")
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "spin") as spin, targets.Workload(one_py, "execs") as execs:
        args = ["record", "-a", "-d", 2, "-F", FREQ_HZ, "-o", output]
        run = kraitrun.krait(*args, prefix=enter)
        execs.process.kill()
    kraitrun.check(run, 0)
    assert spins(folded.of_pid(folded.read(output), spin.pid)) > 20
