"""Counts the test cases that a Bazel run executed: prints "PASSED FAILED".

Reads the build events, so that only what this run did is counted, and each test's own XML for its
cases. A test without cases in its XML (one that crashed, or did not start) counts as one.

Usage: count_tests.py EVENTS.json
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree


def cases(path):
    """(passed, failed, all, with those that did not run) of one test.xml."""
    all_cases = list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))
    passed = failed = 0
    for case in all_cases:
        if case.get("status") == "notrun" or case.get("result") in ("skipped", "suppressed"):
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        else:
            passed += 1
    return passed, failed, len(all_cases)


def count(event):
    """(passed, failed) of one run of one test target."""
    ok = event["testResult"].get("status") == "PASSED"
    passed = failed = listed = 0
    for output in event["testResult"].get("testActionOutput", []):
        if output["name"] == "test.xml" and output.get("uri", "").startswith("file://"):
            path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
            passed, failed, listed = cases(path)
    if ok and listed == 0:
        passed = 1
    if not ok and failed == 0:
        failed = 1
    return passed, failed


def main():
    counts = {}
    with open(sys.argv[1], encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            if "testResult" in event:
                test = event["id"]["testResult"]
                # A later attempt at the same test takes the place of an earlier one.
                counts[(test["label"], test.get("run"), test.get("shard"))] = count(event)
    print(sum(passed for passed, _ in counts.values()), sum(failed for _, failed in counts.values()))


main()
