# SPDX-License-Identifier: BSD-2-Clause
"""
fuses.py FOLDER ASKED_FOLDER [WHAT]: mounts a file system on the folder, in a mount namespace of its
own, maps a file of it as if it were a library, and from then on answers nobody who opens that, or, if
WHAT is "read", who reads it. It is its own server, so what waits for it waits until it is killed. Once
it was asked, there is a file "asked" in the other folder.

The protocol: include/uapi/linux/fuse.h.
"""
import ctypes
import mmap
import os
import struct
import sys
import threading

from harness import libc, ready, running

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000  # linux/sched.h, linux/mount.h
MAP_FIXED = 0x10  # asm-generic/mman-common.h
LOWEST = 0x20000  # above vm.mmap_min_addr
LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, BATCH_FORGET = 1, 2, 3, 14, 15, 26, 42
ENOSYS = 38
FOREVER_S = 1 << 30
ROOT, FILE, FILE_BYTES = 1, 2, 1 << 20

unanswered = READ if sys.argv[3:] == ["read"] else OPEN
is_silent = threading.Event()
asked = threading.Event()


def attr(node):
    """struct fuse_attr."""
    mode, size = (0o40755, 0) if node == ROOT else (0o100755, FILE_BYTES)
    return struct.pack("=6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node):
    """What follows the header of the answer, or None: there is no such call here."""
    if opcode == INIT:
        return struct.pack("=4I2H2I2HI7I", 7, 31, 4096, 0, 16, 12, 4096, 1, 1, 0, 0, *[0] * 7)
    if opcode == LOOKUP:
        return struct.pack("=4Q2I", FILE, 0, FOREVER_S, FOREVER_S, 0, 0) + attr(FILE)
    if opcode == GETATTR:
        return struct.pack("=Q2I", FOREVER_S, 0, 0) + attr(node)
    if opcode == OPEN:
        return struct.pack("=Q2I", 0, 0, 0)
    return None


def serve(fd):
    while True:
        request = os.read(fd, 1 << 16)
        _, opcode, unique, node = struct.unpack_from("=2I2Q", request)
        if opcode in (FORGET, BATCH_FORGET):
            continue
        if opcode == unanswered and is_silent.is_set():
            asked.set()
            continue
        body = answer(opcode, node)
        error = -ENOSYS if body is None else 0
        body = body or b""
        os.write(fd, struct.pack("=IiQ", 16 + len(body), error, unique) + body)


def check(status):
    if status != 0:
        raise OSError("errno %d" % ctypes.get_errno())


folder = sys.argv[1].encode()
check(libc.unshare(CLONE_NEWNS))
check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
check(libc.mount(b"fuses", folder, b"fuse", 0, options))
threading.Thread(target=serve, args=(fuse,), daemon=True).start()
# At the lowest address, where krait begins: of the interpreter it would know all before.
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
with open(os.path.join(sys.argv[1], "library.so"), "rb") as stream:
    rights, flags = mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE | MAP_FIXED
    assert libc.mmap(LOWEST, 4096, rights, flags, stream.fileno(), 0) == LOWEST
is_silent.set()
ready()
while running():
    if asked.is_set():
        with open(os.path.join(sys.argv[2], "asked"), "w"):
            pass
        asked.clear()
os._exit(0)
