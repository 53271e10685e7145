#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the test suites and adds up what they say.

    suite.py cmocka NAME [PROGRAM]...    C programs made with cmocka
    suite.py pytest NAME FOLDER          a folder of pytest files
    suite.py script NAME [SCRIPT]...     Python scripts that exit 0 when all is well
    suite.py oracle NAME PROGRAM         line tables: PROGRAM against every CPython here
    suite.py table NAME SCRIPT [ARG]...  a script whose last line counts as pytest's does
    suite.py all                         every suite through make; red if one of them is

A suite's own output passes through as it comes. Then follows one closing line, "unit: 40 passed, 0
failed, 0 skipped", which counts what the runners themselves reported, never more: a program that
died or said nothing counts as one failure. With KRAIT_TALLY=FILE the counts are appended there too,
which is how `all` adds them up.
"""

import codecs
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)

# The order is that of cost: what fails soonest comes first.
SUITES = ["lint", "tools", "unit", "host", "layouts", "golden", "oracle", "accuracy", "e2e"]
BESIDE = "e2e"  # of them
TARGETS = {"lint": "lint", "accuracy": "test-accuracy-short"}  # others: test-SUITE
NEED_ROOT = ["accuracy", "e2e"]
# A hung program must not hang the whole run.
TIMEOUT_S = {"cmocka": 300, "script": 300, "oracle": 300, "pytest": 3600, "table": 1800}


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed=0, failed=0, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def text(self):
        return "%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped)


def stop(proc):
    """Ends the program and what it started: it has a process group of its own."""
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def default_signals():
    """A shell has what it starts in the background, and nohup what it starts, ignore some signals: a
    program that was meant to end by one would go on."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run(argv, timeout_s, stdin=None):
    """Runs a program, passing its output on as it comes. (exit status, output); -1 after a timeout."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    proc = subprocess.Popen(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=env,
        start_new_session=True,
        preexec_fn=default_signals,
    )
    timed_out = []

    def on_alarm(_signum, _frame):
        timed_out.append(True)
        stop(proc)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(timeout_s)
    output = []
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        for chunk in iter(lambda: proc.stdout.read1(65536), b""):
            output.append(decoder.decode(chunk))
            sys.stdout.write(output[-1])
            sys.stdout.flush()
        status = proc.wait()
    except BaseException:
        stop(proc)
        raise
    finally:
        signal.alarm(0)
    if timed_out:
        print("%s: stopped after %d s" % (argv[0], timeout_s))
        status = -1
    return status, "".join(output)


def count_cmocka(status, output, tally):
    def number(word):
        return sum(int(n) for n in re.findall(r"\[\s*%s\s*\] (\d+) test" % word, output))

    passed, failed, skipped = number("PASSED"), number("FAILED"), number("SKIPPED")
    if not failed and (status != 0 or passed + skipped == 0):
        failed = 1
    tally.add(passed, failed, skipped)


def run_cmocka(tally, programs):
    for program in programs:
        print("  TEST    " + program, flush=True)
        status, output = run([os.path.abspath(program)], TIMEOUT_S["cmocka"])
        if status:
            print("%s: exit status %d" % (program, status))
        count_cmocka(status, output, tally)


def count_pytest(status, output, tally):
    closing = output.strip().splitlines()[-1] if output.strip() else ""

    def number(word):
        found = re.search(r"(\d+) %s\b" % word, closing)
        return int(found.group(1)) if found else 0

    passed, skipped = number("passed"), number("skipped") + number("xfailed")
    failed = number("failed") + number("errors?") + number("xpassed")
    if not failed and (status != 0 or passed + skipped == 0):
        failed = 1
    tally.add(passed, failed, skipped)


def run_pytest(tally, folders):
    for folder in folders:
        path = os.path.join(ROOT, folder)
        if not os.path.isdir(path) or not any(n.startswith("test_") for n in os.listdir(path)):
            continue
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", folder]
        status, output = run(argv, TIMEOUT_S["pytest"])
        count_pytest(status, output, tally)


def run_scripts(tally, scripts):
    for script in scripts:
        print("  TEST    " + script, flush=True)
        status, _ = run([sys.executable, script], TIMEOUT_S["script"])
        if status:
            print("%s: exit status %d" % (script, status))
        tally.add(passed=status == 0, failed=status != 0)


def run_table(tally, argv):
    status, output = run([sys.executable] + argv, TIMEOUT_S["table"])
    count_pytest(status, output, tally)


def newest_of_each_minor(found):
    """One interpreter per minor version is enough for tables: neither micro releases nor builds change
    them. (A free-threaded build is one of its own.)"""
    newest = {(py.minor, py.is_nogil): py for py in found}
    return sorted(newest.values(), key=lambda py: py.version)


def run_oracle(tally, programs):
    """Each CPython says what it knows of its own code objects; the program compares."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, TESTS)
    import pythons

    found = [py for py in pythons.find() if py.minor in pythons.WANTED]
    found = [py for py in found if py.is_plain or py.is_nogil]
    for py in newest_of_each_minor(found) if programs else []:
        print("  ORACLE  " + py.name, flush=True)
        script = py.path_for(os.path.join(TESTS, "oracle", "dump_lines.py"))
        dump = subprocess.Popen(
            py.argv([script]), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd="/"
        )
        status, _ = run([os.path.abspath(programs[0])], TIMEOUT_S["oracle"], stdin=dump.stdout)
        dump.stdout.close()
        ok = dump.wait() == 0 and status == 0
        tally.add(passed=ok, failed=not ok)
    for reason in pythons.missing(found):
        print("oracle: skipped: " + reason)
        tally.add(skipped=1)


