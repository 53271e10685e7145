# SPDX-License-Identifier: BSD-2-Clause
"""krait ps and krait doctor: what a person sees first."""
import contextlib
import json

import pytest

import kraitrun
import targets


@pytest.fixture(scope="module")
def seen():
    """(the waiting processes by interpreter name, the lines of `krait ps`)."""
    with contextlib.ExitStack() as started:
        waiting = {
            py.name: started.enter_context(targets.Workload(py, "idle")) for py in targets.EVERY
        }
        run = kraitrun.krait("ps")
        as_json = kraitrun.krait("ps", "--json")
    assert run.code == 0, run
    return waiting, run, as_json


def line_of(seen, py):
    """The one line that has the process id as a word."""
    waiting, run, _ = seen
    pid = str(waiting[py.name].pid)
    lines = [line for line in run.out.decode().splitlines() if pid in line.split()]
    assert len(lines) == 1, run.out.decode()
    return lines[0]


@pytest.mark.parametrize("python", targets.SUPPORTED, ids=lambda py: py.name)
def test_ps_lists(seen, python):
    """Version, thread count (idle.py has three) and command."""
    line = line_of(seen, python)
    assert "%d.%d" % python.minor in line
    assert "3" in line.split()
    assert "idle.py" in line
    assert "not supported" not in line


@pytest.mark.parametrize(
    "python", [p for p in targets.EVERY if p.minor < (3, 8)], ids=lambda py: py.name
)
def test_ps_says_why_not(seen, python):
    line = line_of(seen, python)
    assert "%d.%d" % python.minor in line
    assert "not supported" in line
    assert "3.8" in line, "the reason"


def test_ps_json(seen):
    waiting, _, run = seen
    assert (run.code, run.err) == (0, "")
    text = json.dumps(json.loads(run.out))
    for workload in waiting.values():
        assert str(workload.pid) in text


def test_ps_has_nothing_but_pythons(seen):
    waiting, run, _ = seen
    assert run.err == ""
    assert "kthreadd" not in run.out.decode() and "systemd" not in run.out.decode()
    assert len(run.out.decode().splitlines()) > len(waiting)


def test_doctor():
    """Exit status 0 on a host that is good enough for these tests."""
    run = kraitrun.krait("doctor")
    assert (run.code, run.err) == (0, ""), run
    assert len(run.out.decode().splitlines()) >= 3


def test_every_wanted_minor_is_here():
    """What is not tested says so: a missing interpreter is a skip with its reason."""
    missing = targets.pythons.missing(targets.EVERY)
    if missing:
        pytest.skip("; ".join(missing))
