# SPDX-License-Identifier: BSD-2-Clause
"""What goes wrong while krait writes: it is killed, the disk is full, the reader leaves. The tests of
e2e do each of it some times, those of tests/trust many."""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import folded
import kraitrun

sys.path.append(os.path.join(kraitrun.TREE, "tests", "golden"))

import recordings
import writer

OLD = b"old\n"


def big_recording(stack_cnt=3000):
    """One whose folded stacks are a megabyte, and whose pprof is a tenth of that."""
    dice = random.Random(1)
    records = [writer.info(7, recordings.PY311, b"p", b"python")]
    table = writer.line_per_unit(8)
    for n in range(1, 401):
        file = "/srv/app/package%d/module%d.py" % (n % 20, n)
        records.append(writer.code(n, "f%d" % n, "Class%d.f%d" % (n, n), file, n, table, pid=7))
    for n in range(1, stack_cnt + 1):
        frames = [(dice.randrange(1, 401), dice.randrange(8)) for _ in range(6)]
        records.append(writer.stack(n, *frames, pid=7))
        records.append(writer.sample(n, 7, 7))
    return writer.recording(records, counters=recordings.ledger(stack_cnt))


class Victim:
    """A folder with a big recording in it, and what krait makes of it: out/run.folded, .pb.gz."""

    NAMES = ("run.folded", "run.pb.gz")

    def __init__(self, folder):
        self.recording = folder / "big.krait"
        self.recording.write_bytes(big_recording())
        self.out = folder / "out"
        self.out.mkdir()
        self.args = ["report", self.recording]
        for name in self.NAMES:
            self.args += ["-o", self.out / name]
        with kraitrun.Krait(self.args) as krait:
            _, status, use = os.wait4(krait.pid, 0)
            krait.process.returncode = os.waitstatus_to_exitcode(status)
            run = krait.wait()
        assert run.code == 0, run
        self.cpu_s = use.ru_utime + use.ru_stime
        self.new = {name: (self.out / name).read_bytes() for name in self.NAMES}

    def reset(self, has_old):
        for name in os.listdir(self.out):
            os.unlink(self.out / name)
        for name in self.NAMES if has_old else ():
            (self.out / name).write_bytes(OLD)

    def assert_whole(self, has_old):
        """Each file is the old one or the new one. Of a kill between two system calls the whole new
        one may be left under its temporary name. Gives which are new."""
        found = {name: (self.out / name).read_bytes() for name in os.listdir(self.out)}
        for name in self.NAMES:
            data = found.pop(name, None)
            assert data == self.new[name] or data == (OLD if has_old else None), "%s is torn" % name
        for name, data in found.items():
            goal = name[1 : -len(".01234567.tmp")]
            assert name.endswith(".tmp") and data == self.new[goal], "%s is left" % name
        return [name for name in self.NAMES if self.new[name] == self.content(name)]

    def content(self, name):
        return (self.out / name).read_bytes() if (self.out / name).exists() else None


def wait_cpu(process, seconds):
    """Returns once a child has used so much CPU time, or has ended: of the time on the wall a busy host
    leaves it little. The clock of a process: CPUCLOCK_SCHED, include/linux/posix-timers.h."""
    clock = (~process.pid << 3) | 2
    try:
        while process.poll() is None and time.clock_gettime(clock) < seconds:
            time.sleep(0.0005)
    except OSError:
        pass  # it has ended


def kill_at_random_moments(victim, times, dice):
    """Kills krait so often while it is at work (one that ended before does not count; they are a
    tenth). Gives how many of the files were new."""
    killed = new = 0
    for i in range(20 * times):
        victim.reset(i % 2)
        with kraitrun.Krait(victim.args) as krait:
            wait_cpu(krait.process, dice.uniform(i % 4 * 0.25, 1.05) * victim.cpu_s)
            krait.process.kill()
            killed += krait.wait().code != 0
        new += len(victim.assert_whole(i % 2))
        if killed == times:
            return new
    raise AssertionError("only %d kills found krait at work" % killed)


