# SPDX-License-Identifier: BSD-2-Clause
"""
Asked for functions, as a JSON list of [file, name] on stdin: says of which this CPython itself has
instructions that belong to no line (3.10 and later: a generator's first, a module's RESUME).
"""
import json
import sys


def codes_of(code):
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_code"):
            for inner in codes_of(const):
                yield inner


def top_of(path, name):
    if name == "<module>":  # of generated code there is no file, and all modules begin alike
        return compile("x = 1\n", path, "exec")
    with open(path) as stream:
        return compile(stream.read(), path, "exec")


def is_lineless(path, name):
    if not hasattr(sys._getframe().f_code, "co_lines"):
        return False
    try:
        top = top_of(path, name)
    except IOError:
        return False
    for code in codes_of(top):
        if getattr(code, "co_qualname", code.co_name) == name:
            if not all(line for _, _, line in code.co_lines()):
                return True
    return False


asked = json.load(sys.stdin)
json.dump([[path, name] for path, name in asked if is_lineless(path, name)], sys.stdout)
