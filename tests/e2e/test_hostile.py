# SPDX-License-Identifier: BSD-2-Clause
"""
Targets that lie, and faults around krait, as far as they take seconds; tests/trust has the long
ones. SECURITY.md says what is promised and which of these tests shows it.
"""
import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

import folded
import hostile
import kraitrun
import targets

FREQ_HZ = 499
LEAST = 20  # samples of each
# So many processes that are new at once, and hard to look at, are known late on a host that is full.
KNOWN_S = 240
ROOM = ["--max-cpu", "50"]
PIPE_BYTES = 4096
GROWTH_MB = 16
# What the ledger says of a thread that is in no list.
SEARCHED = "while a long thread list was being searched"
# What must be seen of a mode at least once: a marker, or a loss.
MARKERS = {
    "frames-self": "[unreadable: frame list goes in a circle]",
    "frames-two": "[unreadable: frame list goes in a circle]",
    "frames-long-circle": "[truncated]",
    "frames-million": "[truncated]",
    "frames-empty": "[truncated]",
    "str-4g": "[unreadable: code object not readable]",
    "str-endless": "[unreadable: code object not readable]",
    "str-kind-7": "[unreadable: code object not readable]",
    "str-at-the-end": "[unreadable: code object not readable]",
    "codes-change": "[unreadable: too much new code at once]",
    "paged-out": "[unreadable: frame not readable]",
    "unserved-frame": "[unreadable: frame not readable]",
}
NO_SAMPLES = ["threads-circle", "threads-long", "interps-circle", "proof-long", "unserved"]
REFUSED = {"proof-long": "its lists of threads and frames have no end"}
MODES = hostile.modes()


def memory_mb(run):
    return float(re.search(r"([0-9.]+) MB of memory at most", run.err).group(1))


def assert_spins(stacks):
    """spin.py as it is, and nothing else."""
    assert stacks
    for stack in stacks:
        names = folded.names(stack)
        assert names[0] == "<module>" and set(names[1:]) <= {"spin", "running", "ready"}, stack


# ---- Forged interpreters ----


class Forged:
    def __init__(self):
        self.pids = {}


def wait_known(krait, output, pids):
    """Returns once the recording has LEAST samples of each of these processes, by its snapshots."""
    end, lacking = time.monotonic() + KNOWN_S, set(pids)
    while lacking:
        assert time.monotonic() < end, lacking
        time.sleep(0.5)
        before = os.stat(output).st_ino if output.exists() else None
        krait.send(signal.SIGUSR1)
        while not output.exists() or os.stat(output).st_ino == before:
            assert time.monotonic() < end, "no snapshot"
            time.sleep(0.02)
        stacks = folded.read(output)
        lacking = {p for p in lacking if folded.total(folded.of_pid(stacks, p)) < LEAST}


def record_until(output, pids, *args):
    with kraitrun.start_record(*args, *ROOM, "-o", output) as krait:
        wait_known(krait, output, pids)
        return krait.stop()


@pytest.fixture(scope="module")
def forged(one_py, tmp_path_factory):
    """One run beside every kind of liar, and an honest Python."""
    seen = Forged()
    output = tmp_path_factory.mktemp("forged") / "run.folded"
    with contextlib.ExitStack() as started:
        for mode in MODES:
            seen.pids[mode] = started.enter_context(hostile.forger(mode, 20)).pid
        spin = started.enter_context(targets.Workload(one_py, "spin"))
        seen.spin = spin.pid
        seen.ps = kraitrun.krait("ps", "--json", timeout=KNOWN_S)
        sampled = [pid for mode, pid in seen.pids.items() if mode not in NO_SAMPLES]
        seen.run = record_until(output, sampled + [spin.pid], "-a", "-F", FREQ_HZ)
    seen.stacks = folded.read(output)
    return seen


def test_the_honest_one_is_untouched(forged):
    stacks = folded.of_pid(forged.stacks, forged.spin)
    assert folded.total(stacks) >= LEAST
    assert_spins(stacks)


