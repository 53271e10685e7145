# SPDX-License-Identifier: BSD-2-Clause
"""
krait with as much privilege as it may have: root, the four capabilities of the README (of its process
or of its file), the fifth, sudo, a service, a container with privileges. With each of them one run
over the same targets: a CPython in its program, one in a shared library, another user's, and three in
containers of their own: another root tree, a chroot, an overlay. Where krait may not run it says so, with status 4; where it
runs it has given up what it needs no more.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest

import folded
import kraitrun
import privilege
import targets
from privilege import DOCKER, FIVE, FOUR, NOBODY, SOMEBODY, Level, as_root, as_user, need

FREQ_HZ = 999
CPU_S = 0.2  # of each target, while krait samples
LEAST = 5  # of some 200 samples
MAX_S = 170  # by then krait ends by itself
CC = os.environ.get("CC") or "cc"

# Bits of linux/capability.h, and what user/session/privilege.c keeps: for the process that samples and
# writes, and for those that read other processes.
BITS = {"chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "sys_ptrace": 19}
BITS.update(sys_nice=23, perfmon=38, checkpoint_restore=40)


def bits(names):
    return sum(1 << BITS[name] for name in names.split())


SAMPLES = bits("chown dac_override fowner sys_nice perfmon")
if privilege.is_paranoid():
    SAMPLES |= 1 << 21  # CAP_SYS_ADMIN
READS = bits("dac_read_search sys_ptrace checkpoint_restore")


# ---- Targets ----

OVERLAY = """
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/merged"
mount -t proc proc "$1/merged/proc"
mount --bind /dev "$1/merged/dev"
cd "$1/merged"
pivot_root . .
umount -l .
shift
exec "$@"
"""


def first(why_not, found):
    if not found:
        pytest.skip(why_not)
    return found[-1]


def static_python():
    found = [py for py in targets.SUPPORTED if py.source == "system"]
    return first("no CPython of the system's that krait supports", found)


def shared_python():
    found = [py for py in targets.SUPPORTED if py.source == "pyenv" and py.minor >= (3, 6)]
    return first("no pyenv, whose CPythons are in a shared library", found)


def on_overlay(stack):
    """A container with a root of its own, an overlay of two file systems: in maps a file has another
    device than fstat says."""
    py = shared_python()
    script = targets.script(py, "spin")
    for path in (py.executable, script):
        if os.stat(path).st_dev != os.stat("/").st_dev:
            pytest.skip("%s is not on the file system of /" % path)
    with open("/proc/filesystems", encoding="ascii") as stream:
        if "\toverlay\n" not in stream.read():
            pytest.skip("this kernel has no overlayfs")
    where = stack.enter_context(privilege.mount_point())
    return targets.Workload(py, "spin", prefix=privilege.in_mounts(OVERLAY, where))


CHROOT = """
where=$1
mount --rbind / "$where"
shift
exec chroot "$where" "$@"
"""


def under_chroot(stack):
    """The name of its library begins, as seen from here, with the name of its root."""
    where = stack.enter_context(privilege.mount_point())
    return targets.Workload(shared_python(), "spin", prefix=privilege.in_mounts(CHROOT, where))


TARGETS = {
    "static": lambda stack: targets.Workload(static_python(), "spin"),
    "shared": lambda stack: targets.Workload(shared_python(), "spin"),
    "another-user's": lambda stack: targets.Workload(
        static_python(), "spin", prefix=as_user(SOMEBODY)
    ),
    "tree": lambda stack: targets.Workload(
        privilege.in_container(), "spin", prefix=privilege.in_mounts('exec "$@"')
    ),
    "chroot": under_chroot,
    "overlay": on_overlay,
}


def start_targets(stack):
    """{name: workload, or why there is none}"""
    started = {}
    for name, start in TARGETS.items():
        try:
            started[name] = stack.enter_context(start(stack))
        except pytest.skip.Exception as reason:
            started[name] = str(reason)
    return started


# ---- What works ----


class Profiled:
    """A run over all targets with one of the levels."""

    def __init__(self, level, stack):
        self.targets = start_targets(stack)
        pids = [target.pid for target in self.targets.values() if not isinstance(target, str)]
        args = ["-p", ",".join(map(str, pids)), "-F", FREQ_HZ, "-d", MAX_S]
        with level.start("record", *args, "-f", "folded", "-o", level.output) as krait:
            krait.wait_sampling()
            self.held = [privilege.status(pid) for pid in privilege.family(krait.pid)]
            targets.wait_cpu(pids, CPU_S)
            krait.send(signal.SIGINT)
            run = krait.wait()
        kraitrun.check(run, 0)
        self.stacks = folded.parse(level.profile(run))

    def of(self, name):
        if isinstance(self.targets[name], str):
            pytest.skip(self.targets[name])
        return folded.of_pid(self.stacks, self.targets[name].pid)


@pytest.fixture(scope="module", params=privilege.LEVELS)
def profiled(request):
    with contextlib.ExitStack() as stack:
        yield Profiled(privilege.LEVELS[request.param](stack), stack)


@pytest.mark.parametrize("target", TARGETS)
def test_profile(profiled, target):
    named = folded.having(profiled.of(target), "spin")
    assert folded.total(named) > LEAST, profiled.stacks


def test_privileges_are_given_up(profiled):
    """By each of krait's processes: no capability but those that it still needs, none for whatever it
    might execute, a filter."""
    mains, readers = profiled.held[:1], profiled.held[1:]
    assert len(readers) >= 2, "the one that forks, and the one that reads"
    for held, kept in [(held, SAMPLES) for held in mains] + [(held, READS) for held in readers]:
        assert int(held["CapPrm"], 16) & ~kept == 0, held
        assert int(held["CapEff"], 16) == int(held["CapPrm"], 16) != 0, held
        assert int(held["CapInh"], 16) == int(held["CapAmb"], 16) == 0, held
        assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", privilege.SECCOMP_FILTER), held
        if held["Uid"].split()[0] == "0":
            assert int(held["CapBnd"], 16) == 0, held


def test_the_thread_that_writes_has_no_more(one_py, tmp_path):
    """It is made when the first block of a recording is full, or some seconds old."""
    with targets.Workload(one_py, "spin") as spin, kraitrun.start_record(
        "-p", spin.pid, "-F", 9999, "-o", tmp_path / "x.krait"
    ) as krait:
        tasks = "/proc/%d/task" % krait.pid
        end = time.monotonic() + kraitrun.GRACE_S
        while len(os.listdir(tasks)) < 2:
            assert time.monotonic() < end, "no thread writes"
            time.sleep(0.01)
        for tid in os.listdir(tasks):
            held = privilege.status(tid)
            assert int(held["CapPrm"], 16) & ~SAMPLES == 0, held
            assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", privilege.SECCOMP_FILTER), held
        krait.stop()


@pytest.mark.parametrize("caps", [None, FOUR], ids=["root", "four"])
def test_the_command_loses_nothing(caps):
    """krait -- COMMAND: that is what it would be without krait."""
    if caps:
        privilege.need_perfmon()
    prefix = as_user(NOBODY, caps) if caps else []
    command = ["grep", "-E", "^(Cap|NoNewPrivs|Seccomp|Groups|Uid)", "/proc/self/status"]
    alone = subprocess.run(prefix + command, capture_output=True, check=True)
    run = Level(*prefix, kraitrun.KRAIT).krait(
        "record", "-q", "-f", "folded", "-o", "/dev/null", "--", *command
    )
    assert run.code == 0, run
    assert run.out == alone.stdout


# ---- A library that is gone: what the fifth is for ----


@pytest.fixture
def with_deleted_library():
    """A Python whose libpython was deleted once it ran."""
    privilege.need_perfmon()
    py = shared_python()
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(py.executable)))
    with privilege.folder("/var/tmp") as where:
        for name in os.listdir(os.path.join(prefix, "lib")):
            if name.startswith("libpython") and ".so" in name:
                shutil.copy(os.path.join(prefix, "lib", name), where)
        env = ["env", "LD_LIBRARY_PATH=" + where]
        with targets.Workload(py, "spin", prefix=env) as workload:
            for name in os.listdir(where):
                os.unlink(os.path.join(where, name))
            with open("/proc/%d/maps" % workload.pid, encoding="utf-8") as stream:
                assert where in stream.read(), "it runs another libpython"
            yield workload


def test_deleted_library_takes_the_fifth(with_deleted_library):
    pid = with_deleted_library.pid
    run = Level(*as_user(NOBODY, FOUR), kraitrun.KRAIT).krait("record", "-p", pid, "-d", 1, "-o", "-")
    assert (run.code, run.out, run.err.count("\n")) == (4, b"", 1), run
    assert "deleted or replaced" in run.err and "cap_checkpoint_restore" in run.err


def test_deleted_library_with_the_fifth(with_deleted_library):
    pid = with_deleted_library.pid
    level = Level(*as_user(NOBODY, FIVE), kraitrun.KRAIT)
    with level.start("record", "-p", pid, "-F", FREQ_HZ, "-d", MAX_S, "-o", "-") as krait:
        krait.wait_sampling()
        targets.wait_cpu([pid], CPU_S)
        krait.send(signal.SIGINT)
        run = krait.wait()
    kraitrun.check(run, 0)
    assert folded.total(folded.having(folded.parse(run.out), "spin")) > LEAST


# ---- What does not work, and what is said then: 4 ----

# As a container's runtime forbids it, whatever the capabilities: with EPERM.
FORBIDDING = """
#include <errno.h>
#include <seccomp.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(perf_event_open), 0);
    return argc < 2 || seccomp_load(filter) || execvp(argv[1], argv + 1);
}
"""


@pytest.fixture(scope="module")
def forbidding(tmp_path_factory):
    """A program that starts another one without bpf(2) and perf_event_open(2)."""
    path = tmp_path_factory.mktemp("forbidding") / "forbidding"
    path.with_suffix(".c").write_text(FORBIDDING)
    subprocess.run([CC, "-o", path, path.with_suffix(".c"), "-lseccomp"], check=True)
    return path


def assert_denied(run, *words):
    assert (run.code, run.out, run.err.count("\n")) == (4, b"", 1), run
    assert all(word in run.err for word in words), run


RECORD = ["record", "-a", "-d", 1, "-f", "folded", "-o", "-"]


def test_container_without_privileges():
    """Root, with the capabilities that docker gives by default."""
    prefix = privilege.container_prefix() + as_root(DOCKER)
    run = Level(*prefix, *privilege.container_krait()).krait(*RECORD)
    assert_denied(run, "docker: --privileged", "cap_bpf, cap_perfmon, cap_sys_ptrace")


def test_seccomp_of_a_container(forbidding):
    """Capabilities are not what is missing, and not what is asked for."""
    run = Level(forbidding, kraitrun.KRAIT).krait(*RECORD)
    assert_denied(run, "seccomp filter", "docker: --privileged")
    assert "cap_" not in run.err


def test_user_namespace():
    """A rootless container: all capabilities, and none of the host's."""
    need("unshare")
    prefix = ["unshare", "--user", "--map-root-user"]
    if subprocess.run(prefix + ["true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are forbidden here")
    run = Level(*prefix, kraitrun.KRAIT).krait(*RECORD)
    assert_denied(run, "user namespace", "on the host")


def test_other_users_process_without_ptrace():
    """May load, may not read: of that process the line says what it takes."""
    privilege.need_perfmon()
    with targets.Workload(static_python(), "spin") as workload:
        level = Level(*as_user(NOBODY, FOUR[:2]), kraitrun.KRAIT)
        with privilege.folder("/var/tmp") as where:
            level.argv[-1] = privilege.copy_of_krait(where)
            run = level.krait("record", "-p", workload.pid, "-d", 1, "-f", "folded", "-o", "-")
    assert_denied(run, str(workload.pid), "cap_sys_ptrace")


def test_all_that_is_busy_is_another_users():
    """Nobody is asked for by pid: what may not be read is told, and not that there is no Python."""
    privilege.need_perfmon()
    comm = "krait-forbidden"
    py = static_python()
    code = "open('/proc/self/comm', 'w').write(%r)\nprint('ready', flush=True)\nwhile 1: pass" % comm
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(
            subprocess.Popen([py.executable, "-c", code], stdout=subprocess.PIPE, env=kraitrun.ENV)
        )
        stack.callback(busy.kill)
        assert busy.stdout.readline() == b"ready\n"
        level = Level(*as_user(NOBODY, FOUR[:2]), kraitrun.KRAIT)
        where = stack.enter_context(privilege.folder("/var/tmp"))
        level.argv[-1] = privilege.copy_of_krait(where)
        args = ["--comm", comm, "-F", FREQ_HZ, "-d", MAX_S, "-f", "folded", "-o", "-"]
        with level.start("record", *args) as krait:
            krait.wait_sampling()
            targets.wait_cpu([busy.pid], CPU_S)
            krait.send(signal.SIGINT)
            run = krait.wait()
    assert (run.code, run.out) == (4, b""), run
    assert "(pid %d)" % busy.pid in run.err and "cap_sys_ptrace" in run.err, run
    assert "no Python process runs" not in run.err


# ---- krait doctor ----


def doctor(*prefix):
    """(exit status, {row: (state, text)})"""
    with privilege.folder("/var/tmp") as where:
        run = Level(*prefix, privilege.copy_of_krait(where)).krait("doctor")
    rows = {}
    for line in run.out.decode().splitlines()[:-1]:
        rows[line[9:24].strip()] = (line[:8].strip(), line[24:])
    return run.code, rows


def wrong(rows):
    """The rows that are not ok; but for the JIT's, a matter of the host's."""
    return {name: row for name, row in rows.items() if row[0] != "ok" and name != "jit"}


def test_doctor_of_root():
    code, rows = doctor()
    assert (code, wrong(rows)) == (0, {})


def test_doctor_with_five():
    privilege.need_perfmon()
    code, rows = doctor(*as_user(NOBODY, FIVE))
    assert (code, wrong(rows)) == (0, {})


def test_doctor_with_four():
    """It can run, and says what the fifth would add."""
    privilege.need_perfmon()
    code, rows = doctor(*as_user(NOBODY, FOUR))
    assert code == 0
    assert list(wrong(rows)) == ["map_files"]
    state, text = rows["map_files"]
    assert state == "note" and "cap_checkpoint_restore" in text and "deleted or replaced" in text


@pytest.mark.parametrize("cap", FIVE)
def test_doctor_names_the_one_that_is_missing(cap):
    privilege.need_perfmon()
    code, rows = doctor(*as_user(NOBODY, [have for have in FIVE if have != cap]))
    texts = " ".join(text for _, text in wrong(rows).values())
    assert [name for name in FIVE if "cap_" + name in texts] == [cap], rows
    assert code == (4 if cap in ("bpf", "perfmon") else 0), rows


def test_doctor_of_a_containers_root(forbidding):
    code, rows = doctor(*as_root(DOCKER))
    assert code == 4
    assert rows["bpf"][0] == rows["perf events"][0] == "MISSING"
    assert "as root" not in rows["bpf"][1] and "--cap-add" in rows["bpf"][1]
    code, rows = doctor(forbidding)
    assert code == 4
    assert "seccomp" in rows["bpf"][1] and "seccomp" in rows["perf events"][1]
    assert rows["memory"][0] == "ok"


# ---- The unit ----


def test_unit_has_the_capabilities():
    assert privilege.unit_caps("AmbientCapabilities") == FIVE
    assert privilege.unit_caps("CapabilityBoundingSet") == FIVE


def test_unit_is_one(tmp_path):
    need("systemd-analyze")
    with open(privilege.UNIT, encoding="utf-8") as stream:
        text = stream.read()
    assert "/usr/local/bin/krait" in text
    path = tmp_path / "krait.service"
    path.write_text(text.replace("/usr/local/bin/krait", kraitrun.KRAIT))
    run = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
