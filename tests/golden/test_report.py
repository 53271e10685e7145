# SPDX-License-Identifier: BSD-2-Clause
"""krait report against golden files: RECORDING[.OPTION]....folded, .table or .stderr, where each
OPTION is a long option of report. They were written by hand from the rules of the formats; where
krait differs, find out who is right before either is changed.
"""
import difflib
import os

import pytest
import recordings
import writer

FOLDER = os.path.dirname(os.path.abspath(__file__))
ARGS = {"folded": ["--quiet", "-o", "-"], "table": ["--quiet"], "stderr": ["-o", "-"]}
GOLDEN = sorted(n for n in os.listdir(FOLDER) if n.rpartition(".")[2] in ARGS)
RELEASED = sorted(os.listdir(os.path.join(FOLDER, "released")))  # RECORDING.VERSION.krait


def read(name):
    with open(os.path.join(FOLDER, name), "rb") as stream:
        return stream.read()


def difference(want, got):
    lines = [text.decode("utf-8", "backslashreplace").splitlines(True) for text in (want, got)]
    return "".join(difflib.unified_diff(*lines, "by the rules", "by krait"))


@pytest.mark.parametrize("version", writer.VERSIONS)
@pytest.mark.parametrize("name", GOLDEN)
def test_golden(krait, name, version):
    assert_golden(krait, name, recordings.ALL[name.split(".")[0]](version=version))


@pytest.mark.parametrize("released", RELEASED)
def test_golden_of_a_released_file(krait, released):
    """The bytes of a file of that version, as they are for ever: writer.py may change."""
    with open(os.path.join(FOLDER, "released", released), "rb") as stream:
        data = stream.read()
    for name in GOLDEN:
        if name.startswith(released.split(".")[0] + "."):
            assert_golden(krait, name, data)


def test_released_files_of_every_version():
    versions = {int(name.split(".")[1]) for name in RELEASED}
    assert versions == set(writer.VERSIONS)
    for version in versions:
        assert {name.split(".")[0] for name in RELEASED if ".%d." % version in name} == set(recordings.ALL)


def assert_golden(krait, name, data):
    _, *options, kind = name.split(".")
    path = krait.write(data)
    status, out, err = krait.report(path, *ARGS[kind], *("--" + option for option in options))
    got, silent = (err, b"") if kind == "stderr" else (out, err)
    assert status == 0
    assert silent == b""
    assert got == read(name), difference(read(name), got)


@pytest.mark.parametrize("recording", sorted(recordings.ALL))
def test_each_recording_has_golden_files(recording):
    assert recording + ".folded" in GOLDEN and recording + ".table" in GOLDEN


@pytest.mark.parametrize("name", ["x.folded", "x.collapsed", "x.txt"])
def test_file_and_stdout_are_the_same(krait, name):
    path = krait.write(recordings.names())
    status, out, _ = krait.report(path, "-o", name)
    assert (status, out) == (0, b"")
    with open(os.path.join(krait.folder, name), "rb") as stream:
        assert stream.read() == read("names.folded")


def test_no_control_character_gets_out(krait):
    """Neither a terminal nor a line-based reader is told anything by a name."""
    path = krait.write(recordings.names())
    for args in (["-o", "-"], [], ["-o", "-", "-t", "--full-path"], ["--no-lineno"]):
        _, out, err = krait.report(path, *args)
        for text in (out, err):
            points = {ord(c) for c in text.decode("utf-8")} - {0x0A}
            assert not points & {*range(0x20), *range(0x7F, 0xA0), 0x200F, 0x202E, 0x2066}


def test_rows_of_the_table(krait):
    path = krait.write(recordings.names())
    whole = read("names.table").splitlines(True)
    for rows in (1, 5, 14):
        _, out, _ = krait.report(path, "--quiet", "-n", str(rows))
        left = 15 - rows
        note = "\u2026 and %d more function%s\n" % (left, "" if left == 1 else "s")
        assert out == b"".join(whole[: 3 + rows]) + note.encode()
    for rows in (0, 15, 16):
        _, out, _ = krait.report(path, "--quiet", "-n", str(rows))
        assert out == b"".join(whole)
