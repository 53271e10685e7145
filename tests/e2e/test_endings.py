# SPDX-License-Identifier: BSD-2-Clause
"""Every way in which a run can end: signals, a terminal that goes, a command that can't be run."""
import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

import folded
import kraitrun
import targets
import terminal

sys.path.append(os.path.join(kraitrun.TREE, "tests", "golden"))

import recordings

CPU_S = 0.2
F_SETPIPE_SZ = 1031  # include/uapi/linux/fcntl.h; in Python's fcntl from 3.10 on
PAGE_BYTES = 4096
RING_SLOTS = 16384  # of a CPU at 9,999 Hz: samples_slot_cnt
STALL_CPU_S = 3
WROTE = re.compile(r"^krait: wrote (\S+) \(\w+\)$", re.M)


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
    assert folded.total_all(folded.read(tmp_path / "run.folded")) == run.ledger.samples > 0


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
    pid, master = pty.fork()
    if not pid:
        args = ["record", "-p", str(spin.pid), "-o", str(output)]
        os.execve(kraitrun.KRAIT, [kraitrun.KRAIT] + args, kraitrun.ENV)
    try:
        wait_until(lambda: kraitrun.has_perf_event(pid), "krait does not sample")
        targets.wait_cpu([spin.pid], CPU_S)
    finally:
        os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
    assert folded.total(folded.read(output)) > 0


# ---- A recording that is cut ----

CUT = 5
REST = re.compile(r"^krait: ledger: none: .*; (\d+) samples were read$", re.M)


def samples_in(part):
    """Of a recording that is not whole: its samples, as report counts them, in every output."""
    run = kraitrun.krait("report", part, "-o", "-")
    assert run.code == CUT and "missing" in run.err.splitlines()[0], run
    cnt = int(REST.search(run.err)[1])
    assert folded.total_all(folded.parse(run.out)) == cnt
    return cnt


def test_killed_leaves_what_it_had(spin, tmp_path):
    """Without being asked krait writes what it has every few seconds, and a killed run loses no more."""
    output, part = tmp_path / "run.krait", tmp_path / "run.krait.part"
    # So slow that a block does not fill before this gives up.
    args = ["-p", spin.pid, "-F", 11, "-o", output, "-o", tmp_path / "run.folded"]
    with kraitrun.start_record(*args) as krait:
        wait_until(lambda: samples_in(part) > 5, "nothing is written")
        so_far = folded.total_all(krait.snapshot(tmp_path / "run.folded"))
        krait.send(signal.SIGKILL)
        run = krait.wait()
    assert run.code == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ["run.folded", "run.krait.part"]
    # A snapshot writes all of it.
    assert samples_in(part) >= so_far > 5
    report = kraitrun.krait("report", part, "-o", "-", "-o", tmp_path / "x.pb.gz")
    assert report.code == CUT and folded.having(folded.parse(report.out), "spin")


def test_what_a_killed_run_left_is_kept(spin, tmp_path):
    output = tmp_path / "run.krait"
    (tmp_path / "run.krait.part").write_bytes(b"of a killed run")
    with kraitrun.start_record("-p", spin.pid, "-o", output) as krait:
        assert os.path.exists(tmp_path / "run.krait-2.part")
        targets.wait_cpu([spin.pid], CPU_S)
        run = krait.stop()
    assert "run.krait.part is there already" in run.err
    assert sorted(os.listdir(tmp_path)) == ["run.krait", "run.krait.part"]
    assert (tmp_path / "run.krait.part").read_bytes() == b"of a killed run"
    assert kraitrun.krait("report", output).code == 0


def test_recording_that_is_moved_away(spin, tmp_path):
    """What has its name then is another's, and stays."""
    output, part = tmp_path / "run.krait", tmp_path / "run.krait.part"
    with kraitrun.start_record("-p", spin.pid, "-o", output) as krait:
        os.rename(part, tmp_path / "moved")
        part.write_bytes(b"another's")
        krait.send(signal.SIGINT)
        run = krait.wait()
    assert run.code == 1 and "moved, replaced or removed" in run.err, run
    assert part.read_bytes() == b"another's" and not output.exists()


# ---- Pipes ----


