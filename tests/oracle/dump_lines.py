#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What this CPython says of the lines of its own standard library, for tests/oracle/oracle.c.

    python3.X dump_lines.py [--c-api] | oracle

Compiles every .py of the standard library, and some code with extreme line numbers, and writes for
each code object its line table and the true line of each of its code units. The truth is what
co_lines() says (3.10+), or dis.findlinestarts() (before). --c-api also asks PyCode_Addr2Line for
each unit and fails if the two disagree (slow). Runs under CPython 2.7, 3.6 and later.

The stream, little-endian:
    magic "kraitln1"
    per code object: u8 1, u8 lines kind (enum krait_lines_kind), i32 co_firstlineno, u32 bytes of
        the table, u32 code units, u16 bytes of a label; the table, an i32 line per unit (0: none),
        the label
    at the end: u8 0, u32 code objects written, so that a stream cut short is noticed
"""
import array
import ast
import dis
import os
import random
import struct
import sys
import sysconfig
import types
import warnings

MAGIC = b"kraitln1"
LNOTAB, PEP626, PEP657, LNOTAB_UNSIGNED = 1, 2, 3, 4  # enum krait_lines_kind, bpf/abi/record.h
IS_2 = sys.version_info < (3,)
UNIT_BYTES = 1 if IS_2 else 2
INT_BITS = 31

if sys.version_info >= (3, 11):
    KIND = PEP657
elif sys.version_info >= (3, 10):
    KIND = PEP626
elif not IS_2:
    KIND = LNOTAB
else:
    KIND = LNOTAB_UNSIGNED


def ranges(code):
    """(start, end, line) in bytes. findlinestarts leaves out starts that repeat the line before,
    and its first start is at 0, so a line holds until the next start."""
    if KIND in (PEP626, PEP657):
        for found in code.co_lines():
            yield found
        return
    starts = list(dis.findlinestarts(code))
    if not starts or starts[0][0] != 0:
        raise AssertionError("%r: no line for its first unit" % code)
    ends = [start for start, _ in starts[1:]] + [len(code.co_code)]
    for (start, line), end in zip(starts, ends):
        yield start, end, line


def true_lines(code):
    lines = array.array("i", [0]) * (len(code.co_code) // UNIT_BYTES)
    for start, end, line in ranges(code):
        if line is None or line < 1:
            continue
        for unit in range(start // UNIT_BYTES, min(end // UNIT_BYTES, len(lines))):
            lines[unit] = line
    return lines


def check_with_c_api(code, lines):
    import ctypes

    ask = ctypes.pythonapi.PyCode_Addr2Line
    ask.argtypes = [ctypes.py_object, ctypes.c_int]
    for unit, line in enumerate(lines):
        answer = max(ask(code, unit * UNIT_BYTES), 0)
        if answer != line:
            raise AssertionError("%r unit %d: line %d, PyCode_Addr2Line says %d"
                                 % (code, unit, line, answer))


def write_code(out, code, c_api):
    table = code.co_linetable if KIND in (PEP626, PEP657) else code.co_lnotab
    lines = true_lines(code)
    if c_api:
        check_with_c_api(code, lines)
    if sys.byteorder != "little":
        lines.byteswap()
    label = "%s: %s" % (code.co_filename, code.co_name)
    label = (label if IS_2 else label.encode("utf-8", "replace"))[:1000]
    out.write(struct.pack("<BBiIIH", 1, KIND, code.co_firstlineno, len(table), len(lines),
                          len(label)))
    out.write(table)
    out.write(lines.tostring() if IS_2 else lines.tobytes())
    out.write(label)


def code_objects(top):
    todo = [top]
    while todo:
        code = todo.pop()
        yield code
        todo.extend(c for c in code.co_consts if isinstance(c, types.CodeType))


def load(path):
    if IS_2:
        with open(path, "U") as stream:
            return compile(stream.read(), path, "exec", 0, True)
    import importlib.machinery

    return importlib.machinery.SourceFileLoader("m", path).get_code("m")


def standard_library():
    """The module code of each file. get_code() takes the cached .pyc where there is one: the same
    code, faster. Files that do not compile are test data."""
    root = sysconfig.get_path("stdlib")
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            path = os.path.join(folder, name)
            try:
                yield load(path)
            except (SyntaxError, ValueError, TypeError, RuntimeError):
                pass


def module_with_lines(lines):
    """The statement `a.b(c)` once per entry of lines, each on that line."""
    tree = ast.parse("a.b(c)\n" * len(lines))
    for statement, line in zip(tree.body, lines):
        for node in ast.walk(statement):
            if hasattr(node, "lineno"):
                node.lineno = line
                if hasattr(node, "end_lineno"):
                    node.end_lineno = line
    return compile(tree, "<generated>", "exec")


def extremes():
    """Steps that ordinary sources lack: backwards, just around each encoding's limits, and so
    large that they take several entries or a long varint. The older tables spell a large step
    in pieces of 127 lines, so there it has to be smaller."""
    rng = random.Random(626)
    far = 2**INT_BITS - 2 if KIND == PEP657 else 10**6
    edges = [1, 2, 3, 4, 31, 32, 33, 63, 64, 65, 126, 127, 128, 129, 254, 255, 256, 257, 2047,
             2048, 65535, 65536]
    line, lines = 100000, []
    for _ in range(2000):
        line = max(1, line + rng.choice(edges) * rng.choice((-1, 1)))
        lines.append(line)
    yield module_with_lines(lines)
    yield module_with_lines([rng.randint(1, far) for _ in range(50)])
    yield module_with_lines([1, far, 1, far - 1])
    # A table of more than 64 KB.
    yield module_with_lines([rng.randint(1, 300) for _ in range(5000)])
    # One statement that spans more units than any one entry can.
    yield compile("x = 1\ny = [" + "a.b, " * 2000 + "]\nz = 2\n", "<generated>", "exec")
    # Handlers and finally blocks repeat lines out of order and have units without a line.
    yield compile("def f():\n" + " try:\n  a\n except b as c:\n  d\n finally:\n\n  e\n" * 300,
                  "<generated>", "exec")


def main():
    sys.dont_write_bytecode = True
    sys.setrecursionlimit(10000)
    warnings.simplefilter("ignore")
    c_api = "--c-api" in sys.argv[1:]
    out = sys.stdout if IS_2 else sys.stdout.buffer
    written = 0
    out.write(MAGIC)
    for source in (extremes(), standard_library()):
        for module in source:
            for code in code_objects(module):
                write_code(out, code, c_api)
                written += 1
    out.write(struct.pack("<BI", 0, written))
    out.flush()


main()
