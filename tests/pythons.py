#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The CPythons of this host that the tests run over, and one way to run any of them.

    tests/pythons.py                  prints the table
    tests/pythons.py --install        makes the ones below first, where it can

They come from ~/.pyenv/versions and the system's /usr/bin/pythonX.Y, and from what lies outside of
the source tree, in ${KRAIT_TEST_CACHE:-~/.cache/krait}: a root tree of Debian sid with the newest ones
(it takes root and debootstrap), a free-threaded CPython (nogil.py) and two that are linked against
musl (muslpython.py), built from source. Debug builds (Py_DEBUG) are interpreters of their own,
"3.11.2-dbg", where Debian has a package of one; so are free-threaded ones, "3.14.0-nogil", wherever
they come from. An interpreter of the root tree runs under chroot, so a script for it must lie inside;
place() writes a script where the interpreter can see it:

    for py in pythons.find():
        inside, outside = py.place("print(1)", "one.py")
        subprocess.run(py.argv([inside]))

What could not be had is a counted skip with its reason (missing(), missing_builds()), never an error.
"""

import argparse
import atexit
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import debian  # noqa: E402
import muslpython  # noqa: E402
import nogil  # noqa: E402

WANTED = [(2, 7)] + [(3, minor) for minor in range(6, 16)]
SID_PACKAGES = ["python3.15", "python3.14", "python3.13"]
SID_DEBUG_PACKAGES = ["python3.14-dbg"]
# The builds that are told apart by their source; the others are as their makers release them.
OTHER_BUILDS = ["dbg", "sid-dbg", "nogil", "musl", "musl-static"]
# From here on each thread of a free-threaded build runs bytecode of its own.
COPIES = (3, 14)
INSTALL_TIMEOUT_S = 900

# sys.abiflags has a "t" in a free-threaded build: PEP 703.
ASK_VERSION = """
import sys
print('%d.%d.%d ' % tuple(sys.version_info[:3]) + getattr(sys, 'abiflags', ''))
"""


def cache_dir():
    home_cache = os.path.join(os.path.expanduser("~"), ".cache", "krait")
    return os.environ.get("KRAIT_TEST_CACHE") or home_cache


def sid_dir():
    return os.path.join(cache_dir(), "debian-sid")


def musl_dir():
    return os.path.join(cache_dir(), "musl")


class Python:
    """One interpreter. name: "3.11.7-pyenv"; version: (3, 11, 7); root: "" or the root tree it runs in;
    path: the executable as seen in there."""

    def __init__(self, path, version, source, root=""):
        self.path = path
        self.version = version
        self.source = source
        self.root = root
        self.name = "%d.%d.%d-%s" % (version + (source,))
        self._folder = None

    def __repr__(self):
        return "<Python %s>" % self.name

    @property
    def minor(self):
        return self.version[:2]

    @property
    def is_plain(self):
        """False for a debug or free-threaded build, and for one linked against musl."""
        return self.source not in OTHER_BUILDS

    def argv(self, script_args=()):
        """The command line that runs this interpreter with these arguments."""
        return run_argv(self.root, self.path) + list(script_args)

    @property
    def executable(self):
        """The executable's path as the host sees it."""
        return self.root + self.path

    @property
    def is_nogil(self):
        """Whether it is free-threaded."""
        return self.source == "nogil"

    @property
    def has_libraries(self):
        """Those built against musl have no module that needs another library: ctypes, zlib, sqlite3."""
        return self.source not in muslpython.PROGRAMS.values()

    def folder(self):
        """(inside, outside): a folder of this run that the interpreter can see, by both its names. It
        is removed when the tests end."""
        if self._folder is None:
            outside = tempfile.mkdtemp(prefix="krait-", dir=self.root + "/tmp")
            os.chmod(outside, 0o755)  # workloads may run as another user
            atexit.register(shutil.rmtree, outside, ignore_errors=True)
            self._folder = (outside[len(self.root) :], outside)
        return self._folder

    def place(self, text, name):
        """Writes text to a file of that name; returns (path inside, path outside)."""
        inside, outside = (os.path.join(folder, name) for folder in self.folder())
        os.makedirs(os.path.dirname(outside), exist_ok=True)
        with open(outside, "w", encoding="utf-8") as stream:
            stream.write(text)
        return inside, outside

    def path_for(self, host_path):
        """Copies a file or folder of the host to where the interpreter sees it; its path there."""
        inside, outside = (
            os.path.join(folder, os.path.basename(host_path)) for folder in self.folder()
        )
        if os.path.isdir(host_path):
            shutil.copytree(host_path, outside, dirs_exist_ok=True)
        else:
            shutil.copy(host_path, outside)
        return inside


