# SPDX-License-Identifier: BSD-2-Clause
"""What a file of version 4 may be besides whole and known: cut anywhere, damaged, or of a newer krait.
What is whole of it is reported, with exit status 5, and one line says what is missing.
"""
import re
import struct

import pytest
import recordings
import writer
from test_refusals import MALFORMED
from writer import code, info, line_per_unit, process, sample, stack

CUT = 5
LINES = [b'process 7:"python";f (f.py:2);f (f.py:1) %d\n' % n for n in range(5)]
COUNTERS = {"TARGET_TICKS": 4, "SAMPLES": 4}


def first():
    return [
        info(7, recordings.PY311, b"p", b"python"),
        code(1, "f", "f", "f.py", 1, line_per_unit(2), pid=7),
        stack(1, (1, 0), (1, 1), pid=7),
        sample(1, 7, 7),
    ]


def tail(counters=COUNTERS):
    values = [dict(counters).get(name, 0) for name in writer.COUNTERS]
    return writer.tail(2500000000, writer.pairs_of(values))


def raws(middle=b""):
    """Blocks of a sample each; what is in the middle is in the one of the third."""
    samples = sample(1, 7, 7), middle + sample(1, 7, 7), sample(1, 7, 7)
    return [writer.head(), b"".join(first()), *samples, tail()]


def bytes_of(blocks):
    """Where a file of so many of the blocks ends."""
    return len(writer.file_of(raws()[:blocks]))


def assert_cut(krait, data, blocks, says, args=()):
    """So many blocks are whole: the head, and one or more with a sample each."""
    status, out, err = krait.report(krait.write(data), "-o", "-", *args)
    lines = err.decode().splitlines()
    assert status == CUT, err
    assert out == (LINES[blocks - 1] if blocks > 1 else b"")
    assert lines[0].startswith("krait: report: read ") and says in lines[0], err
    assert "the ledger" in lines[0] and "missing" in lines[0], err
    assert re.search(r"\b0\.%d s\b" % (blocks - 1), lines[0]), err  # when the last whole block was written
    assert lines[1:] == ["krait: ledger: none: the counters come last in a recording; %d samples were read" % (blocks - 1)]


def test_the_whole_one_is_good(krait):
    status, out, err = krait.report(krait.write(writer.file_of(raws())), "-o", "-")
    ledger = b"krait: ledger: 4 ticks on targets = 4 samples + 0 accounted for\n"
    assert (status, out, err) == (0, LINES[4], ledger)


@pytest.mark.parametrize("blocks", range(1, 6))
def test_cut_behind_a_block_and_within_the_next(krait, blocks):
    """tests/unit/test_recording_blocks.c cuts it at every byte."""
    data, end, after = writer.file_of(raws()), bytes_of(blocks), bytes_of(blocks + 1)
    for length in (end, end + 1, end + 23, end + 24, after - 1):
        assert_cut(krait, data[:length], blocks, "after %d whole blocks" % blocks)


def test_quiet_says_what_is_missing_all_the_same(krait):
    path = krait.write(writer.file_of(raws()[:3]))
    status, out, err = krait.report(path, "-q", "-o", "-")
    assert (status, out, err.count(b"\n")) == (CUT, LINES[2], 1) and b"missing" in err


def test_outputs_of_a_cut_one_are_written(krait, tmp_path):
    status, _, _ = krait.report(krait.write(writer.file_of(raws()[:3])), "-o", "x.folded", "-o", "x.pb.gz")
    assert status == CUT and (tmp_path / "x.folded").read_bytes() == LINES[2]
    assert (tmp_path / "x.pb.gz").stat().st_size


def test_it_lasted_until_its_last_block(krait):
    _, out, _ = krait.report(krait.write(writer.file_of(raws()[:5])))
    assert out.startswith(b"4 samples, 1 process, 1 thread, 0.4 s at 100 Hz\n")


def blocks_with(third):
    """The file with this in the place of its third block."""
    data = writer.file_of(raws())
    return data[: bytes_of(2)] + third + data[bytes_of(3) :]


RAW = sample(1, 7, 7)
HUGE = 1 << 20
DAMAGED = {
    "its checksum does not match": blocks_with(writer.block(2, RAW)[:-1] + b"\x99"),
    "it belongs elsewhere": blocks_with(writer.block(3, RAW)),
    "a block of before": blocks_with(writer.block(1, RAW)),
    "more than it says": blocks_with(writer.block(2, RAW + RAW, raw_bytes=len(RAW))),
    "less than it says": blocks_with(writer.block(2, RAW, raw_bytes=len(RAW) + 8)),
    "a bomb": blocks_with(writer.block(2, bytes(HUGE * 64), raw_bytes=HUGE)),
    "a bomb that says so": blocks_with(writer.block(2, bytes(HUGE + 8))),
    "no deflate": blocks_with(writer.block(2, RAW, packed=b"\xff" * 40)),
    "two streams": blocks_with(writer.block(2, RAW, packed=writer.deflated(RAW) + b"\0")),
    "half a stream": blocks_with(writer.block(2, RAW, packed=writer.deflated(RAW)[:-2])),
    "no records": blocks_with(writer.block(2, b"")),
    "no whole record": blocks_with(writer.block(2, RAW[:-8])),
    "a second head": blocks_with(writer.block(2, writer.head() + RAW)),
    "a tail before the end": blocks_with(writer.block(2, tail() + RAW)),
    "a tail of more pairs than it has": blocks_with(
        writer.block(2, writer.record(writer.TAIL, struct.pack("=QIIQQ", 1, 2, 0, 0, 0)))
    ),
}
SAYS = {"a bomb that says so": "lengths", "no records": "lengths", "it belongs elsewhere": "elsewhere"}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_block_and_what_follows_is_not_read(krait, what):
    says = what if what.startswith("its ") else SAYS.get(what, "block 2 is damaged")
    assert_cut(krait, DAMAGED[what], 2, says)
    assert_cut(krait, DAMAGED[what], 2, "block 2 is damaged")


