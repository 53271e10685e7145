#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The CPythons of this host that the tests run over, and one way to run any of them.

    tests/pythons.py             prints the table
    tests/pythons.py --install   makes the Debian root tree first, where it can (root, debootstrap)

They come from three places: ~/.pyenv/versions, the system's /usr/bin/pythonX.Y, and a root tree of
Debian sid with the newest ones, which lives outside of the source tree, in
${KRAIT_TEST_CACHE:-~/.cache/krait}/debian-sid. An interpreter of the root tree runs under chroot, so
a script for it must lie inside; place() writes a script where the interpreter can see it:

    for py in pythons.find():
        inside, outside = py.place("print(1)", "one.py")
        subprocess.run(py.argv([inside]))

What could not be had is a counted skip with its reason (missing()), never an error.
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

WANTED = [(2, 7)] + [(3, minor) for minor in range(6, 16)]
SID_PACKAGES = ["python3.15", "python3.14", "python3.13"]
DEFAULT_MIRROR = "http://deb.debian.org/debian"
INSTALL_TIMEOUT_S = 900

ASK_VERSION = "import sys; print('%d.%d.%d' % tuple(sys.version_info[:3]))"


def cache_dir():
    home_cache = os.path.join(os.path.expanduser("~"), ".cache", "krait")
    return os.environ.get("KRAIT_TEST_CACHE") or home_cache


def sid_dir():
    return os.path.join(cache_dir(), "debian-sid")


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

    def argv(self, script_args=()):
        """The command line that runs this interpreter with these arguments."""
        return run_argv(self.root, self.path) + list(script_args)

    @property
    def executable(self):
        """The executable's path as the host sees it."""
        return self.root + self.path

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
    """(major, minor, micro), or None if it does not run."""
    command = run_argv(root, path) + ["-S", "-E", "-c", ASK_VERSION]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/")
        return tuple(int(part) for part in run.stdout.strip().split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def candidates():
    """(root, path, source) of everything that looks like an interpreter."""
    pattern = os.path.join(os.path.expanduser("~"), ".pyenv", "versions", "*", "bin", "python")
    for path in glob.glob(pattern):
        yield "", path, "pyenv"
    for path in glob.glob("/usr/bin/python[23].*"):
        if re.search(r"/python[23]\.\d+$", path):
            yield "", path, "system"
    if os.geteuid() == 0:
        for path in glob.glob(sid_dir() + "/usr/bin/python3.*"):
            if re.search(r"/python3\.\d+$", path):
                yield sid_dir(), path[len(sid_dir()) :], "sid"


def find():
    """Every CPython here that runs, oldest first. A minor version may come more than once."""
    found = []
    for root, path, source in candidates():
        version = ask_version(root, path)
        if version and len(version) == 3:
            found.append(Python(path, version, source, root))
    return sorted(found, key=lambda py: (py.version, py.source))


def why_missing(minor):
    name = "python%d.%d" % minor
    if name not in SID_PACKAGES:
        return "neither pyenv nor the system has it"
    if os.geteuid() != 0:
        return "its root tree needs root (chroot)"
    if not os.path.isdir(sid_dir()):
        return "no Debian root tree (tests/pythons.py --install makes it)"
    return "the Debian root tree in %s does not have it" % sid_dir()


def missing(found=None):
    """One "3.9: reason" for each wanted minor version that could not be had."""
    have = {py.minor for py in (find() if found is None else found)}
    return ["%d.%d: %s" % (m + (why_missing(m),)) for m in WANTED if m not in have]


def mirror():
    """The Debian mirror that this host's apt uses, so that a host behind a local mirror works."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        uris = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.split()
    except (OSError, subprocess.SubprocessError):
        uris = []
    for uri in uris:
        if re.match(r"https?://\S+/debian/?$", uri):
            return uri.rstrip("/")
    return DEFAULT_MIRROR


def apt_proxy_env():
    """The environment, with the proxy that apt is told to use, if there is none in it yet."""
    env = dict(os.environ)
    try:
        command = ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        text = ""
    proxy = re.match(r"PROXY='([^']+)'", text)
    if proxy:
        env.setdefault("http_proxy", proxy.group(1))
    return env


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


def install():
    """Makes the root tree unless it is there. None, or the reason why there is none. A tree that was
    not finished never has the final name."""
    if os.path.isdir(sid_dir()):
        return None
    reason = why_not_install()
    if reason:
        return reason
    os.makedirs(cache_dir(), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="debian-sid.", dir=cache_dir())
    os.chmod(folder, 0o755)
    command = ["debootstrap", "--variant=minbase", "--include=" + ",".join(SID_PACKAGES)]
    command += ["sid", folder, mirror()]
    print("pythons: making a Debian tree in %s (a minute or two)" % sid_dir(), flush=True)
    try:
        run = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=apt_proxy_env(),
            timeout=INSTALL_TIMEOUT_S,
        )
        if run.returncode == 0:
            os.rename(folder, sid_dir())
            return None
        lines = run.stdout.strip().splitlines() or ["no output"]
        return "debootstrap failed: " + lines[-1]
    except (OSError, subprocess.SubprocessError) as error:
        return "debootstrap failed: %s" % error
    finally:
        if os.path.isdir(folder):
            remove_tree(folder)


def main():
    parser = argparse.ArgumentParser(description="the CPythons that krait's tests run over")
    parser.add_argument("--install", action="store_true", help="make the Debian root tree if need be")
    if parser.parse_args().install:
        reason = install()
        if reason:
            print("pythons: no Debian root tree (skipped): " + reason)
    found = find()
    for py in found:
        print("%-16s %s" % (py.name, py.executable))
    lacking = missing(found)
    skipped = " (skipped): " + "; ".join(lacking) if lacking else ""
    print("pythons: %d found, %d missing%s" % (len(found), len(lacking), skipped))
    return 0


if __name__ == "__main__":
    sys.exit(main())
