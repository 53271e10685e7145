# SPDX-License-Identifier: BSD-2-Clause
"""The long tests of what SECURITY.md promises. They use what the end-to-end tests have."""
import importlib.util
import os
import sys

E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")
sys.path.insert(0, E2E)

spec = importlib.util.spec_from_file_location("e2e_conftest", os.path.join(E2E, "conftest.py"))
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
sys.modules["e2e_conftest"] = e2e

import kraitrun

one_py = e2e.one_py
krait_exists = e2e.krait_exists
nothing_left_over = e2e.nothing_left_over
pytest_configure = e2e.pytest_configure

kraitrun.ENV["KRAIT_WORKLOAD_S"] = "900"