@pytest.mark.parametrize("what", sorted(set(MALFORMED) - {"unknown kind", "kind 0"}))
def test_a_malformed_record_takes_its_block(krait, what):
    """The sample before it in the block is not read either."""
    data = blocks_with(writer.block(2, RAW + MALFORMED[what] + RAW))
    assert_cut(krait, data, 2, "a record in it is malformed")


def test_blocks_that_changed_places(krait):
    data = writer.file_of(raws())
    third, fourth = data[bytes_of(2) : bytes_of(3)], data[bytes_of(3) : bytes_of(4)]
    assert_cut(krait, data[: bytes_of(2)] + fourth + third + data[bytes_of(4) :], 2, "elsewhere")
    assert_cut(krait, data[: bytes_of(2)] + fourth + data[bytes_of(4) :], 2, "elsewhere")


def test_no_head(krait):
    status, out, err = krait.report(krait.write(writer.file_of(raws()[1:])), "-o", "-")
    assert (status, out) == (1, b"") and b"damaged head" in err and err.count(b"\n") == 1


# ---- Of a newer krait ----


def longer(record_, more=b"\x55" * 8):
    """The record with something that this krait does not know at its end."""
    kind, flags, size = struct.unpack_from("=HHI", record_)
    return struct.pack("=HHI", kind, flags, size + len(more)) + record_[8:] + more


def newer(extra_pairs=(), lost=0):
    pairs = writer.pairs_of([dict(COUNTERS, TARGET_TICKS=4 + lost).get(n, 0) for n in writer.COUNTERS])
    unknown = [writer.record(kind, b"\x77" * 32) for kind in (0, 9, 0x7FFF)] + [process(99, 7)]
    known = [longer(r) for r in first()]
    blocks = [longer(writer.head()), unknown[0] + b"".join(known) + unknown[1], longer(sample(1, 7, 7)) + unknown[3]]
    blocks += [b"".join(unknown), unknown[2], sample(1, 7, 7), sample(1, 7, 7)]
    last = writer.tail(2500000000, pairs + list(extra_pairs))
    return writer.file_of(blocks + [longer(unknown[2]) + longer(last)])


def told(err):
    lines = err.decode().splitlines()
    found = [re.search(r"newer krait: (\d+) records and (\d+) counters", line) for line in lines]
    assert sum(map(bool, found)) == 1 and found[0], lines
    return tuple(map(int, found[0].groups())), lines[1:]


def test_what_is_not_known_is_passed_over_and_told_once(krait):
    status, out, err = krait.report(krait.write(newer()), "-o", "-")
    assert (status, out) == (0, LINES[4])
    assert told(err) == ((9, 0), ["krait: ledger: 4 ticks on targets = 4 samples + 0 accounted for"])


def test_reasons_that_are_not_known_keep_the_ledger_balanced(krait):
    more = [writer.pair(40, writer.LOSS, 3), writer.pair(60000, writer.LOSS, 2)]
    more += [writer.pair(41, writer.FAULT, 8), writer.pair(42, writer.TOTAL, 9), writer.pair(43, 77, 5)]
    status, out, err = krait.report(krait.write(newer(more, lost=5)), "-o", "-")
    assert (status, out) == (0, LINES[4])
    counts, lines = told(err)
    assert counts == (9, 5)
    assert lines == [
        "krait: ledger: 9 ticks on targets = 4 samples + 5 accounted for",
        "krait:   lost 5 for reasons that this krait does not know",
    ]


def test_counters_that_an_older_krait_had_not(krait):
    """A tail of few pairs, in any order."""
    pairs = [writer.pair(18, writer.TOTAL, 4), writer.pair(10, writer.LOSS, 2), writer.pair(17, writer.TOTAL, 6)]
    blocks = raws()[:-1] + [writer.tail(2500000000, pairs)]
    status, out, err = krait.report(krait.write(writer.file_of(blocks)), "-o", "-")
    assert (status, out) == (0, LINES[4])
    assert err.decode().splitlines() == [
        "krait: ledger: 6 ticks on targets = 4 samples + 2 accounted for",
        "krait:   lost 2 because the ring buffer was full",
    ]


def test_a_frame_of_an_unknown_reason(krait):
    records = first() + [stack(2, (0, 0, 40), (1, 1), pid=7), sample(2, 7, 7)]
    data = writer.recording(records, counters={"TARGET_TICKS": 2, "SAMPLES": 2})
    status, out, _ = krait.report(krait.write(data), "-q", "-o", "-")
    want = b'process 7:"python";f (f.py:2);[unreadable: for a reason that this krait does not know] 1\n'
    assert (status, out) == (0, want + LINES[1])