KINDS = {
    "cmocka": run_cmocka,
    "pytest": run_pytest,
    "script": run_scripts,
    "oracle": run_oracle,
    "table": run_table,
}


def run_suite(kind, name, what):
    tally = Tally()
    if name in NEED_ROOT and os.geteuid() != 0:
        print("%s: skipped: it loads BPF programs, which needs root" % name)
        tally.add(skipped=1)
    else:
        KINDS[kind](tally, what)
        if tally.passed + tally.failed + tally.skipped == 0:
            print("%s: skipped: it has no tests" % name)
            tally.add(skipped=1)
    print("%s: %s" % (name, tally.text()), flush=True)
    if os.environ.get("KRAIT_TALLY"):
        with open(os.environ["KRAIT_TALLY"], "a", encoding="utf-8") as stream:
            stream.write("%s %d %d %d\n" % (name, tally.passed, tally.failed, tally.skipped))
    return 1 if tally.failed else 0


def read_tally(path):
    """What the suite's programs have counted so far."""
    tally = Tally()
    with contextlib.suppress(FileNotFoundError):
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                tally.add(*map(int, line.split()[1:]))
    return tally


class Started:
    """A suite that runs, through make; what it says goes to `output`."""

    def __init__(self, name, folder, output=None):
        self.name = name
        self.path = os.path.join(folder, name)
        self.start = time.monotonic()
        self.proc = subprocess.Popen(
            [os.environ.get("MAKE", "make"), "--no-print-directory", TARGETS.get(name, "test-" + name)],
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            cwd=ROOT,
            env=dict(os.environ, KRAIT_TALLY=self.path),
        )

    def stop(self):
        """Ends it, unless it has ended."""
        self.proc.terminate()
        self.proc.wait()

    def end(self):
        """Waits for it; its tally. What can't count for itself is counted here: lint, and a build that
        broke before its suite came to count anything."""
        try:
            status = self.proc.wait()
        except BaseException:
            self.stop()
            raise
        tally = read_tally(self.path)
        if self.name == "lint" or (status and not tally.failed):
            tally.add(passed=status == 0, failed=status != 0)
        print("== %s took %.0f s" % (self.name, time.monotonic() - self.start), flush=True)
        return tally


def pass_on(stream, proc):
    """Prints the file that proc writes, as it grows, until proc has ended."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    has_ended = False
    while True:
        chunk = stream.read1(65536)
        if not chunk and has_ended:
            break
        sys.stdout.write(decoder.decode(chunk))
        sys.stdout.flush()
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):
                has_ended = proc.wait(timeout=0.2) is not None


@contextlib.contextmanager
def suite_beside(folder):
    """The suite BESIDE, from now on, with what it says in a file. (it, the file, to read)."""
    path = os.path.join(folder, "output")
    with open(path, "wb") as output:
        beside = Started(BESIDE, folder, output)
    try:
        with open(path, "rb") as said:
            yield beside, said
    finally:
        beside.stop()


def run_suites(folder):
    """{name: tally} of every suite, whatever came of the ones before it. They print as if they ran one
    after another, but BESIDE runs all the while: it waits as much as it computes."""
    tallies = {}
    with suite_beside(folder) as (beside, said):
        for name in SUITES:
            print("== %s" % name, flush=True)
            if name == BESIDE:
                pass_on(said, beside.proc)
                tallies[name] = beside.end()
            else:
                tallies[name] = Started(name, folder).end()
    return tallies


def run_all():
    """Every suite; the last line is the sum of all."""
    with tempfile.TemporaryDirectory() as folder:
        tallies = run_suites(folder)
    total = Tally()
    print("== all")
    for name, tally in tallies.items():
        print("%s: %s" % (name, tally.text()))
        total.add(tally.passed, tally.failed, tally.skipped)
    print("%d passed, %d failed" % (total.passed, total.failed), flush=True)
    return 1 if total.failed else 0


def main(argv):
    if argv[1:] == ["all"]:
        return run_all()
    if len(argv) < 3 or argv[1] not in KINDS:
        sys.stderr.write(__doc__)
        return 2
    return run_suite(argv[1], argv[2], argv[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
