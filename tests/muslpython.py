# SPDX-License-Identifier: BSD-2-Clause
"""
A CPython linked against musl instead of glibc, as Alpine's is, and a second one that is linked
statically: what krait relies on in a libc (pthread_self() is the thread pointer) must hold there
too. Neither has a Debian package, so the source package of Debian's python3.11 is built with
musl-gcc, with the modules that need no other library: about two minutes on one core, once.

    reason = install("/where/it/goes")
"""

import glob
import os
import shutil
import tempfile

import debian

SUITE, SOURCE = "bookworm", "python3.11"
# Under bin/, and what tests/pythons.py calls its source.
PROGRAMS = {"python3.11": "musl", "python3.11-static": "musl-static"}
TIMEOUT_S = 600

# All that the tests' workloads import, and what that imports; built in, since a static program can't
# load any.
MODULES = """array _bisect _blake2 _contextvars _datetime _heapq _json _md5 _multiprocessing _opcode
_pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha256 _sha3 _sha512 _socket _statistics
_struct _typing _xxsubinterpreters binascii fcntl math mmap resource select unicodedata""".split()
LIB_WITHOUT = ["test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "__pycache__"]
# What a make that we run under must not pass on.
NOT_IN_ENV = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CC", "CFLAGS", "CPPFLAGS", "LDFLAGS"]


def why_not():
    """None, or why there can't be one here."""
    return debian.why_not("musl-gcc", "make")


def choose_modules(build):
    """Modules/Setup.local, from the lines that configure has written for all of them."""
    with open(build + "/Modules/Setup.stdlib", encoding="utf-8") as stream:
        lines = [line for line in stream if line.split()[:1] and line.split()[0] in MODULES]
    with open(build + "/Modules/Setup.local", "w", encoding="utf-8") as stream:
        stream.writelines(["*static*\n"] + lines)


def compile_both(source, build, env):
    os.mkdir(build)
    make = ["make", "-j%d" % (os.cpu_count() or 1)]
    # gcc's own triplet, or configure finds that the two of them differ. No pkg-config: it knows
    # libraries, but all of them are glibc's.
    configure = [source + "/configure", "--build=x86_64-pc-linux-gnu", "CC=musl-gcc"]
    configure += ["PKG_CONFIG=false", "OPT=-O1 -DNDEBUG"]
    debian.step(configure + ["--without-ensurepip", "--disable-test-modules"], build, env, TIMEOUT_S)
    choose_modules(build)
    debian.step(make + ["python", "pybuilddir.txt"], build, env, TIMEOUT_S)
    os.rename(build + "/python", build + "/python3.11")
    debian.step(make + ["LINKFORSHARED=", "LDFLAGS=-static", "python"], build, env, TIMEOUT_S)
    os.rename(build + "/python", build + "/python3.11-static")


def arrange(source, build, goal):
    """bin/ and lib/python3.11/ as getpath.py looks for them from the program's own place."""
    lib = goal + "/lib/python3.11"
    shutil.copytree(source + "/Lib", lib, ignore=shutil.ignore_patterns(*LIB_WITHOUT))
    os.mkdir(lib + "/lib-dynload")
    for path in glob.glob(build + "/build/lib.*/_sysconfigdata*.py"):
        shutil.copy(path, lib)
    os.mkdir(goal + "/bin")
    for name in PROGRAMS:
        shutil.copy(os.path.join(build, name), goal + "/bin")


def install(folder):
    """Builds them unless they are there. None, or the reason why they are not. What was not finished
    never has the final name."""
    if os.path.isdir(folder):
        return None
    reason = why_not()
    if reason:
        return reason
    print("pythons: building a CPython against musl in %s (two minutes)" % folder, flush=True)
    env = {name: value for name, value in os.environ.items() if name not in NOT_IN_ENV}
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="musl.", dir=os.path.dirname(folder)) as scratch:
        try:
            source = debian.Suite(scratch, SUITE, "deb-src").source(SOURCE, "Python-3.11.*")
            compile_both(source, scratch + "/build", env)
        except (debian.StepFailed, OSError, shutil.ReadError) as error:
            return str(error)
        goal = scratch + "/goal"
        os.mkdir(goal)
        arrange(source, scratch + "/build", goal)
        os.rename(goal, folder)
    return None
