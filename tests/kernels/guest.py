# SPDX-License-Identifier: BSD-2-Clause
"""
The init of a virtual machine whose kernel krait is tried on: runs krait over two busy processes and
over a command with children, prints what came of it as one line "RESULT {...}", and switches off.
run.py puts it into an initial RAM disk, with the interpreter that runs it.
"""
import ctypes
import json
import os
import subprocess
import sys
import termios
import threading

MOUNTS = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")]
RUN_S = 120
SPIN = """
def leaf(n):
    return sum(i * i for i in range(n))
def outer():
    return leaf(3000)
while True:
    outer()
"""
CHILDREN = """
import os
def child(n):
    return sum(range(n))
def parent():
    for n in range(3):
        if os.fork() == 0:
            child(5000000)
            os._exit(0)
    for n in range(3):
        os.wait()
parent()
"""


def mount_all():
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, where in MOUNTS:
        os.makedirs(where, exist_ok=True)
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None)


def script(name, text):
    with open("/tmp/" + name, "w", encoding="ascii") as stream:
        stream.write(text)
    return "/tmp/" + name


def krait(*args):
    command = ["/krait"] + list(args)
    run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    return {"exit": run.returncode, "out": run.stdout, "err": run.stderr}


def record(*args):
    result = krait("record", "-o", "/tmp/run.folded", *args)
    if os.path.exists("/tmp/run.folded"):
        with open("/tmp/run.folded", encoding="utf-8") as stream:
            result["folded"] = stream.read()
        os.unlink("/tmp/run.folded")
    return result


def try_krait():
    spin, children = script("spin.py", SPIN), script("children.py", CHILDREN)
    result = {"doctor": krait("doctor")}
    busy = [subprocess.Popen([sys.executable, spin]) for _ in range(2)]
    result["all"] = record("-a", "-F", "99", "-d", "4", "--verbose")
    result["ps"] = krait("ps", "--json")
    result["busy"] = [process.pid for process in busy]
    for process in busy:
        process.kill()
        process.wait()
    result["command"] = record("-F", "499", "--", sys.executable, children)
    return result


def switch_off():
    # Documentation/admin-guide/sysrq.rst
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as stream:
        stream.write("o")


def main():
    mount_all()
    try:
        result = try_krait()
    except Exception as error:  # whatever it is, the host must hear of it
        result = {"error": repr(error)}
    print("RESULT " + json.dumps(result), flush=True)
    termios.tcdrain(sys.stdout.fileno())  # or the kernel's words get in between
    switch_off()
    threading.Event().wait()  # init must not end


main()
