# SPDX-License-Identifier: BSD-2-Clause
"""Three threads that wait. For `krait ps`; runs under 2.7 too."""
import threading

from harness import finish, ready, running

stop = threading.Event()
threads = [threading.Thread(target=stop.wait, args=(300,)) for _ in range(2)]
for thread in threads:
    thread.start()
ready()
while running(wait=1):
    pass
stop.set()
for thread in threads:
    thread.join()
finish()
