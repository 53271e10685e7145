# SPDX-License-Identifier: BSD-2-Clause
"""pprof as `go tool pprof` reads it: the reader that decides whether a .pb.gz is one."""
import os
import re
import shutil
import subprocess

import pytest
import recordings

MAIN = "/srv/app/main.py"
POOL = "/usr/lib/python3.11/concurrent/futures/thread.py"
LOADS = "/opt/venv/lib/python3.11/site-packages/orjson/__init__.py"
PERIOD_NS = 10000000  # 100 Hz
COMM = {"comm": ["python3"]}

MODULE, RUN23, RUN25 = ("<module>", MAIN, 10, 1), ("Main.run", MAIN, 23, 20), ("Main.run", MAIN, 25, 20)
LAMBDA = ("<lambda>", "<string>", 1, 1)
JSON = [("loads", LOADS, 7, 5), ("Pool.work", POOL, 70, 69)]


def labels(pid, tid, thread):
    named = {"thread": [thread]} if thread else {}
    return {**COMM, **named, "pid": ["%d" % pid], "tid": ["%d" % tid]}


# The recording "lives": (samples, frames leaf first as (name, file, line, first line), labels).
LIVES = [
    (3, [RUN23, MODULE], labels(100, 100, "python3")),
    (2, [RUN25, MODULE], labels(100, 100, "python3")),
    (1, [LAMBDA, RUN23, MODULE], labels(100, 100, "python3")),
    (4, JSON, labels(100, 101, "pool;1")),
    (1, JSON, labels(100, 102, None)),
    (5, [RUN23, MODULE], labels(200, 200, "python3")),
]


def raw(krait, data, *options):
    """What go tool pprof -raw makes of the recording."""
    if not shutil.which("go"):
        pytest.skip("no go tool (golang-go)")
    path = os.path.join(krait.folder, "x.pb.gz")
    status, out, err = krait.report(krait.write(data), "-q", *options, "-o", path)
    assert (status, out, err) == (0, b"", b"")
    argv = ["go", "tool", "pprof", "-symbolize=none", "-raw", path]
    env = dict(os.environ, PPROF_TMPDIR=krait.folder, HOME=krait.folder, GOFLAGS="", TZ="UTC")
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env)
    assert run.returncode == 0, run.stderr
    return run.stdout


def parse_locations(text):
    """{id: (name, file, line, first line)}; every one has address 0 and mapping 1."""
    found = {}
    for line in text.strip().splitlines():
        match = re.fullmatch(r"\s*(\d+): 0x0 M=1 (.*) (\S*):(\d+)(?::0)? s=(\d+)(?:\(.*\))?", line)
        assert match, line
        found[int(match[1])] = (match[2], match[3], int(match[4]), int(match[5]))
    return found


def parse_samples(text, locations):
    found = []
    for line in text.strip("\n").splitlines()[1:]:
        match = re.fullmatch(r"\s*(\d+)\s+(\d+): ([\d ]*)", line)
        if match:
            frames = [locations[int(n)] for n in match[3].split()]
            found.append((int(match[1]), int(match[2]), frames, {}))
        else:
            for key, value in re.findall(r"(\w+):\[([^\]]*)\]", line):
                assert key not in found[-1][3], "one value per key"
                found[-1][3][key] = [value]
    return found


def parse(text):
    head, rest = text.split("Samples:\n", 1)
    samples, rest = rest.split("Locations\n", 1)
    locations, mappings = rest.split("Mappings\n", 1)
    return head, samples, parse_samples(samples, parse_locations(locations)), mappings


def by_text(rows):
    return sorted(rows, key=repr)


def test_samples(krait):
    _, _, samples, _ = parse(raw(krait, recordings.lives()))
    want = [(cnt, cnt * PERIOD_NS, frames, keys) for cnt, frames, keys in LIVES]
    assert by_text(samples) == by_text(want)


def test_function_merges_lines(krait):
    _, _, samples, _ = parse(raw(krait, recordings.lives(), "--function"))
    total = {}
    for cnt, _, frames, keys in samples:
        assert all(line == first for _, _, line, first in frames)
        key = (tuple(name for name, *_ in frames), keys["tid"][0])
        total[key] = total.get(key, 0) + cnt
    assert total == {
        (("Main.run", "<module>"), "100"): 5,
        (("<lambda>", "Main.run", "<module>"), "100"): 1,
        (("loads", "Pool.work"), "101"): 4,
        (("loads", "Pool.work"), "102"): 1,
        (("Main.run", "<module>"), "200"): 5,
    }


def test_no_lineno(krait):
    _, _, samples, _ = parse(raw(krait, recordings.lives(), "--no-lineno"))
    assert {line for _, _, frames, _ in samples for _, _, line, _ in frames} == {0}


def test_head(krait):
    head, samples, _, mappings = parse(raw(krait, recordings.lives()))
    assert "PeriodType: cpu nanoseconds\n" in head
    assert "Period: %d\n" % PERIOD_NS in head
    assert "Time: 2023-11-14 22:13:20.123456789 +0000 UTC\n" in head
    assert re.search(r"^Duration: 2\.5s?$", head, re.M), head
    assert samples.splitlines()[0] == "samples/count cpu/nanoseconds[dflt]"
    # Function names, files and lines are there: nothing for pprof to look for in binaries.
    assert re.fullmatch(r"1: 0x0/0x0/0x0\s+\[FN\]\[FL\]\[LN\]\s*", mappings), mappings


def test_markers(krait):
    _, _, samples, _ = parse(raw(krait, recordings.markers()))
    names = {tuple(name for name, *_ in frames): cnt for cnt, _, frames, keys in samples if keys["pid"] == ["7"]}
    assert names == {
        ("a", "b", "[truncated]"): 3,
        ("a", "[unreadable: not a code object]", "b"): 1,
        ("a", "[unreadable: frame not readable]"): 2,
        ("[unreadable: code object lost]", "b"): 1,
        ("[unreadable: frame list goes in a circle]",): 1,
        ("[truncated]",): 1,
    }


def test_hostile_names_stay_names(krait):
    _, _, samples, _ = parse(raw(krait, recordings.names()))
    names = {cnt: frames[0][0] for cnt, _, frames, _ in samples}
    assert names[1] == "na\xefve" and names[2] == "\u4e2d\u6587" and names[3] == "\U0001d4b3y"
    assert names[6] == r"x\x0aFORGED_ROOT;forged_leaf 1000000"
    assert len(names) == len(recordings.HOSTILE)


def test_same_recording_same_bytes(krait):
    path = krait.write(recordings.lives())
    for name in ("a.pb.gz", "b.pb.gz"):
        assert krait.report(path, "-q", "-o", name)[0] == 0
    read = [open(os.path.join(krait.folder, n), "rb").read() for n in ("a.pb.gz", "b.pb.gz")]
    assert read[0] == read[1] and read[0][:2] == b"\x1f\x8b"
