# SPDX-License-Identifier: BSD-2-Clause
"""
krait killed at any moment (SIGKILL, the out-of-memory killer) leaves nothing in the kernel, no
process and no file but what it has recorded (x.krait.part). What a kill can't prevent: on a file
system without O_TMPFILE (NFS, FAT) a temporary file beside the output, if it falls into the writing
of it.
"""
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

import e2e_conftest
import hostile
import kraitrun
import targets

KILLS = 20
GONE_S = 30


def bpf_ids(pid):
    """{("prog", 7), ...}: what the process holds of BPF, by its descriptors."""
    found = set()
    folder = "/proc/%d/fdinfo" % pid
    for name in os.listdir(folder):
        try:
            with open(os.path.join(folder, name), encoding="ascii", errors="replace") as stream:
                found |= set(re.findall(r"^(prog|map|link)_id:\s*([0-9]+)$", stream.read(), re.M))
        except OSError:
            pass
    return found


def still_there(ids):
    tool = e2e_conftest.BPFTOOL
    alive = set()
    for kind in ("prog", "map", "link"):
        listing = subprocess.run([tool, "-j", kind, "show"], capture_output=True, check=True).stdout
        now = {str(item["id"]) for item in json.loads(listing or "[]")}
        alive |= {pair for pair in ids if pair[0] == kind and pair[1] in now}
    return alive


def descendants(pid):
    """Of the process, those that it has started, and so on."""
    pids = [pid]
    for member in pids:
        try:
            with open("/proc/%d/task/%d/children" % (member, member), encoding="ascii") as stream:
                pids += map(int, stream.read().split())
        except OSError:
            pass
    return pids[1:]


def kill_once(args, moment_s):
    """Kills a krait that old. (its BPF objects, its helpers)"""
    with kraitrun.Krait(args) as krait:
        time.sleep(moment_s)
        krait.send(signal.SIGSTOP)  # so that what it holds is all that it holds
        ids, helpers = bpf_ids(krait.pid), descendants(krait.pid)
        krait.send(signal.SIGKILL)
        assert krait.wait().code == -signal.SIGKILL
    return ids, helpers


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def assert_reads(part):
    """Up to where it ends, unless that is in its first block."""
    run = kraitrun.krait("report", part, "-o", "-")
    assert run.code in (1, 5), run
    assert run.code == 5 or "truncated in its head" in run.err or "not a krait recording" in run.err, run


def test_kills_leave_nothing(one_py, tmp_path):
    if not e2e_conftest.BPFTOOL:
        pytest.skip("no bpftool")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    held, helped = 0, 0
    with targets.Workload(one_py, "spin") as spin, hostile.forger("lines-dear", 20):
        args = ["record", "-a", "-F", 999, "-o", tmp_path / "x.folded", "-o", tmp_path / "x.krait"]
        for _ in range(KILLS):
            ids, helpers = kill_once(args, chance.uniform(0, 1.5))
            held, helped = held + bool(ids), helped + bool(helpers)
            end = time.monotonic() + GONE_S
            while still_there(ids) or any(map(is_running, helpers)):
                assert time.monotonic() < end, (seed, still_there(ids), helpers)
                time.sleep(0.1)
            for name in os.listdir(tmp_path):
                assert name == "x.krait.part"
                assert_reads(tmp_path / name)
                os.unlink(tmp_path / name)
        assert spin.process.poll() is None
    # Or the kills all came before anything had been loaded.
    assert held > KILLS / 4 and helped > KILLS / 4


def test_killed_while_it_writes(one_py, tmp_path):
    """A snapshot is being written all the time: the file is whole at each kill, and alone."""
    import folded

    output = tmp_path / "x.folded"
    chance = random.Random(4711)
    with targets.Workload(one_py, "deep", 900):
        for _ in range(5):
            with kraitrun.start_record("-a", "-F", 999, "-o", output) as krait:
                end = time.monotonic() + 1 + chance.uniform(0, 0.2)
                while time.monotonic() < end:
                    krait.send(signal.SIGUSR1)
                    time.sleep(0.002)
                krait.send(signal.SIGKILL)
                krait.wait()
            assert os.listdir(tmp_path) == ["x.folded"]
            folded.read(output)
