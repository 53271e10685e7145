#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The README's two commands as a newcomer has them: in a bare Debian 12, made for it by debootstrap, that
has make and nothing else of what krait needs: no compiler, no python3, no other CPython.

    run.py [--pythons FOLDER] [profile] [test]      both of them by default

The tree lies in the tests' cache (tests/pythons.py), outside of the source tree, of which it gets a
copy: what git knows of it and what is new. It sees the host's processes, /sys and /dev, and neither
bpffs nor tracefs. All that is mounted for it is mounted in a mount namespace of its own, so that it is
gone with the last process in there, however this ends; then the tree is removed.

FOLDER is a cache of CPythons to share with the tree, for a run of less time: what takes long is
building them there. Each command is a test. The last line counts them. It takes root and debootstrap.
"""
import argparse
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.dont_write_bytecode = True

import debian  # noqa: E402
import pythons  # noqa: E402

SUITE, INCLUDED = "bookworm", "make,ca-certificates"
SOURCE = "/usr/src/krait"  # in the tree
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROFILE_S, TEST_S = 900, 3600
ENDS_S = 10  # what has been told to end, or is about to
# Of the environment, what says how the network is reached; and of apt's settings.
NETWORK = re.compile(r"(?i)(https?|ftp|no)_proxy$")
APT_NETWORK = re.compile(r"Acquire::(https?::Proxy|Check-Valid-Until|Check-Date)\b")
OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]
OWN_CERTIFICATES = "/usr/local/share/ca-certificates"
# A root that is a mount point, as a machine's is: else unshare gives nobody mounts of their own.
# /proc as it is on the host: krait runs in the host's pid namespace. /sys without what is mounted below.
ENTER = """
mount --bind "$1" "$1" || exit 1
mount --bind /proc "$1/proc" && mount --bind /sys "$1/sys" && mount --rbind /dev "$1/dev" || exit 1
if [ -n "$2" ]; then
    mkdir -p "$1/$2" && mount --bind "$2" "$1/$2" || exit 1
fi
tree=$1
shift 2
exec chroot "$tree" env -C / "$@"
"""
# How the table of `make profile` and the functions of examples/busy.py look in it.
EXAMPLE_RUNS = "running examples/busy.py as an example"
EXAMPLE_SHOWS = "place_queens"


class Broken(Exception):
    """Why a step failed."""


def on_signal(number, _frame):
    raise KeyboardInterrupt("signal %d" % number)


def run(command, timeout_s, end, **popen):
    """(exit status, what it said), which passes through. end(): ends it and what it has started."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen
    )
    said = []
    signal.signal(signal.SIGALRM, lambda *_: end())
    signal.alarm(timeout_s)
    try:
        for line in iter(process.stdout.readline, b""):
            said.append(line.decode("utf-8", "replace"))
            sys.stdout.write(said[-1])
            sys.stdout.flush()
        return process.wait(), "".join(said)
    finally:
        signal.alarm(0)
        process.kill()
        process.wait()


