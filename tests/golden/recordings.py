# SPDX-License-Identifier: BSD-2-Clause
"""The recordings that the golden files are about. Each golden file follows from what is written here
by the rules of the format, on paper; none was made by krait.
"""
import writer
from writer import code, info, line_per_unit, process, pybytes, pystr, sample, stack

PY27, PY38, PY310, PY311 = 0x020712F0, 0x030812F0, 0x030A0DF0, 0x030B07F0


def ledger(samples, **more):
    """Counters that balance: as many ticks as samples and losses."""
    lost = sum(more.get(name, 0) for name in writer.COUNTERS[1:11])
    return dict(more, SAMPLES=samples, TARGET_TICKS=samples + lost)


def lives(version=writer.VERSION):
    """A process with three threads (one never named), and its fork. Every function has unit k on
    its first line + k. The child's code objects have ids of their own and the same names.

        1: Main.run:23 < <module>:10      3: loads:7 < Pool.work:70
        2: Main.run:25 < <module>:10      4: <lambda>:1 < Main.run:23 < <module>:10
    """
    main, lines = "/srv/app/main.py", line_per_unit(10)
    pool = "/usr/lib/python3.11/concurrent/futures/thread.py"
    loads = "/opt/venv/lib/python3.11/site-packages/orjson/__init__.py"
    return writer.recording(
        [
            info(100, PY311, b"python3", b"python3", b"/srv/app/main.py", b"--tag", b'a;b"c'),
            process(writer.THREAD, 100, 100, comm=b"python3"),
            process(writer.THREAD, 100, 101, comm=b"pool;1"),
            code(0xA1, "<module>", "<module>", main, 1, lines, pid=100),
            code(0xA2, "run", "Main.run", main, 20, lines, pid=100),
            code(0xA3, "work", "Pool.work", pool, 69, lines, pid=100),
            code(0xA4, "loads", "loads", loads, 5, lines, pid=100),
            code(0xA5, "<lambda>", "<lambda>", "<string>", 1, lines, pid=100),
            stack(1, (0xA2, 3), (0xA1, 9), pid=100),
            sample(1, 100, 100),
            stack(3, (0xA4, 2), (0xA3, 1), pid=100),
            sample(3, 100, 101, weight=4),
            sample(1, 100, 100),
            stack(2, (0xA2, 5), (0xA1, 9), pid=100),
            sample(2, 100, 100, weight=2),
            process(writer.FORK, 200, parent=100, comm=b"python3"),
            stack(4, (0xA5, 0), (0xA2, 3), (0xA1, 9), pid=100),
            sample(4, 100, 100),
            sample(3, 100, 102),
            process(writer.THREAD, 200, 200, comm=b"python3"),
            code(0xB1, "<module>", "<module>", main, 1, lines, pid=200),
            code(0xB2, "run", "Main.run", main, 20, lines, pid=200),
            stack(5, (0xB2, 3), (0xB1, 9), pid=200),
            sample(5, 200, 200, weight=5),
            sample(1, 100, 100),
            process(writer.EXIT, 100),
        ],
        counters=ledger(16),
        version=version,
    )


# (name, qualname, file) of one code object each; the n-th is sampled n times.
HOSTILE = [
    (None, pystr("na\xefve"), "f.py"),
    (None, pystr("\u4e2d\u6587", 2), "f.py"),
    (None, pystr("\U0001d4b3y", 4), "f.py"),
    (None, pystr([0x61, 0xD800, 0x62], 2), "f.py"),
    (None, pystr([0x110000], 4), "f.py"),
    (None, "x\nFORGED_ROOT;forged_leaf 1000000", "f.py"),
    (None, "\x1b[2J\x7f\x9b", "f.py"),
    (None, pystr("\u202e\u2066\u200f", 2), "f.py"),
    (None, pystr("long", 1, True), "f.py"),
    ("plain", None, "f.py"),
    ("name", "Q.name", "f.py"),
    (None, None, pystr(None)),
    (None, "named", "/a\n;b/c d.py"),
    (pybytes("na\xefve\u4e2d".encode()), None, pybytes(b"f.py")),
    (pybytes(b"not\xffutf\xe2\x82-8\n"), None, pybytes("\xe9.py".encode())),
]


