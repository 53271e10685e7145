# SPDX-License-Identifier: BSD-2-Clause
"""Names that a target makes up, in all that krait shows of a live one. (Through the formats, a million
of them: tests/trust/test_names.py.)"""
import pytest

import folded
import kraitrun
import namings
import targets
import terminal
from namings import madeup


@pytest.fixture(scope="module", autouse=True)
def a_static_python():
    if not namings.static_python():
        pytest.skip("no CPython that is one file, as Debian's is")


@pytest.mark.parametrize("seed", range(5))
def test_ps(tmp_path, seed):
    namings.check_ps(tmp_path, madeup.Names(seed))


@pytest.mark.parametrize("seed", range(3))
def test_record(tmp_path, seed):
    """Its table, its talk and its progress line on a terminal, and the folded stacks."""
    names = madeup.Names(seed)
    words = [names.points(0xD800) + "end" for _ in range(3)]
    script = namings.SPINS % (tuple(words),)
    args = [names.data(60, b"\0") + b"end" for _ in range(2)]
    path, comm = namings.path_of(tmp_path, names), names.data(15, b"\0")
    with namings.started(namings.static_python(), path, comm, args, script) as (pid, command):
        targets.wait_cpu([pid], 0.1)
        code, said = terminal.run(["record", "-v", "-p", pid, "-d", 2], cwd=tmp_path)
        run = kraitrun.record("-p", pid, "-d", 1, "-t", "--full-path", "-o", "-", seconds=1)
    assert code == 0, said
    # The progress line comes back to its beginning; the terminal ends a line with both.
    text = madeup.assert_harmless(said.replace(b"\r", b""))
    assert "samples of 1 Python process" in text and "self %" in text
    function = "%s (%s:" % (madeup.safe(words[0]), madeup.safe(words[1]))
    stacks = folded.parse(run.out)
    assert folded.total(stacks) == run.ledger.samples > 0
    lines = run.out.decode().splitlines()
    root = 'process %d:"%s"' % (pid, madeup.safe_bytes(b" ".join(command)).replace('"', "'"))
    assert all(line.startswith(root.replace(";", ":") + ";thread (") for line in lines)
    assert any(";" + function.replace(";", ":") in line for line in lines)
    assert any("): %s;" % madeup.safe(words[2]).replace(";", ":") in line for line in lines)
