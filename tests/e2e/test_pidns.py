# SPDX-License-Identifier: BSD-2-Clause
"""
krait in a pid namespace of its own, as in a container: processes have the ids there that the
namespace gives them, what it does not contain does not exist, and nothing is said of the host.

What the ids are is asked of the programs themselves (getpid and gettid, when they are in krait's
namespace) and of NSpid in the host's /proc (when they are in one within it).
"""
import contextlib
import json
import os
import re
import subprocess
import time

import pytest

import folded
import kraitrun
import targets

FREQ_HZ = 1999
CPU_S = 0.35
# Of eight threads that share a GIL, for 5 ms each time: were the next one drawn by lot, one of them
# would not come up in 200 draws once in 10^11 runs.
THREADS_CPU_S = 1
# A new pid namespace, whose first process is what follows, with its own /proc and without.
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
UNSHARE_PID = ["unshare", "--pid", "--fork", "--kill-child"]
HERE = "pid namespace"
# How many of the plain CPythons this is tried on.
PYTHON_CNT = 4


def chosen():
    """The oldest plain CPython, one from the middle, Debian's own and the newest."""
    plain = [py for py in targets.SUPPORTED if py.is_plain]
    system = [py for py in plain if py.source == "system"]
    picked = plain[:1] + plain[len(plain) // 3 : len(plain) // 3 + 1] + system[:1] + plain[-1:]
    return sorted(set(picked), key=plain.index)[:PYTHON_CNT]


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as stream:
        return [int(word) for word in stream.read().split()]


def descendant(pid, generations):
    """The only child's only child, and so on: behind nsenter and unshare, which fork."""
    for _ in range(generations):
        (pid,) = children(pid)
    return pid


def nsenter(pid, *options):
    """Into its mounts, and below its root: these tests may run under chroot."""
    return ["nsenter", "--target", str(pid), "--mount", "--root", *options, "--"]


def ids(pid, tid=None):
    """The ids of a process or thread of the host, from the host's to the innermost namespace's."""
    path = "/proc/%d/task/%d/status" % (pid, tid or pid)
    with open(path, encoding="utf-8", errors="replace") as stream:
        return [int(word) for word in re.search(r"^NSpid:(.*)$", stream.read(), re.M)[1].split()]


def threads(pid):
    return map(int, os.listdir("/proc/%d/task" % pid))


class Container:
    """A pid namespace, with a workload as its first process, that lives as long as that one."""

    def __init__(self, started, py, name, *args):
        self.started = started  # an ExitStack: who runs in here ends with it
        self.workload = started.enter_context(targets.Workload(py, name, *args, prefix=UNSHARE))
        self.host_pid = descendant(self.workload.pid, 1)
        self.prefix = nsenter(self.workload.pid, "--pid=/proc/%d/ns/pid" % self.host_pid)
        assert self.workload.facts["pid"] == 1

    def start(self, py, name, *args, unshare=()):
        """A workload in here, or in a namespace within."""
        prefix = self.prefix + list(unshare)
        workload = self.started.enter_context(targets.Workload(py, name, *args, prefix=prefix))
        workload.host_pid = descendant(workload.pid, 2 if unshare else 1)
        return workload

    def krait(self, *args):
        return kraitrun.krait(*args, prefix=self.prefix)

    def start_record(self, *args):
        """`krait record ARGS` in here, sampling when this returns."""
        krait = self.started.enter_context(kraitrun.Krait(("record",) + args, prefix=self.prefix))
        end = time.monotonic() + kraitrun.GRACE_S
        while not children(krait.process.pid):
            assert krait.process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        krait.pid = descendant(krait.process.pid, 1)  # nsenter sends no signals on
        return krait.wait_sampling()

    def record_cpu(self, host_pids, *args):
        krait = self.start_record("-F", FREQ_HZ, *args)
        targets.wait_cpu(host_pids, CPU_S)
        return krait.stop()


@contextlib.contextmanager
def container(py, name, *args):
    with contextlib.ExitStack() as started:
        yield Container(started, py, name, *args)


def alone(*args):
    """krait by itself in a pid namespace, as its first process."""
    return kraitrun.krait(*args, prefix=UNSHARE)


# ---- Everything, in one run for each of some CPythons ----


class Everything:
    """A recording of all there is in a namespace, and which ids belong there."""

    def __init__(self):
        self.stacks = []
        self.said = ""
        self.listed = {}  # of krait ps
        self.pids = {}
        self.nested = {}  # {tid: name}

    def take(self, c, py, output):
        forks, execs = c.start(py, "forks"), None
        nested = c.start(py, "threads", unshare=UNSHARE)
        if not py.root:
            execs = c.start(py, "execs", py.path, targets.script(py, "execs"))
        self.pids = {"first": 1, "early": forks.facts["early"], "nested": ids(nested.host_pid)[1]}
        for host_tid in threads(nested.host_pid):
            _, tid, own_tid = ids(nested.host_pid, host_tid)
            known = own_tid in nested.facts["tids"]
            name = "named-%d" % nested.facts["tids"].index(own_tid) if known else "MainThread"
            self.nested[tid] = name
        self.listed = json.loads(c.krait("ps", "--json").out)
        krait = c.start_record("-a", "-t", "-F", FREQ_HZ, "-v", "-o", output)
        forks.tell("go")
        forked = forks.hear("forked")
        self.pids["late"] = forked["late"]
        self.pids.update(("brief %d" % number, pid) for number, pid in enumerate(forked["brief"]))
        if execs:
            self.pids["execs"] = execs.facts["pid"]
            execs.tell("go")
            execs.hear("ready")
        self.pids["forks"] = forks.facts["pid"]
        busy = [c.host_pid] + children(forks.host_pid)
        targets.wait_cpu(busy + ([execs.host_pid] if execs else []), CPU_S)
        targets.wait_cpu([nested.host_pid], THREADS_CPU_S)
        self.said = krait.stop().err
        self.stacks = folded.read(output)

    def of(self, who):
        return folded.of_pid(self.stacks, self.pids[who])


@pytest.fixture(scope="module", params=chosen(), ids=lambda py: py.name)
def everything(request, one_py, tmp_path_factory):
    py, output = request.param, tmp_path_factory.mktemp("pidns") / "run.folded"
    found = Everything()
    with targets.Workload(one_py, "spin", prefix=["nice"]), container(py, "spin"):
        with container(py, "spin") as c:
            found.take(c, py, output)
    return found


def assert_in(stacks, name, least):
    """At least so many samples with that function. Besides there is what leads to it."""
    assert folded.total(folded.having(stacks, name)) >= least, stacks[:3]


def test_first_process(everything):
    assert_in(everything.of("first"), "spin", 50)


def test_first_process_of_a_neighbour(everything):
    """It is as busy, and number 1 too: taken for this one's, each tick on it would be an exec."""
    assert everything.said.count("record: pid 1 is Python ") == 1, everything.said


def test_children_by_fork(everything):
    assert_in(everything.of("early"), "child_early", 50)
    assert_in(everything.of("late"), "child_late", 50)


def test_children_that_live_60_ms(everything):
    """The kernel tells of them, when they fork and when they end."""
    for number in range(5):
        assert_in(everything.of("brief %d" % number), "child_brief", 40)


def test_exec_into_another_program(everything):
    if "execs" not in everything.pids:
        pytest.skip("the interpreter runs under chroot")
    assert_in(everything.of("execs"), "phase_one", 50)
    assert_in(everything.of("execs"), "phase_two", 50)


def test_process_in_a_namespace_within(everything):
    """By its ids in krait's namespace: in its own it is number 1. And with threading's names, which
    are read through /proc by these ids."""
    stacks = everything.of("nested")
    for number in range(8):
        worker = folded.having(stacks, "work_%d" % number)
        assert_in(worker, "work_%d" % number, 5)
        assert {stack.thread for stack in worker} == {"named-%d" % number}
    assert all(everything.nested[stack.tid] == stack.thread for stack in stacks)


def test_nothing_from_outside(everything):
    """Other processes are busy all the time: one of the host's and one of a neighbour's at least."""
    assert {stack.pid for stack in everything.stacks} <= set(everything.pids.values())


def test_ps(everything):
    listed = {entry["pid"] for entry in everything.listed["processes"] if entry["ready"]}
    before = {"first", "early", "nested", "forks", "execs"} & set(everything.pids)
    assert listed == {everything.pids[who] for who in before}


# ---- The ways to choose a target ----


def test_pid_1_is_the_containers(one_py, tmp_path):
    """With its children, those to come too; and no other process of the namespace."""
    output = tmp_path / "run.folded"
    with container(one_py, "forks") as c:
        c.start(one_py, "spin")
        krait = c.start_record("-p", "1", "-F", FREQ_HZ, "-o", output)
        c.workload.tell("go")
        forked = c.workload.hear("forked")
        targets.wait_cpu(children(c.host_pid), CPU_S)
        krait.stop()
    stacks = folded.read(output)
    assert_in(folded.of_pid(stacks, forked["late"]), "child_late", 50)
    for pid in forked["brief"]:
        assert_in(folded.of_pid(stacks, pid), "child_brief", 40)
    others = {1, c.workload.facts["early"], forked["late"]} | set(forked["brief"])
    assert {stack.pid for stack in stacks} <= others


def test_end_of_the_process(one_py, tmp_path):
    """The kernel tells of it, so the run ends by itself."""
    with container(one_py, "spin") as c:
        spin = c.start(one_py, "spin")
        krait = c.start_record("-p", spin.facts["pid"], "-o", tmp_path / "run.folded")
        targets.wait_cpu([spin.host_pid], 0.2)
        spin.stop()
        run = krait.wait()
    kraitrun.check(run, 0)
    assert "the processes have ended" in run.err


def test_pid_that_is_outside(one_py, tmp_path):
    """Its number on the host says nothing in here."""
    with targets.Workload(one_py, "spin") as outside, container(one_py, "idle") as c:
        run = c.krait("record", "-p", outside.pid, "-d", "1", "-o", tmp_path / "x.folded")
    assert run.code == 3, run
    assert "pid %d: no such process in this pid namespace" % outside.pid in run.err, run


def test_comm(one_py, tmp_path):
    output = tmp_path / "run.folded"
    with targets.Workload(one_py, "spin", "krait-pidns"), container(one_py, "spin") as c:
        named = c.start(one_py, "spin", "krait-pidns")
        c.record_cpu([named.host_pid], "--comm", "krait-pidns", "-o", output)
    assert {stack.pid for stack in folded.read(output)} == {named.facts["pid"]}


@pytest.mark.parametrize("prefix", [UNSHARE, None], ids=["alone", "beside others"])
def test_command(one_py, tmp_path, prefix):
    """The command's status passes on; krait itself may be the namespace's first process."""
    output = tmp_path / "run.folded"
    command = targets.command(one_py, "burst", "0.5", "7")
    args = ["record", "-o", output, "--"] + command
    with container(one_py, "spin") if not prefix else contextlib.nullcontext() as c:
        run = kraitrun.krait(*args, prefix=prefix or c.prefix)
    kraitrun.check(run, 7)
    pid = json.loads(run.out.decode().partition(" ")[2])["pid"]
    stacks = folded.read(output)
    assert {stack.pid for stack in stacks} == {pid}
    assert_in(stacks, "burst", 200)


def test_from_the_host(one_py, tmp_path):
    """There a container's process has the number that the host gives it."""
    output = tmp_path / "run.folded"
    with container(one_py, "spin") as c:
        targets.record_cpu([c.host_pid], CPU_S, "-p", c.host_pid, "-F", FREQ_HZ, "-o", output)
    stacks = folded.read(output)
    assert {stack.pid for stack in stacks} == {c.host_pid}
    assert_in(stacks, "spin", 50)


# ---- What is said ----


def test_no_python_in_here(one_py, tmp_path):
    with targets.Workload(one_py, "spin"):
        run = alone("record", "-d", "0.5", "-o", tmp_path / "x.folded")
    assert run.code == 3 and not os.listdir(tmp_path), run
    assert HERE in run.err and "host" not in run.err, run


def test_idle_in_here(one_py, tmp_path):
    with container(one_py, "idle") as c:
        run = c.krait("record", "-d", "0.5", "-o", tmp_path / "x.folded")
    assert run.code == 0 and "idle" in run.err and "host" not in run.err, run


def doctors_row(run):
    (row,) = re.findall(r"^(ok|note|MISSING) +pid namespace +(.*)$", run.out.decode(), re.M)
    return row


def test_doctor():
    run = alone("doctor")
    assert run.code == 0 and run.out.endswith(b"krait can run here\n"), run
    state, text = doctors_row(run)
    assert state == "note" and "--pid=host" in text, text
    assert doctors_row(kraitrun.krait("doctor"))[0] == "ok"


# ---- In another root, as a container has ----

MOUNT = 'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"'


def loaded_files(program):
    """The program's libraries and their loader."""
    run = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return re.findall(r"(/\S+) \(0x", run.stdout)


def test_in_another_root():
    """krait with its own libraries in a Debian tree, whose Python is a newer one than the host's."""
    py = [py for py in targets.SUPPORTED if py.is_plain and py.root]
    if not py:
        pytest.skip("no root tree with a CPython in it")
    py, folder = py[-1], py[-1].folder()
    files = [py.path_for(path) for path in loaded_files(kraitrun.KRAIT) + [kraitrun.KRAIT]]
    (loader,) = (path for path in files if os.path.basename(path).startswith("ld-"))
    command = ["unshare", "--mount"] + UNSHARE_PID + ["sh", "-c", MOUNT, py.root, loader]
    command += ["--library-path", folder[0], files[-1], "record", "-o", folder[0] + "/run.folded"]
    command += ["--", py.path, targets.script(py, "burst"), "0.5", "0"]
    run = subprocess.run(command, env=kraitrun.ENV, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run
    kraitrun.ledger(run.stderr)
    stacks = folded.read(folder[1] + "/run.folded")
    assert {stack.pid for stack in stacks} == {json.loads(run.stdout.partition(" ")[2])["pid"]}
    assert_in(stacks, "burst", 200)


# ---- A /proc that is not this namespace's ----

WITHOUT_PROC = 'mount -t tmpfs none /proc && exec "$@"'
PROC_OF_ANOTHER = {
    "the parent's": lambda c: UNSHARE_PID,
    "none": lambda c: ["unshare", "--mount", "sh", "-c", WITHOUT_PROC, "sh"],
    "a child's": lambda c: nsenter(c.workload.pid),
}


@pytest.fixture(scope="module", params=PROC_OF_ANOTHER)
def wrong_proc(request, one_py):
    """What starts krait with a /proc that shows it other processes than its own namespace's."""
    with container(one_py, "spin") as c:
        yield PROC_OF_ANOTHER[request.param](c)


@pytest.mark.parametrize("args", [["-a"], ["-p", "1"], ["--comm", "x"], ["--", "true"]], ids=str)
def test_record_refuses_another_proc(wrong_proc, tmp_path, args):
    """In one line, with the fix, before a word about processes."""
    options = ["-d", "1", "-o", tmp_path / "x", "-f", "folded"]
    run = kraitrun.krait("record", *options, *args, prefix=wrong_proc)
    assert run.code == 4 and run.err.count("\n") == 1, run
    assert "krait: record: pid namespace: " in run.err, run
    assert "mount -t proc proc /proc" in run.err, run
    assert not os.listdir(tmp_path)


def test_ps_refuses_another_proc(wrong_proc):
    run = kraitrun.krait("ps", "--json", prefix=wrong_proc)
    assert (run.code, run.out, run.err.count("\n")) == (4, b"", 1), run
    assert "mount -t proc proc /proc" in run.err


def test_doctor_refuses_another_proc(wrong_proc):
    run = kraitrun.krait("doctor", prefix=wrong_proc)
    state, text = doctors_row(run)
    assert (run.code, state) == (4, "MISSING") and "mount -t proc proc /proc" in text, run
