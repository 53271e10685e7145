# SPDX-License-Identifier: BSD-2-Clause
"""Who calls whom in a workload, from its source."""
import ast
import os

import targets


def source(name):
    with open(os.path.join(targets.WORKLOADS, name + ".py"), encoding="utf-8") as stream:
        return stream.read()


def call_graph(name):
    """{(caller, callee): lines of the calls}, read from the source."""
    tree = ast.parse(source(name))
    edges = {}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    top = [node for node in tree.body if node not in functions]
    for caller, body in [("<module>", top)] + [(f.name, f.body) for f in functions]:
        for node in (inner for statement in body for inner in ast.walk(statement)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                edges.setdefault((caller, node.func.id), set()).add(node.lineno)
    return edges
