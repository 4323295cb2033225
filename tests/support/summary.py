#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""summary.py FILE.xml...: what ctest's reports, one per build, come to.

Names the tests that failed and those that were skipped, with the reason, and ends with the line
'N passed, N failed, N skipped'.  Exit 0 only if a test ran and none failed.
"""
import os
import sys
import xml.etree.ElementTree as xml


def reason(test):
    """A skipped test's last word."""
    lines = (test.findtext("system-out") or "").strip().splitlines()
    return lines[-1].strip().removeprefix("skipped: ") if lines else "no reason given"


def main():
    passed, failed, skipped = 0, [], []
    for path in sys.argv[1:]:
        build = os.path.basename(os.path.dirname(path))
        for test in xml.parse(path).getroot().iter("testcase"):
            skip = test.find("skipped")
            if test.get("status") == "run":
                passed += 1
            elif skip is not None and "SKIP_RETURN_CODE" in skip.get("message", ""):
                skipped.append(f"{build}: {test.get('name')}: {reason(test)}")
            else:  # failed, or could not be started
                failed.append(f"{build}: {test.get('name')}")
    for line in skipped:
        print("skipped", line)
    for line in failed:
        print("FAILED ", line)
    if passed + len(failed) == 0:
        print("no test ran")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 0 if passed and not failed else 1


sys.exit(main())