@pytest.mark.parametrize("mode", MODES)
def test_forged(forged, mode):
    """No frame that is not there, whatever the process says; a marker in place of what is wrong."""
    stacks = folded.of_pid(forged.stacks, forged.pids[mode])
    if mode in NO_SAMPLES:
        assert stacks == []
        return
    assert folded.total(stacks) >= LEAST
    seen = {frame for stack in stacks for frame in stack.frames}
    names = {frame.name for frame in seen}
    if mode == "names-odd":
        assert len(names) == 1 and "\\x1b[2J" in names.pop()
        return
    markers = {name for name in names if folded.MARKER.fullmatch(name)}
    if mode == "pointers":  # what it says of itself at that moment is what is shown
        return
    # codes-change has names of 8 KB, which are cut.
    assert {name for name in names - markers if not name.startswith("nnnn")} <= {"forged"}, seen
    assert {frame.line for frame in seen if frame.name == "forged"} <= {7, 0}
    assert mode not in MARKERS or MARKERS[mode] in markers, markers
    assert mode != "honest" or stacks[0].frames == (("forged", "srv/forged.py", 7),) * 3


def test_forged_losses(forged):
    assert kraitrun.losses(forged.run.err)[SEARCHED] > 0
    assert memory_mb(forged.run) < 5 + GROWTH_MB


def test_forged_in_ps(forged):
    """Each is listed, one that can't be proven with the reason; names are harmless."""
    assert forged.ps.code == 0
    listed = {entry["pid"]: entry for entry in json.loads(forged.ps.out)["processes"]}
    for mode, pid in forged.pids.items():
        if mode in REFUSED:
            assert REFUSED[mode] in listed[pid]["why_not"]
        elif mode not in ("pointers", "unserved"):
            assert listed[pid]["ready"], listed[pid]
    folded.assert_harmless(kraitrun.krait("ps").out.decode())