def leave_at_random_bytes(victim, times, dice):
    """The reader of one output leaves somewhere: exit status 1, a line, the file beside it whole."""
    for i in range(times):
        victim.reset(i % 2)
        limit = dice.randrange(len(victim.new["run.folded"]) - (1 << 17))
        with kraitrun.Krait(victim.args + ["-f", "folded", "-o", "-"]) as krait:
            got = krait.process.stdout.read(limit)
            krait.process.stdout.close()
            krait.process.stdout = None
            run = krait.wait()
        assert victim.new["run.folded"].startswith(got) and len(got) == limit
        assert run.code == 1 and "standard output: Broken pipe" in run.err, run
        for name in victim.NAMES:  # -f makes folded stacks of both
            assert victim.content(name) == victim.new["run.folded"]
        assert len(os.listdir(victim.out)) == len(victim.NAMES)


def kill_while_it_records(pid, folder, times, dice):
    """A run that writes a snapshot after the other. Gives how many of the files that it left are new."""
    new = 0
    args = ["record", "-p", pid, "-F", 999, "-o", folder / "run.folded", "-o", folder / "run.krait"]
    for _ in range(times):
        for name in ("run.folded", "run.krait"):
            (folder / name).write_bytes(OLD)
        with kraitrun.Krait(args) as krait:
            krait.wait_sampling()
            end = time.monotonic() + dice.uniform(0, 1)
            while time.monotonic() < end:
                krait.send(signal.SIGUSR1)
                time.sleep(0.005)
            krait.process.kill()
            krait.wait()
        assert (folder / "run.krait").read_bytes() == OLD
        if (folder / "run.folded").read_bytes() != OLD:
            folded.read(folder / "run.folded")
            new += 1
        assert "run.krait.part" in os.listdir(folder)
        for name in set(os.listdir(folder)) - {"run.folded", "run.krait"}:
            if name == "run.krait.part":
                assert_reads(folder / name)
            else:
                assert name.endswith(".tmp"), name
                folded.read(folder / name)
            os.unlink(folder / name)
    return new


def assert_reads(part):
    """What a killed run leaves of a recording is read up to where it ends."""
    run = kraitrun.krait("report", part, "-o", "-")
    assert run.code == 5 and "missing" in run.err.splitlines()[0], run
    folded.parse(run.out)


# In a mount namespace of its own: nothing is left of it when it ends.
ON_READ_ONLY_DISK = """
set -e
mount --bind "$OUT" "$OUT"
mount -o remount,ro,bind "$OUT"
exec "$@"
"""
ON_SMALL_DISK = """
set -e
mount -t tmpfs -o "size=$SIZE,mode=755" none "$OUT"
printf 'old\\n' | tee "$OUT/run.folded" > "$OUT/run.pb.gz"
status=0
"$@" || status=$?
cp -a "$OUT" "$OUT.after"
exit $status
"""


def in_script(script, args, **variables):
    """The Run of krait as "$@" of a shell script in a mount namespace of its own."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    command += [kraitrun.KRAIT] + [str(arg) for arg in args]
    run = subprocess.run(
        command,
        env=dict(kraitrun.ENV, **{key: str(value) for key, value in variables.items()}),
        capture_output=True,
        timeout=kraitrun.GRACE_S,
        check=False,
    )
    return kraitrun.Run(command, run.returncode, run.stdout, run.stderr.decode())


def on_read_only_disk(folder, args):
    return in_script(ON_READ_ONLY_DISK, args, OUT=folder)


def on_small_disk(victim, kilobytes, args):
    """The Run of krait with that much room for its output; victim.out is then what was there."""
    run = in_script(ON_SMALL_DISK, args, OUT=victim.out, SIZE="%dk" % kilobytes)
    shutil.rmtree(victim.out)
    os.rename(str(victim.out) + ".after", victim.out)
    return run


def fill_disks(victim, sizes):
    """Old or new, and the status and the lines say which. At least 8 KB: the old files have a page
    each."""
    for kilobytes in sizes:
        run = on_small_disk(victim, kilobytes, victim.args)
        new = victim.assert_whole(True)
        assert sorted(os.listdir(victim.out)) == sorted(victim.NAMES)
        for name in victim.NAMES:
            path = os.path.join(victim.out, name)
            said = "can't write %s: No space left on device" % path in run.err
            assert said != (name in new) == ("wrote %s (" % path in run.err), run
        assert run.code == (len(new) < len(victim.NAMES)), run
