# SPDX-License-Identifier: BSD-2-Clause
"""build/released.py: whatever would make an old recording mean something else is said."""
import os
import sys

import pytest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "build"))

import released


def text(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as stream:
        return stream.read()


RECORD, LEDGER, LIST = text(released.RECORD), text(released.LEDGER), text(released.LIST)


def problems(record=RECORD, ledger=LEDGER, list_=LIST):
    return list(released.problems(released.declared(record, ledger), released.listed(list_)))


def changed(old, new, where):
    assert where.count(old) == 1
    return where.replace(old, new)


def test_the_tree_is_as_released():
    assert problems() == [] and released.check(TREE) == []


def test_every_line_is_seen():
    """Of the lists and enums that are stored, none is passed over."""
    lines = LEDGER.count("\tX(")
    groups = [group for group, _, _ in released.listed(LIST)]
    assert groups.count("counter") == lines >= 27
    assert groups.count("kind") >= 4 and groups.count("process_what") >= 7
    assert {"lines_kind", "mark", "stack", "part"} <= set(groups)


LEDGERS = {
    "a number is changed": ("X(RING_FULL, 10,", "X(RING_FULL, 30,", "released as 10 and is 30"),
    "two change places": ("X(NO_FRAME, 2,", "X(NO_FRAME, 1,", "both number 1"),
    "a name is changed": ("X(STARTING, 3,", "X(BEGINNING, 3,", "was released as STARTING"),
    "a number is used again": (
        'X(CODES, 25, "CODE records sent")',
        'X(HEAPS, 25, "heaps")',
        "number 25 of HEAPS was released as CODES",
    ),
    "a line is gone": ("X(THREAD_SEARCH, 8, 1,", "Y(", "THREAD_SEARCH, released as number 8, is gone"),
    "a new one is not listed": (
        "X(RING_FULL, 10,",
        'X(PAGED_OUT, 99, 1, "of a page")\tX(RING_FULL, 10,',
        "add `counter 99 PAGED_OUT`",
    ),
    "a part": ("KRAIT_PART_FAULT = 2", "KRAIT_PART_FAULT = 4", "released as 2 and is 4"),
}


@pytest.mark.parametrize("what", LEDGERS)
def test_changes_of_the_ledger(what):
    old, new, says = LEDGERS[what]
    assert any(says in problem for problem in problems(ledger=changed(old, new, LEDGER)))


RECORDS = {
    "a kind": ("KRAIT_STACK = 3", "KRAIT_STACK = 9", "released as 3 and is 9"),
    "a position instead": ("KRAIT_CODE = 2", "KRAIT_CODE", "no explicit number"),
    "a mark": ("KRAIT_MARK_OUTSIDE 0x8000", "KRAIT_MARK_OUTSIDE 0x4000", "and is 16384"),
    "a process event": ("KRAIT_PROCESS_EXIT = 4", "KRAIT_PROCESS_EXIT = 5", "both number 5"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_changes_of_the_records(what):
    old, new, says = RECORDS[what]
    assert any(says in problem for problem in problems(record=changed(old, new, RECORD)))


def test_the_description_has_them_too():
    description = text("docs/recording.md")
    for group, number, name in released.listed(LIST):
        if group == "counter":
            assert "%d %s" % (number, name) in description
        if group == "kind":
            assert "### %s (%d)\n" % (name, number) in description
        if group in ("process_what", "lines_kind"):
            assert "%s %d" % (name.split("_", 1)[1], number) in description


def test_a_list_that_says_a_thing_twice():
    for line in ("counter 25 HEAPS\n", "counter 40 CODES\n"):
        assert any("twice" in problem for problem in problems(list_=LIST + line))


def test_a_new_one_that_is_listed():
    ledger = changed("X(RING_FULL, 10,", 'X(PAGED_OUT, 99, 1, "of a page")\tX(RING_FULL, 10,', LEDGER)
    assert problems(ledger=ledger, list_=LIST + "counter 99 PAGED_OUT\n") == []
