# SPDX-License-Identifier: BSD-2-Clause
"""What the fuzz targets start from, made anew at each run from what is at hand: the recordings of
tests/golden, line tables and debug offsets of the CPythons here, small ELF files of the compiler.
Each target's header says what its input is.
"""

import functools
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "golden")]

import pythons  # noqa: E402
import recordings  # noqa: E402
import writer  # noqa: E402

PROCESS_TEXT_BYTES_POS = 36  # bpf/abi/record.h: struct krait_process_rec
DEBUG_OFFSETS_BYTES = 776  # user/python/debug_offsets.h
BASE = 0x10000  # tests/fuzz/python.h
TYPE_NAME_WORD = (0x19F00 - BASE) // 8  # tests/fuzz/fuzz_prove.c: NAME_ADDR
# Where it puts what it makes, and how many words from there on matter.
PYTHON_AREAS = [(0x12000, 4), (0x16000, 48), (0x18000, 8), (0x24000, 8), (0x26000, 8)]
PYTHON_AREAS += [(0x1A000 + 0x200 * i, 16) for i in (1, 2, 3)]
PYTHON_AREAS += [(0x20000 + 0x1000 * i, 32) for i in (0, 1, 2)]
LAYOUTS = 8  # tests/fuzz/fuzz_walk.c: versions
TABLES_PER_PYTHON = 40
FAKES = 5  # tests/unit/fake_threads.h: minors
ARENA_WORDS, QUESTION_KINDS, QUESTIONS = 1024, 5, 32  # tests/fuzz/arena.h, fuzz_objects.c
ASK_STR, ASK_DICT = 2, 3  # fuzz_objects.c: ask

# Prints kind, first line and table of code objects, as tests/oracle/dump_lines.py has the kinds.
ASK_TABLES = """
import argparse, binascii, sys
v = sys.version_info
kind = 3 if v >= (3, 11) else 2 if v >= (3, 10) else 1 if v >= (3, 6) else 4
for f in list(vars(argparse.ArgumentParser).values()):
    code = getattr(f, '__code__', None)
    if code is not None:
        table = code.co_linetable if kind in (2, 3) else code.co_lnotab
        print('%d %d %s' % (kind, code.co_firstlineno, binascii.hexlify(table).decode()))
"""

# Symbols by which user/elf/elf.c knows a CPython; the code is that of 3.6's
# PyInterpreterState_Head and PyGC_Collect, as user/python/static_vars.c reads it.
RUNTIME_BYTES = 0x128
ELF_NEW = """
char _PyRuntime[0x128] __attribute__((section(".PyRuntime"))) = "xdebugpy\\xf0\\x0a\\x0e\\x03";
const char version[] = "3.10.13", message[] = "PyThreadState_Clear: warning: thread still has a frame";
int PyCode_Type = 1, Py_Version = 2;
void _PyEval_EvalFrameDefault(void) {}
void PyFrame_GetCode(void) {}
void PyIter_Send(void) {}
"""
ELF_OLD = """
int _PyThreadState_Current = 1, PyCode_Type = 1, PyString_Type = 1;
static void *interp_head;
static int collecting;
const char version[] = "2.7.18";
void *PyInterpreterState_Head(void) { return interp_head; }
void gc(void);
int PyGC_Collect(void) { if (collecting) return 0; collecting = 1; gc(); collecting = 0; return 1; }
void PyEval_EvalFrameEx(void) {}
void PyCapsule_New(void) {}
void PyOS_FSPath(void) {}
"""
E_SHOFF, E_SHNUM = 40, 60  # Elf64_Ehdr


@functools.cache
def found_pythons():
    """One of each minor version and build is enough."""
    return list({(py.minor, py.source): py for py in pythons.find()}.values())


def stacks_at_bounds():
    """Stacks that just fit an array, and those that do not; with the frames that are added to them."""
    for frames in [n + d for n in (16, 32, 64) for d in (-3, -2, -1, 0, 1)]:
        for flags in (0, writer.GC, writer.TRUNCATED, writer.GC | writer.TRUNCATED):
            stack_id = frames * 4 + flags
            body = writer.stack(stack_id, *[(i + 1, i) for i in range(frames)], pid=7, flags=flags)
            yield body + writer.sample(stack_id, 7, 7)


def with_more_counters(more):
    """As a newer krait of version 3 wrote it: its tail is longer. The target puts the checksum right."""
    data, tail_bytes = recordings.lives(version=3), 24 + 8 * writer.COUNTERS_OF_3
    tail = bytearray(data[-tail_bytes:])
    struct.pack_into("=I", tail, 4, tail_bytes + 8 * more)
    return data[:-tail_bytes] + bytes(tail[:-8]) + bytes(8 * more) + bytes(tail[-8:])


def process_too_short():
    """A PROCESS record with less text than it says."""
    rec = bytearray(writer.info(7, 0x030B07F0, b"python3", b"python3"))
    struct.pack_into("=I", rec, PROCESS_TEXT_BYTES_POS, len(rec))
    return bytes(rec)


