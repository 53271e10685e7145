#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Shows that the fuzz targets find what they are there to find; `make fuzz-breaks` calls it.

    breaks.py SECONDS FOLDER OUT [TARGET]...

Each break below is a check left out of krait, or done wrongly: old text, which its file has exactly
once, and new text. In a copy of the tree in FOLDER, with the objects built in OUT, one break at a time
is put in, its target is built, and runs from its seeds alone until it finds something or SECONDS are
over. Before its breaks each target runs as it is, and must find nothing: else they prove nothing. One
line per break; exits 1 if one was not found, or if its old text is no longer in the tree.
"""

import itertools
import os
import shutil
import subprocess
import sys
import time

import run
import seeds

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNBROKEN_S = 1  # after all seeds
COPIED = ["Makefile", "build", "bpf", "user", "tests", "vmlinux"]

RECORDING, RECORDING_3 = "user/drain/recording_read.c", "user/drain/recording_v3.c"
RECORDS = "user/drain/records.c"
AGGREGATE, SYMBOLIZER = "user/aggregate/aggregate.c", "user/symbolize/symbolizer.c"
ELF, PROCFS, OFFSETS = "user/elf/elf.c", "user/proc/procfs.c", "user/python/debug_offsets.c"
ELF_SYMBOLS, ELF_BARE = "user/elf/elf_symbols.c", "user/elf/elf_bare.c"
STATIC_VARS, TEXT = "user/python/static_vars.c", "user/base/text.c"
PYDICT, PYOBJECT = "user/python/pydict.c", "user/python/pyobject.c"
THREADS, PROVE = "user/session/thread_names.c", "user/python/prove.c"
WALK, CODE, LINETABLE = "bpf/walk.h", "bpf/code.h", "user/symbolize/linetable.c"

# (target, what is left out, file, old text, new text)
BREAKS = [
    ("recording", "the target's text ends", RECORDING, "is_text(head->target, sizeof(head->target))", "1"),
    ("recording", "a block's checksum", RECORDING, "if (block.crc32 != crc_of(&block, r->packed))", "if (0)"),
    ("recording", "the length of a record in a block", RECORDING,
     "h->bytes < sizeof(*h) || h->bytes > left || h->bytes % 8", "0"),
    ("recording", "the tail is the last", RECORDING, "return is_last && tail_is_valid(h);",
     "return tail_is_valid(h);"),
    ("recording", "the target's text ends, in version 3", RECORDING_3,
     "!is_text(head.target, sizeof(head.target))", "0"),
    ("recording", "room for the frames", AGGREGATE, "rec->frame_cnt + 3,", "rec->frame_cnt + 1,"),
    ("recording", "the length of a PROCESS text", RECORDS,
     "rec->text_bytes <= h->bytes - sizeof(*rec)", "1"),
    ("recording", "the checksum of version 3", RECORDING_3, "if (end.crc32 != r->crc32)", "if (0)"),
    ("recording", "what follows the tail of version 3", RECORDING_3,
     "if (r->len - r->at > sizeof(end))", "if (0)"),
    ("recording", "a sample's weight", AGGREGATE, "agg->total_cnt += rec->weight;", "agg->total_cnt++;"),
    ("records", "the length of a CODE text", RECORDS, "text <= h->bytes - sizeof(*rec) &&", "1 &&"),
    ("records", "a STACK's length", RECORDS,
     "rec->frame_cnt * sizeof(struct krait_frame) <= h->bytes - sizeof(*rec)", "1"),
    ("records", "the order of the samples", AGGREGATE,
     "return (x->stack_idx > y->stack_idx) - (x->stack_idx < y->stack_idx);", "return 0;"),
    ("linetable", "the table's end in a number", LINETABLE,
     "if (shift > VARINT_MAX_SHIFT || pos >= table_bytes)", "if (shift > VARINT_MAX_SHIFT)"),
    ("linetable", "lines below 1", LINETABLE, "line >= 1 && line <= INT32_MAX", "line <= INT32_MAX"),
    ("walk", "the depth", WALK, "if (*i >= w->cnt_max) {", "if (*i > w->cnt_max) {"),
    ("walk", "where the bytecode starts", WALK, "bytes < -2 || bytes > 0x7ffffffe", "0"),
    ("walk", "what is no code object", CODE, "KRAIT_FAULT_CODE_NOT_CODE", "KRAIT_CNT_CNT + 99"),
    ("elf", "the size of an object", ELF, "return bytes < OBJECT_MAX_BYTES ? bytes : 0;", "return bytes;"),
    ("elf", "where a name starts", ELF_SYMBOLS, "has >= want && ", ""),
    ("elf", "buckets that are not in the file", ELF_BARE, "buckets && i < head[0]", "i < head[0]"),
    ("code", "the end of the code", STATIC_VARS, "c->len - c->at < cnt || ", ""),
    ("code", "the length of an instruction", STATIC_VARS, "i + 10 <= len", "i + 9 <= len"),
    ("text", "a sequence's end", TEXT, "if (i >= len || bytes[i]", "if (bytes[i]"),
    ("text", "what a terminal obeys", TEXT, "else if (!is_unsafe(cp))", "else if (cp)"),
    ("maps", "the length of comm", PROCFS, "if (len >= sizeof(out->comm))", "if (0)"),
    ("maps", "control characters in a name", PROCFS, "isprint((unsigned char)path[i])", "1"),
    ("maps", "the module that a line ends", PROCFS, "if (m->is_open && !m->v[m->cnt - 1].is_loaded)", "if (0)"),
    ("offsets", "places beyond 16 bits", OFFSETS, "if (!f->is_u32 && off > UINT16_MAX)", "if (0)"),
    ("offsets", "a str's header", OFFSETS, "ascii < walk->str_length_off + 8u)", "0)"),
    ("threads", "how many interpreters", THREADS, "while (addr && cnt < INTERPS_MAX) {", "while (addr) {"),
    ("threads", "an empty name", THREADS, "!p->text.len ||", ""),
    ("threads", "unsafe characters", PYOBJECT,
     "text_add_pystr(out, buf, (size_t)chars * text.width, text.width);",
     "strbuf_add(out, buf, (size_t)chars * text.width);"),
    ("objects", "the budget", PYOBJECT, "if (!r->reads_left)", "if (0)"),
    ("objects", "a text's length", PYOBJECT,
     "chars = text.chars > max_chars ? max_chars : text.chars;", "chars = text.chars;"),
    ("objects", "how many slots", PYDICT,
     "words[0] >= ENTRIES_MAX || (words[0] & (words[0] + 1))", "0"),
    ("objects", "values beside the keys", PYDICT, "entry.value = values[i];", "entry.value = values[0];"),
    ("prove", "whose a thread is", PROVE, "u64_at(ts, w->ts_interp_off) != interp", "0"),
    ("prove", "the thread before", PROVE, "u64_at(ts, w->ts_prev_off) != prev", "0"),
    ("prove", "what the type is called", PROVE, '!memcmp(name, "code", 5)', "1"),
]  # fmt: skip


def copy_tree(folder, out):
    """The sources, and what has been built of them, so that make goes on from there."""
    tree = os.path.join(folder, "tree")
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    for name in COPIED + [out]:
        source = os.path.join(ROOT, name)
        if os.path.isdir(source):
            ignored = shutil.ignore_patterns("corpus", "findings", "breaks", "lint", "__pycache__")
            shutil.copytree(source, os.path.join(tree, name), symlinks=True, ignore=ignored)
        else:
            shutil.copy2(source, os.path.join(tree, name))
    return tree


def write(path, text):
    """With a time of its own, so that make notices within the same second too."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    later = time.time() + 1
    os.utime(path, (later, later))


