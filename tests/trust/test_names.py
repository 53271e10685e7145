# SPDX-License-Identifier: BSD-2-Clause
"""Promise 5: no output injection. A million random names through every format and back through a
reader of it, and random command lines and file names of real processes through krait ps."""
import os
import random
import subprocess
import sys

import pytest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path += [os.path.join(TREE, "tests", "e2e"), os.path.join(TREE, "tests", "golden")]

import madeup
import kraitrun
import namings

NAMES = 1000000
BATCH = 4000  # functions, each of two names


def test_a_million_names(tmp_path):
    path, pprof = tmp_path / "x.krait", tmp_path / "x.pb.gz"

    def run(data, *args):
        path.write_bytes(data)
        argv = [kraitrun.KRAIT, "report", path, *args]
        run = subprocess.run(argv, capture_output=True, cwd=tmp_path, timeout=120, check=True)
        return run.stdout, run.stderr, pprof.read_bytes()

    start, done = random.randrange(1 << 32), 0
    while done < NAMES:
        print("seed", start + done)
        done += madeup.check_everywhere(run, start + done, BATCH)


def test_processes_of_any_name(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("to look at processes takes root")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    for i in range(100):
        namings.check_ps(tmp_path, madeup.Names(seed + i))