def pipeline(*commands):
    """Runs krait after krait, the output of each the input of the next. Their Runs."""
    with contextlib.ExitStack() as stack:
        running = []
        for args in commands:
            stdin = running[-1].process.stdout if running else subprocess.DEVNULL
            running.append(stack.enter_context(kraitrun.Krait(args, stdin=stdin)))
            if stdin != subprocess.DEVNULL:
                stdin.close()
        last = running[-1].wait()
        for krait in running[:-1]:
            krait.process.stdout = None
        return [krait.wait() for krait in running[:-1]] + [last]


def test_recording_through_a_pipe(spin):
    record = ["record", "-p", spin.pid, "-d", 1, "-F", 499, "-o", "-", "-f", "krait"]
    first, second = pipeline(record, ["report", "-", "-o", "-", "-f", "folded"])
    kraitrun.check(first, 0)
    kraitrun.check(second, 0)
    assert folded.total_all(folded.parse(second.out)) == first.ledger.samples > 0
    assert folded.having(folded.parse(second.out), "spin")


def test_recording_through_a_pipe_of_a_killed_krait(spin):
    """As when an ssh drops."""
    with kraitrun.Krait(["record", "-p", spin.pid, "-F", 499, "-o", "-", "-f", "krait"]) as first:
        args = ["report", "-", "-o", "-", "-f", "folded"]
        with kraitrun.Krait(args, stdin=first.process.stdout) as second:
            first.wait_sampling()
            targets.wait_cpu([spin.pid], CPU_S)
            first.send(signal.SIGKILL)
            first.process.wait()
            run = second.wait()
    assert run.code == CUT and run.err.startswith("krait: report: read standard input: it ends "), run
    assert folded.total_all(folded.parse(run.out)) == int(REST.search(run.err)[1])


def test_report_of_stdin_is_that_of_the_file(tmp_path):
    path = tmp_path / "x.krait"
    path.write_bytes(recordings.lives())
    for args in (["-t", "-o", "-"], ["-f", "folded"], [], ["-f", "pprof", "-o", "-"]):
        of_file = kraitrun.krait("report", path, *args)
        with open(path, "rb") as stream, kraitrun.Krait(["report", "-"] + args, stdin=stream) as krait:
            of_stdin = krait.wait()
        assert of_file.code == of_stdin.code == 0 and of_file.out == of_stdin.out != b""


@pytest.mark.parametrize("data", [b"", b"text\n", recordings.lives()[:40]], ids=["none", "text", "cut"])
def test_stdin_that_is_no_recording(data):
    with kraitrun.Krait(["report", "-"], stdin=subprocess.PIPE) as krait:
        krait.process.stdin.write(data)
        krait.process.stdin.close()
        krait.process.stdin = None
        run = krait.wait()
    assert run.code == 1 and run.out == b"" and run.err.count("\n") == 1, run
    assert run.err.startswith("krait: report: read standard input: ")


def test_the_commands_output_is_not_in_the_data(one_py):
    """The profile has stdout for itself; what the command prints goes to stderr."""
    script = "import time; print('hello', flush=True)\nwhile time.process_time() < 0.3: sum(range(5000))"
    command = one_py.argv(["-c", script])
    run = kraitrun.record("-o", "-", "--", *command)
    assert folded.total_all(folded.parse(run.out)) == run.ledger.samples > 0
    assert "hello\n" in run.err


@pytest.mark.parametrize("kind", ["folded", "pprof", "krait"])
def test_reader_that_leaves(spin, kind):
    """There is nothing left to run for: it ends, by itself."""
    with kraitrun.start_record("-p", spin.pid, "-o", "-", "-f", kind) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        krait.process.stdout.close()
        krait.process.stdout = None
        run = krait.wait()
    assert run.code == 1 and "standard output: Broken pipe" in run.err, run


def test_reader_that_leaves_and_a_file(spin, tmp_path):
    """The file is what the run goes on for; the status says that not all was written."""
    outputs = ["-o", tmp_path / "run.krait", "-o", "-", "-o", tmp_path / "run.folded"]
    with kraitrun.start_record("-p", spin.pid, *outputs) as krait:
        krait.process.stdout.close()
        krait.process.stdout = None
        targets.wait_cpu([spin.pid], CPU_S)
        krait.send(signal.SIGINT)
        run = krait.wait()
    kraitrun.check(run, 1)
    assert "standard output: Broken pipe" in run.err
    assert sorted(WROTE.findall(run.err)) == [str(tmp_path / "run.folded"), str(tmp_path / "run.krait")]
    again = kraitrun.krait("report", tmp_path / "run.krait", "-f", "folded")
    assert folded.total_all(folded.read(tmp_path / "run.folded")) == run.ledger.samples
    assert again.out == (tmp_path / "run.folded").read_bytes()


