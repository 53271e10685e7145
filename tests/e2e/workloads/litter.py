# SPDX-License-Identifier: BSD-2-Clause
"""
Three threads that leave so much garbage behind that each is made to collect now and then, as the
interpreter finds best. Each adds up the CPU time of its collections, and all of it.
"""
import gc
import threading
import time

from harness import finish, ready, running, thread_seconds

CNT = 3
mine = threading.local()
spent = [0.0] * CNT
total = [0.0] * CNT
busy = [0] * CNT
stop = False


class Node(object):
    pass


def on_collection(phase, info):
    if not hasattr(mine, "index"):
        return
    if phase == "start":
        mine.start = thread_seconds()
    else:
        spent[mine.index] += thread_seconds() - mine.start


def litter():
    for _ in range(2000):
        one, other = Node(), Node()
        one.other, other.other = other, one


def work(index):
    mine.index = index
    while not stop:
        litter()
        busy[index] += 1
    total[index] = thread_seconds()


gc.callbacks.append(on_collection)
threads = [threading.Thread(target=work, args=(index,)) for index in range(CNT)]
for thread in threads:
    thread.start()
while min(busy) < 1:
    time.sleep(0.01)
ready()
while running(wait=1):
    pass
stop = True
for thread in threads:
    thread.join()
finish(share=sum(spent) / sum(total))
