# SPDX-License-Identifier: BSD-2-Clause
"""Random names that a target may make up, and what every format must make of them: worked out here
from the words of user/base/text.h and user/export/frame.h, with no code of krait's.
"""
import collections
import gzip
import random
import unicodedata

import writer

PY311 = 0x030B07F0
# base/text.h: controls, bidirectional controls, separators, what XML can't hold.
UNSAFE = {*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F)}
UNSAFE |= {*range(0x2066, 0x206A), 0xFFFE, 0xFFFF}
# What a name tries to be: the end of a line, another root, a count, a sequence for a terminal.
PIECES = ["\n", "\r\n", "\r", ";", " ", " 1", " 1000000", '"', "'", "(", ")", "[", "]", ":", "\\", "\0"]
PIECES += ["\x1b[2J", "\x1b]0;title\x07", "\x1b[31m", "\x9b1m", "\x7f", "\b\b\b", "\u202e", "\u2066", "\u061c"]
PIECES += ["krait: all is well", 'process 1:"x"', "[truncated]", "<GC>", "\u2028", "\ufeff", "\ufffe", "\x85"]
PIECES += ["\ud800", "\udfff", "\U0010ffff", "\U000e0041", "e\u0301", "</script>", "%s%n", "$(id)", "=1+1"]
# Each of those that are unsafe, and its neighbours.
EDGES = sorted({point + step for point in UNSAFE for step in (-1, 0, 1)} - {-1})


def safe(text):
    """What base/text.h makes of characters."""
    parts = []
    for point in map(ord, text):
        if 0xD800 <= point <= 0xDFFF:
            parts.append("\ufffd")
        elif point in UNSAFE:
            parts.append("\\x%02x" % point if point < 0x100 else "\\u%04x" % point)
        else:
            parts.append(chr(point))
    return "".join(parts)


def safe_bytes(data):
    """And of bytes. (Python replaces the same maximal parts that the Unicode Standard names.)"""
    return safe(data.decode("utf-8", "replace"))


