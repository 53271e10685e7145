# SPDX-License-Identifier: BSD-2-Clause
"""What the fuzz targets start from, made anew at each run from what is at hand: the recordings of
tests/golden, line tables and debug offsets of the CPythons here, small ELF files of the compiler.
Each target's header says what its input is.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "golden")]

import pythons  # noqa: E402
import recordings  # noqa: E402
import writer  # noqa: E402

HEAD_BYTES, TAIL_BYTES = 424, 32 + 8 * len(writer.COUNTERS)  # user/drain/recording.h
DEBUG_OFFSETS_BYTES = 776  # user/discover/debug_offsets.h
LAYOUTS = 8  # tests/fuzz/fuzz_walk.c: versions
TABLES_PER_PYTHON = 40

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

# Symbols by which user/discover/elf.c knows a CPython; the code is that of 3.6's
# PyInterpreterState_Head and PyGC_Collect, as user/discover/static_vars.c reads it.
ELF_NEW = """
char _PyRuntime[64] __attribute__((section(".PyRuntime"))) = "xdebugpy\\xf0\\x0a\\x0e\\x03";
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


def found_pythons():
    """One of each minor version and build is enough."""
    return list({(py.minor, py.source): py for py in pythons.find()}.values())


def recording():
    for make in recordings.ALL.values():
        for options in (0, 1, 2, 4, 8, 16):
            yield bytes([options]) + make()


def records():
    for make in recordings.ALL.values():
        body = make()[HEAD_BYTES:-TAIL_BYTES]
        yield body
        yield body + bytes(8) + body


def linetable():
    for py in found_pythons():
        run = subprocess.run(py.argv(["-c", ASK_TABLES]), capture_output=True, text=True, check=False)
        for line in run.stdout.splitlines()[:TABLES_PER_PYTHON]:
            kind, first, table = line.split(" ")
            table = bytes.fromhex(table)
            for unit in (-1, len(table)):
                yield struct.pack("=Bii", int(kind), int(first), unit) + table


def debug_offsets():
    """_Py_DebugOffsets as the executables have it; without the cookies in code that looks for it."""
    for py in found_pythons():
        if py.minor < (3, 13):
            continue
        with open(py.executable, "rb") as stream:
            data = stream.read()
        for found in re.finditer(b"xdebugpy..[\\x0d-\\x0f]\\x03", data, re.DOTALL):
            yield data[found.start() : found.start() + DEBUG_OFFSETS_BYTES]


def walk():
    for layout in range(LAYOUTS):
        yield bytes([layout, 8])
    for table in debug_offsets():
        yield bytes([0x80, 8]) + table


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


def write_all(folder):
    """Seeds of every target in a folder of its name: {name: how many}."""
    makers = (recording, records, linetable, walk, elf, code, text, maps)
    counts = {m.__name__: write(os.path.join(folder, m.__name__), m()) for m in makers}
    counts["offsets"] = write(os.path.join(folder, "offsets"), debug_offsets())
    return counts
