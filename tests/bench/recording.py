# SPDX-License-Identifier: BSD-2-Clause
"""Reads of a .krait recording what the measurements need.

The format: docs/recording.md. The version is compared, so a change of it is an error here and not a
wrong figure.
"""
import struct
import zlib
from collections import namedtuple

VERSION = 4
START = struct.Struct("=8sII")  # magic, version, crc32
BLOCK = struct.Struct("=IIIIQ")  # packed_bytes, raw_bytes, number, crc32, until_ns
HDR = struct.Struct("=HHI")  # kind, flags, bytes
HEAD = struct.Struct("=QQ")  # start_unix_ns, start_mono_ns
SAMPLE = struct.Struct("=QQIIII")  # time_ns, stack_id, pid, tid, cpu, weight
STACK = struct.Struct("=QQII")  # stack_id, interp_id, pid, frame_cnt
KIND_STACK, KIND_SAMPLE, KIND_HEAD, KIND_TAIL = 3, 4, 5, 6

Recording = namedtuple("Recording", "start_ns samples stacks")
Sample = namedtuple("Sample", "time_ns pid stack_id cpu weight")
Stack = namedtuple("Stack", "stack_id pid depth")


def blocks(data):
    """The raw bytes of each block."""
    magic, version, crc = START.unpack_from(data)
    if magic != b"krait\x1a\r\n" or version != VERSION:
        raise ValueError("recording of version %d, not %d" % (version, VERSION))
    if crc != zlib.crc32(data[: START.size - 4]):
        raise ValueError("checksum of the start")
    at = START.size
    while at < len(data):
        packed, raw, number, crc, until_ns = BLOCK.unpack_from(data, at)
        body = data[at + BLOCK.size : at + BLOCK.size + packed]
        summed = struct.pack("=IIIQ", packed, raw, number, until_ns) + body
        if crc != zlib.crc32(summed):
            raise ValueError("checksum of block %d" % number)
        inflated = zlib.decompress(body, wbits=-15)
        if len(inflated) != raw:
            raise ValueError("length of block %d" % number)
        yield inflated
        at += BLOCK.size + packed


def records(data):
    """(kind, the bytes behind the record's header) of each."""
    for block in blocks(data):
        at = 0
        while at < len(block):
            kind, _, size = HDR.unpack_from(block, at)
            yield kind, block[at + HDR.size : at + size]
            at += size


def read(path):
    with open(path, "rb") as stream:
        data = stream.read()
    start_ns, samples, stacks, kind = 0, [], [], 0
    for kind, body in records(data):
        if kind == KIND_HEAD:
            _, start_ns = HEAD.unpack_from(body)
        elif kind == KIND_SAMPLE:
            time_ns, stack_id, pid, _, cpu, weight = SAMPLE.unpack_from(body)
            samples.append(Sample(time_ns, pid, stack_id, cpu, weight))
        elif kind == KIND_STACK:
            stack_id, _, pid, depth = STACK.unpack_from(body)
            stacks.append(Stack(stack_id, pid, depth))
    if kind != KIND_TAIL:
        raise ValueError("no tail")
    return Recording(start_ns, samples, stacks)
