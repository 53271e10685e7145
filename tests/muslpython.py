# SPDX-License-Identifier: BSD-2-Clause
"""
A CPython linked against musl instead of glibc, as Alpine's is, and a second one that is linked
statically: what krait relies on in a libc (pthread_self() is the thread pointer) must hold there
too. Neither has a Debian package, so the source package of Debian's python3.11 is built with
musl-gcc, with the modules that need no other library: about two minutes on one core, once.

    reason = install("/where/it/goes", "http://mirror/debian", dict(os.environ))
"""

import glob
import os
import shutil
import subprocess
import tempfile

SUITE, SOURCE = "bookworm", "python3.11"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
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


class Failed(Exception):
    pass


def why_not():
    """None, or why there can't be one here."""
    for tool in ("musl-gcc", "apt-get", "make", "tar"):
        if not shutil.which(tool):
            return "no %s (make deps-test asks for it)" % tool
    if not os.path.exists(KEYRING):
        return "no %s" % KEYRING
    return None


def run(command, env, cwd):
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            cwd=cwd,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed("%s: %s" % (command[0], error)) from error
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise Failed("%s failed: %s" % (os.path.basename(command[0]), lines[-1]))


def fetch(scratch, mirror, env):
    """The unpacked source. apt checks the signatures; it gets lists of its own, since a host seldom
    has those of sources."""
    for name in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(scratch, name))
    with open(os.path.join(scratch, "sources.list"), "w", encoding="utf-8") as stream:
        stream.write("deb-src [signed-by=%s] %s %s main\n" % (KEYRING, mirror, SUITE))
    apt = ["apt-get", "-q", "-o", "APT::Sandbox::User=root"]
    apt += ["-o", "Dir::Etc::SourceList=%s/sources.list" % scratch]
    apt += ["-o", "Dir::Etc::SourceParts=/dev/null"]
    apt += ["-o", "Dir::State::Lists=%s/lists" % scratch, "-o", "Dir::Cache=%s/cache" % scratch]
    run(apt + ["update"], env, scratch)
    run(apt + ["--download-only", "source", SOURCE], env, scratch)
    run(["tar", "xf"] + glob.glob(scratch + "/*.orig.tar.*"), env, scratch)
    return glob.glob(scratch + "/Python-*")[0]


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
    run(configure + ["--without-ensurepip", "--disable-test-modules"], env, build)
    choose_modules(build)
    run(make + ["python", "pybuilddir.txt"], env, build)
    os.rename(build + "/python", build + "/python3.11")
    run(make + ["LINKFORSHARED=", "LDFLAGS=-static", "python"], env, build)
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


def install(folder, mirror, env):
    """Builds them unless they are there. None, or the reason why they are not. What was not finished
    never has the final name."""
    if os.path.isdir(folder):
        return None
    reason = why_not()
    if reason:
        return reason
    print("pythons: building a CPython against musl in %s (two minutes)" % folder, flush=True)
    env = {name: value for name, value in env.items() if name not in NOT_IN_ENV}
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="musl.", dir=os.path.dirname(folder)) as scratch:
        try:
            source = fetch(scratch, mirror, env)
            compile_both(source, scratch + "/build", env)
        except Failed as error:
            return str(error)
        goal = scratch + "/goal"
        os.mkdir(goal)
        arrange(source, scratch + "/build", goal)
        os.rename(goal, folder)
    return None