class Names:
    """Of one seed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)

    def points(self, top):
        """A text whose characters are below `top`."""
        dice, parts = self.dice, []
        for _ in range(dice.randrange(8)):
            kind = dice.randrange(5)
            if kind == 0:
                parts.append(chr(dice.randrange(top)))
            elif kind == 1:
                parts.append(chr(dice.randrange(min(top, 0x100))))
            elif kind == 2:
                parts.append(dice.choice(PIECES))
            elif kind == 3:
                parts.append(chr(dice.choice(EDGES)))
            else:
                parts.append("n%d" % dice.randrange(1000))
        return "".join(c for c in "".join(parts) if ord(c) < top)

    def string(self):
        """(what pystr or pybytes gives, the text that is shown)."""
        if self.dice.randrange(5) == 0:
            data = self.data(30)
            return writer.pybytes(data), safe_bytes(data)
        width = self.dice.choice([1, 2, 4])
        text = self.points({1: 0x100, 2: 0x10000, 4: 0x110000}[width])
        return writer.pystr(text, width), safe(text)

    def data(self, limit, without=b""):
        """Bytes that are UTF-8, or nearly."""
        data = bytearray(self.points(0x110000).encode("utf-8", "surrogatepass")[:limit])
        for _ in range(self.dice.randrange(3)):
            if data:
                data[self.dice.randrange(len(data))] = self.dice.randrange(256)
        return bytes(byte for byte in data if byte not in without)


Expected = collections.namedtuple("Expected", "data folded functions names")


def recording(seed, name_cnt):
    """A recording of so many functions with random names, each the innermost of a stack; and what it
    is with -t --full-path: the folded lines {line: count}, the functions {(name, file, first line)}."""
    names = Names(seed)
    dice, records, folded, functions = names.dice, [], collections.Counter(), set()
    roots = []
    for pid in range(1, 9):
        args = [names.data(40, b"\0") or b"x" for _ in range(3)]
        thread = names.data(15, b"\0") or b"t"
        records.append(writer.info(pid, PY311, b"p", *args))
        records.append(writer.process(writer.THREAD, pid, pid, comm=thread))
        cmdline = safe_bytes(b" ".join(args)).replace('"', "'")
        roots.append('process %d:"%s"' % (pid, cmdline) + "\0thread (%d): %s" % (pid, safe_bytes(thread)))
    last = {}  # of each process: its last function, and how that is shown
    for n in range(1, name_cnt + 1):
        (name, shown), (file, shown_file) = names.string(), names.string()
        # Of a string without a character there is nothing to show.
        shown, shown_file = shown or "[name not readable]", shown_file or "[file name not readable]"
        line, pid = dice.randrange(1, 1000), dice.randrange(1, 9)
        caller, previous = last.get(pid, (0, "")) if n % 2 else (0, "")
        table = writer.line_per_unit(1)
        records.append(writer.code(n, writer.pystr(None), name, file, line, table, pid=pid))
        records.append(writer.stack(n, (n, 0), *([(caller, 0)] if caller else []), pid=pid))
        records.append(writer.sample(n, pid, pid, weight=1 + n % 3))
        frame = "%s (%s:%d)" % (shown, shown_file, line)
        parts = roots[pid - 1].split("\0") + ([previous] if caller else []) + [frame]
        folded[";".join(part.replace(";", ":") for part in parts)] += 1 + n % 3
        functions.add((shown, shown_file, line))
        last[pid] = n, frame
    samples = sum(folded.values())
    counters = {"TARGET_TICKS": samples, "SAMPLES": samples}
    data = writer.recording(records, counters=counters, target=names.data(200, b"\0"))
    return Expected(data, folded, functions, 2 * name_cnt)


def assert_harmless(data):
    """Text of which a terminal obeys the ends of lines alone, and which reads as it is stored."""
    text = data.decode("utf-8")
    bad = {c for c in set(text) if c != "\n" and (ord(c) in UNSAFE or unicodedata.category(c) in ("Cc", "Cs"))}
    assert not bad, "not made safe: %r" % bad
    return text


def read_folded(data):
    """{stack: count}; no stack twice."""
    text = assert_harmless(data)
    assert text.endswith("\n")
    lines = [line.rpartition(" ") for line in text[:-1].split("\n")]
    found = {stack: int(count) for stack, _, count in lines}
    assert len(found) == len(lines)
    return found


# ---- pprof: the few fields of profile.proto that say names ----


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """The (number, value) of a message: a number, or bytes. (protobuf.dev/programming-guides/encoding)"""
    at, found = 0, []
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, "a wire type that profile.proto has not"
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        found.append((key >> 3, value))
    return found


def read_pprof(data):
    """({(name, file, first line)} of the functions, every string): string_table is 6, function 5; of a
    function name is 2, filename 4, start_line 5."""
    message = fields(gzip.decompress(data))
    strings = [value.decode("utf-8") for number, value in message if number == 6]
    functions = set()
    for number, value in message:
        if number == 5:
            function = dict(fields(value))
            name, file = strings[function.get(2, 0)], strings[function.get(4, 0)]
            functions.add((name, file, function.get(5, 0)))
    return functions, strings


# ---- All of it ----


def check_everywhere(run, seed, name_cnt):
    """run(recording, *args) gives (stdout, stderr, the bytes of x.pb.gz). Each format says what the
    names are, and nothing but that. Gives how many names there were."""
    want = recording(seed, name_cnt)
    out, err, pprof = run(want.data, "-t", "--full-path", "-o", "-", "-o", "x.pb.gz")
    assert read_folded(out) == want.folded
    assert_harmless(err)
    functions, strings = read_pprof(pprof)
    assert functions >= want.functions and len(functions) <= len(want.functions) + 2
    assert_harmless("\n".join(strings).encode())
    table, err, _ = run(want.data, "-n", "0", "--full-path")
    assert_harmless(err)
    rows = assert_harmless(table).rstrip("\n").split("\n")[3:]
    texts = ["%s (%s:%d)" % function for function in want.functions]
    assert collections.Counter(row.split(None, 4)[4] if row.split(None, 4)[4:] else "" for row in rows) == (
        collections.Counter(text.lstrip() for text in texts)
    )
    return want.names
