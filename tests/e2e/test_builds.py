# SPDX-License-Identifier: BSD-2-Clause
"""
Every way a CPython is found in production: linked into its program or not, stripped, renamed, cut
down, embedded, in a virtual environment, deleted or replaced while it runs.

All of them run at once, under one `krait record` of the whole host; each test looks at one. What
krait can't profile is as much a case as what it can: `krait ps` and the footer must say why.
"""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

import folded
import kraitrun
import targets

FREQ_HZ = 999
# Some 200 ticks for each, but for those that hit before krait has looked at all of them at once: a
# program goes on until it has a few samples. What counts is that each of them is right.
CPU_S = 0.2
LEAST = 5
SPIN = "embedded"
CC = os.environ.get("CC") or "cc"
STRIPPED = "the symbols that tell where have been stripped"

# Runs the file in its first argument. With a second one, the interpreter is in that library.
HOST = """
#include <dlfcn.h>
#include <stdio.h>
#ifdef LOADED
#define GET(name) dlsym(lib, #name)
#define GET_VAR GET
#else
void Py_Initialize(void);
int PyRun_SimpleFileExFlags(FILE *, const char *, int, void *);
extern int Py_NoSiteFlag;
#define GET(name) name
#define GET_VAR(name) &name
#endif
/* What else is linked in has versions too. */
const char *const decoys[] = {"3.6.1", "3.10.9", "3.11.9", "3.12.9", "2.7.9", "3.0.2"};
#ifdef LIBRARY
#define main unused
#endif
int main(int argc, char **argv)
{
#ifdef LOADED
    void *lib = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
#endif
    void (*start)(void) = GET(Py_Initialize);
    int (*run)(FILE *, const char *, int, void *) = GET(PyRun_SimpleFileExFlags);
    FILE *file = fopen(argv[1], "r");

    if (argc > 9)
        puts(decoys[argc % 6]);
    if (argc < 2 || !file)
        return 2;
#ifdef NO_SITE
    *(int *)GET_VAR(Py_NoSiteFlag) = 1; /* 2.7's site.py imports an extension module */
#endif
    start();
    return run(file, argv[1], 1, NULL);
}
"""


class Absent(Exception):
    """This host has not what a case needs."""


class Program(targets.Workload):
    """A process that runs workloads/embedded.py, has said so, and waits for a "go"."""

    def __init__(self, name, argv, env=(), **popen):
        self.name = name
        self.process = subprocess.Popen(
            [str(arg) for arg in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(kraitrun.ENV, **dict(env)),
            cwd="/",
            **popen,
        )
        self.pid = self.process.pid
        try:
            self.facts = self.hear("ready")
        except BaseException:
            self.__exit__()
            raise

    def go(self):
        self.tell("go")


@contextlib.contextmanager
def ended_on_error(program):
    """For what is still to be done to a program that runs, before the fixture has it."""
    try:
        yield
    except BaseException:
        program.__exit__()
        raise


# ---- Making files ----


def system_python():
    """The host's own one: linked into its program, which is not position-independent in Debian."""
    found = [py for py in targets.SUPPORTED if py.source == "system"]
    if not found:
        raise Absent("no system Python that krait supports")
    return found[-1]


def copy(path, folder, name):
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.realpath(path), folder / name)
    return folder / name


def strip(path):
    subprocess.run(["strip", path], check=True)
    return path


def strip_headers(path):
    """Forgets the section headers: e_shoff, e_shnum and e_shstrndx of Elf64_Ehdr (elf.h)."""
    with open(path, "r+b") as stream:
        stream.seek(0x28)
        stream.write(bytes(8))
        stream.seek(0x3C)
        stream.write(bytes(4))
    return path


def library(py, suffix):
    """An interpreter's libpython: .so.1.0 or .a."""
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(py.executable)))
    for folder, _, names in os.walk(os.path.join(prefix, "lib")):
        for name in names:
            if re.fullmatch(r"libpython%d\.%dm?%s" % (py.minor + (re.escape(suffix),)), name):
                return os.path.join(folder, name)
    raise Absent("%s has no libpython%s" % (py.name, suffix))