def pipe_bytes(fd):
    """So many bytes wait in it to be read: FIONREAD, pipe(7)."""
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]


def test_a_reader_that_stalls_loses_nothing(spin):
    """The rings hold one second and a half at this rate; what comes later waits in krait's memory."""
    os.sched_setaffinity(spin.pid, {min(os.sched_getaffinity(0))})
    args = ["-p", spin.pid, "-F", 9999, "-f", "krait", "-o", "-"]
    with kraitrun.start_record(*args) as krait, kraitrun.Krait(
        ["report", "-", "-f", "folded"], stdin=subprocess.PIPE
    ) as report:
        stream = krait.process.stdout
        fcntl.fcntl(stream, F_SETPIPE_SZ, PAGE_BYTES)  # the recording's head fills it
        targets.wait_cpu([spin.pid], STALL_CPU_S)
        reader = threading.Thread(target=shutil.copyfileobj, args=(stream, report.process.stdin))
        reader.start()
        krait.send(signal.SIGINT)
        reader.join(kraitrun.GRACE_S)
        krait.process.stdout = None
        run = krait.wait()
        report.process.stdin.close()
        report.process.stdin = None
        again = report.wait()
    kraitrun.check(run, 0)
    assert run.walked == run.ledger.samples > RING_SLOTS, run
    assert folded.total_all(folded.parse(again.out)) == run.ledger.samples


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reader_that_stops(spin, number):
    """It neither reads nor leaves, as the far end of a stalled ssh: krait can be ended all the same."""
    with kraitrun.start_record("-p", spin.pid, "-F", 9999, "-f", "krait", "-o", "-") as krait:
        reader = krait.process.stdout
        fcntl.fcntl(reader, F_SETPIPE_SZ, PAGE_BYTES)  # the recording's head fills it
        wait_until(lambda: pipe_bytes(reader) > 0, "krait does not write")
        targets.wait_cpu([spin.pid], CPU_S)
        krait.send(signal.SIGUSR1)  # which has it write more
        wait_until(lambda: signal.SIGUSR1 not in signal_set(krait.pid, "ShdPnd"), "krait does not write")
        targets.wait_cpu([spin.pid], CPU_S)
        assert krait.process.poll() is None
        krait.send(number)
        wait_until(lambda: krait.process.poll() is not None, "krait does not end")
        run = krait.wait()
    # The signal that ended the waiting may be what ends krait too: it has nothing else to write.
    assert run.code in (1, -number) and "the reader has stopped" in run.err, run


def test_a_full_disk_ends_a_run_at_once(spin):
    """A recording that can't be written is known long before Ctrl-C."""
    args = ["-p", spin.pid, "-F", 9999, "-f", "krait", "-o", "/dev/full"]
    run = kraitrun.krait("record", *args)
    assert spin.process.poll() is None, "the run ended because its target did"
    assert run.code == 1 and "/dev/full: No space left on device" in run.err, run