def names(version=writer.VERSION):
    """Names that a target may make up to be shown as something else."""
    records = [info(1, PY311, b"p", b'py\xff\xe2\x80\xae;\x1b[31m "x"')]
    for n, (name, qualname, file) in enumerate(HOSTILE, 1):
        name, qualname = (pystr(None) if s is None else s for s in (name, qualname))
        records.append(code(n, name, qualname, file, 1, line_per_unit(1), pid=1))
        records.append(stack(n, (n, 0), pid=1))
        records.append(sample(n, 1, 1, weight=n))
    return writer.recording(records, counters=ledger(120), version=version)


def lines(version=writer.VERSION):
    """The four generations of line tables; the name says what each is about."""
    lnotab = bytes([6, 1, 2, 0xFD, 255, 0, 1, 10])
    pep626 = bytes([4, 0, 0, 127, 2, 3, 2, 0x80, 2, 1])
    unsigned = bytes([3, 1, 2, 0xFD, 255, 0, 1, 10])
    # Codes 15, 11 (2 units), 13 (+100, 8 units), 14 (-30 and three varints), 5.
    pep657 = bytes([0xF8, 0xD9, 0, 0, 0xEF, 0x48, 3, 0xF0, 0x3D, 0, 1, 2, 0xA8, 0])
    tables = [
        # (pid, name, kind, first line, table, units)
        #   lnotab: line 5; from byte 6, unit 3: 6; from byte 8, unit 4: 3; from byte 264, unit
        #   132: 13, and for ever.
        (38, "lnotab", writer.LNOTAB, 5, lnotab, [-1, 0, 2, 3, 4, 131, 132, 9999]),
        #   pep626: units 0, 1: 10; an empty range of +127; unit 2: 140; unit 3: none; unit 4: 141.
        #   unsigned: units are bytes. Line 5; from 3: 6; from 5: 259; from 261: 269, and for ever.
        (27, "unsigned", writer.UNSIGNED, 5, unsigned, [-1, 2, 3, 4, 5, 260, 261, 9999]),
        (310, "pep626", writer.PEP626, 10, pep626, [0, 1, 2, 3, 4, 5]),
        #   pep657: unit 0 none; 1, 2: 2; 3 to 10: 102; 11, 12: 72; 13 is beyond.
        (311, "pep657", writer.PEP657, 1, pep657, [-1, 0, 1, 2, 3, 10, 11, 12, 13]),
    ]
    versions = {27: PY27, 38: PY38, 310: PY310, 311: PY311}
    records, stack_id = [], 0
    for pid, name, kind, first_line, table, units in tables:
        records.append(info(pid, versions[pid], b"p", b"python"))
        qualname = name if kind == writer.PEP657 else pystr(None)
        records.append(code(pid, name, qualname, "/x/t.py", first_line, table, kind, pid))
        for unit in units:
            stack_id += 1
            records += [stack(stack_id, (pid, unit), pid=pid), sample(stack_id, pid, pid)]
    # No table at all: up to 3.9 all is on the first line.
    records.append(code(1, "empty", pystr(None), "/x/t.py", 7, b"", writer.LNOTAB, 38))
    records += [stack(99, (1, 40), pid=38), sample(99, 38, 38)]
    return writer.recording(records, counters=ledger(32), version=version)


def markers(version=writer.VERSION):
    """What could not be seen: cut stacks, unreadable frames, lost code objects, lost stacks."""
    table = line_per_unit(4)
    records = [
        info(7, PY311, b"p", b"python"),
        code(0xA, "a", "a", "/x/t.py", 10, table, pid=7),
        code(0xB, "b", "b", "/x/t.py", 20, table, pid=7),
        stack(1, (0xA, 0), (0xB, 0), flags=writer.TRUNCATED, pid=7),
        sample(1, 7, 7, weight=3, flags=writer.TRUNCATED),
        stack(2, (0xA, 1), (0, 0, writer.mark("CODE_NOT_CODE")), (0xB, 1), pid=7),
        sample(2, 7, 7),
        stack(3, (0xA, 2), (0, 0, writer.mark("FRAME_UNREADABLE")), pid=7),
        sample(3, 7, 7, weight=2),
        stack(4, (0xDEAD, 0), (0xB, 2), pid=7),
        sample(4, 7, 7),
        stack(5, (0, 0, writer.mark("FRAME_CYCLE")), pid=7),
        sample(5, 7, 7),
        # A function that calls itself what krait says of a frame: it has a file.
        code(0xC, "c", "[truncated]", "/x/t.py", 1, table, pid=7),
        stack(6, (0xC, 0), pid=7),
        sample(6, 7, 7),
        # Its stack never came.
        sample(77, 7, 7, weight=4),
        # Its process never did.
        code(0xC, "c", "[truncated]", "/x/t.py", 1, table, pid=8),
        stack(6, (0xC, 0), pid=8),
        sample(6, 8, 8),
    ]
    counters = ledger(
        14,
        NO_PYTHON_THREAD=5,
        RING_FULL=2,
        TRUNCATED=3,
        CODE_NOT_CODE=1,
        FRAME_UNREADABLE=2,
        FRAME_CYCLE=1,
    )
    return writer.recording(records, freq_hz=99, duration_ns=60000000000, counters=counters, version=version)