def compile_host(folder, *args):
    os.makedirs(folder, exist_ok=True)
    (folder / "host.c").write_text(HOST)
    run = subprocess.run(
        [CC, "-w", "-o", folder / "host", folder / "host.c"] + [str(arg) for arg in args],
        stderr=subprocess.PIPE,
        text=True,
    )
    if run.returncode != 0:
        raise Absent("can't be linked here: " + run.stderr.strip().splitlines()[-1])
    return folder / "host"


def link_host(folder, py):
    """The interpreter in the host itself, none of its symbols exported. Linked once for each."""
    shared = folder.parent / ("host-" + py.name)
    if not os.path.exists(shared / "host"):
        libs = ("-ldl", "-lm", "-lpthread", "-lutil", "-lcrypt")
        compile_host(shared, "-no-pie", "-DNO_SITE", library(py, ".a"), *libs)
    return copy(shared / "host", folder, "host")


def link_library(folder, py):
    """The interpreter in another's library, that exports no more of it than the host needs. Linked
    once for each."""
    shared = folder.parent / ("lib-" + py.name)
    if not os.path.exists(shared / "libengine.so"):
        names = "{ global: Py_Initialize; PyRun_SimpleFileExFlags; Py_NoSiteFlag; local: *; };"
        flags = ("-shared", "-fPIC", "-Wl,--version-script=" + str(shared / "exports"))
        whole = ("-Wl,--whole-archive", library(py, ".a"), "-Wl,--no-whole-archive")
        libs = ("-ldl", "-lm", "-lpthread", "-lutil", "-lcrypt")
        os.makedirs(shared, exist_ok=True)
        (shared / "exports").write_text(names)
        compile_host(shared, *flags, "-DLIBRARY", *whole, *libs)
        os.rename(shared / "host", shared / "libengine.so")
    return copy(shared / "libengine.so", folder, "libengine.so")


def link_system_host(folder, *flags):
    archive = "-l:libpython%d.%d.a" % system_python().minor
    return compile_host(folder, *flags, archive, "-lexpat", "-lz", "-lm", "-lutil", "-ldl")


def home(py):
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(py.executable)))
    return {"PYTHONHOME": prefix}


def run_host(folder, py, path, env=()):
    return Program(folder.name, [path, targets.script(py, SPIN)], dict(home(py), **dict(env)))


def run_copy(folder, py, change=lambda path: path, name="renamed"):
    """A copy of an interpreter's program, where the interpreter itself can see it."""
    inside, outside = py.place("", folder.name + "/" + name)
    copy(py.executable, type(folder)(outside).parent, name)
    change(outside)
    return Program(folder.name, targets.pythons.run_argv(py.root, inside) + [targets.script(py, SPIN)])


# ---- The cases ----


def linked_in(folder, py):
    return run_host(folder, py, link_host(folder, py))


def linked_in_stripped(folder, py):
    return run_host(folder, py, strip(link_host(folder, py)))


def run_library(folder, py, lib, *flags):
    host = compile_host(folder, "-DLOADED", *flags, "-ldl")
    return Program(folder.name, [host, targets.script(py, SPIN), lib], home(py))


def in_library(folder, py):
    return run_library(folder, py, link_library(folder, py), "-DNO_SITE")


def in_library_stripped(folder, py):
    return run_library(folder, py, strip(link_library(folder, py)), "-DNO_SITE")


def linked_in_bare(folder, py):
    return run_host(folder, py, strip_headers(link_host(folder, py)))


def library_bare(folder, py):
    path = library(py, ".so.1.0")
    strip_headers(copy(path, folder, os.path.basename(path)))
    env = {"LD_LIBRARY_PATH": str(folder)}
    return Program(folder.name, py.argv([targets.script(py, SPIN)]), env)


def program_bare(folder, py):
    return run_copy(folder, py, strip_headers)


