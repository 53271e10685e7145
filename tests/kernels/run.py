#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
krait on other kernels than this host's: those of Debian's releases, in QEMU, without KVM.

    run.py [SUITE]...    all of them, or these: bullseye, bookworm, trixie, sid

Each kernel is fetched once into the tests' cache and started with an initial RAM disk that holds
krait, a CPython of this host and guest.py, which tries krait and tells what came of it. Timings in
there mean nothing. What can't be had is a counted skip with its reason; the last line counts.
"""
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(ROOT, "tests/e2e")]
sys.dont_write_bytecode = True

import debian  # noqa: E402
import folded  # noqa: E402
import pythons  # noqa: E402

QEMU = "qemu-system-x86_64"
KRAIT = os.environ.get("KRAIT") or os.path.join(ROOT, "krait")
# QEMU 7.2 (Debian 12's) leaves garbage in the flags after cmpxchg16b now and then, and a kernel
# panics in its allocator, before krait is started. 5.10 to 6.12 do without that instruction; 7.2's
# kmalloc_nolock, which task storage takes its memory from, does not.
OLD_CPU = "max,cx16=off"
# Whether krait runs on it (Linux 5.10, 6.1, 6.12, 7.x), and on which processor.
SUITES = {
    "bullseye": (False, OLD_CPU),
    "bookworm": (True, OLD_CPU),
    "trixie": (True, OLD_CPU),
    "sid": (True, "max"),
}
META = "linux-image-cloud-amd64"
# Some twenty seconds when the machine has nothing else to do.
BOOT_S = 400
NOT_IN_DISK = ("__pycache__", "test", "idlelib", "site-packages", "dist-packages", "ensurepip")
LEDGER = re.compile(r"ledger: (\d+) ticks on targets = (\d+) samples \+ (\d+) accounted for")


# ---- The kernels ----


def packages(suite):
    """Those of the suite's newest kernel: the one that META depends on, and since 7.0 another that
    that one depends on."""
    wanted = re.compile(r"linux-(?:image|binary)-\d\S*-cloud-amd64")
    text = suite.run("apt-cache", "depends", "--recurse", "--important", META)
    return sorted({line.strip() for line in text.splitlines() if wanted.fullmatch(line.strip())})


def find_kernel(tree):
    for folder, _, names in os.walk(tree):
        for name in names:
            if name.startswith("vmlinuz"):
                return os.path.join(folder, name)
    raise debian.StepFailed("the package has no vmlinuz")


def kernel(name):
    """The suite's kernel, fetched unless it is there."""
    path = os.path.join(pythons.cache_dir(), "kernels", name)
    if os.path.isfile(path):
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel.", dir=pythons.cache_dir()) as scratch:
        print("kernels: fetching that of %s" % name, flush=True)
        suite = debian.Suite(scratch, name)
        tree = suite.unpack(*packages(suite))
        os.rename(find_kernel(tree), path)
    return path


# ---- What a machine starts with ----


class Disk:
    """An initial RAM disk: Documentation/driver-api/early-userspace/buffer-format.rst, newc."""

    def __init__(self, stream):
        self.stream = stream
        self.seen = set()

    def entry(self, name, mode, data=b""):
        raw = name.encode() + b"\0"
        fields = (len(self.seen) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        for part in (head, data):
            self.stream.write(part + b"\0" * (-len(part) % 4))

    def folder(self, path):
        if path and path not in self.seen:
            self.folder(os.path.dirname(path))
            self.seen.add(path)
            self.entry(path, 0o40755)

    def file(self, source, path):
        path = path.lstrip("/")
        if path not in self.seen:
            self.folder(os.path.dirname(path))
            self.seen.add(path)
            with open(source, "rb") as stream:
                self.entry(path, 0o100755, stream.read())

    def program(self, source, path):
        """With the libraries that it needs."""
        self.file(source, path)
        ldd = subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
        for library in re.findall(r"(?:=> |^\s)(/\S+) \(", ldd.stdout, re.MULTILINE):
            self.file(library, library)

    def tree(self, top):
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in NOT_IN_DISK]
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not name.startswith("libpython"):
                    (self.program if ".so" in name else self.file)(path, path)


def stdlib(py):
    ask = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    run = subprocess.run(py.argv(["-c", ask]), capture_output=True, text=True, check=True, cwd="/")
    return run.stdout.strip()


def write_disk(path, py):
    program = os.path.realpath(py.executable)
    with gzip.open(path, "wb", compresslevel=1) as stream, open(path + ".init", "w") as init:
        with open(os.path.join(HERE, "guest.py"), encoding="ascii") as guest:
            init.write("#!%s\n%s" % (program, guest.read()))
        init.flush()
        disk = Disk(stream)
        disk.file(init.name, "init")
        disk.program(KRAIT, "krait")
        disk.program(program, program)
        disk.tree(stdlib(py))
        disk.entry("TRAILER!!!", 0)


