# SPDX-License-Identifier: BSD-2-Clause
"""krait ps and krait doctor: what a person sees first."""
import contextlib
import json
import re
import subprocess

import pytest

import kraitrun
import targets

REFUSED = "can't be profiled: "


@pytest.fixture(scope="module")
def seen(old_python, trace_refs_python):
    """(the waiting processes by interpreter name, the lines of `krait ps`)."""
    with contextlib.ExitStack() as started:
        waiting = {
            py.name: started.enter_context(targets.Workload(py, "idle")) for py in targets.EVERY
        }
        run = kraitrun.krait("ps")
        as_json = kraitrun.krait("ps", "--json")
    assert run.code == 0, run
    return waiting, run, as_json


def entry_of(seen, pid):
    """The one line that begins with the process id, and the reason where one follows it."""
    lines = seen[1].out.decode().splitlines()
    found = [i for i, line in enumerate(lines) if line.split()[:1] == [str(pid)]]
    assert len(found) == 1, lines
    following = lines[found[0] + 1 : found[0] + 2]
    return lines[found[0]], "".join(line for line in following if REFUSED in line)


def versions(py):
    """How a version may be shown: a micro of 0 also means that it is not known."""
    full, minor = "%d.%d.%d" % py.version, "%d.%d" % py.minor
    return [full] if py.version[2] else [full, minor]


@pytest.mark.parametrize("python", targets.SUPPORTED, ids=lambda py: py.name)
def test_ps_lists(seen, python):
    """Version, thread count (idle.py has three) and command."""
    line, reason = entry_of(seen, seen[0][python.name].pid)
    assert line.split()[1] in versions(python)
    assert line.split()[2] == "3"
    assert line.endswith("idle.py")
    assert reason == ""


def test_ps_says_why_not(seen, old_python):
    pid, version = old_python
    line, reason = entry_of(seen, pid)
    assert line.split()[1] == version
    assert "CPython 3.5: krait reads" in reason


def test_ps_names_a_build_that_it_does_not_read(seen, trace_refs_python):
    pid, version = trace_refs_python
    line, reason = entry_of(seen, pid)
    assert line.split()[1] == version
    assert "CPython 2.7 built with Py_TRACE_REFS" in reason


def test_ps_json(seen):
    waiting, _, run = seen
    if b"--json" not in kraitrun.krait("ps", "--help").out:
        pytest.skip("krait ps has no --json yet")
    assert (run.code, run.err) == (0, "")
    text = json.dumps(json.loads(run.out))
    for workload in waiting.values():
        assert str(workload.pid) in text


def test_ps_has_nothing_but_pythons(seen):
    waiting, run, _ = seen
    assert all(line.startswith("krait: ") for line in run.err.splitlines())
    assert "kthreadd" not in run.out.decode() and "systemd" not in run.out.decode()
    assert len(run.out.decode().splitlines()) > len(waiting)


def test_kernel_that_is_too_old():
    """Before anything is loaded. uname26 makes the kernel say that it is 2.6: setarch(8)."""
    for args in (["doctor"], ["record", "-a", "-d", "1", "-o", "/dev/null", "-f", "folded"]):
        command = ["setarch", "--uname-2.6", kraitrun.KRAIT] + args
        run = subprocess.run(command, env=kraitrun.ENV, capture_output=True, text=True, check=False)
        assert run.returncode == 4, run
        said = run.stdout + run.stderr
        assert re.search(r"Linux 2\.6\.\S+: krait needs 5\.15 or later$", said, re.MULTILINE), said
    assert said.count("\n") == 1, said


def test_doctor():
    """Exit status 0 on a host that is good enough for these tests."""
    run = kraitrun.krait("doctor")
    assert (run.code, run.err) == (0, ""), run
    assert len(run.out.decode().splitlines()) >= 3


def test_every_wanted_python_is_here():
    """What is not tested says so: a missing interpreter is a skip with its reason."""
    missing = targets.pythons.missing(targets.EVERY)
    missing += targets.pythons.missing_builds(targets.EVERY)
    if missing:
        pytest.skip("; ".join(missing))
