#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The rules of style that a machine can check; `make lint` runs it.

Formatting, lengths, include directions, licence lines, leftovers; the numbers that recordings hold
(build/released.py); and what clang-tidy and cppcheck find (build/analyze.py). It reads the whole tree
as it lies on disk (not what git knows of it), so that a new file is checked before it is added. To add
a rule: write a function that takes a File and yields (line, message), and name it in RULES.

What could not be checked here is a skip, printed and counted. With KRAIT_TALLY=FILE it is counted
there too (tests/tools/suite.py).
"""

import ast
import os
import re
import subprocess
import sys

import analyze
import released

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SKIPPED_DIRS = {".git", "__pycache__", "data", "corpus"}
CODE_SUFFIXES = {".c": "c", ".h": "c", ".py": "py", ".sh": "sh"}
TEXT_SUFFIXES = {".md", ".proto", ".html", ".js", ".css", ".yml", ".map", ".1"}
TEXT_NAMES = {"Makefile", ".gitignore", ".clang-format", ".clang-tidy", "LICENSE", "README"}

FUNCTION_LINES = 80
FILE_LINES = 800
# Versions of clang-format disagree in details. The tree is formatted by this one (Debian 12's).
CLANG_FORMAT = 14

# user/STAGE may include user/base, itself, what it needs of bpf/abi, and these stages; None: every
# stage.
STAGES = {
    "base": [],
    "cli": [],
    "proc": [],
    "python": ["proc"],
    "elf": ["python"],
    "target": ["elf", "python", "proc"],
    "drain": [],
    "symbolize": ["drain"],
    "aggregate": ["symbolize", "drain"],
    "export": ["aggregate"],
    "session": ["base", "cli", "target", "python", "proc", "drain", "symbolize", "aggregate", "export"],
    "cmd": None,
}
# What of bpf/ is compiled for user space too takes its types from here there.
HOST_HEADERS = {
    "bpf/abi/record.h": ["linux/types.h"],
    "bpf/abi/control.h": ["linux/types.h"],
    "bpf/platform.h": ["linux/types.h", "stdbool.h", "stddef.h"],
}
# Which stages may know of a part of what the BPF program and user space share; None: every one. What
# is behind the recording must not depend on a running BPF program.
ABI_STAGES = {
    "bpf/abi/record.h": None,
    "bpf/abi/ledger.h": None,
    "bpf/abi/control.h": {"python", "elf", "target", "drain", "session", "cmd"},
}
SKELETON_STAGES = {"session", "cmd"}

LEFTOVER = re.compile(r"\b(%s)\b" % "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]))
# Not the root of a process (/proc/PID/root): that one has something before the slash.
MACHINE_FOLDERS = ["ro" + "ot", "ho" + r"me/\w", "wo" + "rk"]
HOME_PATH = re.compile(r"(?<![\w/.})\]*])/(%s)\b" % "|".join(MACHINE_FOLDERS))
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


class File:
    def __init__(self, path):
        self.path = path
        self.kind = CODE_SUFFIXES.get(os.path.splitext(path)[1])
        with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as stream:
            self.text = stream.read()
        self.lines = self.text.split("\n")
        if self.kind is None and self.lines[0].startswith("#!"):
            self.kind = "py" if "python" in self.lines[0] else "sh"


def tree():
    """Paths of the files to check, relative to the root."""
    for folder, dirs, names in os.walk(ROOT):
        dirs[:] = sorted(d for d in dirs if d not in SKIPPED_DIRS and not d.startswith(".output"))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            suffix = os.path.splitext(name)[1]
            if suffix in CODE_SUFFIXES or suffix in TEXT_SUFFIXES or name in TEXT_NAMES:
                yield path
            elif suffix == "" and os.access(os.path.join(ROOT, path), os.X_OK) and is_script(path):
                yield path


def is_script(path):
    with open(os.path.join(ROOT, path), "rb") as stream:
        return stream.read(2) == b"#!"


def c_functions(lines):
    """(first line, length) of each function: in kernel style only its braces stand in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number - start + 1
            start = None


def py_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


def check_lengths(file):
    if file.kind is None:
        return
    if len(file.lines) - 1 > FILE_LINES:
        yield 1, "file of %d lines, at most %d" % (len(file.lines) - 1, FILE_LINES)
    functions = []
    if file.kind == "c":
        functions = c_functions(file.lines)
    elif file.kind == "py":
        functions = py_functions(file.text)
    for line, length in functions:
        if length > FUNCTION_LINES:
            yield line, "function of %d lines, at most %d" % (length, FUNCTION_LINES)


def check_licence(file):
    if file.kind and not any("SPDX-License-Identifier: " in line for line in file.lines[:3]):
        yield 1, "no SPDX-License-Identifier in the first lines"


