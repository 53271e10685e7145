# SPDX-License-Identifier: BSD-2-Clause
"""Random names through every format; a million of them in tests/trust/test_names.py."""
import os

import madeup


def test_random_names(krait):
    def run(data, *args):
        status, out, err = krait.report(krait.write(data), *args)
        assert status == 0, err
        path = os.path.join(krait.folder, "x.pb.gz")
        with open(path, "rb") as stream:
            return out, err, stream.read()

    madeup.check_everywhere(run, 1, 3000)