def empty(version=writer.VERSION):
    return writer.recording([], duration_ns=0, version=version)


def interps(version=writer.VERSION):
    """One thread in two interpreters, and a collector at work; the names come after the samples, that
    of Python before or after the kernel's."""
    table = line_per_unit(4)
    records = [
        info(7, PY311, b"p", b"python"),
        code(0xA, "a", "a", "/x/t.py", 10, table, pid=7),
        code(0xB, "b", "b", "/x/t.py", 20, table, pid=7),
        stack(1, (0xA, 0), (0xB, 0), pid=7),
        sample(1, 7, 8, weight=3),
        stack(2, (0xA, 0), (0xB, 0), interp=5, pid=7),
        sample(2, 7, 8, weight=2),
        stack(3, (0xB, 1), flags=writer.GC, pid=7),
        sample(3, 7, 7),
        process(writer.NAME, 7, 7, text="Ma\u00efn;\n".encode()),
        process(writer.THREAD, 7, 7, comm=b"python"),
        process(writer.THREAD, 7, 8, comm=b"worker"),
    ]
    return writer.recording(records, counters=ledger(6), version=version)


def outside(version=writer.VERSION):
    """Threads outside of Python beside one that is in it, and as a root of a function that calls
    itself so. An older krait counted such ticks as losses; see markers()."""
    mark = (0, 0, writer.OUTSIDE)
    records = [
        info(7, PY311, b"p", b"python"),
        code(0xA, "a", "[outside of Python]", "/x/t.py", 10, line_per_unit(4), pid=7),
        stack(1, (0xA, 1), pid=7),
        sample(1, 7, 7, weight=2),
        stack(2, mark, pid=7),
        process(writer.THREAD, 7, 8, comm=b"blas"),
        sample(2, 7, 8, weight=3),
        sample(2, 7, 7),
        # It looks like one, and is none: the mark is of no frame that has a caller.
        stack(3, mark, (0xA, 2), pid=7),
        sample(3, 7, 7),
    ]
    return writer.recording(records, counters=ledger(7, STARTING=1), version=version)


def too_much(version=writer.VERSION):
    """The reason whose mark has changed its number since version 3."""
    records = [
        info(7, PY311, b"p", b"python"),
        code(0xA, "a", "a", "/x/t.py", 10, line_per_unit(4), pid=7),
        stack(1, (0xA, 0), (0, 0, writer.mark("CODE_TOO_MUCH", version)), pid=7),
        sample(1, 7, 7, weight=2),
    ]
    return writer.recording(records, counters=ledger(2, CODE_TOO_MUCH=1), version=version)


FAULTS = b"page-faults", b"count", 16  # an event's name, unit and period


def two_events(*more):
    """Page faults, which are event 3, beside the CPU's clock; of version 4 alone."""
    records = [
        info(7, PY311, b"p", b"python"),
        writer.event(3, *FAULTS),
        code(1, "f", "f", "f.py", 1, line_per_unit(2), pid=7),
        stack(1, (1, 0), (1, 1), pid=7),
        sample(1, 7, 7, weight=2),
        writer.sample_of_event(1, 7, 7, 3, 5),
        stack(2, (1, 1), pid=7),
        writer.sample_of_event(2, 7, 7, 3, 2),
        *more,
        writer.event(3, *FAULTS, {"TARGET_TICKS": 9, "SAMPLES": 7, "RING_FULL": 2}),
    ]
    return writer.recording(records, counters=ledger(2))


ALL = {"too_much": too_much, "outside": outside, "lives": lives, "interps": interps, "names": names, "lines": lines, "markers": markers, "empty": empty}
