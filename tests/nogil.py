# SPDX-License-Identifier: BSD-2-Clause
"""
A free-threaded CPython 3.13 for the tests, which Debian has no package of: built once from Debian's
own source package (trixie's python3.13, whose signature apt checks), without optimisation, into the
cache. On one quiet core that takes three minutes: half a minute to configure, two to compile, which
is shared among the cores there are. It needs no root.

tests/pythons.py is the one that calls this.
"""

import glob
import os
import shutil
import signal
import subprocess
import tempfile

SUITE = "trixie"
SOURCE = "python3.13"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_TIMEOUT_S = 120
BUILD_TIMEOUT_S = 900
# -O0 would make every end-to-end test slow, what -O2 adds is not what is tested.
CONFIGURE = ["-q", "--disable-gil", "--disable-test-modules", "--without-ensurepip", "OPT=-O1 -DNDEBUG"]
# What the workloads import, and what tells that it is the build that was meant.
PROBE = "import ctypes, zlib, asyncio, multiprocessing, sys; sys.exit(sys._is_gil_enabled())"
# Python/lock.c. 3.13 waits like that for mutexes that it holds itself, some 50 times before main, and
# gives its CPU away 40 times each: beside the other workloads it would take a minute to start.
SPIN = "static const int MAX_SPIN_COUNT = 40;"
NO_SPIN = "static const int MAX_SPIN_COUNT = 0;"


def prefix(cache):
    return os.path.join(cache, "python3.13-nogil")


def executable(cache):
    return os.path.join(prefix(cache), "bin", "python3.13t")


def why_not_install():
    for tool in ("apt-get", "make", os.environ.get("CC") or "cc"):
        if not shutil.which(tool):
            return "no " + tool
    if not os.path.isfile(KEYRING):
        return "no Debian archive keyring (make deps-test installs it)"
    return None


class StepFailed(Exception):
    pass


def step(command, cwd, env, timeout_s):
    """Runs a step of the build; it and what it started are ended with us, or when time is up."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise StepFailed("%s took more than %d s" % (command[0], timeout_s)) from error
        raise
    if process.returncode:
        lines = output.strip().splitlines() or ["no output"]
        raise StepFailed("%s: %s" % (command[0], lines[-1]))


def get_source(folder, mirror, env):
    """The unpacked source in folder. apt gets lists of its own, so the host's stay as they are."""
    source_list = os.path.join(folder, "sources.list")
    with open(source_list, "w", encoding="ascii") as stream:
        stream.write("deb-src [signed-by=%s] %s %s main\n" % (KEYRING, mirror, SUITE))
    for name in ("state/lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(folder, name))
    apt = ["apt-get", "-q", "-o", "Dir::State=%s/state" % folder]
    apt += ["-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache=%s/cache" % folder]
    apt += ["-o", "Dir::Etc::SourceList=" + source_list, "-o", "Dir::Etc::SourceParts=-"]
    step(apt + ["-o", "APT::Update::Error-Mode=any", "update"], folder, env, APT_TIMEOUT_S)
    step(apt + ["source", "--download-only", SOURCE], folder, env, APT_TIMEOUT_S)
    for archive in glob.glob(os.path.join(folder, "*.orig.tar.*z")):
        shutil.unpack_archive(archive, folder)
    sources = glob.glob(os.path.join(folder, "Python-3.13.*", ""))
    if len(sources) != 1:
        raise StepFailed("the source package has another shape than expected")
    return sources[0]


def stop_spinning(source):
    path = os.path.join(source, "Python", "lock.c")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    if text.count(SPIN) != 1:
        raise StepFailed("Python/lock.c has another shape than expected")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text.replace(SPIN, NO_SPIN))


def build(folder, cache, mirror, env):
    # Nothing of our own make's variables (CFLAGS, MAKEFLAGS, DESTDIR) is meant for this one.
    clean = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    if os.environ.get("CC"):
        clean["CC"] = os.environ["CC"]
    source = get_source(folder, mirror, env)
    stop_spinning(source)
    configure = ["./configure", "--prefix=" + prefix(cache)] + CONFIGURE
    step(configure, source, clean, BUILD_TIMEOUT_S)
    step(["make", "-s", "-j%d" % (os.cpu_count() or 1)], source, clean, BUILD_TIMEOUT_S)
    step(["make", "-s", "altinstall", "DESTDIR=" + folder], source, clean, BUILD_TIMEOUT_S)
    built = folder + prefix(cache)
    step([folder + executable(cache), "-c", PROBE], folder, clean, APT_TIMEOUT_S)
    os.rename(built, prefix(cache))


def install(cache, mirror, env):
    """Makes the interpreter unless it is there. None, or the reason why there is none. One that was
    not finished never has the final name."""
    if os.path.isdir(prefix(cache)):
        return None
    reason = why_not_install()
    if reason:
        return reason
    os.makedirs(cache, exist_ok=True)
    print("pythons: building a free-threaded CPython (some three minutes)", flush=True)
    folder = tempfile.mkdtemp(prefix="nogil.", dir=cache)
    try:
        build(folder, cache, mirror, env)
    except (StepFailed, OSError, shutil.ReadError) as error:
        return "its build failed: %s" % error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None
