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
    assert folded.total(stacks) == run.ledger.samples
    named = folded.having(stacks, "burst")
    assert folded.total(named) == pytest.approx(FREQ_HZ * facts["spent"], rel=0.15)


@pytest.mark.parametrize(
    "how, code", [([0], 0), ([3], 3), ([99], 99), (["signal", 9], 137), (["signal", 15], 143)]
)
def test_exit_status_passes_on(one_py, tmp_path, how, code):
    output = tmp_path / "run.folded"
    record_burst(one_py, output, 0.2, *how, code=code)
    assert folded.having(folded.read(output), "burst")


def test_a_command_that_does_not_exist(tmp_path):
    run = kraitrun.krait("record", "-o", tmp_path / "x.folded", "--", "/nonexistent/command")
    assert run.code != 0
    assert run.err.startswith("krait") and "/nonexistent/command" in run.err


def test_options_behind_the_dashes_are_the_commands(one_py, tmp_path):
    """-d 1 here is the command's, which prints it; krait must not take it."""
    command = one_py.argv(["-c", "import sys; print(sys.argv[1:])", "-d", "1", "--help"])
    run = kraitrun.record("-o", tmp_path / "x.folded", "--", *command)
    assert run.out == b"['-d', '1', '--help']\n"


def test_krait_goes_first_and_the_command_does_not(one_py, tmp_path):
    """krait is a realtime task while it samples; the command is what it would be without krait."""
    script = "import os, signal; print(os.nice(0), os.sched_getscheduler(0), flush=True)"
    script += "; signal.alarm(20); signal.pause()"
    command = one_py.argv(["-c", script])
    args = ["record", "-o", tmp_path / "x.folded", "--"] + command
    with kraitrun.Krait(args) as krait:
        mine = (os.nice(0), os.sched_getscheduler(0))
        assert tuple(map(int, krait.process.stdout.readline().split())) == mine
        assert os.sched_getscheduler(krait.pid) == os.SCHED_RR
        assert os.getpriority(os.PRIO_PROCESS, krait.pid) == -20
        krait.send(signal.SIGINT)
        krait.wait()


def test_duration_leaves_the_command_alone(one_py, tmp_path):
    """-d ends the recording before the command ends, which still does all of its work."""
    output = tmp_path / "run.folded"
    run, facts = record_burst(one_py, output, 2, 0, options=("-d", "1"))
    stacks = folded.having(folded.read(output), "burst")
    assert folded.total(stacks) <= 1.2 * FREQ_HZ
    assert run.code == 0 and facts["spent"] >= 2