def build(tree, out, target):
    make = os.environ.get("MAKE", "make")
    # Without warnings: what is left out leaves variables behind that nobody uses. And the BPF program
    # stays as it is: it takes longest, and no target has it.
    command = [make, "--no-print-directory", "WARN=-w", "OUT=" + out]
    command += ["--old-file=%s/krait.skel.h" % out, "%s/fuzz/fuzz_%s" % (out, target)]
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode == 0


def run_from_seeds(tree, folder, out, target, seconds):
    """(its exit status, after how many seconds, the first line of what it reports or "")."""
    work = os.path.join(folder, "work")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    os.symlink(os.path.join(folder, "seeds"), os.path.join(work, "seeds"))
    program = os.path.join(tree, out, "fuzz", "fuzz_" + target)
    start = time.monotonic()
    output, status = run.run_target(program, target, seconds, work)
    report = run.REPORT.search(output)
    line = output[report.start() :].splitlines()[0] if report else ""
    return status, time.monotonic() - start, line.strip()[:100]


def try_break(tree, folder, out, seconds, one):
    """What became of it: (found, sentence)."""
    target, _, name, old, new = one
    path = os.path.join(tree, name)
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    if text.count(old) != 1:
        return False, "its place is not in %s any more" % name
    write(path, text.replace(old, new))
    try:
        if not build(tree, out, target):
            return False, "does not compile"
        status, took, report = run_from_seeds(tree, folder, out, target, seconds)
    finally:
        write(path, text)
    if status == 0 or not report:
        return False, "not found in %d s" % took
    return True, "found after %.1f s: %s" % (took, report)


def try_target(tree, folder, out, seconds, breaks):
    """Tries all breaks of one target. How many it found: none if it finds something without them."""
    target = breaks[0][0]
    built = build(tree, out, target)
    status, _, report = run_from_seeds(tree, folder, out, target, UNBROKEN_S) if built else (1, 0, "")
    if status:
        print("fuzz-breaks: %s: fails with no break in it: %s" % (target, report), flush=True)
        return 0
    found = 0
    for one in breaks:
        is_found, text = try_break(tree, folder, out, seconds, one)
        print("fuzz-breaks: %s: %s: %s" % (target, one[1], text), flush=True)
        found += is_found
    return found


def main():
    if len(sys.argv) < 4 or not sys.argv[1].isdigit():
        sys.stderr.write(__doc__)
        return 2
    seconds, folder, out = int(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
    chosen = [b for b in BREAKS if len(sys.argv) == 4 or b[0] in sys.argv[4:]]
    tree = copy_tree(folder, out)
    seeds.write_all(os.path.join(folder, "seeds"), sorted({b[0] for b in chosen}))
    found = sum(
        try_target(tree, folder, out, seconds, list(breaks))
        for _, breaks in itertools.groupby(chosen, key=lambda one: one[0])
    )
    print("fuzz-breaks: %d breaks, %d found" % (len(chosen), found))
    shutil.rmtree(tree)
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
