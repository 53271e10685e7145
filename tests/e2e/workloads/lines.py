# SPDX-License-Identifier: BSD-2-Clause
"""
Time spent at known places, each in sum(R_<label>), a call that runs no Python frame of its own.

The interpreter that runs this file is the oracle: for each label it says which code object loads
R_<label> and on which line the call that follows lies, from co_lines() (dis before 3.10). The
comments "line:", "begin:"/"end:" and "drive:" let the test check that oracle against the source.
"""
import dis
import sys

from harness import finish, ready, running

ONE = (0,)
R_plain = R_lambda = R_nested = R_method = R_klass = R_static = R_prop = R_deeper = range(20000)
R_listcomp = R_setcomp = R_dictcomp = R_genexpr = R_decorated = R_closure = range(20000)
R_multi_call = R_multi_arith = R_multi_dict = R_multi_cond = R_multi_chain = range(20000)
R_multi_string = R_finally = R_with = R_loop = R_default = range(20000)
R_far = R_wide = range(20000)
R_handler = range(60000)  # to raise and to match an exception takes its time too


def plain():
    sum(R_plain)  # line: plain


by_lambda = lambda: sum(R_lambda)  # line: lambda


def outer():
    def inner():
        return sum(R_nested)  # line: nested

    return inner()


def make_closure(bias):
    def closure():
        return bias + sum(R_closure)  # line: closure

    return closure


class Thing:
    def method(self):
        return sum(R_method)  # line: method

    @classmethod
    def klass(cls):
        return sum(R_klass)  # line: klass

    @staticmethod
    def static():
        return sum(R_static)  # line: static

    @property
    def prop(self):
        return sum(R_prop)  # line: prop

    class Inner:
        def deeper(self):
            return sum(R_deeper)  # line: deeper


def listcomp():
    return [sum(R_listcomp) for _ in ONE]  # line: listcomp


def setcomp():
    return {sum(R_setcomp) for _ in ONE}  # line: setcomp


def dictcomp():
    return {0: sum(R_dictcomp) for _ in ONE}  # line: dictcomp


def genexpr():
    return any(sum(R_genexpr) < 0 for _ in ONE)  # line: genexpr


def passing(function):
    def wrapper(*args):
        return function(*args)

    return wrapper


@passing
@passing
def decorated(
    a=1,
    b=2,
):
    return sum(R_decorated)  # line: decorated


def multi_call():
    return max(  # begin: multi_call
        0,
        sum(
            R_multi_call
        ),
    )  # end: multi_call


def multi_arith():
    total = (  # begin: multi_arith
        1
        + sum(R_multi_arith)
        + 2
    )  # end: multi_arith
    return total


def multi_dict():
    return {  # begin: multi_dict
        "a": 1,
        "b": sum(R_multi_dict),
        "c": 3,
    }  # end: multi_dict


def multi_cond():
    if (  # begin: multi_cond
        ONE
        and sum(R_multi_cond)
        and ONE
    ):  # end: multi_cond
        return 1
    return 0


def multi_chain():
    return (  # begin: multi_chain
        str(1)
        .replace("1", "2")
        .zfill(sum(R_multi_chain) % 7)
        .strip()
    )  # end: multi_chain


def multi_string():
    return "%s %s" % (  # begin: multi_string
        "one",
        sum(
            R_multi_string,
        ),
    )  # end: multi_string


def in_finally():
    try:
        return 1
    finally:
        sum(R_finally)  # line: finally


def in_handler():
    try:
        raise KeyError
    except (
        ValueError,
        KeyError,
    ):
        sum(R_handler)  # line: handler


class Manager:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


def in_with():
    with Manager(), Manager():
        sum(R_with)  # line: with


def in_loop():
    for number in (
        1,
        2,
    ):
        while number:
            sum(R_loop)  # line: loop
            number = 0


def default(value=None,
            other=None):

    # Comments and blank lines make the line table jump.



    return sum(R_default)  # line: default


# A first line far away, a jump of 300 lines, and code of more than 255 units on a single line:
# more than one entry of any of the line table formats can hold.
FAR = compile(
    "\n" * 70000 + "def far():\n" + "\n" * 300 + "    return sum(R_far)\n", "far/away.py", "exec"
)
WIDE = compile(
    "def wide(a=1):\n    " + "a = a; " * 700 + "\n    sum(R_wide)\n    return a\n",
    "far/wide.py",
    "exec",
)
exec(FAR)
exec(WIDE)
closure = make_closure(1)
thing = Thing()
deep_thing = Thing.Inner()


def drive():
    plain()  # drive: plain
    by_lambda()  # drive: lambda
    outer()  # drive: nested
    closure()  # drive: closure
    thing.method()  # drive: method
    thing.klass()  # drive: klass
    thing.static()  # drive: static
    thing.prop  # drive: prop
    deep_thing.deeper()  # drive: deeper
    listcomp()  # drive: listcomp
    setcomp()  # drive: setcomp
    dictcomp()  # drive: dictcomp
    genexpr()  # drive: genexpr
    decorated()  # drive: decorated
    multi_call()  # drive: multi_call
    multi_arith()  # drive: multi_arith
    multi_dict()  # drive: multi_dict
    multi_cond()  # drive: multi_cond
    multi_chain()  # drive: multi_chain
    multi_string()  # drive: multi_string
    in_finally()  # drive: finally
    in_handler()  # drive: handler
    in_with()  # drive: with
    in_loop()  # drive: loop
    default()  # drive: default
    far()  # drive: far
    wide()  # drive: wide


def codes_of(code):
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_code"):
            for inner in codes_of(const):
                yield inner


def line_of_offsets(code):
    """The line of each instruction offset, None where there is none, as this CPython has it."""
    lines = {}
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            for offset in range(start, end, 2):
                lines[offset] = line
        return lines
    starts = dict(dis.findlinestarts(code))
    line = code.co_firstlineno
    for offset in range(len(code.co_code)):  # each byte: instructions of 2.7 start at odd ones too
        line = lines[offset] = starts.get(offset, line)
    return lines


def instructions_of(code):
    """(offset, name, argument's name or None): dis.get_instructions is as old as 3.4."""
    if hasattr(dis, "get_instructions"):
        for instruction in dis.get_instructions(code):
            yield instruction.offset, instruction.opname, instruction.argval
        return
    bytecode = bytearray(code.co_code)
    offset = 0
    while offset < len(bytecode):
        op = bytecode[offset]
        arg = bytecode[offset + 1] | bytecode[offset + 2] << 8 if op >= dis.HAVE_ARGUMENT else 0
        yield offset, dis.opname[op], code.co_names[arg] if op in dis.hasname else None
        offset += 3 if op >= dis.HAVE_ARGUMENT else 1


def describe(code):
    lines = line_of_offsets(code)
    calls = {}
    label = None
    for offset, name, arg in instructions_of(code):
        if name.startswith("LOAD_") and str(arg).startswith("R_"):
            label = arg[2:]
        elif label and "CALL" in name:
            calls.setdefault(label, set()).add(lines[offset])
            if not name.startswith("PRECALL"):
                label = None
    return {
        "name": getattr(code, "co_qualname", code.co_name),
        "file": code.co_filename,
        "lines": sorted({line or 0 for line in lines.values()} | {code.co_firstlineno}),
        "calls": {call: sorted(found) for call, found in calls.items()},
    }


table = [
    describe(code)
    for top in (sys._getframe().f_code, FAR, WIDE)
    for code in codes_of(top)
]
drive()
ready(table=table)
while running(uneven=True):
    drive()  # line: module
finish()
