# SPDX-License-Identifier: BSD-2-Clause
"""Ways to start krait with so much privilege and no more, and to see what it still has."""
import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

import kraitrun
import targets

NOBODY, SOMEBODY, DYNAMIC = 65534, 61000, 61184  # the last one: of systemd's DynamicUser
UNIT = os.path.join(kraitrun.TREE, "docs", "krait.service")
FOUR = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"]
FIVE = FOUR + ["checkpoint_restore"]
# What docker gives to root in a container: oci/caps/defaults.go of moby.
DOCKER = "chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap".split()
DOCKER += "net_bind_service sys_chroot kill audit_write".split()
SECCOMP_FILTER = "2"  # proc(5), Seccomp


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            pytest.skip("no " + tool)


def is_paranoid():
    """Whether this kernel's perf_event_open takes CAP_SYS_ADMIN: one that has a third level of that,
    as Debian's have, and is on it."""
    with open("/proc/sys/kernel/perf_event_paranoid", encoding="ascii") as stream:
        return int(stream.read()) > 2


def need_perfmon():
    if is_paranoid():
        pytest.skip("kernel.perf_event_paranoid is above 2: cap_perfmon does not do here")


class Started(kraitrun.Krait):
    """A krait that something else has started: sudo stays its parent, others become it."""

    def __init__(self, argv):
        self.argv = argv
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=kraitrun.ENV, cwd="/"
        )
        self.pid = self.process.pid

    def wait_sampling(self, timeout=kraitrun.GRACE_S):
        """Returns once the one that samples has set its filter; .pid is that one then."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self.process.poll() is None, repr(self.wait())
            for pid in filter(kraitrun.has_perf_event, family(self.process.pid)):
                if status(pid).get("Seccomp") == SECCOMP_FILTER:
                    self.pid = pid
                    return self
            time.sleep(0.01)
        raise AssertionError("krait does not sample with a filter after %d s" % timeout)

    def __exit__(self, *exc):
        if self.process.poll() is None:
            for pid in reversed(family(self.process.pid)):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        super().__exit__(*exc)


def family(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%d/children" % (parent, parent), encoding="ascii") as stream:
                pids += map(int, stream.read().split())
    return pids


def status(pid):
    """{"CapEff": "0000...", ...} of /proc/PID/status; empty if it has ended."""
    try:
        with open("/proc/%s/status" % pid, encoding="utf-8", errors="replace") as stream:
            lines = [line.partition(":") for line in stream]
    except OSError:
        return {}
    return {name: text.strip() for name, _, text in lines}


class Level:
    """A way to start krait: what to put before its arguments. output: for -o, "-" is stdout."""

    def __init__(self, *argv, output="-"):
        self.argv = [str(arg) for arg in argv]
        self.output = str(output)

    def start(self, *args):
        return Started(self.argv + [str(arg) for arg in args])

    def krait(self, *args):
        """To its end."""
        with self.start(*args) as krait:
            return krait.wait()

    def profile(self, run):
        """The bytes of the run's output."""
        if self.output == "-":
            return run.out
        with open(self.output, "rb") as stream:
            return stream.read()


# ---- Prefixes ----


def only(caps):
    return ",".join(["-all"] + ["+" + cap for cap in caps])


def as_user(uid, caps=(), options=()):
    """An ordinary user that has these capabilities (ambient) and no way to others."""
    need("setpriv")
    sets = ["--%s=%s" % (kind, only(caps)) for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    user = ["--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"]
    return ["setpriv"] + user + sets + list(options)


def as_root(caps):
    """Root that has these capabilities only."""
    need("setpriv")
    return ["setpriv", "--bounding-set=" + only(caps)]


def in_mounts(script, *args):
    """In a mount namespace that the shell script makes; it ends with exec."""
    need("unshare")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *args]


# ---- Places ----


@contextlib.contextmanager
def folder(parent, mode=0o755, uid=0):
    """A folder that every user can reach, as pytest's are not."""
    path = tempfile.mkdtemp(prefix="krait-privilege-", dir=parent)
    try:
        os.chown(path, uid, uid)
        os.chmod(path, mode)
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def mount_point():
    """An empty folder for a mount in a namespace of its own. Nothing in it is ever removed."""
    path = tempfile.mkdtemp(prefix="krait-privilege-", dir="/var/tmp")
    try:
        os.chmod(path, 0o755)
        yield path
    finally:
        os.rmdir(path)


