# SPDX-License-Identifier: BSD-2-Clause
"""Recordings of more than the CPU's clock: each event has its own counts and its own ledger."""
import gzip

import pytest
from recordings import FAULTS, two_events
from writer import event, sample_of_event


def test_text_has_the_clock_and_the_footer_a_ledger_each(krait):
    status, out, err = krait.report(krait.write(two_events()), "-o", "-")
    assert (status, out) == (0, b'process 7:"python";f (f.py:2);f (f.py:1) 2\n')
    assert err.decode().splitlines() == [
        "krait: ledger: 2 ticks on targets = 2 samples + 0 accounted for",
        "krait: of the event page-faults:",
        "krait: ledger: 9 ticks on targets = 7 samples + 2 accounted for",
        "krait:   lost 2 because the ring buffer was full",
    ]


def test_pprof_has_a_value_of_each(krait, tmp_path):
    status, _, _ = krait.report(krait.write(two_events()), "-q", "-o", "x.pb.gz")
    data = gzip.decompress((tmp_path / "x.pb.gz").read_bytes())
    assert status == 0 and b"page-faults" in data
    # Sample.value, field 2 packed: ticks, their time at 100 Hz, faults of 16 each (proto/profile.proto).
    for values in ([2, 20000000, 80], [0, 0, 32]):
        packed = b"".join(varint(v) for v in values)
        assert b"\x12" + varint(len(packed)) + packed in data


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def test_a_ledger_that_does_not_balance_is_told(krait):
    _, _, err = krait.report(krait.write(two_events(sample_of_event(2, 7, 7, 3, 1))), "-o", "-")
    assert err.count(b"DOES NOT BALANCE") == 1 and b"9 ticks on targets, 7 samples sent, 8 received" in err


BAD = {
    "the number of the clock": event(0, *FAULTS),
    "a number too large": event(256, *FAULTS),
    "a name without an end": event(3, b"x" * 32, b"count", 1),
    "a sample of a number too large": sample_of_event(1, 7, 7, 256, 1),
}


@pytest.mark.parametrize("what", BAD)
def test_malformed(krait, what):
    status, _, err = krait.report(krait.write(two_events(BAD[what])), "-o", "-")
    assert status == 5 and b"a record in it is malformed" in err