def program_stripped(folder, py):
    return run_copy(folder, py, strip, "nginx")


def system_linked(folder, py):
    return Program(folder.name, [link_system_host(folder, "-no-pie"), targets.script(py, SPIN)])


def system_linked_pie(folder, py):
    host = compile_host(
        folder, "-pie", "-fPIE", pic_archive(py), "-lexpat", "-lz", "-lm", "-lutil", "-ldl"
    )
    return Program(folder.name, [host, targets.script(py, SPIN)])


def pic_archive(py):
    """Debian has one for shared libraries, beside the one for programs."""
    command = [py.executable, "-c", "import sysconfig; print(sysconfig.get_config_var('LIBPL'))"]
    where = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    path = os.path.join(where, "libpython%d.%d-pic.a" % py.minor)
    if not os.path.exists(path):
        raise Absent("no " + os.path.basename(path))
    return path


def fully_static(folder, py):
    host = link_system_host(folder, "-no-pie", "-static")
    return Program(folder.name, [host, targets.script(py, SPIN)])


def linked_with(folder, py):
    path = library(py, ".so.1.0")
    host = compile_host(folder, path, "-Wl,-rpath," + os.path.dirname(path), "-ldl")
    return run_host(folder, py, host)


def loaded_and_deleted(folder, py):
    """As single-file programs do: unpacked, loaded by dlopen, and removed."""
    lib = copy(library(py, ".so.1.0"), folder, "embedded.bin")
    program = run_library(folder, py, lib)
    with ended_on_error(program):
        os.unlink(lib)
    return program


def in_memory(folder, py):
    """A program that never was in a file system."""
    fd = os.memfd_create("anything")
    with open(py.executable, "rb") as stream, os.fdopen(os.dup(fd), "wb") as out:
        shutil.copyfileobj(stream, out)
    argv = ["/proc/self/fd/%d" % fd, targets.script(py, SPIN)]
    try:
        return Program(folder.name, argv, pass_fds=[fd])
    finally:
        os.close(fd)


def venv(folder, py):
    subprocess.run([py.executable, "-m", "venv", "--without-pip", folder], check=True)
    assert os.path.islink(folder / "bin" / "python")
    return Program(folder.name, [folder / "bin" / "python", targets.script(py, SPIN)])


def zipapp(folder, py):
    source = folder / "source"
    os.makedirs(source)
    shutil.copy(targets.script(py, SPIN), source / "__main__.py")
    archive = folder / "app.pyz"
    subprocess.run([py.executable, "-m", "zipapp", source, "-o", archive], check=True)
    return Program(folder.name, [py.executable, archive])


def deleted(folder, py):
    program = run_copy(folder, py, name="python")
    with ended_on_error(program):
        os.unlink(os.readlink("/proc/%d/exe" % program.pid))
    return program


def successor(py):
    """The program of another version. It may lie in another root tree: it is not run."""
    found = [other for other in targets.SUPPORTED if other.is_plain and other.minor != py.minor]
    if not found:
        raise Absent("no second version of CPython to put in its place")
    return os.path.realpath(found[-1].executable)


def replaced(folder, py):
    """By another version, before krait starts."""
    other = successor(py)
    program = run_copy(folder, py, name="python")
    with ended_on_error(program):
        replace(program, other)
    return program


def replace(program, other):
    """Another version is renamed over the program, as package managers do."""
    path = os.readlink("/proc/%d/exe" % program.pid)
    shutil.copy(other, path + ".new")
    os.rename(path + ".new", path)


def replaced_later(folder, py):
    """The same, while krait records: see live_through."""
    successor(py)
    return run_copy(folder, py, name="python")


