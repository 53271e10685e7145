# SPDX-License-Identifier: BSD-2-Clause
"""
What the end-to-end tests share: the interpreters, and the promise that nothing is left over.

Every test of one interpreter runs together (session-scoped, parametrised fixture), and most of them
look at one recording of it: see recordings.py.
"""
import contextlib
import functools
import glob
import json
import os
import re
import shutil
import subprocess
import time

import pytest

import kraitrun
from targets import EACH, SUPPORTED, chance

BPFTOOL = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/usr/local/sbin")
NOGIL = [py for py in SUPPORTED if py.is_nogil]
# The kernel frees a program some time after its last descriptor is closed; and other kraits of this
# host come to their end.
FREE_S = 60


@pytest.fixture(scope="session", params=EACH, ids=lambda py: py.name)
def py(request):
    """Each CPython that krait supports, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def one_py():
    """One CPython, for what does not depend on the version."""
    plain = [py for py in SUPPORTED if py.is_plain and not py.root]
    if not plain:
        pytest.skip("no CPython that krait supports")
    return ([py for py in plain if py.minor == (3, 11)] or plain)[-1]


@pytest.fixture(scope="session", params=NOGIL or [None], ids=lambda py: py.name if py else "none")
def nogil_py(request):
    """Each free-threaded CPython."""
    if not request.param:
        pytest.skip("no free-threaded CPython (tests/pythons.py --install builds one)")
    return request.param


# What a CPython 3.5 shows of itself: user/elf/elf.c.
OLD_PYTHON = """
#include <stdio.h>
#include <unistd.h>
void *_PyThreadState_Current;
const char version[] = "3.5.10";
int main(void) { puts("ready"); fflush(stdout); return sleep(600) != 0; }
"""
# And a debug build of 2.7: Objects/object.c has this function #ifdef Py_TRACE_REFS.
TRACE_REFS_PYTHON = OLD_PYTHON.replace("3.5.10", "2.7.18") + """
int PyString_Type, PyCapsule_New;
void _Py_AddToAllObjects(void) {}
"""


@contextlib.contextmanager
def pretender(folder, text):
    """The pid of a process that passes for a Python by its symbols."""
    (folder / "old.c").write_text(text)
    compiler = os.environ.get("CC") or "cc"
    command = [compiler, "-rdynamic", "-o", folder / "old-python", folder / "old.c"]
    subprocess.run(command, check=True)
    with subprocess.Popen(
        [folder / "old-python"], stdout=subprocess.PIPE, env=kraitrun.ENV
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


@pytest.fixture(scope="module")
def old_python(tmp_path_factory):
    """(pid, version): a process that passes for a Python older than krait reads."""
    with pretender(tmp_path_factory.mktemp("old"), OLD_PYTHON) as pid:
        yield pid, "3.5.10"


@pytest.fixture(scope="module")
def trace_refs_python(tmp_path_factory):
    """(pid, version): one that passes for a debug build whose objects are laid out otherwise."""
    with pretender(tmp_path_factory.mktemp("trace-refs"), TRACE_REFS_PYTHON) as pid:
        yield pid, "2.7.18"


@pytest.fixture(scope="session", autouse=True)
def krait_exists():
    if not os.access(kraitrun.KRAIT, os.X_OK):
        pytest.exit("no %s: run make first" % kraitrun.KRAIT, returncode=1)
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root", returncode=1)


def is_ours(pid):
    try:
        with open("/proc/%s/environ" % pid, "rb") as stream:
            return kraitrun.SESSION.encode() in stream.read().split(b"\0")
    except OSError:
        return False


def our_processes():
    """Processes that these tests started, by the mark in their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if is_ours(pid):
            with open("/proc/%s/cmdline" % pid, "rb") as stream:
                found.append("%s %r" % (pid, stream.read()))
    return found


def held_by_others():
    """BPF objects that a process which is not ours has open, as "prog 12". (bpftool can tell only
    on some kernels.)"""
    found = set()
    for path in glob.glob("/proc/[0-9]*/fdinfo/*"):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                ids = re.findall(r"^(prog|map|link)_id:\s*([0-9]+)$", stream.read(), re.M)
        except OSError:
            continue
        if ids and not is_ours(path.split("/")[2]):
            found |= {"%s %s" % pair for pair in ids}
    return found


def bpf_objects():
    """{"prog 12": name} of everything BPF in the kernel."""
    found = {}
    for kind in ("prog", "map", "link") if BPFTOOL else ():
        listing = subprocess.run([BPFTOOL, "-j", kind, "show"], capture_output=True, check=True)
        for item in json.loads(listing.stdout or "[]"):
            found["%s %d" % (kind, item["id"])] = item.get("name", item["type"])
    return found


def left_over(before):
    """What is there now, was not before and is held by nobody or by one of ours."""
    now, others = bpf_objects(), held_by_others()
    return our_processes() + [
        "%s %s" % (key, name)
        for key, name in now.items()
        if key not in before and key not in others
    ]


@pytest.fixture(scope="session", autouse=True)
def nothing_left_over(krait_exists):
    before = bpf_objects()
    yield
    end = time.monotonic() + FREE_S
    left = left_over(before)
    while left and time.monotonic() < end:
        time.sleep(0.5)
        # What is left stays; another user's krait, seen as it comes or goes, does not.
        now = left_over(before)
        left = [what for what in left if what in now]
    assert left == []


@pytest.fixture(scope="session", autouse=True)
def few_chances():
    """What tests/chance.py promises of a run holds for as many checks as it says."""
    yield
    text, is_within = chance.account("e2e")
    assert is_within, text


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(chance.account("e2e")[0])


# Tests that make mounts of their own, by module; an empty list: all of them.
WITH_MOUNTS = {
    "test_pidns": [],
    "test_privilege": [],
    "test_outputs": ["test_full_disk", "test_full_disk_at_the_end_of_a_run", "test_read_only_disk"],
    "test_burden": ["test_file_on_a_server_that_does_not_answer"],
}


@functools.lru_cache(maxsize=None)
def has_own_mounts():
    """Not so where / is no mount point, as under a plain chroot: unshare(1) fails there."""
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def pytest_runtest_setup(item):
    names = WITH_MOUNTS.get(item.module.__name__)
    is_asked = names is not None and (not names or item.originalname in names)
    if is_asked and not has_own_mounts():
        pytest.skip("unshare makes no mounts here (/ is no mount point: a chroot)")


def pytest_configure(config):
    """Skips are printed with their reason, however pytest was called."""
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"
