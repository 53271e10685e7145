# SPDX-License-Identifier: BSD-2-Clause
"""
What krait says to bad input: the exit status of the contract and one line that names the trouble,
with nothing of any library's own talk. And to good questions: an answer on stdout.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import time

import pytest

import kraitrun
import targets

sys.path += [os.path.join(kraitrun.TREE, "tests", folder) for folder in ("golden", "bench")]

import recording as reader
import writer

PF_KTHREAD = 0x00200000  # include/linux/sched.h
NOBODY = 65534
# krait must not first record and then find out.
AT_ONCE_S = 5


def assert_one_line(run, *codes):
    assert run.code in codes, run
    assert run.out == b""
    lines = run.err.splitlines()
    assert len(lines) == 1 and run.err.endswith("\n"), run.err
    assert lines[0].startswith("krait"), run.err


def free_pid():
    with open("/proc/sys/kernel/pid_max", encoding="utf-8") as stream:
        pid = int(stream.read()) - 1
    while os.path.exists("/proc/%d" % pid):
        pid -= 1
    return pid


def kernel_thread():
    for name in filter(str.isdigit, os.listdir("/proc")):
        with open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as stream:
            if int(stream.read().rpartition(")")[2].split()[6]) & PF_KTHREAD:
                return int(name)
    pytest.skip("no kernel thread is to be seen (a pid namespace of its own)")


# ---- Targets that are none: 3 ----


def test_pid_that_does_not_exist(tmp_path):
    run = kraitrun.krait("record", "-p", free_pid(), "-o", tmp_path / "x.folded")
    assert_one_line(run, 3)
    assert os.listdir(tmp_path) == []


def test_pid_that_is_no_python(tmp_path):
    sleep = subprocess.Popen(["sleep", "60"], env=kraitrun.ENV)
    try:
        run = kraitrun.krait("record", "-p", sleep.pid, "-o", tmp_path / "x.folded")
    finally:
        sleep.kill()
        sleep.wait()
    assert_one_line(run, 3)
    assert str(sleep.pid) in run.err


def test_pid_that_is_a_kernel_thread(tmp_path):
    run = kraitrun.krait("record", "-p", kernel_thread(), "-o", tmp_path / "x.folded")
    assert_one_line(run, 3)


def test_comm_that_nobody_has(tmp_path):
    output = tmp_path / "x.folded"
    run = kraitrun.krait("record", "--comm", "krait-nobody", "-d", 1, "-o", output)
    assert_one_line(run, 3)


def test_python_that_is_too_old(old_python, tmp_path):
    """A Python, but none that can be profiled: the line says which version."""
    pid, _ = old_python
    run = kraitrun.krait("record", "-p", pid, "-d", 1, "-o", tmp_path / "x.folded")
    assert_one_line(run, 3)
    assert "CPython 3.5" in run.err


# ---- Usage: 2 ----


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["--nonsense"],
        ["record", "--nonsense"],
        ["record", "-X"],
        ["record", "-F", "0"],
        ["record", "-F", "1000000000"],
        ["record", "-F", "abc"],
        ["record", "-F", "-1"],
        ["record", "-F"],
        ["record", "-d", "abc"],
        ["record", "-d", "10x"],
        ["record", "-d", "-1"],
        ["record", "-d", "99999999999999999999"],
        ["record", "-p", "abc"],
        ["record", "-p", ""],
        ["record", "-p", "1,,2"],
        ["record", "-p", "99999999999999999999"],
        ["record", "--max-depth", "0"],
        ["record", "--max-depth", "8193"],
        ["record", "-f", "nonsense", "-o", "/dev/null"],
        ["record", "-o", "profile.nonsense"],
        ["record", "-o"],
        ["record", "--"],
        ["record", "surplus"],
        ["record", "-x\x1b[31m\n"],
        ["report"],
        ["report", "--nonsense", "x.krait"],
        ["report", "--format", "svg", "x.krait"],
        ["report", "-f", "", "x.krait"],
        ["report", "-f", "krait", "x.krait"],
        ["report", "-n", "svg", "x.krait"],
        ["report", "x.krait", "-o", "x.svg"],
        ["report", "x.krait", "y.krait"],
        ["report", "x.krait", "-o", "-", "-o", "/dev/stdout", "-f", "folded"],
        ["record", "-f", "svg"],
        ["record", "-d", "1", "-f", "svg", "-o", "x.folded"],
        ["record", "-d", "1", "-o", "-", "-o", "-"],
        ["ps", "--json=yes"],
        ["ps", "-p", "x"],
        ["help", "nonsense"],
        ["help", "ps", "surplus"],
        ["--help", "nonsense"],
        ["--version", "surplus"],
        ["ps", "surplus"],
        ["doctor", "--nonsense"],
    ],
    ids=lambda args: "_".join(args).encode("unicode_escape").decode(),
)
def test_usage(args, tmp_path):
    run = kraitrun.krait(*args, cwd=tmp_path)
    assert_one_line(run, 2)
    assert "\x1b" not in run.err
    assert os.listdir(tmp_path) == []


# ---- Output that can't be: 1 or 2, before anything is recorded ----


@pytest.mark.parametrize("where", ["no folder", "not writable", "a folder"])
def test_output_that_cannot_be_written(where, tmp_path):
    paths = {
        "no folder": tmp_path / "none" / "x.folded",
        "not writable": "/proc/x.folded",
        "a folder": tmp_path / "folder.folded",
    }
    (tmp_path / "folder.folded").mkdir()
    start = time.monotonic()
    run = kraitrun.krait("record", "-a", "-d", 8, "-o", paths[where], timeout=60)
    assert time.monotonic() - start < AT_ONCE_S
    assert_one_line(run, 1, 2)
    assert str(paths[where]) in run.err


def without_reader():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


ON_STDOUT = [
    ["ps", "-p", "{pid}"],
    ["ps", "-p", "{pid}", "--json"],
    ["doctor"],
    ["--help"],
    ["record", "--help"],
    ["--version"],
    ["report", "{recording}"],
    ["report", "{recording}", "-o", "-"],
    ["report", "{recording}", "-f", "folded"],
    ["report", "{recording}", "-f", "pprof", "-o", "-"],
]


@pytest.mark.parametrize("args", ON_STDOUT, ids=" ".join)
@pytest.mark.parametrize("where", ["no reader", "full", "closed"])
def test_stdout_that_cannot_be_written(where, args, recording, tmp_path):
    """A status of 0 would say that all of it was written."""
    path = tmp_path / "x.krait"
    path.write_bytes(recording)
    args = [arg.format(recording=path, pid=os.getpid()) for arg in args]
    if where == "closed":
        run = kraitrun.krait(*args, prefix=["sh", "-c", 'exec "$0" "$@" >&-'])
    else:
        fd = without_reader() if where == "no reader" else os.open("/dev/full", os.O_WRONLY)
        with kraitrun.Krait(args, stdout=fd) as krait:
            os.close(fd)
            run = krait.wait()
    reasons = ["Broken pipe", "No space left", "Bad file descriptor", "can't write to stdout"]
    said = [line for line in run.err.splitlines() if any(reason in line for reason in reasons)]
    assert run.code == 1 and len(said) == 1, run


# ---- Recordings that are none: 1, or not whole: 5 ----

CUT = 5
START_BYTES = 16


@pytest.fixture(scope="module")
def recording(one_py, tmp_path_factory):
    """The bytes of a good recording."""
    path = tmp_path_factory.mktemp("recording") / "good.krait"
    with targets.Workload(one_py, "spin") as workload:
        kraitrun.record("-p", workload.pid, "-d", 1, "-o", path, seconds=1)
    return path.read_bytes()


def with_version(data, version):
    """The recording with another version in its start (docs/recording.md)."""
    return data[:8] + struct.pack("=I", version) + data[12:]


def with_bit_flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE = {
    "a bit of the head": lambda data: with_bit_flipped(data, START_BYTES + 30),
    "empty": lambda data: b"",
    "three bytes": lambda data: data[:3],
    "start cut": lambda data: data[:12],
    "head cut": lambda data: data[: START_BYTES + 30],
    "older version": lambda data: with_version(data, 0),
    "newer version": lambda data: with_version(data, 4711),
    "random": lambda data: random.Random(1).randbytes(10000),
    "text": lambda data: b"main;work 12\n" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_recording_that_is_none(recording, damage, tmp_path):
    path = tmp_path / "bad.krait"
    path.write_bytes(DAMAGE[damage](recording))
    output = tmp_path / "out.folded"
    run = kraitrun.krait("report", path, "-o", output)
    assert_one_line(run, 1)
    assert str(path) in run.err
    assert not output.exists()
    if "version" in damage:
        assert "version" in run.err


HALF = {
    "one bit": lambda data: with_bit_flipped(data, len(data) // 2),
    "half": lambda data: data[: len(data) // 2],
    "last byte gone": lambda data: data[:-1],
    "last record gone": lambda data: data[:-8],
}


@pytest.mark.parametrize("damage", HALF)
def test_recording_that_is_not_whole(recording, damage, tmp_path):
    """What is whole is written all the same."""
    path, output = tmp_path / "bad.krait", tmp_path / "out.folded"
    path.write_bytes(HALF[damage](recording))
    run = kraitrun.krait("report", path, "-o", output)
    assert run.code == CUT and run.err.startswith("krait: report: read %s: " % path), run
    assert "missing" in run.err.splitlines()[0] and output.exists()
    quiet = kraitrun.krait("report", "-q", path, "-o", "-")
    assert quiet.code == CUT and quiet.err.count("\n") == 1 and quiet.out == output.read_bytes(), quiet


def test_recording_with_random_bytes_in_it(recording, tmp_path):
    """Whatever bytes of its records are changed, the checksums with them, report ends by itself: with a
    profile, of all or up to there, or with exit status 1 and a reason."""
    dice = random.Random(7)
    path = tmp_path / "bad.krait"
    raws = list(reader.blocks(recording))
    for _ in range(60):
        bad = [bytearray(raw) for raw in raws]
        for _ in range(dice.randrange(1, 8)):
            raw = dice.choice(bad)
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        path.write_bytes(writer.file_of(map(bytes, bad)))
        run = kraitrun.krait("report", path, "-o", "-")
        if run.code == 0:
            continue
        assert run.code in (1, CUT), run
        assert run.err and all(line.startswith("krait") for line in run.err.splitlines())


def test_recording_that_is_not_there(tmp_path):
    run = kraitrun.krait("report", tmp_path / "none.krait", "-o", tmp_path / "x.folded")
    assert_one_line(run, 1)


def test_recording_that_is_a_folder(tmp_path):
    run = kraitrun.krait("report", tmp_path, "-o", tmp_path / "x.folded")
    assert_one_line(run, 1)


# ---- No right to: 4 ----


def as_ordinary_user(*args):
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    prefix = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"]
    return kraitrun.krait(*args, prefix=prefix, cwd="/")


def test_ordinary_user():
    run = as_ordinary_user("record", "-a", "-d", 1, "-o", "-")
    assert_one_line(run, 4)


def test_doctor_of_an_ordinary_user():
    """What may not be asked is not said to be missing: another kernel would not help."""
    run = as_ordinary_user("doctor")
    assert run.code == 4, run
    missing = [line for line in run.out.decode().splitlines() if line.startswith("MISSING")]
    assert missing and all("run krait as root" in line for line in missing), run


# ---- Good questions: 0, on stdout ----


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"]]
    + [[name, "--help"] for name in ("record", "report", "ps", "doctor")],
    ids=" ".join,
)
def test_help_goes_to_stdout(args):
    run = kraitrun.krait(*args)
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(b"krait") or b"krait" in run.out.splitlines()[0]


def test_help_names_what_the_contract_names():
    text = kraitrun.krait("record", "--help").out.decode()
    words = "--all --pid --comm --freq --duration --format --threads --function --no-lineno"
    for word in words.split() + ["--full-path", "--max-depth", "--quiet", "--verbose", ".folded"]:
        assert word in text, word