def test_a_forged_process_is_soon_known():
    """A proof reads so much and no more: CPU time, on whatever machine."""
    with hostile.forger("proof-long", 5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert kraitrun.krait("ps").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Some 0.1 s, beside what else there is; it was 130 s.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


# ---- Forged files ----


@pytest.fixture(scope="module")
def forged_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elf")
    try:
        yield {name: image.write(folder / name) for name, image in hostile.elf_files().items()}
    finally:
        shutil.rmtree(folder)


def test_forged_files(forged_files, one_py, tmp_path):
    """Files that no linker made, mapped as code, one of them being cut short all the time."""
    output = tmp_path / "run.folded"
    with contextlib.ExitStack() as started:
        mappers = [started.enter_context(hostile.mapper(path)) for path in forged_files.values()]
        cut = shutil.copy(hostile.build("forger"), tmp_path / "cut")
        mappers.append(started.enter_context(hostile.mapper("-t", cut)))
        spin = started.enter_context(targets.Workload(one_py, "spin"))
        ps = kraitrun.krait("ps", "--json", timeout=KNOWN_S)
        run = record_until(output, [spin.pid], "-a", "-F", FREQ_HZ)
    assert ps.code == 0
    listed = {entry["pid"]: entry for entry in json.loads(ps.out)["processes"]}
    assert listed[spin.pid]["ready"]
    assert not [m.pid for m in mappers if m.pid in listed and listed[m.pid]["ready"]]
    assert memory_mb(run) < 5 + GROWTH_MB
    stacks = folded.read(output)
    assert_spins(folded.of_pid(stacks, spin.pid))
    assert {s.pid for s in stacks} & {m.pid for m in mappers} == set()


# ---- What is opened ----


def test_a_mapped_device_is_not_opened(tmp_path):
    """To open a device can do something; that it is mapped as if it were a program is no reason."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    device, trace = tmp_path / "libdevice.so", tmp_path / "trace"
    os.mknod(device, 0o600 | 0o020000, os.makedev(1, 5))
    strace = ["strace", "-f", "-yy", "-e", "trace=open,openat,openat2", "-o", trace]
    try:
        with hostile.mapper(device):
            run = kraitrun.krait("ps", prefix=[str(arg) for arg in strace])
    finally:
        os.unlink(device)
    assert run.code == 0, run
    # "openat(..., O_RDONLY...) = 5</usr/bin/cat>"; by O_PATH nothing is opened.
    calls = [call for call in trace.read_text().splitlines() if "O_PATH" not in call]
    assert [call for call in calls if "/libc.so" in call.rpartition(" = ")[2]], calls[-20:]
    assert [call for call in calls if "libdevice" in call] == []


# ---- Targets that do not move ----


def test_suspended_target(one_py, tmp_path):
    """One that is stopped can be looked at as well as any, and costs no time."""
    with targets.Workload(one_py, "spin") as stopped, targets.Workload(one_py, "spin") as spin:
        os.kill(stopped.pid, signal.SIGSTOP)
        ps = kraitrun.krait("ps", "--json")
        pids = "%d,%d" % (stopped.pid, spin.pid)
        output = tmp_path / "run.folded"
        with kraitrun.start_record("-p", pids, "-F", FREQ_HZ, "-o", output) as krait:
            wait_known(krait, output, [spin.pid])
            os.kill(stopped.pid, signal.SIGCONT)
            wait_known(krait, output, [stopped.pid])
            krait.stop()
    ready = {entry["pid"] for entry in json.loads(ps.out)["processes"] if entry["ready"]}
    assert {stopped.pid, spin.pid} <= ready
    for pid in stopped.pid, spin.pid:
        assert_spins(folded.of_pid(folded.read(output), pid))


# ---- Little of something ----


def test_few_descriptors(one_py, tmp_path):
    output = tmp_path / "run.folded"
    with contextlib.ExitStack() as started:
        spins = [started.enter_context(targets.Workload(one_py, "spin")) for _ in range(4)]
        args = ["record", "-a", "-F", FREQ_HZ, *ROOM, "-o", output]
        limit = ["prlimit", "--nofile=64"]
        with kraitrun.Krait(args, prefix=limit) as krait:
            krait.wait_sampling()
            wait_known(krait, output, [spin.pid for spin in spins])
            krait.stop()
    stacks = folded.read(output)
    for spin in spins:
        assert_spins(folded.of_pid(stacks, spin.pid))


MEMORY_CGROUPS = "/sys/fs/cgroup/memory"


@pytest.fixture
def small_cgroup():
    """A memory cgroup of 64 MB, of either version."""
    v1 = os.path.exists(MEMORY_CGROUPS + "/memory.limit_in_bytes")
    top = MEMORY_CGROUPS if v1 else "/sys/fs/cgroup"
    folder = os.path.join(top, "krait-test-%d" % os.getpid())
    try:
        os.mkdir(folder)
    except OSError as error:
        pytest.skip("no memory cgroup: %s" % error)
    try:
        limit = os.path.join(folder, "memory.limit_in_bytes" if v1 else "memory.max")
        if not os.path.exists(limit):
            pytest.skip("the memory controller is not enabled in " + top)
        with open(limit, "w", encoding="ascii") as stream:
            stream.write(str(64 << 20))
        yield folder
    finally:
        end = time.monotonic() + kraitrun.GRACE_S
        while os.path.exists(folder):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            assert time.monotonic() < end, "the cgroup is not empty"
            time.sleep(0.05)


def test_little_memory(one_py, small_cgroup, tmp_path):
    """In 64 MB, the kernel's maps counted: beside one that changes all of its code all the time."""
    output = tmp_path / "run.folded"
    enter = ["sh", "-c", 'echo $$ > %s/cgroup.procs; exec "$@"' % small_cgroup, "sh"]
    args = ["record", "-a", "-F", FREQ_HZ, *ROOM, "-o", output]
    with targets.Workload(one_py, "spin") as spin, hostile.forger("codes-change", 30) as forger:
        with kraitrun.Krait(args, prefix=enter) as krait:
            krait.wait_sampling()
            wait_known(krait, output, [spin.pid, forger.pid])
            krait.stop()
    assert_spins(folded.of_pid(folded.read(output), spin.pid))


def test_reader_that_stops(one_py, tmp_path):
    """Whoever reads the profile from a pipe does not go on: krait waits, Ctrl-C ends it; and who goes
    on gets all of it."""
    for is_ended in True, False:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, PIPE_BYTES)  # F_SETPIPE_SZ, linux/fcntl.h
        with targets.Workload(one_py, "deep", 900) as deep:
            args = ["record", "-p", deep.pid, "-d", 1, "-F", FREQ_HZ, "-o", "-"]
            with kraitrun.Krait(args, stdout=writer) as krait:
                os.close(writer)
                wait_blocked(krait, reader)
                if is_ended:
                    krait.send(signal.SIGINT)
                    assert krait.wait().code == -signal.SIGINT
                    os.close(reader)
                    continue
                with os.fdopen(reader, "rb") as stream:
                    data = stream.read()
                run = krait.wait()
        kraitrun.check(run, 0)
        assert folded.total_all(folded.parse(data)) == run.ledger.samples > 0


def wait_blocked(krait, reader):
    """Returns once krait waits for room in the pipe: what is in there has filled it."""
    end = time.monotonic() + kraitrun.GRACE_S
    while time.monotonic() < end:
        waiting = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]
        if waiting == PIPE_BYTES:
            return
        assert krait.process.poll() is None, krait.wait()
        time.sleep(0.02)
    raise AssertionError("krait does not write")
