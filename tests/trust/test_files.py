# SPDX-License-Identifier: BSD-2-Clause
"""Promise 7: output files are old or new, never torn. What tests/e2e/test_outputs.py does some times
is done many times here, at moments that differ in each run; the seed is printed."""
import os
import random
import sys

import pytest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(TREE, "tests", "e2e"))

import faults
import targets

KILLS = 200


@pytest.fixture
def dice():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture
def victim(tmp_path):
    return faults.Victim(tmp_path)


def test_killed_at_random_moments(victim, dice):
    new = faults.kill_at_random_moments(victim, KILLS, dice)
    print("%d kills left %d new files" % (KILLS, new))
    # Half of the kills leave one. Were it a tenth, none at all would have the chance 0.9^200 = 7e-10.
    assert new > 0


def test_killed_while_it_records(tmp_path, dice):
    if os.geteuid() != 0:
        pytest.skip("recording needs root")
    plain = [py for py in targets.SUPPORTED if py.is_plain and not py.root]
    with targets.Workload(plain[-1], "spin") as spin:
        new = faults.kill_while_it_records(spin.pid, tmp_path, 40, dice)
    print("%d of 40 left a new file" % new)
    # Nearly all do. Were it the half, none at all would have the chance 2^-40 = 9e-13.
    assert new > 0


def test_full_disk_at_random_sizes(victim, dice):
    if os.geteuid() != 0:
        pytest.skip("a disk of one's own needs root")
    both = sum(map(len, victim.new.values())) // 1024
    faults.fill_disks(victim, [8] + [dice.randrange(8, both + 40) for _ in range(60)])


def test_reader_that_leaves_at_random_bytes(victim, dice):
    faults.leave_at_random_bytes(victim, 100, dice)
