# SPDX-License-Identifier: BSD-2-Clause
"""Every command that the README shows runs as it is shown, on a workload in place of the reader's."""
import os
import re
import shlex
import subprocess

import kraitrun
from targets import Workload, command

README = os.path.join(kraitrun.TREE, "README.md")
# What the README's reader would have: a process, a program, a recording of it; and less patience here.
PID = "4711"
PROGRAM = "python3 app.py"


def examples():
    """The indented lines that begin with krait, without the remark behind two spaces."""
    with open(README, encoding="utf-8") as stream:
        lines = re.findall(r"^    (krait .+)$", stream.read(), re.M)
    return [re.split(r"\s{2,}", line)[0] for line in lines]


def test_example_through_ssh(one_py):
    """As it is shown, with this host at both ends."""
    with open(README, encoding="utf-8") as stream:
        (line,) = re.findall(r"^    ssh HOST (krait record .+? \| krait .+?)(?:\s{2,}|$)", stream.read(), re.M)
    line = re.sub(r"-d \d+", "-d 1", line).replace("krait re", shlex.quote(kraitrun.KRAIT) + " re")
    with Workload(one_py, "spin") as workload:
        run = subprocess.run(["sh", "-c", line], env=kraitrun.ENV, capture_output=True, check=True)
        workload.stop()
    assert b"spin" in run.stdout and run.stderr.count(b"krait: ledger: ") == 2


def test_examples_run_in_their_order(one_py, tmp_path):
    shown = examples()
    assert len(shown) >= 5
    for line in shown:
        with Workload(one_py, "spin") as workload:
            line = re.sub(r"-d \d+s?", "-d 1s", line.replace(PID, str(workload.pid)))
            program = " ".join(map(shlex.quote, command(one_py, "burst", 1, 0)))
            argv = shlex.split(line.replace(PROGRAM, program))
            run = kraitrun.krait(*argv[1:], cwd=str(tmp_path))
            workload.stop()
        assert run.code == 0, repr(run)
        for path in re.findall(r"-o (\S+)", line):
            assert os.path.getsize(os.path.join(str(tmp_path), path)) > 0, line
