# SPDX-License-Identifier: BSD-2-Clause
"""Writes recordings (.krait) of every version from nothing but their description, docs/recording.md. It
shares no code with krait, so that one checks the other.

All numbers are in the host's byte order; every record is a multiple of 8 bytes long.
"""
import struct
import zlib

MAGIC = b"krait\x1a\r\n"
VERSIONS = 3, 4
VERSION = 4  # as krait writes them now

PROCESS, CODE, STACK, SAMPLE, HEAD, TAIL, EVENT = 1, 2, 3, 4, 5, 6, 7
TAIL_OF_3 = 0x7E6B
BLOCK_BYTES = 65536  # of records, about
SEEN, EXEC, FORK, EXIT, THREAD, INFO, NAME = 1, 2, 3, 4, 5, 6, 7
LNOTAB, PEP626, PEP657, UNSIGNED = 1, 2, 3, 4
TRUNCATED, GC = 1, 2
OUTSIDE = 0x8000  # the mark of a frame

# The counters of the tail by name: the place of each is its number for ever, and the order of version 3.
COUNTERS = (
    "NONE NO_PYTHON_THREAD NO_FRAME STARTING UNSUPPORTED LAYOUT_MISSING RUNTIME_UNREADABLE"
    " THREAD_UNREADABLE THREAD_SEARCH THREAD_UNPROVEN RING_FULL STACK_NOT_SENT"
    " FRAME_UNREADABLE FRAME_CYCLE CODE_UNREADABLE CODE_NOT_CODE CODE_NOT_SENT"
    " TARGET_TICKS SAMPLES TRUNCATED OTHER_TICKS UNKNOWN_TICKS PROCS_FULL EVENTS_LOST STACKS"
    " CODES RING_BYTES CODE_TOO_MUCH NESTED"
).split()
COUNTERS_OF_3 = 27  # in the tail of the first krait that wrote version 3; the last had CODE_TOO_MUCH too
LOSS, FAULT, TOTAL = 1, 2, 3  # what part a counter has in the ledger


def part(number):
    return LOSS if number < 12 or number == 28 else FAULT if number < 17 or number == 27 else TOTAL


def record(kind, body, flags=0):
    body += b"\0" * (-len(body) % 8)
    return struct.pack("=HHI", kind, flags, 8 + len(body)) + body


def process(what, pid, tid=None, parent=0, version=0, comm=b"", text=b"", time_ns=0):
    tid = pid if tid is None else tid
    fixed = struct.pack("=QIIIIHHI16s", time_ns, pid, tid, parent, version, what, 0, len(text), comm)
    return record(PROCESS, fixed + text)


def info(pid, version, comm, *args):
    return process(INFO, pid, version=version, comm=comm, text=b"".join(a + b"\0" for a in args))


def pystr(text, width=1, is_cut=False):
    """(struct krait_str, bytes) of a str whose characters are these code points. None: no string."""
    if text is None:
        return struct.pack("=IBBBB", 0, 0, 0, 0, 0), b""
    points = [ord(c) for c in text] if isinstance(text, str) else list(text)
    data = struct.pack("=%d%s" % (len(points), {1: "B", 2: "H", 4: "I"}[width]), *points)
    is_ascii = width == 1 and all(p < 128 for p in points)
    return struct.pack("=IBBBB", len(data), width, is_ascii, is_cut, 0), data


def pybytes(data):
    """The same of a byte string, as names are in 2.7."""
    return struct.pack("=IBBBB", len(data), 1, 0, 0, 1), data


def code(code_id, name, qualname, file, first_line, table, kind=PEP657, pid=0):
    """name, qualname and file are what pystr gives, or text of width 1. An id means what this says in
    the process pid only."""
    parts = [p if isinstance(p, tuple) else pystr(p) for p in (name, qualname, file)]
    fixed = struct.pack("=QQIi", code_id, code_id ^ 0xFFFF, pid, first_line)
    fixed += b"".join(head for head, _ in parts)
    fixed += struct.pack("=IIIHH", 0, len(table), len(table), kind, 0)
    return record(CODE, fixed + b"".join(data for _, data in parts) + table)


def stack(stack_id, *frames, pid=0, flags=0, interp=0):
    """Frames innermost first: (code id, unit), or (0, 0, mark)."""
    body = struct.pack("=QQII", stack_id, interp, pid, len(frames))
    for frame in frames:
        code_id, unit, mark = tuple(frame) + (0,) * (3 - len(frame))
        body += struct.pack("=QiI", code_id, unit, mark)
    return record(STACK, body, flags)


