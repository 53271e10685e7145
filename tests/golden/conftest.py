# SPDX-License-Identifier: BSD-2-Clause
"""How the golden tests run krait: KRAIT=path, or ./krait of this tree."""
import os
import subprocess
import sys

import pytest

FOLDER = os.path.dirname(os.path.abspath(__file__))
KRAIT = os.environ.get("KRAIT") or os.path.join(os.path.dirname(os.path.dirname(FOLDER)), "krait")

sys.path.insert(0, FOLDER)


class Krait:
    def __init__(self, folder):
        self.folder = str(folder)

    def write(self, data, name="x.krait"):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as stream:
            stream.write(data)
        return path

    def report(self, path, *args):
        """(exit status, stdout, stderr), both as bytes."""
        argv = [KRAIT, "report", path, *args]
        run = subprocess.run(argv, capture_output=True, timeout=60, cwd=self.folder)
        return run.returncode, run.stdout, run.stderr


@pytest.fixture
def krait(tmp_path):
    return Krait(tmp_path)
