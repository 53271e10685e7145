#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs fuzz targets one after the other, each for so many seconds; `make fuzz` calls it.

    run.py SECONDS FOLDER PROGRAM...

FOLDER/corpus/NAME keeps what a target has learnt for its next run, FOLDER/seeds/NAME is what
tests/fuzz/seeds.py made for it anew, FOLDER/findings has the inputs that broke something:
`PROGRAM INPUT` does it again. One line per target, a last one for all; exits 1 after a finding.
"""

import os
import re
import subprocess
import sys
import tempfile

import seeds

RSS_MB = 1024  # of one target
INPUT_S = 10  # for one input
STARTING_S = 120  # to read the seeds and the corpus
REPORT_LINES = 12
# ASan keeps what is freed for a while, to see it used. So much of it is soon found again, and does not
# have to be fetched from the kernel for each input.
QUARANTINE = "quarantine_size_mb=8"
REPORT = re.compile(r"ERROR: |runtime error: |^\S+: does not hold: ", re.MULTILINE)


def name_of(program):
    return os.path.basename(program).replace("fuzz_", "", 1)


def run_target(program, name, seconds, folder):
    """(what it printed, its exit status)."""
    corpus, findings = (os.path.join(folder, kind) for kind in ("corpus/" + name, "findings"))
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(findings, exist_ok=True)
    # The targets' own messages are shut off, not the reports: a refused input costs one.
    command = [os.path.abspath(program), "-close_fd_mask=3", "-print_final_stats=1"]
    command += ["-max_total_time=%d" % seconds, "-timeout=%d" % INPUT_S]
    command += ["-rss_limit_mb=%d" % RSS_MB, "-use_value_profile=1"]
    command += ["-artifact_prefix=%s/%s-" % (findings, name)]
    command += [corpus, os.path.join(folder, "seeds", name)]
    with tempfile.TemporaryDirectory() as tmp:
        env = dict(os.environ, TMPDIR=tmp, CMOCKA_TEST_ABORT="1", ASAN_OPTIONS=QUARANTINE)
        try:
            run = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=tmp,
                timeout=seconds + STARTING_S,
            )
        except subprocess.TimeoutExpired as hung:
            return (hung.stdout or b"").decode(errors="replace") + "\nERROR: it does not end\n", -1
    return run.stdout.decode(errors="replace"), run.returncode


def print_report(text):
    """The first lines of the sanitizer's report, and which input it is about."""
    start = REPORT.search(text)
    report = text[start.start() if start else -4000 :].partition("\nSUMMARY: ")[0]
    print("\n".join("    " + line for line in report.splitlines()[:REPORT_LINES]))
    for path in re.findall(r"Test unit written to (\S+)", text):
        print("    input: " + path)


def number(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def fuzz(program, seconds, folder):
    """Runs one target and says how it went. Whether it found something."""
    name = name_of(program)
    text, status = run_target(program, name, seconds, folder)
    runs = number(r"stat::number_of_executed_units: (\d+)", text)
    has_finding = status != 0 or not runs
    print(
        "fuzz: %s: %d s, %s runs, %d places reached, %s"
        % (
            name,
            seconds,
            format(runs, ","),
            number(r"\bcov: (\d+)", text),
            "a finding" if has_finding else "no finding",
        ),
        flush=True,
    )
    if has_finding:
        print_report(text)
    return has_finding


def main():
    if len(sys.argv) < 4 or not sys.argv[1].isdigit():
        sys.stderr.write(__doc__)
        return 2
    seconds, folder = int(sys.argv[1]), os.path.abspath(sys.argv[2])
    names = [name_of(program) for program in sys.argv[3:]]
    for name, count in seeds.write_all(os.path.join(folder, "seeds"), names).items():
        if not count:
            print("fuzz: %s: no seeds on this host" % name)
    findings = sum(fuzz(program, seconds, folder) for program in sys.argv[3:])
    print("fuzz: %d targets, %d findings" % (len(sys.argv) - 3, findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