class Uwsgi(Program):
    """One that answers a request to say that it is ready; the next one, the "go", never ends."""

    def __init__(self, name, folder, script):
        self.path = str(folder / "socket")
        argv = ["uwsgi", "--plugin", "python3", "--http-socket", self.path, "--need-app"]
        self.name = name
        self.process = subprocess.Popen(
            argv + ["--wsgi-file", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=kraitrun.ENV,
            cwd="/",
        )
        self.pid = self.process.pid
        try:
            self.socket = self.ask("/")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def go(self):
        self.socket.close()
        self.socket = self.ask("/go")

    def ask(self, what):
        """The facts of an answer; returns the connection."""
        client = self.connect()
        client.sendall(b"GET %s HTTP/1.0\r\n\r\n" % what.encode())
        answer = b""
        while not answer.endswith(b"}\n"):
            got = client.recv(4096)
            assert got, answer
            answer += got
        self.facts = json.loads(answer.decode().rpartition("ready ")[2])
        return client

    def connect(self):
        end = time.monotonic() + kraitrun.GRACE_S
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(kraitrun.GRACE_S)
            try:
                client.connect(self.path)
                return client
            except OSError:
                client.close()
                assert time.monotonic() < end and self.process.poll() is None, "no uwsgi"
                time.sleep(0.02)

    def __exit__(self, *exc):
        self.socket.close()
        super().__exit__(*exc)


def uwsgi(folder, py):
    probe = ["uwsgi", "--plugin", "python3", "--version"]
    if not shutil.which("uwsgi") or subprocess.run(probe, capture_output=True).returncode:
        raise Absent("no uwsgi with its plugin for Python (make deps-test installs them)")
    os.makedirs(folder)
    return Uwsgi(folder.name, folder, targets.script(py, SPIN))


class Case:
    """how: the pattern of what `krait ps` must say of it; why: what it must say if it can't be
    profiled."""

    def __init__(self, make, py, how="", why=None):
        self.make = make
        self.py = py
        self.how = how
        self.why = why
        self.name = make.__name__ + (("-" + py.name) if py else "")


def per_version():
    for py in (py for py in targets.SUPPORTED if py.is_plain):
        if py.source == "pyenv":
            old = py.minor < (3, 7)
            yield Case(linked_in, py, "interp_head in host" if old else "_PyRuntime in host")
            why = None if py.minor >= (3, 10) else STRIPPED
            yield Case(linked_in_stripped, py, ".PyRuntime in host", why)
            yield Case(in_library, py, r"(interp_head|_PyRuntime) in libengine\.so")
            yield Case(in_library_stripped, py, r"\.PyRuntime in libengine\.so", why)
            why = None if py.minor >= (3, 13) else STRIPPED
            yield Case(linked_in_bare, py, "the debug cookie in host", why)
            yield Case(library_bare, py, r"(interp_head|_PyRuntime) in libpython")
        else:
            yield Case(program_bare, py, "_PyRuntime in renamed")
            yield Case(program_stripped, py, "_PyRuntime in nginx")


def lacking(what, reason):
    """A case that stands for those that this host can't have: a skip that is counted and told."""

    def absent(folder, py):
        raise Absent(reason)

    absent.__name__ = what
    return Case(absent, None)


def system_cases():
    try:
        py = system_python()
    except Absent as reason:
        yield lacking("system_linked", str(reason))
        return
    yield Case(system_linked, py, "_PyRuntime in host")
    yield Case(system_linked_pie, py, "_PyRuntime in host")
    yield Case(fully_static, py, "_PyRuntime in host")
    yield Case(in_memory, py, "_PyRuntime in memfd:anything")
    yield Case(deleted, py, r"_PyRuntime in python \(deleted\)")
    yield Case(replaced, py, r"_PyRuntime in python \(deleted\)")
    yield Case(replaced_later, py, "_PyRuntime in python")
    yield Case(uwsgi, py, "_PyRuntime in libpython")


def newest_of_host():
    """pyenv's newest, whose interpreter is in its libpython; or else the system's, which has one too."""
    found = [py for py in targets.SUPPORTED if py.source in ("pyenv", "system")]
    return max(found, key=lambda py: (py.source == "pyenv", py.version), default=None)


def newest_cases():
    py = newest_of_host()
    if not py:
        yield lacking("linked_with", "neither pyenv nor the system has a CPython that krait supports")
        return
    where = "_PyRuntime in (libpython|python)"
    yield Case(linked_with, py, "_PyRuntime in libpython")
    yield Case(loaded_and_deleted, py, r"_PyRuntime in embedded.bin \(deleted\)")
    yield Case(venv, py, where)
    yield Case(zipapp, py, where)


def cases():
    yield from per_version()
    if not any(py.source == "pyenv" for py in targets.SUPPORTED):
        yield lacking("linked_in", "no CPython of pyenv, of which each version would be linked in")
    yield from system_cases()
    yield from newest_cases()


CASES = {case.name: case for case in cases()}


class Builds:
    def __init__(self):
        self.programs = {}
        self.absent = {}  # why there is no such program
        self.broken = {}  # what went wrong when it was started
        self.ps = {}
        self.ps_after = {}
        self.run = None
        self.stacks = []


def listing():
    """{pid: what krait ps says of it}."""
    return {entry["pid"]: entry for entry in json.loads(kraitrun.krait("ps", "--json").out)["processes"]}


def has_samples(stacks, program):
    case = CASES[program.name]
    mine = [s for s in folded.of_pid(stacks, program.pid) if s.frames[-1].name == "spin"]
    return case.why or folded.total(mine) >= LEAST


def end_each(programs, krait, output):
    """Kills each once it has had its CPU time, and samples if it can have some: so many at once would
    have little of it. The time that is allowed is that of one, the next: they are a hundred."""
    goal = {program: targets.cpu_seconds(program.pid) + CPU_S for program in programs}
    end = time.monotonic() + targets.WAIT_S
    while goal:
        assert time.monotonic() < end, "no CPU time or samples: " + " ".join(p.name for p in goal)
        ready = [p for p in goal if targets.cpu_seconds(p.pid) >= goal[p]]
        stacks = krait.snapshot(output) if ready else []
        for program in ready:
            if has_samples(stacks, program):
                program.process.kill()
                del goal[program]
                end = time.monotonic() + targets.WAIT_S
        time.sleep(0.1)


def live_through(builds, output):
    """The ones to be replaced run first, until they have been."""
    later = [p for name, p in builds.programs.items() if name.startswith("replaced_later")]
    others = [p for p in builds.programs.values() if p not in later]
    with kraitrun.start_record("-a", "-F", FREQ_HZ, "--full-path", "-o", output) as krait:
        for program in later:
            program.go()
        targets.wait_cpu([program.pid for program in later], CPU_S)
        for program in later:
            replace(program, successor(system_python()))
        builds.ps_after = listing()
        for program in others:
            program.go()
        end_each(later + others, krait, output)
        builds.run = krait.stop()


def chosen(session):
    """The cases whose tests are going to run."""
    params = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    return [CASES[name] for name in dict.fromkeys(p.get("name") for p in params) if name in CASES]


@pytest.fixture(scope="module")
def builds(request, tmp_path_factory):
    builds = Builds()
    folder = tmp_path_factory.mktemp("builds")
    with contextlib.ExitStack() as started:
        for case in chosen(request.session):
            try:
                program = started.enter_context(case.make(folder / case.name, case.py))
                builds.programs[case.name] = program
            except Absent as reason:
                builds.absent[case.name] = str(reason)
            except Exception as error:  # of one case: the others go on
                builds.broken[case.name] = repr(error)
        builds.ps = listing()
        live_through(builds, folder / "run.folded")
    builds.stacks = folded.read(folder / "run.folded")
    return builds


def program_of(builds, name):
    if name in builds.absent:
        pytest.skip(builds.absent[name])
    assert name not in builds.broken, builds.broken[name]
    return builds.programs[name]


def assert_listed(entry, case, program):
    if case.why:
        assert not entry["ready"] and case.why in entry["why_not"], entry
        return
    assert entry["ready"], entry
    assert re.match(case.how, entry["found_by"]), entry
    full = "%d.%d.%d" % tuple(program.facts["version"])
    # Better no micro than a wrong one: the hosts have other versions' strings in them (decoys), and
    # before Py_Version (3.11) a string is all that tells.
    is_loose = full.endswith(".0") or re.match(
        "(system_)?linked_in|in_library|library_bare", case.name
    )
    assert entry["version"] in (full, full.rpartition(".")[0] if is_loose else full), entry


@pytest.mark.parametrize("name", CASES)
def test_ps(builds, name):
    program = program_of(builds, name)
    assert_listed(builds.ps[program.pid], CASES[name], program)


@pytest.mark.parametrize("name", CASES)
def test_stacks(builds, name):
    """Exactly the function that is running and its caller, by the names the interpreter has."""
    case, program = CASES[name], program_of(builds, name)
    stacks = folded.of_pid(builds.stacks, program.pid)
    if case.why:
        assert stacks == []
        assert re.search(r"not profiled: \d+ process.*: .*" + re.escape(case.why), builds.run.err)
        return
    lines = targets.markers(SPIN)
    driver = "application" if name.startswith("uwsgi") else "<module>"
    spin = [s for s in stacks if s.frames[-1].name == "spin"]
    assert folded.total(spin) >= LEAST
    # The rest is the caller itself, and what it called when it was told to go.
    assert all((driver, program.facts["file"]) in [f[:2] for f in s.frames] for s in stacks), stacks
    for stack in spin:
        caller, leaf = stack.frames[-2:]
        assert caller == (driver, program.facts["file"], lines["drive: " + driver])
        assert leaf[:2] == ("spin", program.facts["file"])
        # 3.11 and later resume on the line of the def.
        assert leaf.line in (lines["line: spin"], lines["line: spin"] - 1)
        outer = folded.names(stack)[:-2]
        assert outer == (["_run_module_as_main", "_run_code"] if "zipapp" in name else []), stack


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("replaced_later")])
def test_replaced_is_still_what_runs(builds, name):
    """After the rename the process has a deleted program, and krait has not looked at the other."""
    entry = builds.ps_after[program_of(builds, name).pid]
    assert entry["ready"] and entry["found_by"] == "_PyRuntime in python (deleted)", entry


