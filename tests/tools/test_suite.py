# SPDX-License-Identifier: BSD-2-Clause
"""The sum of the suites is that of all of them, and red if one is, whichever it is."""
import os
import subprocess
import sys

import pytest

import suite

RUNNER = suite.__file__
# In place of make: every suite is green with two tests, but for the one in $RED.
FAKE_MAKE = """#!/bin/sh
for target; do :; done
name=${target#test-}
name=${name%-short}
[ -n "$MEET" ] && [ "$name" = e2e ] && echo here > "$MEET"
[ -n "$MEET" ] && [ "$name" = lint ] && read there < "$MEET"
[ "$name" = lint ] && exec test "$RED" != lint
if [ "$name" = "$RED" ]; then
    [ "$HOW" = counted ] && echo "$name 1 1 0" >> "$KRAIT_TALLY"
    exit 2
fi
echo "$name 2 0 0" >> "$KRAIT_TALLY"
"""


def run_all(folder, red, how, meet=""):
    make = folder / "make"
    make.write_text(FAKE_MAKE)
    make.chmod(0o755)
    env = dict(os.environ, MAKE=str(make), RED=red, HOW=how, MEET=meet)
    command = [sys.executable, RUNNER, "all"]
    run = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=60)
    return run.returncode, run.stdout.splitlines()


def test_all_green(tmp_path):
    status, lines = run_all(tmp_path, "none", "")
    assert status == 0
    assert lines[-1] == "%d passed, 0 failed" % (2 * len(suite.SUITES) - 1)


@pytest.mark.parametrize("how", ["counted", "broken"])
@pytest.mark.parametrize("red", suite.SUITES)
def test_one_red(tmp_path, red, how):
    """Whether it has counted its failures or died before it could."""
    status, lines = run_all(tmp_path, red, how)
    assert status == 1
    assert [line for line in lines if line.startswith("== ") and line.count(" ") == 1] == [
        "== " + name for name in suite.SUITES + ["all"]
    ]
    green = 2 * len(suite.SUITES) - 1 - (1 if red == "lint" else 2)
    passed = green + (how == "counted" and red != "lint")
    assert lines[-1] == "%d passed, 1 failed" % passed


def test_the_longest_runs_beside_the_others(tmp_path):
    """The first suite waits for it, and it for the first."""
    meet = tmp_path / "meet"
    os.mkfifo(meet)
    assert run_all(tmp_path, "none", "", str(meet))[0] == 0


SHOWS_SIGNALS = """
import signal
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    assert signal.getsignal(number) != signal.SIG_IGN, number
"""


def test_a_suite_has_its_signals(tmp_path):
    """Also when `make test` runs in the background of a script, or under nohup."""
    script = tmp_path / "shows.py"
    script.write_text(SHOWS_SIGNALS)
    ignoring = ["sh", "-c", "trap '' INT QUIT HUP; exec \"$@\"", "sh"]
    command = [sys.executable, RUNNER, "script", "signals", str(script)]
    env = {name: value for name, value in os.environ.items() if name != "KRAIT_TALLY"}
    run = subprocess.run(ignoring + command, env=env, stdout=subprocess.PIPE, text=True)
    assert run.stdout.splitlines()[-1] == "signals: 1 passed, 0 failed, 0 skipped"