def sample(stack_id, pid, tid, weight=1, flags=0, time_ns=0):
    body = struct.pack("=QQIIII", time_ns, stack_id, pid, tid, 0, weight)
    return record(SAMPLE, body, flags)


def sample_of_event(stack_id, pid, tid, number, value, weight=0):
    body = struct.pack("=QQIIII", 0, stack_id, pid, tid, 0, weight) + struct.pack("=IIQ", number, 0, value)
    return record(SAMPLE, body)


def event(number, name, unit, period, counters=()):
    """counters: the event's ledger, by name."""
    pairs = [pair(COUNTERS.index(name), part(COUNTERS.index(name)), n) for name, n in dict(counters).items()]
    fixed = struct.pack("=IIQ32s16s", number, len(pairs), period, name, unit)
    return record(EVENT, fixed + b"".join(pairs))


def mark(name, version=VERSION):
    """The mark of an unreadable frame: its reason's number."""
    return 17 if (name, version) == ("CODE_TOO_MUCH", 3) else COUNTERS.index(name)


def line_per_unit(units):
    """A 3.11 table: unit k is on the first line + k. Entries of one unit with columns: code 10, no
    line delta, then code 11, one line on (Objects/locations.md)."""
    return b"".join(bytes([0x80 | (11 if k else 10) << 3, 0, 0]) for k in range(units))


# ---- Version 3: all of it one after the other ----


def texts(host, kernel, target):
    return struct.pack("=64s64s256s", host, kernel, target)


def recording_3(records, duration_ns, freq_hz, target, values, version=3):
    head = MAGIC + struct.pack("=IIQQII", version, freq_hz, START_UNIX_NS, START_MONO_NS, 2, 0)
    tail_bytes = 8 + 8 + 8 * len(values) + 8
    tail = struct.pack("=HHIQ%dQ" % len(values), TAIL_OF_3, 0, tail_bytes, duration_ns, *values)
    data = head + texts(b"host", b"6.1.0", target) + b"".join(records) + tail
    return data + struct.pack("=II", zlib.crc32(data), 0)


# ---- Version 4: blocks ----


def start(version=VERSION):
    head = MAGIC + struct.pack("=I", version)
    return head + struct.pack("=I", zlib.crc32(head))


def deflated(data, level=6):
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def block(number, raw, until_ns=0, packed=None, raw_bytes=None):
    """packed: these bytes instead of what raw deflates to; raw_bytes: this claim of its length."""
    packed = deflated(raw) if packed is None else packed
    lengths = struct.pack("=III", len(packed), len(raw) if raw_bytes is None else raw_bytes, number)
    until = struct.pack("=Q", until_ns)
    return lengths + struct.pack("=I", zlib.crc32(lengths + until + packed)) + until + packed


def head(freq_hz=100, target=b"all", more=b""):
    fixed = struct.pack("=QQII", START_UNIX_NS, START_MONO_NS, freq_hz, 2)
    return record(HEAD, fixed + texts(b"host", b"6.1.0", target) + more)


def pair(number, part_, value):
    return struct.pack("=HHIQ", number, part_, 0, value)


def tail(duration_ns, pairs):
    """pairs: the bytes of each."""
    return record(TAIL, struct.pack("=QII", duration_ns, len(pairs), 0) + b"".join(pairs))


def pairs_of(values):
    return [pair(number, part(number), value) for number, value in enumerate(values) if number]


def gathered(records):
    """The records in pieces of a block each."""
    piece, size = [], 0
    for one in records:
        if size and size + len(one) > BLOCK_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(one)
        size += len(one)
    if piece:
        yield b"".join(piece)


def file_of(raws, version=VERSION):
    """A file of these blocks. Each is written a tenth of a second after the one before."""
    numbered = enumerate(raws)
    return start(version) + b"".join(block(n, raw, START_MONO_NS + n * 100000000) for n, raw in numbered)


# ---- Any ----

START_UNIX_NS, START_MONO_NS = 1700000000123456789, 1000


def recording(records, duration_ns=2500000000, freq_hz=100, target=b"all", counters=(), version=VERSION):
    counters = dict(counters)
    values = [counters.pop(name, 0) for name in COUNTERS]
    assert not counters, "unknown counters"
    if version == 3:
        values = values[: COUNTERS_OF_3 + bool(values[COUNTERS_OF_3])]
        return recording_3(records, duration_ns, freq_hz, target, values)
    raws = [head(freq_hz, target), *gathered(records), tail(duration_ns, pairs_of(values))]
    return file_of(raws, version)