@pytest.mark.parametrize("closing", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors(spin, tmp_path, closing):
    """A file that is opened must not become the one that messages go to."""
    names = ["run.folded", "run.krait"]
    args = [arg for name in names for arg in ("-o", tmp_path / name)]
    prefix = ["sh", "-c", 'exec "$0" "$@" ' + closing]
    run = kraitrun.krait("record", "-v", "-p", spin.pid, "-d", "1", *args, prefix=prefix)
    assert run.code == 0, run
    assert folded.having(folded.read(tmp_path / "run.folded"), "spin")
    again = kraitrun.krait("report", tmp_path / "run.krait", "-f", "folded")
    assert again.code == 0 and again.out == (tmp_path / "run.folded").read_bytes()


@pytest.mark.parametrize("kind", ["krait", "pprof"])
@pytest.mark.parametrize("command", ["record", "report"])
def test_no_bytes_for_a_terminal(command, kind, tmp_path):
    (tmp_path / "x.krait").write_bytes(recordings.lives())
    args = [tmp_path / "x.krait"] if command == "report" else ["-d", 1]
    code, said = terminal.run([command, *args, "-o", "-", "-f", kind])
    said = said.decode()
    assert code == 2 and said.count("\n") == 1, said
    assert "terminal" in said or (command, kind) == ("report", "krait"), said
    folded.assert_harmless(said.replace("\r\n", "\n"))


def test_no_recording_from_a_keyboard():
    code, said = terminal.run(["report", "-"])
    assert code == 2 and b"standard input is a terminal" in said and said.count(b"\n") == 1, said


def test_the_closing_line_of_ps_comes_last(spin, tmp_path):
    """Also where both streams go to the same file."""
    with open(tmp_path / "out", "wb") as stream:
        command = [kraitrun.KRAIT, "ps", "-p", str(spin.pid)]
        subprocess.run(command, stdout=stream, stderr=stream, env=kraitrun.ENV, check=True)
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines[0].split()[:2] == ["PID", "VERSION"]
    talk = [line.startswith("krait: ") for line in lines]
    assert talk[-1] and talk == sorted(talk), lines


# ---- Default names ----


def default_names(pid, suffix, seconds=120):
    """Those of a run that starts within so many seconds from now."""
    now = int(time.time())
    times = (time.gmtime(now + second) for second in range(seconds))
    return [time.strftime("krait-pid-%d-%%Y%%m%%dT%%H%%M%%SZ" % pid, at) + suffix for at in times]


def test_default_names_are_new(spin, tmp_path):
    """Every name that two runs could take is taken: each finds another, replaces nothing, and says
    which it is. (As two runs that start within the same second find each other's.)"""
    taken = default_names(spin.pid, ".folded")
    for name in taken:
        (tmp_path / name).write_text("old\n")
    with contextlib.ExitStack() as stack:
        args = ["record", "-p", spin.pid, "-F", 499]
        both = [stack.enter_context(kraitrun.Krait(args, cwd=tmp_path)) for _ in range(2)]
        for krait in both:
            krait.wait_sampling()
        targets.wait_cpu([spin.pid], CPU_S)
        for krait in both:
            krait.send(signal.SIGINT)
        runs = [krait.wait() for krait in both]
    said = []
    for run in runs:
        kraitrun.check(run, 0)
        (name,) = WROTE.findall(run.err)
        said.append(name)
        assert re.fullmatch(r"krait-pid-%d-\w+-[23]\.folded" % spin.pid, name)
        assert folded.total_all(folded.read(tmp_path / name)) == run.ledger.samples > 0
    assert len(set(said)) == 2
    assert set(os.listdir(tmp_path)) == set(taken) | set(said)
    assert all((tmp_path / name).read_text() == "old\n" for name in taken)


@pytest.mark.parametrize("kind, suffix", [("folded", ".folded"), ("pprof", ".pb.gz"), ("krait", ".krait")])
def test_default_name_of_a_format(spin, tmp_path, kind, suffix):
    could_be = default_names(spin.pid, suffix)
    run = kraitrun.krait("record", "-p", spin.pid, "-d", 1, "-f", kind, cwd=tmp_path)
    kraitrun.check(run, 0)
    (name,) = WROTE.findall(run.err)
    assert os.listdir(tmp_path) == [name] and name in could_be


def test_snapshots_of_a_default_name(spin, tmp_path):
    """The file of the first is replaced by the next, and by the end."""
    args = ["record", "-p", spin.pid, "-F", 499]
    with kraitrun.Krait(args, cwd=tmp_path) as krait:
        krait.wait_sampling()
        for _ in range(2):
            targets.wait_cpu([spin.pid], CPU_S)
            before = [(name, os.stat(tmp_path / name).st_ino) for name in os.listdir(tmp_path)]
            krait.send(signal.SIGUSR1)
            wait_until(
                lambda: before
                != [(name, os.stat(tmp_path / name).st_ino) for name in os.listdir(tmp_path)],
                "no snapshot",
            )
        run = krait.stop()
    names = WROTE.findall(run.err)
    assert len(names) == 3 and os.listdir(tmp_path) == names[:1] == list(set(names))
    assert folded.total_all(folded.read(tmp_path / names[0])) == run.ledger.samples


def test_a_snapshot_is_not_on_stdout(spin, tmp_path):
    """Who reads a profile there would count its samples twice."""
    args = ["-p", spin.pid, "-F", 499, "-o", "-", "-o", tmp_path / "run.folded"]
    with kraitrun.start_record(*args) as krait:
        targets.wait_cpu([spin.pid], CPU_S)
        krait.send(signal.SIGUSR1)
        wait_until((tmp_path / "run.folded").exists, "no snapshot")
        run = krait.stop()
    assert folded.total_all(folded.parse(run.out)) == run.ledger.samples
    assert run.out == (tmp_path / "run.folded").read_bytes()
