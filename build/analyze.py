# SPDX-License-Identifier: BSD-2-Clause
"""clang-tidy and cppcheck for build/lint.py: what they find, and what could not be asked of them.

clang-tidy is configured by .clang-tidy and tests/.clang-tidy; cppcheck by what follows here and by
build/cppcheck.cfg. Each version of them finds other things, so a configuration without noise is one
for one version: Debian 12's. With another, or with none, the tool is a counted skip.

clang-tidy takes seconds for a file. What it found nothing in is remembered in .output/lint, by a hash
of the file, of the tree's headers that it includes, and of the configuration.
"""

import concurrent.futures
import hashlib
import os
import re
import subprocess

CLANG_TIDY, CPPCHECK = "14", "2.10"

# What clang-tidy can't compile: it is built against each CPython's own headers by tests/layouts, and
# with the kernel's headers by tests/bench.
UNCOMPILED = {"tests/layouts/offsets.c", "tests/bench/limit.bpf.c"}
BPF_SUFFIX = ".bpf.c"
USER_FLAGS = ["-std=gnu11", "-I.", "-I.output", "-D_GNU_SOURCE", '-DKRAIT_VERSION="lint"']
BPF_FLAGS = ["-target", "bpf", "-mcpu=v3", "-std=gnu11", "-D__TARGET_ARCH_x86", "-I."]
# As HOST_FLAGS of the Makefile.
HOST_FOLDERS = ("tests/host/", "tests/fuzz/")

# Of its styles, these are not this tree's:
SUPPRESSED = [
    "variableScope",  # variables stand where their function starts
    "unusedStructMember",  # of structs that macros use (TABLE of aggregate.c), or that only pad
    "knownConditionTrueFalse",  # it loses count of loops that change what they compare
    "shadowFunction",  # of variables the compilers tell, and a function is no value here
    "unreadVariable",  # it does not see what is read through a pointer; the compilers do
]
CPPCHECK_ARGS = ["--quiet", "--enable=warning,style,performance,portability", "--inline-suppr"]
CPPCHECK_ARGS += ["--std=c11", "--library=build/cppcheck.cfg", "-I.", "-D__x86_64__"]
CPPCHECK_ARGS += ["-D__TARGET_ARCH_x86", "--template={file}:{line}: cppcheck: {message} [{id}]"]
CPPCHECK_ARGS += ["--suppress=" + name for name in SUPPRESSED]

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)
FINDING = re.compile(r"^(\S+):(\d+):\d+: (?:warning|error): (.*)$", re.MULTILINE)
NO_HEADER = re.compile(r"'([^']+)' file not found")


class Report:
    def __init__(self):
        self.problems = []
        self.skips = []  # sentences: what was not checked, and why


def version_of(command, pattern):
    """What the tool says of itself; None if there is none."""
    try:
        run = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(pattern, run.stdout)
    return found.group(1) if found else "unknown"


def is_usable(command, have, wanted, report):
    if have is None:
        report.skips.append("no %s (make deps-test installs it)" % command)
    elif have != wanted:
        report.skips.append("%s %s here, its configuration is for %s" % (command, have, wanted))
    return have == wanted


# ---- clang-tidy ----


class Tidy:
    def __init__(self, root, tool, texts):
        self.root, self.tool, self.texts = root, tool, texts
        self.folder = os.path.join(root, ".output", "lint")
        self.contents = {}

    def read(self, path):
        """A file of the tree, or one that was built; None: neither."""
        if path not in self.contents:
            self.contents[path] = None
            for folder in ("", ".output"):
                full = os.path.join(self.root, folder, path)
                if os.path.isfile(full):
                    with open(full, encoding="utf-8", errors="replace") as stream:
                        self.contents[path] = stream.read()
                    break
        return self.contents[path]

    def closure(self, path):
        """The file and what it includes of the tree, and of that in turn."""
        seen, ahead = [], [path]
        while ahead:
            name = ahead.pop()
            if name not in seen and self.read(name) is not None:
                seen.append(name)
                ahead += INCLUDE.findall(self.read(name))
        return sorted(seen)

    def flags(self, path):
        if path.endswith(BPF_SUFFIX):
            return BPF_FLAGS
        return USER_FLAGS + ["-DKRAIT_HOST="] * path.startswith(HOST_FOLDERS)

    def key(self, path):
        parts = [CLANG_TIDY, path] + self.flags(path)
        for name in [".clang-tidy", "tests/.clang-tidy"] + self.closure(path):
            parts += [name, self.read(name) or ""]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def ask(self, path):
        """(findings in the tree's files, the header that is missing or None)."""
        stamp = os.path.join(self.folder, self.key(path))
        if os.path.exists(stamp):
            os.utime(stamp)
            return [], None
        command = [self.tool, "--quiet", path, "--"] + self.flags(path)
        run = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        missing = NO_HEADER.search(run.stdout)
        if missing:
            return [], missing.group(1)
        found = set()
        for name, line, text in FINDING.findall(run.stdout):
            name = os.path.relpath(os.path.join(self.root, name), self.root)
            if name in self.texts:
                found.add("%s:%s: clang-tidy: %s" % (name, line, text))
        if run.returncode and not found:
            found.add("%s:1: clang-tidy: %s" % (path, run.stderr.strip()[-400:] or "failed"))
        if not found:
            open(stamp, "w", encoding="utf-8").close()
        return sorted(found), None

    def forget_old(self, keep):
        """Stamps of files as they were."""
        stamps = [os.path.join(self.folder, name) for name in os.listdir(self.folder)]
        stamps.sort(key=os.path.getmtime, reverse=True)
        for stamp in stamps[keep:]:
            os.remove(stamp)


def clang_tidy(root, paths, report):
    tool = os.environ.get("CLANG_TIDY", "clang-tidy")
    if not is_usable(tool, version_of(tool, r"version (\d+)"), CLANG_TIDY, report):
        return
    sources = [p for p in paths if p.endswith(".c") and p not in UNCOMPILED]
    tidy = Tidy(root, tool, set(paths))
    os.makedirs(tidy.folder, exist_ok=True)
    missing = {}
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path, (found, header) in zip(sources, pool.map(tidy.ask, sources)):
            report.problems += [text for text in found if text not in report.problems]
            if header:
                missing.setdefault(header, []).append(path)
    for header, names in sorted(missing.items()):
        text = "%d files not seen by clang-tidy, which include %s (%s)"
        how = "make builds it" if header.endswith((".skel.h", ".pb-c.h")) else "make deps-test"
        report.skips.append(text % (len(names), header, how))
    tidy.forget_old(4 * len(sources))


# ---- cppcheck ----


def cppcheck(root, paths, report):
    tool = os.environ.get("CPPCHECK", "cppcheck")
    if not is_usable(tool, version_of(tool, r"Cppcheck (\S+)"), CPPCHECK, report):
        return
    command = [tool, "-j%d" % len(os.sched_getaffinity(0))] + CPPCHECK_ARGS
    command += [p for p in paths if p.endswith(".c")]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = [line for line in run.stderr.splitlines() if ": cppcheck: " in line]
    if run.returncode and not found:
        found = ["cppcheck: " + ((run.stdout + run.stderr).strip()[-400:] or "failed")]
    report.problems += sorted(set(found))


def run(root, paths):
    """A Report about these C files, relative to root."""
    report = Report()
    cppcheck(root, paths, report)
    clang_tidy(root, paths, report)
    return report
