# SPDX-License-Identifier: BSD-2-Clause
"""Reads of a .krait recording what the measurements need.

The format: user/drain/recording.h (head and tail) and bpf/abi/record.h (records). The versions are
compared, so a change of either is an error here and not a wrong figure.
"""
import struct
from collections import namedtuple

ABI_VERSION = 3
HEAD_BYTES = 424
HEAD = struct.Struct("=8sIIQQ")  # magic, abi_version, freq_hz, start_unix_ns, start_mono_ns
HDR = struct.Struct("=HHI")  # kind, flags, bytes
SAMPLE = struct.Struct("=QQIIII")  # time_ns, stack_id, pid, tid, cpu, weight
STACK = struct.Struct("=QQII")  # stack_id, interp_id, pid, frame_cnt
KIND_STACK, KIND_SAMPLE, KIND_TAIL = 3, 4, 0x7E6B

Recording = namedtuple("Recording", "start_ns samples stacks")
Sample = namedtuple("Sample", "time_ns pid stack_id cpu weight")
Stack = namedtuple("Stack", "stack_id pid depth")


def read(path):
    with open(path, "rb") as stream:
        data = stream.read()
    magic, version, _, _, start_ns = HEAD.unpack_from(data)
    if magic != b"krait\x1a\r\n" or version != ABI_VERSION:
        raise ValueError("recording of version %d, not %d" % (version, ABI_VERSION))
    out = Recording(start_ns, [], [])
    at = HEAD_BYTES
    while True:
        kind, _, size = HDR.unpack_from(data, at)
        body = at + HDR.size
        if kind == KIND_TAIL:
            return out
        if kind == KIND_SAMPLE:
            time_ns, stack_id, pid, _, cpu, weight = SAMPLE.unpack_from(data, body)
            out.samples.append(Sample(time_ns, pid, stack_id, cpu, weight))
        elif kind == KIND_STACK:
            stack_id, _, pid, depth = STACK.unpack_from(data, body)
            out.stacks.append(Stack(stack_id, pid, depth))
        at += size
