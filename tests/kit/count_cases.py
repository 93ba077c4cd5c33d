#!/usr/bin/python3
"""Counts test cases: ctest counts programs, each of which holds many.

Usage: count_cases.py DIRECTORY, with ctest.xml and one NAME.xml per GoogleTest
program in it. Prints "cases: N passed, N failed, N skipped".
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def cases_of(directory, test):
    """(passed, failed, skipped) of one ctest test."""
    ended_well = test.get("status") == "run"
    report = directory / f"{test.get('name')}.xml"
    if not report.exists():
        return (1, 0, 0) if ended_well else (0, 1, 0)
    root = ElementTree.parse(report).getroot()
    failed = int(root.get("failures", 0)) + int(root.get("errors", 0))
    skipped = sum(1 for case in root.iter("testcase") if case.find("skipped") is not None)
    passed = int(root.get("tests")) - int(root.get("disabled", 0)) - failed - skipped
    # It may have failed outside any case: a crash at the end, a time limit.
    return (passed, max(failed, 0 if ended_well else 1), skipped)


def main():
    directory = pathlib.Path(sys.argv[1])
    tests = ElementTree.parse(directory / "ctest.xml").getroot().iter("testcase")
    totals = [sum(column) for column in zip(*(cases_of(directory, test) for test in tests))] or [0, 0, 0]
    print("cases: {} passed, {} failed, {} skipped".format(*totals))


if __name__ == "__main__":
    main()
