# SPDX-License-Identifier: BSD-2-Clause
"""
Code that comes and goes: pairs of functions are compiled, run for a moment and dropped, so that their code
objects, names and file names are made again and again in the memory of the ones before. Each pair carries one number
in both of its names and in its file's name, its inner function is called by its own outer one
alone, and number % SHIFTS lines are above it: name, file and line of a frame belong together.
"""
from harness import finish, ready, running

SOURCE = """\
def inner_{0}(n):
    x = 0
    for i in range(n):
        x += i
    return x


def outer_{0}():
    return inner_{0}(2000)
"""
SHIFTS = 97


def pair(number):
    names = {}
    source = "\n" * (number % SHIFTS) + SOURCE.format(number)
    code = compile(source, "pair_{0}.py".format(number), "exec")
    exec(code, names)
    outer = names["outer_{0}".format(number)]
    addresses.add(id(outer.__code__))
    outer()


made = 0
addresses = set()
ready(shifts=SHIFTS)
while running():
    for _ in range(20):
        pair(made % 100003)
        made += 1
finish(made=made, addresses=len(addresses))
