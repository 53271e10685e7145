# SPDX-License-Identifier: BSD-2-Clause
"""`go tool pprof`, the reader that decides whether a .pb.gz is one."""
import re
import shutil
import subprocess

import pytest

import kraitrun

ROW = re.compile(r"\s*(?P<flat>[0-9]+)\s+\S+%\s+\S+%\s+(?P<cum>[0-9]+)\s+\S+%\s+(?P<name>.*)")


def top(path, *flags):
    """(total samples, [(flat, cumulated, function)]), the largest flat first."""
    if not shutil.which("go"):
        pytest.skip("no go tool (golang-go)")
    argv = ["go", "tool", "pprof", "-symbolize=none", "-sample_index=samples", "-nodecount=1000"]
    argv += ["-nodefraction=0", *flags, "-top", str(path)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=kraitrun.ENV)
    assert run.returncode == 0, run.stderr
    total = re.search(r"of ([0-9]+) total", run.stdout)
    assert total, run.stdout
    rows = [ROW.fullmatch(line) for line in run.stdout.splitlines()]
    return int(total[1]), [(int(r["flat"]), int(r["cum"]), r["name"]) for r in rows if r]
