# SPDX-License-Identifier: BSD-2-Clause
"""multiprocessing: a child by fork and one by spawn."""
import multiprocessing
import os

from harness import finish, has_parent, ready, running

STRETCH = range(5000)


def work_fork(parent_pid, conn):
    conn.send(os.getpid())
    while has_parent(parent_pid):
        sum(STRETCH)  # line: work_fork


def work_spawn(parent_pid, conn):
    conn.send(os.getpid())
    while has_parent(parent_pid):
        sum(STRETCH)  # line: work_spawn


def start(method, work):
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=work, args=(os.getpid(), theirs), daemon=True)
    process.start()
    return process, mine.recv()


if __name__ == "__main__":
    forked, fork_pid = start("fork", work_fork)
    spawned, spawn_pid = start("spawn", work_spawn)
    ready(fork=fork_pid, spawn=spawn_pid)
    while running(wait=1):
        pass
    for process in (forked, spawned):
        process.terminate()
        process.join()
    finish()
