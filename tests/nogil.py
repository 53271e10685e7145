# SPDX-License-Identifier: BSD-2-Clause
"""
A free-threaded CPython 3.13 for the tests, which Debian has no package of: built once from Debian's
own source package (trixie's python3.13, whose signature apt checks), without optimisation, into the
cache. On one quiet core that takes three minutes: half a minute to configure, two to compile, which
is shared among the cores there are. It needs no root.

tests/pythons.py is the one that calls this.
"""

import os
import shutil
import tempfile

import debian

SUITE = "trixie"
SOURCE = "python3.13"
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
    return debian.why_not("make", os.environ.get("CC") or "cc")


def stop_spinning(source):
    path = os.path.join(source, "Python", "lock.c")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    if text.count(SPIN) != 1:
        raise debian.StepFailed("Python/lock.c has another shape than expected")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text.replace(SPIN, NO_SPIN))


def build(folder, cache):
    # Nothing of our own make's variables (CFLAGS, MAKEFLAGS, DESTDIR) is meant for this one.
    clean = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    if os.environ.get("CC"):
        clean["CC"] = os.environ["CC"]
    source = debian.Suite(folder, SUITE, "deb-src").source(SOURCE, "Python-3.13.*")
    stop_spinning(source)
    configure = ["./configure", "--prefix=" + prefix(cache)] + CONFIGURE
    debian.step(configure, source, clean, BUILD_TIMEOUT_S)
    debian.step(["make", "-s", "-j%d" % (os.cpu_count() or 1)], source, clean, BUILD_TIMEOUT_S)
    debian.step(["make", "-s", "altinstall", "DESTDIR=" + folder], source, clean, BUILD_TIMEOUT_S)
    built = folder + prefix(cache)
    debian.step([folder + executable(cache), "-c", PROBE], folder, clean)
    os.rename(built, prefix(cache))


def install(cache):
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
        build(folder, cache)
    except (debian.StepFailed, OSError, shutil.ReadError) as error:
        return "its build failed: %s" % error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None