def inflated(data):
    """A file of version 4 with its blocks inflated, for fuzz_recording.c to deflate again."""
    at, pieces = 16, [data[:16]]
    while at < len(data):
        packed, _, number, _, until_ns = struct.unpack_from("=IIIIQ", data, at)
        raw = zlib.decompress(data[at + 24 : at + 24 + packed], wbits=-15)
        pieces += [struct.pack("=IIIIQ", len(raw), len(raw), number, 0, until_ns), raw]
        at += 24 + packed
    return b"".join(pieces)


def of_a_newer_krait():
    unknown = [writer.record(77, b"x" * 24), writer.process(99, 7)]
    pairs = [writer.pair(40, part, 3) for part in range(5)] + [writer.pair(0xFFFF, 1, 1 << 63)]
    return writer.file_of([writer.head(more=b"y" * 8), b"".join(unknown), writer.tail(1, pairs)])


def damaged():
    """Inputs of version 4 in which one thing is wrong."""
    flipped = bytearray(recordings.lives())
    flipped[16 + 12] ^= 1  # in a block's checksum
    yield b"\1" + bytes(flipped)
    head, last = writer.head(), writer.tail(1, [])
    too_long = struct.pack("=HHI", writer.SAMPLE, 0, 4096) + bytes(32)
    too_many = writer.record(writer.TAIL, struct.pack("=QII", 1, 1000, 0))
    for raws in ([head, too_long, last], [head, too_many], [head, last + last], [last], [head, head, last]):
        yield b"\0" + inflated(writer.file_of(raws))


def recording():
    for make in recordings.ALL.values():
        for options in (0, 1, 2, 4, 8, 16):
            yield bytes([options]) + make(version=3)
            yield bytes([options & ~1]) + inflated(make())
        yield b"\1" + make()
        yield b"\x20" + inflated(make())
    for body in stacks_at_bounds():
        yield b"\0" + writer.recording([body], version=3)
        yield b"\0" + inflated(writer.recording([body]))
    yield b"\0" + writer.recording([process_too_short()], version=3)
    yield b"\0" + inflated(writer.recording([process_too_short()]))
    for more in (1, 2):
        yield b"\0" + with_more_counters(more)
    for chars in (255, 256):  # the last text that ends within its field, the first that does not
        yield b"\0" + writer.recording([], target=b"x" * chars, version=3)
        yield b"\0" + inflated(writer.recording([], target=b"x" * chars))
    for version in writer.VERSIONS:
        yield b"\1" + recordings.lives(version=version) + bytes(8)  # something follows the end
    yield b"\0" + inflated(recordings.two_events())
    yield b"\0" + inflated(of_a_newer_krait())
    yield from damaged()


def without_ends(data):
    """The records of a file of version 3, without its head and its tail."""
    at = first = 424
    while struct.unpack_from("=H", data, at)[0] != writer.TAIL_OF_3:
        at += struct.unpack_from("=I", data, at + 4)[0]
    return data[first:at]


def records():
    for make in recordings.ALL.values():
        body = without_ends(make(version=3))
        yield body
        yield body + bytes(8) + body
    yield from stacks_at_bounds()


def linetable():
    for py in found_pythons():
        run = subprocess.run(py.argv(["-c", ASK_TABLES]), capture_output=True, text=True, check=False)
        for line in run.stdout.splitlines()[:TABLES_PER_PYTHON]:
            kind, first, table = line.split(" ")
            table = bytes.fromhex(table)
            for unit in (-1, len(table)):
                yield struct.pack("=Bii", int(kind), int(first), unit) + table


@functools.cache
def debug_offsets():
    """_Py_DebugOffsets as the executables have it; without the cookies in code that looks for it."""
    tables = []
    for py in found_pythons():
        if py.minor < (3, 13):
            continue
        with open(py.executable, "rb") as stream:
            data = stream.read()
        for found in re.finditer(b"xdebugpy..[\\x0d-\\x0f]\\x03", data, re.DOTALL):
            tables.append(data[found.start() : found.start() + DEBUG_OFFSETS_BYTES])
    return tables


def layouts():
    """First bytes of an input that python.h reads: each version's layout, and those of real tables."""
    return [bytes([n]) for n in range(LAYOUTS)] + [b"\x80" + table for table in debug_offsets()]


