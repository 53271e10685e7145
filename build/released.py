# SPDX-License-Identifier: BSD-2-Clause
"""The numbers that recordings hold for ever, against a list of those ever released.

bpf/abi/record.h and ledger.h give each kind of record, reason, counter and flag a number. A recording
of last year has them in it, so none may change, go, or mean something else. bpf/abi/released is the
list: `GROUP NUMBER NAME`, each group in the order in which its numbers came. Whoever adds one adds a
line there, and never changes one.
"""

import os
import re

LIST = "bpf/abi/released"
RECORD, LEDGER = "bpf/abi/record.h", "bpf/abi/ledger.h"

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ENUM = re.compile(r"enum krait_(\w+) \{(.*?)\};", re.DOTALL)
MEMBER = re.compile(r"KRAIT_(\w+)(?:\s*=\s*(\w+))?")
# Flags of records and marks of frames.
DEFINE = re.compile(r"#define KRAIT_((STACK|MARK)_\w+)\s+(?:\\\s*)?(\w+)")
# A line of an X-macro's list; those that read the lists have a lower-case name.
LINE = re.compile(r"\bX\(([A-Z]\w*), (\w+)")


def number(text):
    return int(text, 0) if text and text[0].isdigit() else None


def declared(record, ledger):
    """[(group, number or None, name)] of the text of the two headers."""
    record, ledger = COMMENT.sub("", record), COMMENT.sub("", ledger)
    found = []
    for group, body in ENUM.findall(record):
        found += [(group, number(value), name) for name, value in MEMBER.findall(body)]
    found += [(group.lower(), number(value), name) for name, group, value in DEFINE.findall(record)]
    found += [("counter", number(value), name) for name, value in LINE.findall(ledger)]
    for group, body in ENUM.findall(ledger):
        if group == "part":
            found += [(group, number(value), name) for name, value in MEMBER.findall(body)]
    return found


def listed(text):
    """The same of the list."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [(group, int(value, 0), name) for group, value, name in lines]


def problems(now, released):
    """What is wrong with the headers' numbers, a sentence each."""
    then = {(group, name): value for group, value, name in released}
    taken = {(group, value): name for group, value, name in released}
    seen = {}
    if len(then) < len(released) or len(taken) < len(released):
        yield "a name or a number is there twice in a group of " + LIST
    for group, value, name in now:
        if value is None:
            yield "%s has no explicit number" % name
            continue
        if (group, value) in seen:
            yield "%s and %s are both number %d" % (seen[group, value], name, value)
        seen[group, value] = name
        if (group, name) in then:
            if then[group, name] != value:
                yield "%s was released as %d and is %d" % (name, then[group, name], value)
        elif (group, value) in taken:
            yield "number %d of %s was released as %s" % (value, name, taken[group, value])
        else:
            yield "%s is not in %s: add `%s %d %s`" % (name, LIST, group, value, name)
    for group, value, name in released:
        if (group, name) not in {(g, n) for g, _, n in now}:
            yield "%s, released as number %d, is gone: old recordings have it" % (name, value)


def check(root):
    """Lines for lint to print."""
    texts = []
    for path in (RECORD, LEDGER, LIST):
        with open(os.path.join(root, path), encoding="utf-8") as stream:
            texts.append(stream.read())
    found = problems(declared(*texts[:2]), listed(texts[2]))
    return ["%s: %s" % (LIST, problem) for problem in found]