def exchangeable():
    """Two versions of CPython that live in one root tree, so that one can exec the other."""
    plain = [py for py in targets.SUPPORTED if py.is_plain]
    for py in reversed(plain):
        older = [other for other in plain if other.root == py.root and other.minor < py.minor]
        if older:
            return older[-1], py
    pytest.skip("no two versions of CPython in one root tree to exchange")


def test_exec_of_what_replaced_it(tmp_path):
    """A program that is replaced by another version, and then runs itself again by its path."""
    old, new = exchangeable()
    inside, outside = old.place("", "exchanged/python")
    folder = type(tmp_path)(outside).parent
    copy(old.executable, folder, "python")
    moved = targets.pythons.Python(inside, old.version, "moved", old.root)
    script, output = targets.script(moved, "execs"), tmp_path / "run.folded"
    with targets.Workload(moved, "execs", inside, script) as workload:
        with kraitrun.start_record("-p", workload.pid, "-F", FREQ_HZ, "-o", output) as krait:
            targets.wait_cpu([workload.pid], CPU_S)
            os.rename(copy(new.executable, folder, "new"), outside)
            workload.tell("go")
            assert workload.hear("ready")["version"] == list(new.version)
            targets.wait_cpu([workload.pid], CPU_S)
            krait.stop()
        workload.stop()
    stacks = folded.read(output)
    lines = targets.markers("execs")
    for phase in ("phase_one", "phase_two"):
        own = folded.having(stacks, phase)
        assert folded.total(own) >= LEAST
        assert lines["line: " + phase] in {stack.frames[-1].line for stack in own}
    assert folded.total(folded.having(stacks, "phase_one") + folded.having(stacks, "phase_two")) >= (
        0.5 * folded.total(stacks)
    )
