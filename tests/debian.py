# SPDX-License-Identifier: BSD-2-Clause
"""
Packages of Debian's suites for the tests, whatever the host itself is: fetched by the host's apt,
which checks their signatures, with lists of its own, so that the host's stay as they are. Nothing is
installed, and none of it needs root.
"""
import glob
import os
import re
import shutil
import signal
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
TIMEOUT_S = 120


class StepFailed(Exception):
    pass


def why_not(*tools):
    """None, or why nothing can be fetched here; tools: what else is needed of the host."""
    for tool in ("apt-get", "dpkg") + tools:
        if not shutil.which(tool):
            return "no %s (make deps-test asks for it)" % tool
    if not os.path.isfile(KEYRING):
        return "no Debian archive keyring (make deps-test installs it)"
    return None


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


def proxy_env():
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


def step(command, cwd, env, timeout_s=TIMEOUT_S):
    """Runs a step of a build, and returns what it said; it and what it started are ended with us, or
    when time is up."""
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
    return output


class Suite:
    """The packages of a suite, or its source packages, by lists in `folder`, which is the caller's."""

    def __init__(self, folder, suite, kind="deb"):
        self.folder = folder
        self.env = proxy_env()
        source_list = os.path.join(folder, "sources.list")
        with open(source_list, "w", encoding="ascii") as stream:
            stream.write("%s [signed-by=%s] %s %s main\n" % (kind, KEYRING, mirror(), suite))
        for name in ("state/lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(folder, name))
        self.options = ["-q", "-o", "Dir::State=%s/state" % folder]
        self.options += ["-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache=%s/cache" % folder]
        self.options += ["-o", "Dir::Etc::SourceList=" + source_list, "-o", "Dir::Etc::SourceParts=-"]
        self.options += ["-o", "APT::Sandbox::User=root"]
        # A mirror that stands still is good enough here; the signature is checked all the same.
        self.options += ["-o", "Acquire::Check-Valid-Until=false"]
        self.run("apt-get", "-o", "APT::Update::Error-Mode=any", "update")

    def run(self, tool, *args):
        return step([tool] + self.options + list(args), self.folder, self.env)

    def unpack(self, *packages):
        """The folder that the packages are unpacked in."""
        tree = os.path.join(self.folder, "tree")
        self.run("apt-get", "download", *packages)
        for package in glob.glob(self.folder + "/*.deb"):
            step(["dpkg", "-x", package, tree], self.folder, self.env)
        return tree

    def source(self, package, pattern):
        """The folder of a source package as its makers released it: the one of that pattern."""
        self.run("apt-get", "--download-only", "source", package)
        for archive in glob.glob(self.folder + "/*.orig.tar.*z"):
            shutil.unpack_archive(archive, self.folder)
        found = glob.glob(os.path.join(self.folder, pattern, ""))
        if len(found) != 1:
            raise StepFailed("the source package has another shape than expected")
        return found[0]
