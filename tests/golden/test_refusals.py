# SPDX-License-Identifier: BSD-2-Clause
"""What is no recording of a known version with a whole head is refused: exit status 1, one line on
stderr that says why, nothing on stdout, and no output file. So is what is not whole of version 3; of
version 4 it is reported up to there (test_versions.py).
"""
import os
import struct

import pytest
import writer
from writer import code, info, line_per_unit, process, sample, stack

HEAD_BYTES = 424


def small(version=writer.VERSION):
    """One record of each kind."""
    return writer.recording(
        [
            info(7, 0x030B07F0, b"p", b"python"),
            code(1, "f", "f", "f.py", 1, line_per_unit(2), pid=7),
            stack(1, (1, 0), (1, 1), pid=7),
            sample(1, 7, 7),
        ],
        counters={"TARGET_TICKS": 1, "SAMPLES": 1},
        version=version,
    )


# Of version 4: the start, the head's block.
FIRST_BYTES = len(writer.file_of([writer.head()]))


def assert_refused(krait, path, says):
    status, out, err = krait.report(path, "-o", "-", "-o", "out.folded")
    assert status == 1, err
    assert out == b""
    assert err.startswith(b"krait: ") and err.endswith(b"\n") and err.count(b"\n") == 1, err
    assert not [n for n in os.listdir(krait.folder) if "out" in n]
    assert says in err.decode(), err


@pytest.mark.parametrize("version", writer.VERSIONS)
def test_the_small_one_is_good(krait, version):
    status, out, _ = krait.report(krait.write(small(version)), "-o", "-")
    assert (status, out) == (0, b'process 7:"python";f (f.py:2);f (f.py:1) 1\n')


def test_truncated_in_its_head(krait):
    for length in range(8, FIRST_BYTES):
        assert_refused(krait, krait.write(small()[:length]), "truncated in its head")


def test_version_3_truncated_anywhere(krait):
    data = small(3)
    assert len(data) % 8 == 0
    for length in [*range(8, len(data), 8), len(data) - 1, HEAD_BYTES + 1]:
        assert_refused(krait, krait.write(data[:length]), "truncated")


def test_truncated_in_its_magic(krait):
    for length in range(8):
        assert_refused(krait, krait.write(small()[:length]), "not a krait recording")


def test_any_byte_of_the_head_flipped(krait):
    for at in range(FIRST_BYTES):
        bad = bytearray(small())
        bad[at] ^= 1 << at % 8
        says = "not a krait" if at < 8 else "version" if at < 12 else "head"
        assert_refused(krait, krait.write(bytes(bad)), says)


def test_any_byte_of_version_3_flipped(krait):
    """All but the last four: padding behind the checksum."""
    data = small(3)
    for at in range(len(data) - 4):
        bad = bytearray(data)
        bad[at] ^= 1 << at % 8
        assert_refused(krait, krait.write(bytes(bad)), "")


def test_bad_checksum_says_so(krait):
    bad = bytearray(small(3))
    bad[48] ^= 1  # in the host's name
    assert_refused(krait, krait.write(bytes(bad)), "checksum")


@pytest.mark.parametrize("version", [0, 1, 2, writer.VERSION + 1, 0xFFFFFFFF])
def test_other_version(krait, version):
    assert_refused(krait, krait.write(writer.recording([], version=version)), "version %d" % version)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"main;f 3\n", b"\x1f\x8b\x08" + b"\0" * 600, b"krait\x1a\n" + b"\0" * 600, b"\0" * 1000],
    ids=["empty", "newline", "folded", "gzip", "text transfer", "zeroes"],
)
def test_not_a_recording(krait, data):
    assert_refused(krait, krait.write(data), "not a krait recording")


def test_folder(krait):
    assert_refused(krait, krait.folder, "Is a directory")


def test_missing(krait):
    assert_refused(krait, os.path.join(krait.folder, "none.krait"), "No such file")


def test_name_of_the_file_is_harmless(krait):
    path = krait.write(b"", "x\x1b[2J\nkrait: all is well.krait")
    assert_refused(krait, path, "not a krait recording")
    assert_refused(krait, path + "\n\x1b", "No such file")


@pytest.mark.parametrize("version", writer.VERSIONS)
def test_something_behind_its_end(krait, version):
    data = small(version)
    assert_refused(krait, krait.write(data + data), "more follows")
    assert_refused(krait, krait.write(data + b"\0"), "more follows")


def with_good_checksum(records):
    return writer.recording(records, counters={"TARGET_TICKS": 1, "SAMPLES": 1}, version=3)


MALFORMED = {
    "unknown kind": writer.record(9, b"\0" * 32),
    "kind 0": writer.record(0, b"\0" * 32),
    "length 0": struct.pack("=HHI", writer.SAMPLE, 0, 0) + b"\0" * 32,
    "length not of 8": struct.pack("=HHI", writer.SAMPLE, 0, 41) + b"\0" * 40,
    "shorter than its kind": writer.record(writer.SAMPLE, b"\0" * 24),
    "frames that are not there": writer.record(writer.STACK, struct.pack("=QQII", 1, 0, 7, 3)),
    "text beyond its end": process(writer.INFO, 7)[:36] + b"\xff" + process(writer.INFO, 7)[37:],
    "width 3": writer.record(
        writer.CODE, struct.pack("=QQIi", 1, 1, 7, 1) + struct.pack("=IBBBB", 3, 3, 0, 0, 0) + b"\0" * 56
    ),
    "table beyond its total": writer.record(
        writer.CODE,
        struct.pack("=QQIi", 1, 1, 7, 1) + b"\0" * 24 + struct.pack("=IIIHH", 8, 8, 8, 3, 0) + b"\0" * 8,
    ),
}


@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_malformed_record(krait, what):
    """The checksum is right: someone made it so."""
    bad = MALFORMED[what]
    data = with_good_checksum([info(7, 1, b"p", b"python"), bad, sample(1, 7, 7)])
    assert_refused(krait, krait.write(data), "malformed")


@pytest.mark.parametrize("version", writer.VERSIONS)
def test_unterminated_text_in_the_head(krait, version):
    data = writer.recording([], target=b"x" * 256, version=version)
    assert_refused(krait, krait.write(data), "damaged head")


def test_old_output_stays(krait):
    keep = krait.write(b"old", "keep.folded")
    status, _, _ = krait.report(krait.write(small()[: FIRST_BYTES - 1]), "-o", keep)
    with open(keep, "rb") as stream:
        assert (status, stream.read()) == (1, b"old")