def copy_of_krait(where):
    path = os.path.join(where, "krait")
    shutil.copy(kraitrun.KRAIT, path)
    os.chmod(path, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    return path


# ---- Levels: each takes an ExitStack for what it leaves behind ----


def root(_stack):
    return Level(kraitrun.KRAIT)


def four(_stack):
    need_perfmon()
    return Level(*as_user(NOBODY, FOUR), kraitrun.KRAIT)


def five(_stack):
    need_perfmon()
    return Level(*as_user(NOBODY, FIVE), kraitrun.KRAIT)


def file_caps(stack):
    """The four are the program's: setcap(8)."""
    need_perfmon()
    need("setpriv", "setcap")
    where = stack.enter_context(folder("/var/tmp"))
    if os.statvfs(where).f_flag & os.ST_NOSUID:
        pytest.skip("%s is on a file system without capabilities of files (nosuid)" % where)
    program = copy_of_krait(where)
    text = ",".join("cap_" + cap for cap in FOUR) + "+ep"
    subprocess.run(["setcap", text, program], check=True)
    user = ["--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"]
    return Level("setpriv", *user, program)


def sudo(_stack):
    need("sudo")
    return Level("sudo", "-n", kraitrun.KRAIT)


# ProtectSystem=strict, ProtectHome=yes, PrivateTmp=yes and StateDirectory= of systemd.exec(5).
SERVICE = """
mount --bind "$1" "$1"
for folder in "$HOME" /home /tmp; do mount -t tmpfs -o mode=0755 none "$folder"; done
mount -o remount,bind,ro /
if touch /krait-is-not-read-only 2>/dev/null; then exit 99; fi
shift
exec "$@"
"""


def unit_caps(name):
    """Of the unit file: the capabilities of that setting, as setpriv calls them."""
    with open(UNIT, encoding="utf-8") as stream:
        found = re.findall(r"^%s=(.*)$" % name, stream.read(), re.M)
    assert len(found) == 1, name
    return [cap.lower()[len("cap_") :] for cap in found[0].split()]


def service(stack):
    """The settings of docs/krait.service, made by hand."""
    need_perfmon()
    state = stack.enter_context(folder("/var/lib", 0o750, DYNAMIC))
    prefix = in_mounts(SERVICE, state)
    prefix += as_user(DYNAMIC, unit_caps("AmbientCapabilities"), ["--no-new-privs"])
    return Level(*prefix, copy_of_krait(state), output=os.path.join(state, "last.folded"))


CONTAINER = """
root=$1
shift
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --bind /dev "$root/dev"
exec chroot "$root" "$@"
"""


def container_prefix():
    """The start of a program in the root tree of Debian sid, with the host's processes in sight."""
    return in_mounts(CONTAINER, in_container().root)


def in_container():
    """A CPython of that tree."""
    found = [py for py in targets.SUPPORTED if py.root and py.is_plain]
    if not found:
        pytest.skip("no CPython in a root tree: " + targets.pythons.why_no_tree())
    return found[-1]


def container_krait():
    """krait and the libraries that it takes, copied into the tree: the end of a command line."""
    inside, outside = (os.path.join(folder, "krait-alone") for folder in in_container().folder())
    os.makedirs(outside, exist_ok=True)  # another test may have put a C library beside it
    copy_of_krait(outside)
    listing = subprocess.run(["ldd", kraitrun.KRAIT], capture_output=True, text=True, check=False)
    for path in re.findall(r"=> (/\S+)", listing.stdout):
        if not os.path.basename(path).startswith(("libc.so", "libm.so")):
            shutil.copy(path, outside)
    return ["env", "LD_LIBRARY_PATH=" + inside, os.path.join(inside, "krait")]


def container(_stack):
    """docker run --privileged --pid=host."""
    return Level(*container_prefix(), *container_krait())


LEVELS = {
    "root": root,
    "four": four,
    "five": five,
    "file-capabilities": file_caps,
    "sudo": sudo,
    "service": service,
    "container": container,
}
