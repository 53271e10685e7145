# SPDX-License-Identifier: BSD-2-Clause
"""Austin, a sampling profiler that krait is measured beside: Debian's package of it, whose signature
apt checks, unpacked into the tests' cache and never installed. The C library comes from the same
release, since the host's may be older than what Austin was linked against. Ten megabytes of lists
and three of packages, once; it needs no root.
"""
import glob
import os
import re
import tempfile

import debian
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


def install():
    """Fetches it unless it is there. None, or the reason why there is none. What was not finished
    never has the final name."""
    if os.path.isdir(folder()):
        return None
    reason = debian.why_not()
    if reason:
        return reason
    os.makedirs(pythons.cache_dir(), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="austin.", dir=pythons.cache_dir()) as scratch:
        try:
            os.rename(debian.Suite(scratch, SUITE).unpack(*PACKAGES), folder())
        except (debian.StepFailed, OSError) as error:
            return str(error)
    return None


def version(path):
    """As the head of its output has it."""
    with open(path, encoding="utf-8") as stream:
        found = re.match(r"# austin: (\S+)", stream.readline())
    return found[1] if found else "of unknown version"
