# SPDX-License-Identifier: BSD-2-Clause
"""
Code that comes and goes: pairs of functions are compiled, run for a moment and dropped, so that their code
objects, names and file names are made again and again in the memory of the ones before. Each pair carries one number
in both of its names and in its file's name, and its inner function is called by its own outer one alone.
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


def pair(number):
    names = {}
    code = compile(SOURCE.format(number), "pair_{0}.py".format(number), "exec")
    exec(code, names)
    names["outer_{0}".format(number)]()


made = 0
ready()
while running():
    for _ in range(20):
        pair(made % 100003)
        made += 1
finish(made=made)
