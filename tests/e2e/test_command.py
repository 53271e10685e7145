# SPDX-License-Identifier: BSD-2-Clause
"""`krait record -- COMMAND`: a program from its first instruction to its last."""
import json
import os
import signal

import pytest

import folded
import kraitrun
import targets

FREQ_HZ = 999  # the default for a command


def record_burst(py, output, *args, code=0, options=()):
    """(run, what burst.py said)."""
    command = targets.command(py, "burst", *args)
    run = kraitrun.record("-o", output, *options, "--", *command, code=code)
    word, _, facts = run.out.decode().partition(" ")
    assert word == "burst", "the command's own output does not come through: %r" % run.out
    return run, json.loads(facts)


def test_short_command(py, tmp_path):
    """Half a second of CPU time: its samples are there and named, and its exit status passes on."""
    output = tmp_path / "run.folded"
    run, facts = record_burst(py, output, 0.5, 3, code=3)
    stacks = folded.read(output)
    assert {stack.pid for stack in stacks} == {facts["pid"]}
    assert folded.total_all(stacks) == run.ledger.samples
    named = folded.having(stacks, "burst")
    # Those before krait knew the process may be of burst(), on a busy host.
    expected = FREQ_HZ * facts["spent"]
    assert folded.total(named) <= 1.15 * expected, run
    assert folded.total(named) + run.early >= 0.85 * expected, run


@pytest.mark.parametrize(
    "how, code", [([0], 0), ([3], 3), ([99], 99), (["signal", 9], 137), (["signal", 15], 143)]
)
def test_exit_status_passes_on(one_py, tmp_path, how, code):
    output = tmp_path / "run.folded"
    record_burst(one_py, output, 0.2, *how, code=code)
    assert folded.having(folded.read(output), "burst")


NOT_RUN = {
    "not in PATH": ("krait-no-such-program", 127, "not found in PATH"),
    "no such file": ("/nonexistent/command", 127, "No such file or directory"),
    "not executable": ("{folder}/plain", 126, "Permission denied"),
    "a folder": ("{folder}", 126, "Permission denied"),
    "below a file": ("{folder}/plain/x", 126, "Not a directory"),
    "no such interpreter": ("{folder}/script", 127, "the interpreter"),
}


@pytest.mark.parametrize("what", NOT_RUN)
def test_a_command_that_cannot_be_run(what, tmp_path):
    """As a shell has it: 127 for what is not there, 126 for what can't be run; one line, and neither
    an empty output nor a changed one."""
    command, code, reason = NOT_RUN[what]
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "plain").write_text("no program\n")
    (folder / "script").write_text("#!/nonexistent/interpreter\n")
    (folder / "script").chmod(0o755)
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.folded").write_text("old\n")
    command = command.format(folder=folder)
    names = ["x.folded", "x.krait", "x.pb.gz", "old.folded"]
    args = [arg for name in names for arg in ("-o", out / name)]
    run = kraitrun.krait("record", *args, "--", command)
    assert run.code == code, run
    assert run.out == b"" and run.err.count("\n") == 1, run
    assert run.err.startswith("krait: record: run " + command + ": ") and reason in run.err, run
    assert os.listdir(out) == ["old.folded"] and (out / "old.folded").read_text() == "old\n"


def test_a_command_that_cannot_be_run_writes_no_default_file(tmp_path):
    run = kraitrun.krait("record", "--", "krait-no-such-program", cwd=tmp_path)
    assert run.code == 127 and run.err.count("\n") == 1, run
    assert os.listdir(tmp_path) == []


def test_options_behind_the_dashes_are_the_commands(one_py, tmp_path):
    """-d 1 here is the command's, which prints it; krait must not take it."""
    command = one_py.argv(["-c", "import sys; print(sys.argv[1:])", "-d", "1", "--help"])
    run = kraitrun.record("-o", tmp_path / "x.folded", "--", *command)
    assert run.out == b"['-d', '1', '--help']\n"


@pytest.mark.parametrize("option, policy", [([], os.SCHED_OTHER), (["--realtime"], os.SCHED_RR)])
def test_the_command_is_what_it_would_be_without_krait(one_py, tmp_path, option, policy):
    """Also where krait is a realtime task while it samples."""
    script = "import os, signal; print(os.nice(0), os.sched_getscheduler(0), flush=True)"
    script += "; signal.alarm(20); signal.pause()"
    command = one_py.argv(["-c", script])
    args = ["record", *option, "-o", tmp_path / "x.folded", "--"] + command
    with kraitrun.Krait(args) as krait:
        mine = (os.nice(0), os.sched_getscheduler(0))
        assert tuple(map(int, krait.process.stdout.readline().split())) == mine
        assert os.sched_getscheduler(krait.pid) & ~os.SCHED_RESET_ON_FORK == policy
        krait.send(signal.SIGINT)
        krait.wait()


def test_duration_leaves_the_command_alone(one_py, tmp_path):
    """-d ends the recording before the command ends, which still does all of its work."""
    output = tmp_path / "run.folded"
    run, facts = record_burst(one_py, output, 2, 0, options=("-d", "1"))
    stacks = folded.having(folded.read(output), "burst")
    assert folded.total(stacks) <= 1.2 * FREQ_HZ
    assert run.code == 0 and facts["spent"] >= 2