def run_argv(root, path):
    return ["chroot", root, path] if root else [path]


def ask_version(root, path):
    """((major, minor, micro), whether it is free-threaded), or None if it does not run."""
    command = run_argv(root, path) + ["-S", "-E", "-c", ASK_VERSION]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/")
        version, _, flags = run.stdout.strip("\n").partition(" ")
        major, minor, micro = map(int, version.split("."))
        return (major, minor, micro), "t" in flags
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def candidates():
    """(root, path, source) of everything that looks like an interpreter."""
    pattern = os.path.join(os.path.expanduser("~"), ".pyenv", "versions", "*", "bin", "python")
    for path in glob.glob(pattern):
        yield "", path, "pyenv"
    yield from debian_candidates("", "system", "dbg")
    if os.path.exists(nogil.executable(cache_dir())):
        yield "", nogil.executable(cache_dir()), "nogil"
    if os.geteuid() == 0:
        yield from debian_candidates(sid_dir(), "sid", "sid-dbg")
    for program, source in muslpython.PROGRAMS.items():
        if os.path.exists(os.path.join(musl_dir(), "bin", program)):
            yield "", os.path.join(musl_dir(), "bin", program), source


def debian_candidates(root, plain, debug):
    """Of /usr/bin in a root tree; with the names for plain and for debug builds."""
    for path in glob.glob(root + "/usr/bin/python[23].*"):
        match = re.search(r"/python[23]\.\d+(t|-nogil|-dbg)?$", path)
        if match:
            yield root, path[len(root) :], debug if match[1] == "-dbg" else plain


def find():
    """Every CPython here that runs, oldest first. A minor version may come more than once."""
    found = []
    for root, path, source in candidates():
        version, is_nogil = ask_version(root, path) or (None, False)
        if version:
            found.append(Python(path, version, "nogil" if is_nogil else source, root))
    return sorted(found, key=lambda py: (py.version, py.source))


def find_plain():
    """Of those, the plain ones."""
    return [py for py in find() if py.is_plain]


def why_no_tree():
    if os.geteuid() != 0:
        return "its root tree needs root (chroot)"
    if not os.path.isdir(sid_dir()):
        return "no Debian root tree (tests/pythons.py --install makes it)"
    return "the Debian root tree in %s does not have it" % sid_dir()


def why_missing(minor):
    if "python%d.%d" % minor in SID_PACKAGES:
        return why_no_tree()
    return "neither pyenv nor the system has it"


def missing(found=None):
    """One "3.9: reason" for each wanted minor version that could not be had."""
    have = {py.minor for py in (find() if found is None else found) if py.is_plain}
    return ["%d.%d: %s" % (m + (why_missing(m),)) for m in WANTED if m not in have]


def why_no_build(source):
    if source == "dbg":
        return "the system has no /usr/bin/python3.N-dbg (make deps-test asks for it)"
    if source == "sid-dbg":
        return why_no_tree()
    why_not = nogil.why_not_install if source == "nogil" else muslpython.why_not
    return why_not() or "not built (tests/pythons.py --install)"


def missing_builds(found):
    """One "musl: reason" for each of OTHER_BUILDS that could not be had."""
    have = {py.source for py in found}
    reasons = ["%s: %s" % (b, why_no_build(b)) for b in OTHER_BUILDS if b not in have]
    if not any(py.is_nogil and py.minor >= COPIES for py in found):
        reasons.append("nogil of %d.%d on: Debian has none (pyenv install 3.14t builds one)" % COPIES)
    return reasons


