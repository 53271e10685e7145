# SPDX-License-Identifier: BSD-2-Clause
"""Every way in which a run can end: signals, a terminal that goes, a command that can't be run."""
import contextlib
import os
import pty
import signal
import threading
import time

import pytest

import folded
import kraitrun
import targets

CPU_S = 0.2


def wait_until(condition, what):
    end = time.monotonic() + kraitrun.GRACE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def signal_set(pid, name):
    """A set of signals out of /proc/PID/status: SigBlk, SigIgn, SigCgt (proc(5))."""
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as stream:
        mask = [int(line.split()[1], 16) for line in stream if line.startswith(name + ":")][0]
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


def wait_writing(pid):
    """Returns once the sampling is over and a signal has its default effect again."""
    wait_until(lambda: signal.SIGINT not in signal_set(pid, "SigBlk"), "krait does not write")


@pytest.fixture
def spin(one_py):
    with targets.Workload(one_py, "spin") as workload:
        yield workload


@contextlib.contextmanager
def held_up(spin, folder):
    """A krait that has ended its sampling and waits for a reader of its first output, a FIFO; the
    second is run.folded. Gives (krait, the path of the FIFO)."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    args = ["-f", "folded", "-o", fifo, "-o", folder / "run.folded"]
    with kraitrun.start_record("-p", spin.pid, *args) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        yield krait, fifo


def read_in_background(path):
    """Reads a FIFO to its end, meanwhile; .join() and then .data."""

    def read():
        with open(path, "rb") as stream:
            thread.data = stream.read()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


# ---- Signals ----


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_hangup_and_quit_write_what_there_is(spin, tmp_path, number):
    names = ["run.folded", "run.krait", "run.pb.gz"]
    outputs = [arg for name in names for arg in ("-o", tmp_path / name)]
    with kraitrun.start_record("-p", spin.pid, *outputs) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        run = krait.stop(number)
    assert sorted(os.listdir(tmp_path)) == names
    assert folded.total(folded.read(tmp_path / "run.folded")) == run.ledger.samples > 0


def test_a_second_hangup_does_no_harm(spin, tmp_path):
    """A login that ends sends two: the shell one to its jobs, and then, when the shell has ended, the
    kernel one to the group in the foreground."""
    with held_up(spin, tmp_path) as (krait, fifo):
        krait.send(signal.SIGHUP)
        wait_writing(krait.pid)
        krait.send(signal.SIGHUP)
        reader = read_in_background(fifo)
        run = krait.wait()
        reader.join(kraitrun.GRACE_S)
    kraitrun.check(run, 0)
    assert reader.data == (tmp_path / "run.folded").read_bytes() != b""


def test_a_second_ctrl_c_abandons(spin, tmp_path):
    """In the middle of the writing: the old file stays, and nothing is left beside it."""
    (tmp_path / "run.folded").write_text("old\n")
    with held_up(spin, tmp_path) as (krait, _):
        krait.send(signal.SIGINT)
        wait_writing(krait.pid)
        krait.send(signal.SIGINT)
        run = krait.wait()
    assert run.code == -signal.SIGINT, run
    assert (tmp_path / "run.folded").read_text() == "old\n"
    assert sorted(os.listdir(tmp_path)) == ["fifo", "run.folded"]


def test_nohup_goes_on(spin, tmp_path):
    """Who starts krait with SIGHUP ignored wants it to outlive the terminal."""
    output = tmp_path / "run.folded"
    args = ["record", "-p", spin.pid, "-o", output]
    with kraitrun.Krait(args, prefix=["nohup"]) as krait:
        krait.wait_sampling()
        assert signal.SIGHUP in signal_set(krait.pid, "SigIgn")
        assert signal.SIGHUP not in signal_set(krait.pid, "SigBlk")
        krait.send(signal.SIGHUP)
        targets.wait_cpu([spin.pid], 2 * CPU_S)
        assert krait.process.poll() is None
        krait.stop()
    assert folded.total(folded.read(output)) > 0


@pytest.mark.parametrize("prefix, disposition", [([], "SIG_DFL"), (["nohup"], "SIG_IGN")])
def test_the_command_has_its_signals_as_krait_had_them(one_py, tmp_path, prefix, disposition):
    script = "import signal; print(signal.getsignal(signal.SIGHUP).name, signal.pthread_sigmask(0, []))"
    args = ["record", "-o", tmp_path / "x.folded", "--"] + one_py.argv(["-c", script])
    run = kraitrun.krait(*args, prefix=prefix)
    assert run.code == 0, run
    assert run.out.decode() == disposition + " set()\n"


def test_terminal_that_goes(spin, tmp_path):
    """As when an ssh drops: the terminal hangs up, and nothing can be said any more."""
    output = tmp_path / "run.folded"
    pid, terminal = pty.fork()
    if not pid:
        args = ["record", "-p", str(spin.pid), "-o", str(output)]
        os.execve(kraitrun.KRAIT, [kraitrun.KRAIT] + args, kraitrun.ENV)
    try:
        wait_until(lambda: kraitrun.has_perf_event(pid), "krait does not sample")
        targets.wait_cpu([spin.pid], CPU_S)
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
    assert folded.total(folded.read(output)) > 0
