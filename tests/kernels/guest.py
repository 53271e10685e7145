# SPDX-License-Identifier: BSD-2-Clause
"""
The init of a virtual machine whose kernel krait is tried on: runs krait over two busy processes and
over a command with children, prints what came of it as one line "RESULT {...}", and switches off.
run.py puts it into an initial RAM disk, with the interpreter that runs it.
"""
import ctypes
import json
import os
import signal
import subprocess
import sys
import termios
import threading

MOUNTS = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")]
RUN_S = 120
OUTPUT = "/tmp/run.folded"
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
PINNED = """
import os, time
os.sched_setaffinity(0, {1})
def leaf(n):
    return sum(i * i for i in range(n))
while time.process_time() < 1:
    leaf(3000)
"""
# CLONE_NEWPID and CLONE_NEWNS of linux/sched.h; then krait, as the namespace's first process.
CONTAINER = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000000 | 0x00020000) == 0
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert libc.mount(b"proc", b"/proc", b"proc", 0, None) == 0
print(subprocess.Popen([sys.executable, "/tmp/spin.py"]).pid, flush=True)
os.execv("/krait", ["/krait", "record", "--max-cpu", "100", "-F", "99", "-d", "4", "-o", sys.argv[1]])
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


def set_online(cpu, is_online):
    # Documentation/core-api/cpu_hotplug.rst
    path = "/sys/devices/system/cpu/cpu%d/online" % cpu
    with open(path, "w", encoding="ascii") as stream:
        stream.write("%d" % is_online)


def take_profile(result):
    if os.path.exists(OUTPUT):
        with open(OUTPUT, encoding="utf-8") as stream:
            result["folded"] = stream.read()
        os.unlink(OUTPUT)
    return result


def record(*args):
    # Emulated, it takes some thirty times what it takes elsewhere.
    return take_profile(krait("record", "--max-cpu", "100", "-o", OUTPUT, *args))


def hear(process, words):
    """What krait says until it says that."""
    said = []
    while not said or (words not in said[-1] and said[-1]):
        said.append(process.stderr.readline())
    return "".join(said)


def record_hotplug(pinned):
    """A run in which a CPU goes and comes back, and then a process runs on nothing but that one."""
    command = ["/krait", "record", "--max-cpu", "100", "-a", "-F", "99", "--verbose", "-o", OUTPUT]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = hear(process, "CPUs at")
        set_online(1, False)
        said += hear(process, "CPU 1 went offline")
        set_online(1, True)
        said += hear(process, "CPU 1 is back")
        with subprocess.Popen([sys.executable, pinned]) as worker:
            worker.wait()
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        process.wait()
    return take_profile({"exit": process.returncode, "err": said, "worker": worker.pid})


def record_in_container(starter):
    """A run in a pid namespace of its own, beside the busy processes of the other one."""
    command = [sys.executable, starter, OUTPUT]
    run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    return take_profile({"exit": run.returncode, "out": run.stdout, "err": run.stderr})


def try_krait():
    spin, children = script("spin.py", SPIN), script("children.py", CHILDREN)
    result = {"doctor": krait("doctor")}
    busy = [subprocess.Popen([sys.executable, spin]) for _ in range(2)]
    result["all"] = record("-a", "-F", "99", "-d", "4", "--verbose")
    result["ps"] = krait("ps", "--json")
    result["busy"] = [process.pid for process in busy]
    result["container"] = record_in_container(script("container.py", CONTAINER))
    for process in busy:
        process.kill()
        process.wait()
    result["command"] = record("-F", "499", "--", sys.executable, children)
    result["hotplug"] = record_hotplug(script("pinned.py", PINNED))
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