def remove_tree(folder):
    """A broken-off debootstrap may leave its own mounts; nothing behind a mount may be deleted."""
    for name in ("proc", "sys", "dev/pts", "dev"):
        path = os.path.join(folder, name)
        if os.path.ismount(path):
            subprocess.run(["umount", path], check=False)
    subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], check=False)


def why_not_install():
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("debootstrap"):
        return "no debootstrap (make deps-test installs it)"
    return None


def run_step(command, env, what):
    """None, or why it failed: "WHAT failed: the last line that it said"."""
    try:
        run = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            timeout=INSTALL_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "%s failed: %s" % (what, error)
    lines = run.stdout.strip().splitlines() or ["no output"]
    return "%s failed: %s" % (what, lines[-1]) if run.returncode else None


def top_up():
    """What the tree lacks, through its own apt: the debug builds, whose dependencies are many. None,
    or the reason why it lacks them still; it is a good tree without."""
    wanted = SID_PACKAGES + SID_DEBUG_PACKAGES
    names = [n for n in wanted if not os.path.exists(sid_dir() + "/usr/bin/" + n)]
    if not names or os.geteuid() != 0:
        return None
    print("pythons: adding %s to %s" % (", ".join(names), sid_dir()), flush=True)
    env = dict(debian.proxy_env(), DEBIAN_FRONTEND="noninteractive")
    # A mirror that stands still is good enough here; the signature is checked all the same.
    apt = ["chroot", sid_dir(), "apt-get", "-q", "-y", "-o", "Acquire::Check-Valid-Until=false"]
    return run_step(apt + ["update"], env, "apt-get update") or run_step(
        apt + ["install", "--no-install-recommends"] + names, env, "apt-get install"
    )


def install_tree():
    """Makes the root tree unless it is there. None, or the reason why there is none. A tree that was
    not finished never has the final name."""
    if os.path.isdir(sid_dir()):
        return top_up()
    reason = why_not_install()
    if reason:
        return reason
    os.makedirs(cache_dir(), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="debian-sid.", dir=cache_dir())
    os.chmod(folder, 0o755)
    command = ["debootstrap", "--variant=minbase", "--include=" + ",".join(SID_PACKAGES)]
    command += ["sid", folder, debian.mirror()]
    print("pythons: making a Debian tree in %s (a minute or two)" % sid_dir(), flush=True)
    try:
        reason = run_step(command, debian.proxy_env(), "debootstrap")
        if reason:
            return reason
        os.rename(folder, sid_dir())
    finally:
        if os.path.isdir(folder):
            remove_tree(folder)
    return top_up()


INSTALLS = {
    "Debian root tree": install_tree,
    "free-threaded CPython": lambda: nogil.install(cache_dir()),
    "CPython against musl": lambda: muslpython.install(musl_dir()),
}


def install_all():
    """Makes what can be made, all at once: one waits for the network while another one compiles. Each
    is a process, which Ctrl-C reaches too."""
    command = [sys.executable, os.path.abspath(__file__), "--install-one"]
    for process in [subprocess.Popen(command + [what]) for what in INSTALLS]:
        process.wait()


def main():
    parser = argparse.ArgumentParser(description="the CPythons that krait's tests run over")
    parser.add_argument("--install", action="store_true", help="make what can be made")
    parser.add_argument("--install-one", choices=INSTALLS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.install_one:
        reason = INSTALLS[args.install_one]()
        if reason:
            print("pythons: no %s (skipped): %s" % (args.install_one, reason))
        return 0
    if args.install:
        install_all()
    found = find()
    for py in found:
        print("%-20s %s" % (py.name, py.executable))
    lacking = missing(found) + missing_builds(found)
    skipped = " (skipped): " + "; ".join(lacking) if lacking else ""
    print("pythons: %d found, %d missing%s" % (len(found), len(lacking), skipped))
    return 0


if __name__ == "__main__":
    sys.exit(main())
