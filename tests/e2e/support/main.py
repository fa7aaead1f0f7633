"""The end of each test file: skipping is for machines without the peers, not for CI."""

import os
import sys
import unittest

SKIPPED = 77  # ctest reads this exit status as "skipped"


def main():
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped and os.environ.get("CI") == "true":
        sys.exit("in CI nothing may be skipped")
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)
