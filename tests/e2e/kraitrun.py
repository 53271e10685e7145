# SPDX-License-Identifier: BSD-2-Clause
"""
Runs krait, and checks after every run what must hold after any: it ended in time, and the ledger of
its footer balances. The wording of that footer is known in ledger() and nowhere else.
"""
import os
import re
import signal
import subprocess
import time
import uuid
from collections import namedtuple

import folded

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KRAIT = os.environ.get("KRAIT") or os.path.join(TREE, "krait")
# Everything that these tests start carries this in its environment, so that what is left over at
# the end can be told from another user's.
SESSION = "KRAIT_E2E=" + uuid.uuid4().hex
ENV = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **dict([SESSION.split("=")]))
# At thousands of ticks a second krait would give up some for its ceiling, and have each sample stand for
# several: then they are no longer as many as they say.
UNGOVERNED = ("--max-cpu", "100")
# What krait may take on top of the time it was asked to record. A busy two-core host is slow.
GRACE_S = 60

LEDGER = re.compile(
    r"^krait: ledger: (?P<ticks>\d+) ticks on targets = (?P<samples>\d+) samples"
    r" \+ (?P<losses>\d+) accounted for$",
    re.M,
)
EARLY = re.compile("while the interpreter was starting|before krait knew what they were")
Ledger = namedtuple("Ledger", "ticks samples losses")


def ledger(stderr):
    """The ledger of a run, balanced; an error where there are none or where they are not."""
    found = LEDGER.findall(stderr)
    assert len(found) == 1, "no balanced ledger in:\n" + stderr
    counted = Ledger(*map(int, found[0]))
    assert counted.ticks == counted.samples + counted.losses, stderr
    return counted


def losses(stderr):
    """{sentence: how many} of the ticks that the footer accounts for."""
    found = re.findall(r"^krait:   (?:outside|lost) (\d+) (.*)$", stderr, re.M)
    return {sentence: int(cnt) for cnt, sentence in found}


class Run:
    """A krait that has ended."""

    def __init__(self, argv, code, out, err):
        self.argv = argv
        self.code = code
        self.out = out  # bytes
        self.err = err  # text

    def __repr__(self):
        return "%s: exit %d\n%s" % (" ".join(self.argv), self.code, self.err)

    @property
    def ledger(self):
        return ledger(self.err)

    @property
    def early(self):
        """Ticks that came before krait knew the process: how many depends on how soon it came to run."""
        return sum(cnt for sentence, cnt in losses(self.err).items() if EARLY.search(sentence))

    @property
    def walked(self):
        """The other ticks: each of them is a sample, unless the walker found a reason."""
        return self.ledger.ticks - self.early


class Krait:
    """A krait that runs. `with` ends it for good, whatever happens."""

    def __init__(self, args, stdout=subprocess.PIPE, prefix=(), cwd=None, stdin=subprocess.DEVNULL):
        self.argv = list(prefix) + [KRAIT] + [str(arg) for arg in args]
        self.process = subprocess.Popen(
            self.argv,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=ENV,
            cwd=cwd,
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def wait_sampling(self, timeout=GRACE_S):
        """Returns once krait holds its timers: the perf events are the last thing it opens."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self.process.poll() is None, repr(self.wait())
            if has_perf_event(self.pid):
                return self
            time.sleep(0.01)
        raise AssertionError("krait does not sample after %d s" % timeout)

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=GRACE_S):
        out, err = self.process.communicate(timeout=timeout)
        return Run(self.argv, self.process.returncode, out or b"", err.decode("utf-8"))

    def snapshot(self, path):
        """The stacks so far: SIGUSR1 has them written to the file that it was given."""
        if os.path.exists(path):
            os.unlink(path)
        self.send(signal.SIGUSR1)
        end = time.monotonic() + GRACE_S
        while not os.path.exists(path):
            assert time.monotonic() < end, "no snapshot"
            time.sleep(0.01)
        return folded.read(path)

    def stop(self, number=signal.SIGINT):
        """Ends a recording as a person does; its ledger must balance."""
        self.send(number)
        run = self.wait()
        check(run, 0)
        return run


def has_perf_event(pid):
    folder = "/proc/%d/fd" % pid
    try:
        for fd in os.listdir(folder):
            try:
                if "perf_event" in os.readlink(os.path.join(folder, fd)):
                    return True
            except OSError:
                pass
    except OSError:
        pass
    return False


def check(run, code):
    assert run.code == code, repr(run)
    run.ledger
    folded.assert_harmless(run.err)


def krait(*args, timeout=GRACE_S, prefix=(), cwd=None):
    """Any krait command to its end; nothing is asserted."""
    with Krait(args, prefix=prefix, cwd=cwd) as running:
        return running.wait(timeout)


def record(*args, code=0, seconds=0):
    """`krait record ARGS` to its end; the exit status and the ledger are asserted."""
    run = krait("record", *UNGOVERNED, *args, timeout=seconds + GRACE_S)
    check(run, code)
    return run


def start_record(*args):
    """`krait record ARGS`, sampling when this returns. For `with`; end it with .stop()."""
    running = Krait(("record",) + UNGOVERNED + args)
    try:
        return running.wait_sampling()
    except BaseException:
        running.__exit__()
        raise
