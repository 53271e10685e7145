# SPDX-License-Identifier: BSD-2-Clause
"""krait on a terminal of its own."""
import os
import pty
import time

import kraitrun


def run(args, timeout=kraitrun.GRACE_S, cwd=None):
    """(exit status, the bytes that the terminal gets) of a krait that has one for all three of its
    descriptors, and for its session."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(cwd or "/")
        os.execve(kraitrun.KRAIT, [kraitrun.KRAIT] + [str(arg) for arg in args], kraitrun.ENV)
    said, end = b"", time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            said += os.read(terminal, 65536)
    except OSError:  # EIO: it has ended
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
