# SPDX-License-Identifier: BSD-2-Clause
"""
A child forked from a process with several threads, which makes threads all the time: libc gives each
of them the memory, and so the identity, of one that the child did not get.
"""
import os
import threading

from harness import finish, has_parent, ready, running

STRETCH = range(200)
parent_pid = os.getpid()
stop = threading.Event()


def left_behind():
    stop.wait(300)


def newcomer():
    sum(STRETCH)


def child():
    while has_parent(parent_pid):
        thread = threading.Thread(target=newcomer)
        thread.start()
        thread.join()


threads = [threading.Thread(target=left_behind) for _ in range(4)]
for thread in threads:
    thread.start()
pid = os.fork()
if pid == 0:
    try:
        child()
    finally:
        os._exit(0)
ready(child=pid)
while running(wait=1):
    pass
os.kill(pid, 9)
os.waitpid(pid, 0)
stop.set()
for thread in threads:
    thread.join()
finish()