def wrong_words():
    """Writes of one word that is other than it ought to be: a small number, or its own address."""
    for start, words in PYTHON_AREAS:
        for addr in range(start, start + 8 * words, 8):
            for value in (1, addr):
                yield struct.pack("=HhI", (addr - BASE) // 8, 0, value)


def walk():
    for layout in layouts():
        yield layout + b"\x08"
        for write in wrong_words():
            yield layout + b"\x08" + write


def prove():
    # The type of the code objects is called otherwise.
    renamed = struct.pack("=HhI", TYPE_NAME_WORD, 0, 0x65646F43)
    for layout in layouts():
        for known in range(4):
            yield layout + bytes([known])
        for write in [renamed, *wrong_words()]:
            yield layout + b"\0" + write


def fakes():
    """First bytes of an input that arena.h reads: each interpreter, and the last with real layouts."""
    for which in range(FAKES):
        yield bytes([which])
    for table in debug_offsets():
        yield bytes([0x80 | FAKES - 1]) + table


def threads():
    for fake in fakes():
        for is_main in (0, 1):
            yield fake + bytes([is_main, 0])
    # Each word in turn points to itself, or is 0.
    for which in range(FAKES):
        for word in range(ARENA_WORDS // 2):
            yield bytes([which, 0, 1]) + struct.pack("=HhI", word, 1, 8 * word)
            yield bytes([which, 0, 1]) + struct.pack("=HhI", word, 0, 0)


def objects():
    """Every question about every word; each word as an object of a length or size that is too large."""
    for fake in fakes():
        for kind in range(QUESTION_KINDS):
            for first in range(0, ARENA_WORDS, QUESTIONS):
                asked = (struct.pack("=BH", kind, first + i) for i in range(QUESTIONS))
                yield fake + struct.pack("=BH", 0, 0xFFFF) + b"".join(asked)
    for which in range(FAKES):
        for word in range(ARENA_WORDS // 2):
            for kind, field, value in ((ASK_STR, 2, 150), (ASK_DICT, 4, (1 << 18) - 1)):
                written = struct.pack("=BHhIH", 1, word + field, 0, value, 0xFFFF)
                yield bytes([which]) + written + struct.pack("=BH", kind, word)


def compiled(text, flags, folder):
    """The shared library that the compiler makes of it; nothing if there is none."""
    path = os.path.join(folder, "lib.so")
    command = [os.environ.get("CC", "cc"), "-O2", "-fPIC", "-shared", "-nostdlib", "-w", "-x", "c"]
    command += ["-", "-o", path, "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=64"]
    if subprocess.run(command + flags, input=text.encode(), check=False).returncode:
        return b""
    with open(path, "rb") as stream:
        return stream.read()


def without_sections(elf):
    bare = bytearray(elf)
    bare[E_SHOFF : E_SHOFF + 8] = bytes(8)
    bare[E_SHNUM : E_SHNUM + 4] = bytes(4)
    return bytes(bare)


def elf():
    with tempfile.TemporaryDirectory() as folder:
        for text in (ELF_NEW, ELF_OLD):
            for flags in (["-Wl,--hash-style=sysv"], ["-Wl,--hash-style=gnu"], ["-s"]):
                data = compiled(text, flags, folder)
                yield b"\0" + data
                yield b"\1" + data
                yield b"\0" + data.replace(struct.pack("=Q", RUNTIME_BYTES), struct.pack("=Q", 1 << 25))
                if data:
                    yield b"\0" + without_sections(data)


def code():
    yield struct.pack("=Q", 0x401000) + bytes.fromhex("f30f1efa554889e5488b05100000005dc3")
    yield struct.pack("=Q", 0x401000) + bytes.fromhex("8b0510000000c705060000000100000090")


def text():
    samples = "plain", "na\u00efve", "\u4e2d\u6587", "\U0001d4b3", "\x1b[2J", "\u202e\u2066", "\ufffe"
    for sample in samples:
        for width, encoding in enumerate(("utf-8", "latin-1", "utf-16-le", "utf-32-le")):
            yield bytes([width]) + sample.encode(encoding, "replace")


def maps():
    for which, name in enumerate(("maps", "stat", "task/%d/status" % os.getpid())):
        with open("/proc/self/" + name, "rb") as stream:
            yield bytes([which]) + stream.read()
    lines = b"1-2 r-xp 0 8:1 5 /a (deleted)\n2-3 rw-p 1000 8:1 5 /a\n3-4 rw-p 0 0:0 0 [heap]\n"
    yield b"\0" + lines
    yield b"\0" + lines * 500  # longer than what is read at once


def write(folder, items):
    """One file each. How many there are."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    count = 0
    for count, data in enumerate(items, 1):
        with open(os.path.join(folder, "%03d" % count), "wb") as stream:
            stream.write(data)
    return count


def offsets():
    """The tables, and each of their words in turn as it may not always be: behind a str's header, beyond
    16 bits, within no struct."""
    for table in debug_offsets():
        yield table
        for pos in range(8, DEBUG_OFFSETS_BYTES, 8):
            for value in (48, 0x10000, 1 << 63):
                yield table[:pos] + struct.pack("=Q", value) + table[pos + 8 :]


MAKERS = (recording, records, linetable, walk, prove, threads, objects, elf, code, text, maps, offsets)


def write_all(folder, names):
    """Seeds of these targets, in a folder of each one's name: {name: how many}."""
    makers = {m.__name__: m for m in MAKERS}
    return {n: write(os.path.join(folder, n), makers[n]()) for n in names}
