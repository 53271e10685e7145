# SPDX-License-Identifier: BSD-2-Clause
"""Folded stacks, read strictly: whatever does not look as the contract says is an error here."""
import functools
import re
import unicodedata
from collections import namedtuple

# line: None where it was not written, 0 where it is not known. interp: 0 in the main interpreter. gc:
# whether "<GC>" was at the end; the frames are without it.
Frame = namedtuple("Frame", "name file line")
Stack = namedtuple("Stack", "pid cmdline tid thread frames count interp gc")

LINE = re.compile(r"(?P<frames>.+) (?P<count>[1-9][0-9]*)")
PROCESS = re.compile(r'process (?P<pid>[0-9]+):"(?P<cmdline>.*)"')
THREAD = re.compile(
    r"thread \((?P<tid>[0-9]+)\)(?:: (?P<name>.*?))?(?: \[interpreter (?P<interp>[1-9][0-9]*)\])?"
)
GC = "<GC>"
OUTSIDE = "[outside of Python]"
UNKNOWN = "[line unknown]"
FRAME = re.compile(
    r"(?P<name>.*) \((?P<file>.*?)(?::(?P<line>[1-9][0-9]*|%s))?\)" % re.escape(UNKNOWN)
)
MARKER = re.compile(r"\[[a-z][^\[\]]*\]")


class Stacks(list):
    """The stacks of Python, as most tests look at them; .outside has those of the time that threads
    spent outside of it: of one frame that says so."""

    def __init__(self, stacks):
        super().__init__(stack for stack in stacks if not is_outside(stack))
        self.outside = [stack for stack in stacks if is_outside(stack)]


def is_outside(stack):
    if all(frame.name != OUTSIDE or frame.file for frame in stack.frames):
        return False
    assert len(stack.frames) == 1 and not stack.gc and stack.interp == 0, stack
    return True


@functools.lru_cache(maxsize=1 << 16)
def parse_frame(text):
    if MARKER.fullmatch(text):
        return Frame(text, "", None)
    match = FRAME.fullmatch(text)
    assert match, "no folded frame: %r" % text
    line = match["line"]
    number = line if line is None else 0 if line == UNKNOWN else int(line)
    return Frame(match["name"], match["file"], number)


def parse_line(text):
    match = LINE.fullmatch(text)
    assert match, "no folded line: %r" % text
    parts = match["frames"].split(";")
    process = PROCESS.fullmatch(parts[0])
    assert process, "no process root: %r" % text
    thread = THREAD.fullmatch(parts[1]) if len(parts) > 1 else None
    is_gc = parts[-1] == GC
    if is_gc:
        del parts[-1]
    frames = tuple(parse_frame(part) for part in parts[2 if thread else 1 :])
    return Stack(
        int(process["pid"]),
        process["cmdline"],
        int(thread["tid"]) if thread else None,
        thread["name"] if thread else None,
        frames,
        int(match["count"]),
        int(thread["interp"] or 0) if thread else 0,
        is_gc,
    )


def assert_harmless(text):
    """No control, bidirectional, separator or surrogate character but the line ends."""
    bad = {
        char
        for char in set(text) - {"\n"}
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or char in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    }
    assert not bad, "not made safe: %r" % bad


def parse(data):
    """The Stacks in a folded file's bytes. The last line is whole, no stack comes twice."""
    text = data.decode("utf-8")
    assert text == "" or text.endswith("\n"), "cut short: %r" % text[-80:]
    assert_harmless(text)
    lines = text.split("\n")[:-1]
    keys = [line.rpartition(" ")[0] for line in lines]
    assert len(keys) == len(set(keys)), "a stack comes twice"
    return Stacks([parse_line(line) for line in lines])


def read(path):
    with open(path, "rb") as stream:
        return parse(stream.read())


def total(stacks):
    return sum(stack.count for stack in stacks)


def total_all(stacks):
    """With what was outside of Python: the samples of the ledger."""
    return total(stacks) + total(stacks.outside)


def of_pid(stacks, pid):
    return [stack for stack in stacks if stack.pid == pid]


def names(stack):
    return [frame.name for frame in stack.frames]


def short_name(frame):
    """The name without what qualifies it: the same for a method before and after 3.11."""
    return frame.name.rpartition(".")[2]


def having(stacks, name):
    """The stacks with a function of that unqualified name anywhere."""
    return [stack for stack in stacks if any(short_name(f) == name for f in stack.frames)]


def is_marker(frame):
    """Whether it stands for a frame, or more, that could not be read."""
    return frame.name.startswith("[unreadable: ")


def is_marked(stack):
    """
    Whether a frame could not be read, and says so. In processes that fork that is no fault: at the
    first write to a page after it the kernel takes the page away for as long as it makes a copy
    (mm/memory.c, wp_page_copy), and a tick in that moment finds none.
    """
    return any(map(is_marker, stack.frames))