class Tree:
    """A bare Debian. `with` removes it, and ends what still runs in it."""

    def __init__(self, shared):
        self.shared = shared
        self.mark = "KRAIT_FRESH=" + uuid.uuid4().hex
        os.makedirs(pythons.cache_dir(), exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="fresh.", dir=pythons.cache_dir())
        os.chmod(self.path, 0o755)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end_marked()
        pythons.remove_tree(self.path)

    def inside(self, path):
        return self.path + path

    def make(self):
        command = OWN_MOUNTS + ["debootstrap", "--variant=minbase", "--include=" + INCLUDED]
        command += [SUITE, self.path, debian.mirror()]
        print("fresh: making a bare Debian 12 in %s" % self.path, flush=True)
        env = dict(debian.proxy_env(), **dict([self.mark.split("=")]))
        reason = pythons.run_step(command, env, "debootstrap")
        if reason:
            raise Broken(reason)
        self.set_network()
        self.copy_source()
        return "make, and no compiler or python3"

    def set_network(self):
        """So that apt in there reaches what apt out here does."""
        dump = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True)
        lines = [line for line in dump.stdout.splitlines() if APT_NETWORK.match(line)]
        with open(self.inside("/etc/apt/apt.conf.d/90network"), "w", encoding="utf-8") as stream:
            stream.write("".join(line + "\n" for line in lines))
        if os.path.isdir(OWN_CERTIFICATES):
            own = self.inside(OWN_CERTIFICATES)
            shutil.copytree(OWN_CERTIFICATES, own, dirs_exist_ok=True)
            subprocess.run(["chroot", self.path, "update-ca-certificates"], stdout=subprocess.DEVNULL)

    def copy_source(self):
        """The files that git has or would add; all of them where there is no git."""
        git = ["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"]
        try:
            listed = subprocess.run(git, stdout=subprocess.PIPE, check=True).stdout.decode()
        except (OSError, subprocess.SubprocessError):
            ignored = shutil.ignore_patterns(".git", ".output*", "krait", "__pycache__")
            shutil.copytree(ROOT, self.inside(SOURCE), ignore=ignored, symlinks=True)
            return
        for name in filter(None, listed.split("\0")):
            source, goal = os.path.join(ROOT, name), self.inside(SOURCE + "/" + name)
            if os.path.lexists(source):
                os.makedirs(os.path.dirname(goal), exist_ok=True)
                shutil.copy2(source, goal, follow_symlinks=False)

    def run(self, command, timeout_s):
        env = {name: value for name, value in debian.proxy_env().items() if NETWORK.match(name)}
        env.update([self.mark.split("=")], PATH=PATH, HOME=pwd.getpwuid(0).pw_dir, LANG="C.UTF-8", TERM="dumb")
        if self.shared:
            env["KRAIT_TEST_CACHE"] = self.shared
        enter = OWN_MOUNTS + ["sh", "-c", ENTER, "enter", self.path, self.shared or ""]
        status, said = run(enter + command, timeout_s, self.end_marked, env=env)
        left = self.left_behind()
        if left:
            raise Broken("%s left behind: %s" % (" ".join(command), "; ".join(left)))
        return status, said

    def marked(self):
        """{pid: command line} of what carries our mark in its environment."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as stream:
                    is_ours = self.mark.encode() in stream.read().split(b"\0")
                if is_ours:
                    with open("/proc/%s/cmdline" % pid, "rb") as stream:
                        found[int(pid)] = stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
        return found

    def left_behind(self):
        """The command lines of what does not end by itself in a few seconds."""
        end = time.monotonic() + ENDS_S
        while self.marked() and time.monotonic() < end:
            time.sleep(0.2)
        left = list(self.marked().values())
        self.end_marked()
        return left

    def end_marked(self):
        """Until there is none: one may be starting another one meanwhile."""
        end = time.monotonic() + ENDS_S
        while time.monotonic() < end:
            found = self.marked()
            if not found:
                return
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)


def try_profile(tree):
    """`make profile` ends well and shows something: its example, if that is what it ran."""
    for tool in ("python3", "cc", "gcc", "clang"):
        if shutil.which(tool, path=":".join(map(tree.inside, PATH.split(":")))):
            raise Broken("the tree is not bare: it has " + tool)
    status, said = tree.run(["make", "-C", SOURCE, "profile"], PROFILE_S)
    if status:
        raise Broken("make profile: exit status %d" % status)
    if EXAMPLE_RUNS in said and EXAMPLE_SHOWS not in said.partition(EXAMPLE_RUNS)[2]:
        raise Broken("make profile does not show %s of its example" % EXAMPLE_SHOWS)
    if not re.search(r"^krait: ledger: \d+ ticks on targets = [1-9]\d* samples", said, re.M):
        raise Broken("make profile has no samples")
    return "made a profile" + (" of its example" if EXAMPLE_RUNS in said else "")


def try_test(tree):
    """`make test` is green; its own last line is passed on."""
    status, said = tree.run(["make", "-C", SOURCE, "test"], TEST_S)
    last = ([""] + re.findall(r"^\d+ passed, \d+ failed$", said, re.M))[-1]
    if status or not last:
        raise Broken("make test: exit status %d, %s" % (status, last or "and no sum"))
    return last


def attempt(what, step, tree):
    """Whether it went well."""
    start = time.monotonic()
    try:
        outcome, is_good = step(tree), True
    except (Broken, OSError, subprocess.SubprocessError) as error:
        outcome, is_good = "FAILED: %s" % error, False
    print("fresh: %s, %.0f s: %s" % (what, time.monotonic() - start, outcome), flush=True)
    return is_good


COMMANDS = {"profile": try_profile, "test": try_test}


def try_all(commands, shared):
    """(passed, failed)"""
    with Tree(shared) as tree:
        if not attempt("bare Debian 12", Tree.make, tree):
            return 0, 1
        good = [attempt("make " + command, COMMANDS[command], tree) for command in commands]
    return sum(good), len(good) - sum(good)


def why_not():
    if os.geteuid() != 0:
        return "it needs root (debootstrap, chroot)"
    return debian.why_not("debootstrap", "unshare")


def main():
    parser = argparse.ArgumentParser(description="make profile and make test in a bare Debian 12")
    parser.add_argument("--pythons", metavar="FOLDER", help="CPythons to share with it")
    parser.add_argument("commands", metavar="COMMAND", nargs="*", help="profile, test, or both")
    args = parser.parse_args()
    unknown = set(args.commands) - set(COMMANDS)
    if unknown:
        parser.error("no such command: " + ", ".join(sorted(unknown)))
    reason = why_not()
    if reason:
        print("fresh: can't be tried here: %s\nfresh: 0 passed, 1 failed" % reason)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    start = time.monotonic()
    shared = args.pythons and os.path.abspath(args.pythons)
    passed, failed = try_all(args.commands or list(COMMANDS), shared)
    took = (time.monotonic() - start) / 60
    print("fresh: %d passed, %d failed (%.0f minutes)" % (passed, failed, took), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