def boot(image, disk, cpu):
    """(what guest.py found, all that the machine has said)"""
    # With a thread for each CPU one of them now and then runs on in a breakpoint that the other has
    # just taken out of the kernel's code, where a static key changes: "Oops: int3".
    command = [QEMU, "-accel", "tcg,thread=single", "-cpu", cpu, "-smp", "2", "-m", "1G"]
    command += ["-nographic", "-no-reboot", "-kernel", image, "-initrd", disk]
    command += ["-append", "console=ttyS0 quiet loglevel=3 panic=-1"]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_S, check=False
    )
    said = run.stdout.decode("utf-8", "replace")
    result = re.search(r"^.*?RESULT (\{.*\})\s*$", said, re.MULTILINE)
    assert result, "it came to no end:\n" + said[-2000:]
    return json.loads(result.group(1))


# ---- What must be true ----


def assert_balanced(run):
    assert run["exit"] == 0, run
    match = LEDGER.search(run["err"])
    assert match, run["err"]
    ticks, samples, losses = map(int, match.groups())
    assert ticks == samples + losses and samples > 50, run["err"]
    assert "balance" not in run["err"], run["err"]
    return folded.parse(run["folded"].encode())


def names(stack):
    return tuple(frame.name for frame in stack.frames)


def assert_refused(result):
    assert result["doctor"]["exit"] == 4, result["doctor"]
    run = result["all"]
    assert run["exit"] == 4 and "krait needs 5.15 or later" in run["err"], run
    assert "folded" not in run


def assert_profiled(result):
    assert result["doctor"]["exit"] == 0, result["doctor"]
    stacks = assert_balanced(result["all"])
    whole = ("<module>", "outer", "leaf", "leaf.<locals>.<genexpr>")
    for pid in result["busy"]:
        mine = {names(stack) for stack in stacks if stack.pid == pid}
        assert whole in mine and all(stack == whole[: len(stack)] for stack in mine), mine
    ready = {entry["pid"] for entry in json.loads(result["ps"]["out"])["processes"] if entry["ready"]}
    assert ready >= set(result["busy"]), result["ps"]
    stacks = assert_balanced(result["container"])
    assert {stack.pid for stack in stacks} == {int(result["container"]["out"])}, result["container"]
    stacks = assert_balanced(result["command"])
    children = {stack.pid for stack in stacks if names(stack) == ("<module>", "parent", "child")}
    assert len(children) == 3, result["command"]
    stacks = assert_balanced(result["hotplug"])
    # A second at 99 Hz, less the ticks in which krait gets to know the process.
    assert folded.total(folded.of_pid(stacks, result["hotplug"]["worker"])) > 50, result["hotplug"]


def check(suite, py):
    """One machine: what it says of its kernel."""
    is_supported, cpu = SUITES[suite]
    with tempfile.TemporaryDirectory(prefix="krait-kernel-") as folder:
        disk = os.path.join(folder, "disk.gz")
        write_disk(disk, py)
        result = boot(kernel(suite), disk, cpu)
    assert "error" not in result, result["error"]
    (assert_profiled if is_supported else assert_refused)(result)
    release = re.search(r"Linux (\S+?):?(?:\s|$)", result["doctor"]["out"]).group(1)
    return "%s, %s" % (release, "profiled" if is_supported else "refused")


def chosen_python():
    """Qualified names in the stacks, no root tree; the system's own is the smallest."""
    found = [py for py in pythons.find() if py.is_plain and not py.root and py.minor >= (3, 11)]
    return min(found, key=lambda py: (py.source != "system", py.minor), default=None)


def why_not(py):
    if not shutil.which(QEMU):
        return "no %s (build/packages.sh install kernels)" % QEMU
    if not py:
        return "no CPython 3.11 or later"
    return debian.why_not("ldd")


def main(suites):
    py = chosen_python()
    passed = failed = skipped = 0
    for suite in suites:
        reason = why_not(py)
        try:
            if not reason:
                print("kernels: %s: %s" % (suite, check(suite, py)), flush=True)
                passed += 1
        except debian.StepFailed as error:
            reason = str(error)
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError):
            traceback.print_exc()
            print("kernels: %s: FAILED" % suite, flush=True)
            failed += 1
        if reason:
            print("kernels: %s: skipped: %s" % (suite, reason), flush=True)
            skipped += 1
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SUITES)))
