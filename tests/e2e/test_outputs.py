# SPDX-License-Identifier: BSD-2-Clause
"""Output files are the old ones or the new ones, whole, whatever happens while krait writes. The same
with many more repetitions: tests/trust/test_files.py."""
import os
import random
import signal

import pytest

import faults
import kraitrun
import targets


@pytest.fixture
def victim(tmp_path):
    return faults.Victim(tmp_path)


def test_killed_while_it_writes(victim):
    faults.kill_at_random_moments(victim, 12, random.Random(1))


def test_killed_while_it_records(one_py, tmp_path):
    with targets.Workload(one_py, "spin") as spin:
        faults.kill_while_it_records(spin.pid, tmp_path, 3, random.Random(2))


def test_full_disk(victim):
    """Room for none of the two files, for the smaller one, and for both."""
    faults.fill_disks(victim, [8, 100, 4000])


def test_full_disk_at_the_end_of_a_run(one_py, victim):
    """Only the end of the run finds out; the old file stays."""
    with targets.Workload(one_py, "spin") as spin:
        args = ["record", "-p", spin.pid, "-d", 1, "-F", 499, "-o", victim.out / "run.folded"]
        run = faults.on_small_disk(victim, 8, args + ["-o", victim.out / "run.krait"])
    kraitrun.check(run, 1)
    assert run.err.count("No space left on device") == 2
    assert sorted(os.listdir(victim.out)) == sorted(victim.NAMES)
    assert victim.content("run.folded") == faults.OLD


def test_reader_that_leaves_in_the_middle(victim):
    faults.leave_at_random_bytes(victim, 4, random.Random(3))


@pytest.mark.parametrize("command", ["record", "report"])
def test_read_only_disk(victim, command):
    """Said before anything is recorded."""
    victim.reset(True)
    args = ["report", victim.recording] if command == "report" else ["record", "-a"]
    run = faults.on_read_only_disk(victim.out, args + ["-o", victim.out / "run.folded"])
    assert run.code == 1 and run.err.count("\n") == 1, run
    assert "run.folded: Read-only file system; choose another folder" in run.err
    assert victim.assert_whole(True) == []


def as_by_sudo(*args, uid=65534):
    """What sudo leaves in the environment of its command: sudo(8)."""
    prefix = ["env", "SUDO_UID=%d" % uid, "SUDO_GID=%d" % uid, "SUDO_USER=nobody"]
    return kraitrun.krait(*args, prefix=prefix)


def test_files_belong_to_who_called_sudo(one_py, tmp_path):
    mine, roots = tmp_path / "mine", tmp_path / "roots"
    mine.mkdir()
    roots.mkdir()
    os.chown(mine, 65534, 65534)
    files = [folder / name for folder in (mine, roots) for name in ("x.folded", "x.krait", "x.pb.gz")]
    args = [arg for path in files for arg in ("-o", path)]
    with targets.Workload(one_py, "spin") as spin:
        kraitrun.check(as_by_sudo("record", "-p", spin.pid, "-d", 1, *args), 0)
    for path in files:
        owner = 65534 if path.parent == mine else 0
        assert (path.stat().st_uid, path.stat().st_gid) == (owner, owner), path


def test_no_link_in_a_folder_for_all(one_py, tmp_path):
    """Not even where the kernel would follow it (fs.protected_symlinks=0)."""
    victim, shared = tmp_path / "victim", tmp_path / "shared"
    victim.write_bytes(faults.OLD)
    shared.mkdir()
    shared.chmod(0o1777)
    os.symlink(victim, shared / "run.folded")
    os.lchown(shared / "run.folded", 65534, 65534)
    run = kraitrun.krait("record", "-a", "-o", shared / "run.folded")
    assert run.code == 1 and run.err.count("\n") == 1 and "symbolic link" in run.err, run
    # One that is planted while krait runs.
    os.unlink(shared / "run.folded")
    with targets.Workload(one_py, "spin") as spin:
        with kraitrun.start_record("-p", spin.pid, "-o", shared / "run.folded") as krait:
            targets.wait_cpu([spin.pid], 0.1)
            os.symlink(victim, shared / "run.folded")
            krait.send(signal.SIGINT)
            run = krait.wait()
    kraitrun.check(run, 1)
    assert "symbolic link" in run.err and victim.read_bytes() == faults.OLD
    assert os.listdir(shared) == ["run.folded"]
