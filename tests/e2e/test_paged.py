# SPDX-License-Identifier: BSD-2-Clause
"""
Memory of a target that is not resident: frames, and what their names come from. A tick marks it, krait
has the kernel bring it back, and the next ticks have it. Nobody may be made to wait for another process
by that.
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest

import folded
import hostile
import kraitrun
import targets

FREQ_HZ = 499
OUTER = ("<module>",) + ("deep",) * 900  # of workloads/deep.py
SWAP_BYTES = 64 << 20
MADV_PAGEOUT, SYS_PROCESS_MADVISE = 21, 440  # asm-generic/mman-common.h, unistd.h
WHOLE = ("forged",) * 3
MARKED = ("[unreadable: frame not readable]", "forged", "forged")
libc = ctypes.CDLL(None, use_errno=True)


def counts(stacks):
    """{names of the stack, innermost last: samples}"""
    found = {}
    for stack in stacks:
        found[tuple(folded.names(stack))] = found.get(tuple(folded.names(stack)), 0) + stack.count
    return found


def record_until_back(pid, output, split, begin=None):
    """Records until the first sample that is whole and for a second of CPU time more. From the first on
    all must be whole. split: what makes (whole ones, others) of stacks. begin(krait) takes memory away,
    if it has not been before; it returns how many were whole until then."""
    with kraitrun.start_record("-p", pid, "-F", FREQ_HZ, "-o", output) as krait:
        before = begin(krait) if begin else 0
        end = time.monotonic() + targets.WAIT_S
        whole, lacking = before, 0
        while whole <= before:
            assert time.monotonic() < end, "still %d samples that lack something" % lacking
            targets.wait_cpu([pid], 0.1)
            whole, lacking = split(krait.snapshot(output))
        targets.wait_cpu([pid], 1)
        krait.stop()
    whole_then, lacking_then = split(folded.read(output))
    assert whole_then > whole + FREQ_HZ / 2 and lacking_then == lacking
    return lacking


# ---- Memory that the kernel gets by itself ----


def split_forged(stacks):
    found = counts(stacks)
    assert set(found) <= {WHOLE, MARKED}
    return found.get(WHOLE, 0), found.get(MARKED, 0)


@pytest.mark.parametrize("mode", ["absent", "absent-file"])
def test_absent_memory(mode, tmp_path):
    """The frame is marked, comes back, and stays."""
    output = tmp_path / "run.folded"

    def drop(krait):
        """Until it is noticed: another krait on this host may get it back before."""
        lacking = 0
        while not lacking:
            os.kill(forger.pid, signal.SIGUSR1)
            targets.wait_cpu([forger.pid], 0.1)
            whole, lacking = split_forged(krait.snapshot(output))
        return whole

    with hostile.forger(mode) as forger:
        record_until_back(forger.pid, output, split_forged, drop)


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def page_out(pid):
    """Puts all that the process has written into the swap; False if the kernel has no way to."""
    pidfd = os.pidfd_open(pid)
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as stream:
        areas = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", stream.read(), re.M)
    asked = 0
    for start, end in areas:
        vector = Vector(int(start, 16), int(end, 16) - int(start, 16))
        done = libc.syscall(SYS_PROCESS_MADVISE, pidfd, ctypes.byref(vector), 1, MADV_PAGEOUT, 0)
        asked += max(done, 0)
    os.close(pidfd)
    return asked > 0


def swapped_kb(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as stream:
        return int(re.search(r"^VmSwap:\s+(\d+)", stream.read(), re.M)[1])


@pytest.fixture(scope="module")
def swap():
    """A swap file, while these tests run. In /var/tmp, since /tmp may itself be memory."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="krait-swap-") as stream:
        os.posix_fallocate(stream.fileno(), 0, SWAP_BYTES)
        commands = ["mkswap", stream.name], ["swapon", stream.name]
        for command in commands:
            try:
                run = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                pytest.skip("no swap here: %s" % error)
            if run.returncode != 0:
                pytest.skip("no swap here: " + run.stderr.strip())
        yield
        subprocess.run(["swapoff", stream.name], check=True)


def swaps():
    """The swaps of the host: to turn one off brings back what is in it."""
    with open("/proc/swaps", encoding="utf-8") as stream:
        return sorted(line.split()[0] for line in stream)


def split_deep(stacks):
    """Samples that have all of the outer frames, and others. (Functions that are called further in
    may yet lack their names.)"""
    whole = lacking = 0
    for names, cnt in counts(stacks).items():
        if names[: len(OUTER)] == OUTER:
            whole += cnt
        else:
            assert any(name.startswith("[unreadable: ") for name in names), names
            lacking += cnt
    return whole, lacking


def test_swapped_out(py, swap, tmp_path):
    """All of an interpreter is in the swap but what its innermost frame needs."""
    before = swaps()
    with targets.Workload(py, "deep") as deep:
        if not page_out(deep.pid):
            pytest.skip("this kernel can't page out another process")
        assert swapped_kb(deep.pid) > 1000
        record_until_back(deep.pid, tmp_path / "run.folded", split_deep)
        left_kb = swapped_kb(deep.pid)
    if swaps() != before:
        pytest.skip("a swap of the host was turned on or off meanwhile")
    # The innermost frames could not have named the others.
    assert left_kb > 0


# ---- Memory that somebody else would have to give ----


def assert_stays_marked(tmp_path, *args):
    """That it is marked to the end, and that no scan of krait's has failed of it."""
    output = tmp_path / "run.folded"
    options = "-F", FREQ_HZ, "-o", output, "--verbose"
    with hostile.Attacker(hostile.build("forger"), *args) as forger:
        run = targets.record_cpu([forger.pid], 1, "-p", forger.pid, *options)
    found = counts(folded.read(output))
    assert found[MARKED] > FREQ_HZ / 2 and set(found) == {MARKED}
    assert "could not be read in time" not in run.err


def test_unserved_memory(tmp_path):
    """A userfaultfd that nobody answers: whoever touches that page and waits, waits for ever."""
    assert_stays_marked(tmp_path, "unserved-frame")


@contextlib.contextmanager
def silent_server(one_py, tmp_path):
    """The path of a file, by way of a process that serves it but does not answer who reads it."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse")
    (tmp_path / "mount").mkdir()
    with targets.Workload(one_py, "fuses", tmp_path / "mount", tmp_path, "read") as fuses:
        yield "/proc/%d/root%s/library.so" % (fuses.pid, tmp_path / "mount")


def test_memory_of_a_silent_server(one_py, tmp_path):
    """The same in a file of a FUSE."""
    with silent_server(one_py, tmp_path) as path:
        assert_stays_marked(tmp_path, "frame-in-file", 100, path)
        assert not (tmp_path / "asked").exists()
