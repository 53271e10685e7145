# SPDX-License-Identifier: BSD-2-Clause
"""
Nothing outside a container's root is read for it. A process under another root maps a library there;
then something else comes to the library's name: a link to a file of the host, in every form, a FIFO, a
device, a folder, or another file all the time. The host's file has a witness: fanotify(7) sees each
open and each read, from whatever namespace.

As root krait opens what is mapped (map_files). With less it may go by the name, below the root: both
are tried, and a bystander must still be found.
"""
import contextlib
import ctypes
import json
import os
import shutil
import struct
import subprocess
import threading
import time

import pytest

import folded
import hostile
import kraitrun
import targets

FAN_CLOEXEC, FAN_NONBLOCK, FAN_MARK_ADD, FAN_ACCESS, FAN_OPEN, AT_FDCWD = 1, 2, 1, 1, 0x20, -100
CAPS = "+bpf,+perfmon,+sys_ptrace,+dac_read_search"
PREFIXES = {
    "root": [],
    "four": ["setpriv", "--bounding-set=-all," + CAPS, "--inh-caps=-all," + CAPS],
}
libc = ctypes.CDLL(None, use_errno=True)


class Witness:
    """Who opens or reads some files. For `with`."""

    def __init__(self, *paths):
        self.fd = libc.fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC)
        if self.fd < 0:
            pytest.skip("no fanotify: " + os.strerror(ctypes.get_errno()))
        mask = ctypes.c_uint64(FAN_OPEN | FAN_ACCESS)
        for path in paths:
            done = libc.fanotify_mark(self.fd, FAN_MARK_ADD, mask, AT_FDCWD, os.fsencode(path))
            assert done == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)

    def pids(self):
        """Since the last call."""
        found = set()
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return found
            for at in range(0, len(data), 24):
                _, _, _, _, _, fd, pid = struct.unpack_from("=IBBHQii", data, at)
                if fd >= 0:
                    os.close(fd)
                found.add(pid)


def replace_by(make):
    """Something else takes the library's name."""

    def replace(path, secret):
        make(str(path) + ".new", str(secret))
        os.rename(str(path) + ".new", path)

    return replace


def depth_link(path, secret):
    """Up and out, by a name that is right under any root."""
    os.symlink("/".join([".."] * 40) + secret, path)


KINDS = {
    "link": replace_by(lambda path, secret: os.symlink(secret, path)),
    "link-up": replace_by(depth_link),
    "link-proc": replace_by(lambda path, secret: os.symlink("/proc/1/root" + secret, path)),
    "fifo": replace_by(lambda path, secret: os.mkfifo(path)),
    "device": replace_by(lambda path, secret: os.mknod(path, 0o20666, os.makedev(1, 5))),
    "folder": lambda path, secret: (os.unlink(path), os.mkdir(path)),
    "gone": lambda path, secret: os.unlink(path),
}


class Race(threading.Thread):
    """The name stands for the library, the link and the FIFO, in turn, as fast as it goes."""

    def __init__(self, path, secret):
        super().__init__(daemon=True)
        self.path, self.secret, self.is_over, self.cnt = str(path), str(secret), False, 0
        self.kept = self.path + ".kept"
        os.link(path, self.kept)

    def run(self):
        new = self.path + ".new"
        while not self.is_over:
            for make in (
                lambda: os.symlink(self.secret, new),
                lambda: os.mkfifo(new),
                lambda: os.link(self.kept, new),
            ):
                make()
                os.rename(new, self.path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(new)
                self.cnt += 1


@pytest.fixture(scope="module")
def bystander(one_py):
    """One whose runtime is in the program itself, if there is: with four capabilities krait may not be
    able to read a library."""
    return ([py for py in targets.SUPPORTED if py.source == "system"] or [one_py])[-1]


@pytest.fixture
def rooted(tmp_path):
    """(root, library's path in the host, command): a root tree with mapper in it, static."""
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "proc").mkdir()
    source = os.path.join(targets.WORKLOADS, "mapper.c")
    mapper = root / "mapper"
    subprocess.run([hostile.COMPILER, "-static", "-O1", "-o", mapper, source], check=True)
    library = root / "lib" / "libfoo.so"
    shutil.copy(hostile.build("forger"), library)
    secret = tmp_path / "secret"
    shutil.copy(hostile.build("forger"), secret)
    return root, library, secret


def look(bystander, prefix, tmp_path):
    """krait over all that is there, in both ways that it looks at files."""
    ps = kraitrun.krait("ps", "--json", prefix=prefix)
    assert ps.code == 0, ps
    with targets.Workload(bystander, "spin") as spin:
        args = ["record", "-a", "-F", 499, "-o", tmp_path / "x.folded"]
        with kraitrun.Krait(args, prefix=prefix) as krait:
            krait.wait_sampling()
            targets.wait_cpu([spin.pid], 0.4)
            krait.stop()
    assert folded.total(folded.of_pid(folded.read(tmp_path / "x.folded"), spin.pid)) > 10
    return {entry["pid"]: entry for entry in json.loads(ps.out)["processes"]}


@pytest.mark.parametrize("level", PREFIXES)
@pytest.mark.parametrize("kind", list(KINDS) + ["race"])
def test_nothing_outside_the_root(bystander, rooted, tmp_path, kind, level):
    root, library, secret = rooted
    enter = ["unshare", "--mount", "chroot", root, "/mapper", "/lib/libfoo.so"]
    race = None
    with hostile.Attacker(*enter) as attacker, Witness(secret) as witness:
        if kind == "race":
            race = Race(library, secret)
            race.start()
        else:
            KINDS[kind](library, secret)
        witness.pids()
        listed = look(bystander, PREFIXES[level], tmp_path)
        if race:
            race.is_over = True
            race.join()
            assert race.cnt > 100
        assert witness.pids() == set()
        assert attacker.process.poll() is None
        with open(secret, "rb") as stream:
            stream.read(1)
        assert witness.pids() == {os.getpid()}  # it does see
    # The mapped file is a CPython's, though none that runs; as root its bytes are what is mapped.
    if level == "root":
        assert attacker.pid in listed and not listed[attacker.pid]["ready"]