def check_leftovers(file):
    for number, line in enumerate(file.lines, 1):
        found = LEFTOVER.search(line)
        if found:
            yield number, found.group(1) + " left in the tree"
        if HOME_PATH.search(line):
            yield number, "a path of one particular machine"


def check_whitespace(file):
    if file.kind is None:
        return
    if file.text and not file.text.endswith("\n"):
        yield len(file.lines), "no newline at the end"
    for number, line in enumerate(file.lines, 1):
        if line != line.rstrip():
            yield number, "whitespace at the end of the line"
        # Up to seven spaces align an argument under the one above it; an empty line of a macro has
        # only its backslash.
        if file.kind == "c" and re.match(r"\t* {8}| {2}", line) and line.strip() != "\\":
            yield number, "indentation with spaces"
        if file.kind == "py" and line.startswith("\t"):
            yield number, "indentation with a tab"


def bpf_include_problem(path, quote, target):
    """bpf/ may know the kernel's types and libbpf's headers, nothing of user space."""
    if quote == '"':
        allowed = target.startswith(("bpf/", "vmlinux/"))
    else:
        allowed = target.startswith("bpf/") or target in HOST_HEADERS.get(path, [])
    return None if allowed else "bpf/ may not include " + target


def user_include_problem(stage, target):
    if target in ABI_STAGES:
        stages = ABI_STAGES[target]
        return None if stages is None or stage in stages else "%s may not know of %s" % (stage, target)
    if target == "krait.skel.h":
        return None if stage in SKELETON_STAGES else "only session and cmd may load the BPF program"
    parts = target.split("/")
    if parts[0] != "user" or len(parts) < 3:
        return "include paths start at the project's root: " + target
    if parts[1] not in STAGES:
        return "unknown stage: " + target
    if parts[1] in ("base", stage) or STAGES[stage] is None or parts[1] in STAGES[stage]:
        return None
    return "%s may not know of %s" % (stage, parts[1])


def check_includes(file):
    if file.kind != "c":
        return
    parts = file.path.split("/")
    for number, line in enumerate(file.lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        problem = None
        if parts[0] == "bpf":
            problem = bpf_include_problem(file.path, *found.groups())
        elif parts[0] == "user" and len(parts) > 2 and found.group(1) == '"':
            if parts[1] not in STAGES:
                problem = "unknown stage user/%s" % parts[1]
            else:
                problem = user_include_problem(parts[1], found.group(2))
        if problem:
            yield number, problem


RULES = [check_lengths, check_licence, check_leftovers, check_whitespace, check_includes]


def clang_format(paths):
    """(problem lines, skip): the skip says why formatting was not checked."""
    tool = os.environ.get("CLANG_FORMAT", "clang-format")
    try:
        version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    except OSError:
        return [], "formatting not checked: no clang-format (make deps-test installs it)"
    found = re.search(r"version (\d+)", version)
    if not found or int(found.group(1)) != CLANG_FORMAT:
        have = found.group(1) if found else "unknown"
        return [], "formatting not checked: clang-format %s here, the tree follows %d" % (
            have,
            CLANG_FORMAT,
        )
    run = subprocess.run(
        [tool, "--dry-run", "-Werror"] + paths, cwd=ROOT, capture_output=True, text=True
    )
    names = {line.split(":")[0] for line in run.stderr.splitlines() if ": error: " in line}
    problems = [name + ": not formatted (clang-format -i does it)" for name in sorted(names)]
    if run.returncode and not problems:
        problems = ["clang-format: " + (run.stderr.strip() or "failed")]
    return problems, None


def tally_skips(cnt):
    """Whether lint is green is for its caller to count."""
    if cnt and os.environ.get("KRAIT_TALLY"):
        with open(os.environ["KRAIT_TALLY"], "a", encoding="utf-8") as stream:
            stream.write("lint 0 0 %d\n" % cnt)


def main():
    files = [File(path) for path in tree()]
    problems = []
    for file in files:
        for rule in RULES:
            problems += ["%s:%d: %s" % (file.path, line, text) for line, text in rule(file)]
    ours = ("bpf/", "user/", "tests/")
    c_paths = [f.path for f in files if f.kind == "c" and f.path.startswith(ours)]
    more, skip = clang_format(c_paths)
    report = analyze.run(ROOT, c_paths)
    problems += more + report.problems + released.check(ROOT)
    skips = report.skips + ([skip] if skip else [])
    for problem in problems:
        print(problem)
    for skip in skips:
        print("lint: skipped: " + skip)
    print("lint: %d files, %d problems, %d skipped" % (len(files), len(problems), len(skips)))
    tally_skips(len(skips))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
