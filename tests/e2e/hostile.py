# SPDX-License-Identifier: BSD-2-Clause
"""
Attackers: programs that pass for a Python and lie (workloads/forger.c), and ELF files that no linker
made, mapped into a process (workloads/mapper.c).
"""
import os
import shutil
import struct
import subprocess
import tempfile
import atexit

import kraitrun
import targets

COMPILER = os.environ.get("CC") or "cc"
FLAGS = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-rdynamic"]
PAGE = 4096
built = {}


def build(name):
    """The path of a C workload, compiled once per run."""
    if name not in built:
        if not built:
            built[""] = tempfile.mkdtemp(prefix="krait-hostile-")
            os.chmod(built[""], 0o755)
            atexit.register(shutil.rmtree, built[""], ignore_errors=True)
        source = os.path.join(targets.WORKLOADS, name + ".c")
        path = os.path.join(built[""], name)
        subprocess.run([COMPILER] + FLAGS + ["-o", path, source], check=True)
        built[name] = path
    return built[name]


def modes():
    """How forger can lie; "honest" is not at all."""
    return subprocess.run([build("forger")], capture_output=True, text=True, check=True).stdout.split()


class Attacker:
    """A running C workload that has said "ready". For `with`, which ends it."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen(
            [str(arg) for arg in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kraitrun.ENV,
            cwd="/",
            **options,
        )
        self.pid = self.process.pid
        self.said = self.process.stdout.readline()

    def __enter__(self):
        assert self.said == b"ready\n", "%r said %r" % (self.process.args, self.said)
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.communicate()


def forger(mode, share=100, **options):
    return Attacker(build("forger"), mode, share, **options)


def mapper(*args, **options):
    return Attacker(build("mapper"), *args, **options)


# ---- ELF files: gABI, "ELF Header", "Sections", "Program Header" ----

ET_DYN, EM_X86_64, PT_LOAD, PT_DYNAMIC, PT_NOTE = 3, 62, 1, 2, 4
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_DYNSYM = 1, 2, 3, 11
SHF_COMPRESSED = 0x800
M64 = (1 << 64) - 1


def header(phoff=64, phnum=0, shoff=0, shnum=0, shstrndx=0, shentsize=64):
    ident = b"\x7fELF\2\1\1" + bytes(9)
    fields = (ET_DYN, EM_X86_64, 1, 0, phoff, shoff, 0, 64, 56, phnum, shentsize, shnum, shstrndx)
    return ident + struct.pack("<HHIQQQIHHHHHH", *fields)


def segment(kind=PT_LOAD, off=0, addr=0, size=PAGE, flags=5):
    return struct.pack("<IIQQQQQQ", kind, flags, off, addr, addr, size, size, PAGE)


def section(name, kind, off, size, link=0, addr=0, entsize=0, flags=0):
    return struct.pack("<IIQQQQIIQQ", name, kind, flags, addr, off, size, link, 0, 1, entsize)


def symbol(name, value, size=8):
    return struct.pack("<IBBHQQ", name, 0x11, 0, 1, value & M64, size)


NAMES = b"\0.shstrtab\0.dynsym\0.dynstr\0.symtab\0.strtab\0.rodata\0.PyRuntime\0"
TEXTS = b"\0_PyRuntime\0Py_Version\0PyCode_Type\0localeconv\0frexp\0ldexp\0fmod\0dlsym\0sigaction\0"


def name_of(text):
    return NAMES.index(b"\0" + text + b"\0") + 1


class Image:
    """A file in the making: pieces at offsets, all else a hole."""

    def __init__(self, size=4 * PAGE):
        self.size = size
        self.pieces = []

    def put(self, off, data):
        self.pieces.append((off, data))
        self.size = max(self.size, off + len(data))
        return self

    def write(self, path):
        with open(path, "wb") as stream:
            for off, data in self.pieces:
                stream.seek(off)
                stream.write(data)
            stream.truncate(self.size)
        return path


def with_sections(sections, at=PAGE, size=4 * PAGE, count=None, **fields):
    """A file whose section headers are these, behind an empty one and the one of their names."""
    table = section(0, 0, 0, 0) + section(1, SHT_STRTAB, 256, len(NAMES)) + b"".join(sections)
    count = len(table) // 64 if count is None else count
    image = Image(size).put(0, header(phnum=1, shoff=at, shnum=count, shstrndx=1, **fields))
    return image.put(64, segment()).put(256, NAMES).put(at, table)


def full_tables(size=16 << 40):
    """Tables as long as they may be, of which krait might read every byte: two of symbols, two of
    their names, read-only data."""
    big, mega = 32 << 20, 1 << 20
    offs = [mega + i * big for i in range(5)]
    image = with_sections(
        [
            section(name_of(b".dynsym"), SHT_DYNSYM, offs[0], big, link=3, entsize=24),
            section(name_of(b".dynstr"), SHT_STRTAB, offs[1], big),
            section(name_of(b".symtab"), SHT_SYMTAB, offs[2], big, link=5, entsize=24),
            section(name_of(b".strtab"), SHT_STRTAB, offs[3], big),
            section(name_of(b".rodata"), SHT_PROGBITS, offs[4], big),
            section(name_of(b".PyRuntime"), SHT_PROGBITS, PAGE, 4096, addr=PAGE),
        ],
        size=min(size, offs[4] + big),
    )
    for off in offs[1], offs[3]:
        image.put(off, TEXTS).put(off + big - 8, b"\0")
    return image


def gnu_hash():
    """No sections; a hash table of symbols whose chain has no end."""
    dynamic = b"".join(
        struct.pack("<QQ", tag, value)
        for tag, value in [(5, 0x2000), (6, 0x3000), (10, 4096), (0x6FFFFEF5, 0x1000), (0, 0)]
    )
    image = Image(16 << 20).put(0, header(phnum=2)).put(64, segment(size=16 << 20, flags=6))
    image.put(120, segment(PT_DYNAMIC, 512, 512, len(dynamic))).put(512, dynamic)
    return image.put(0x1000, struct.pack("<IIII", 1, 1, 0, 0) + struct.pack("<I", 1)).put(
        0x2000, bytes(24) + symbol(1, 0x1000)
    ).put(0x3000, TEXTS)


def cookies():
    """No sections; data that is nothing but what the runtime of 3.13 and later begins with."""
    return (
        Image(4 << 20)
        .put(0, header(phnum=1))
        .put(64, segment(size=4 << 20, flags=6))
        .put(PAGE, b"xdebugpy" * (1 << 18))
    )


def elf_files():
    """{name: Image}. Each was written by somebody who knows what krait reads."""
    dynstr, dynsym = name_of(b".dynstr"), name_of(b".dynsym")
    runtime = name_of(b".PyRuntime")
    symbols = section(dynsym, SHT_DYNSYM, 3 * PAGE, 72, link=3, entsize=24)
    texts = section(dynstr, SHT_STRTAB, 2 * PAGE, len(TEXTS))
    kernel = symbol(1, 0xFFFFFFFF81000000) + symbol(12, 0xFFFF888000000000) + symbol(23, M64)
    return {
        "magic": Image(0).put(0, b"\x7fELF"),
        "header-only": Image(64).put(0, header(phnum=1)),
        "65279-sections": with_sections([], count=0xFEFF, size=1 << 40),
        "extended-count": Image(1 << 40)
        .put(0, header(shoff=PAGE))
        .put(PAGE, section(0, 0, 0, 1 << 33)),
        "sections-beyond": Image().put(0, header(shoff=M64 - 63, shnum=9, shstrndx=1)),
        "section-size": Image().put(0, header(shoff=PAGE, shnum=9, shstrndx=1, shentsize=1)),
        "names-of-names": with_sections([], at=PAGE, size=8 << 40, shentsize=64).put(
            PAGE, section(0, 0, 0, 0) + section(1, SHT_STRTAB, 0, 1 << 42)
        ),
        "65535-segments": Image(1 << 32).put(0, header(phnum=0xFFFF, phoff=1 << 20)),
        "segments-beyond": Image().put(0, header(phnum=9, phoff=M64 - 55)),
        "segment-of-everything": Image()
        .put(0, header(phnum=2))
        .put(64, segment(off=M64, addr=M64, size=M64, flags=6) + segment(PT_NOTE, 0, 0, 1 << 60)),
        "tables-wrap": with_sections(
            [
                section(dynsym, SHT_DYNSYM, M64 - 7, 16, link=3, entsize=24),
                section(dynstr, SHT_STRTAB, 8, M64 - 4),
            ]
        ),
        "links-to-itself": with_sections([section(dynsym, SHT_DYNSYM, 3 * PAGE, 72, link=2)]),
        "compressed": with_sections(
            [symbols, section(dynstr, SHT_STRTAB, 2 * PAGE, 200, flags=SHF_COMPRESSED)]
        ).put(2 * PAGE, struct.pack("<IIQQ", 1, 0, 1 << 42, 1) + TEXTS),
        "names-without-end": with_sections([symbols, texts]).put(2 * PAGE, b"P" * len(TEXTS)),
        "symbols-in-the-kernel": with_sections([symbols, texts])
        .put(2 * PAGE, TEXTS)
        .put(3 * PAGE, kernel),
        "runtime-nowhere": with_sections(
            [section(runtime, SHT_PROGBITS, PAGE, M64, addr=0xFFFF888000000008)]
        ),
        "full-tables": full_tables(),
        "eight-terabytes": with_sections([symbols, texts], at=(8 << 40) - PAGE, size=8 << 40),
        "gnu-hash": gnu_hash(),
        "cookies": cookies(),
    }
