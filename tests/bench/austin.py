# SPDX-License-Identifier: BSD-2-Clause
"""Austin, a sampling profiler that krait is measured beside: Debian's package of it, whose signature
apt checks, unpacked into the tests' cache and never installed. The C library comes from the same
release, since the host's may be older than what Austin was linked against. Ten megabytes of lists
and three of packages, once; it needs no root.
"""
import glob
import os
import re
import shutil
import tempfile

import nogil
import pythons

SUITE = "trixie"
PACKAGES = ["austin", "libc6"]


def folder():
    return os.path.join(pythons.cache_dir(), "austin")


def loader(root):
    """The command line that runs a program of a Debian root tree with the tree's own libraries, and
    in the host's mounts: a chroot would have no /proc."""
    linkers = glob.glob(root + "/usr/lib*/ld-linux*.so.*")
    libraries = glob.glob(root + "/usr/lib/*-linux-gnu")
    return linkers[:1] + ["--library-path", ":".join(libraries)]


def argv():
    return loader(folder()) + [folder() + "/usr/bin/austin"]


def why_not():
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            return "no " + tool
    if not os.path.isfile(nogil.KEYRING):
        return "no Debian archive keyring (make deps-test installs it)"
    return None


def fetch(scratch, env):
    """The unpacked packages. apt gets lists of its own, so the host's stay as they are."""
    with open(scratch + "/sources.list", "w", encoding="ascii") as stream:
        line = "deb [signed-by=%s] %s %s main\n"
        stream.write(line % (nogil.KEYRING, pythons.mirror(), SUITE))
    for name in ("state/lists/partial", "cache/archives/partial", "tree"):
        os.makedirs(os.path.join(scratch, name))
    apt = ["apt-get", "-q", "-o", "Dir::State=%s/state" % scratch]
    apt += ["-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache=%s/cache" % scratch]
    apt += ["-o", "Dir::Etc::SourceList=%s/sources.list" % scratch]
    apt += ["-o", "Dir::Etc::SourceParts=-", "-o", "APT::Sandbox::User=root"]
    update = ["-o", "APT::Update::Error-Mode=any", "update"]
    for command in (update, ["download"] + PACKAGES):
        nogil.step(apt + command, scratch, env, nogil.APT_TIMEOUT_S)
    for package in glob.glob(scratch + "/*.deb"):
        nogil.step(["dpkg", "-x", package, "tree"], scratch, env, nogil.APT_TIMEOUT_S)
    return scratch + "/tree"


def install():
    """Fetches it unless it is there. None, or the reason why there is none. What was not finished
    never has the final name."""
    if os.path.isdir(folder()):
        return None
    reason = why_not()
    if reason:
        return reason
    os.makedirs(pythons.cache_dir(), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="austin.", dir=pythons.cache_dir()) as scratch:
        try:
            os.rename(fetch(scratch, pythons.apt_proxy_env()), folder())
        except (nogil.StepFailed, OSError) as error:
            return str(error)
    return None


def version(path):
    """As the head of its output has it."""
    with open(path, encoding="utf-8") as stream:
        found = re.match(r"# austin: (\S+)", stream.readline())
    return found[1] if found else "of unknown version"
