"""Counts tests: reads what ctest reported, looks into doctest's own summaries, and says the result.

tally.py PRESET JUNIT_XML LOG TOTALS   says one preset's result and what was left out and why, shows each failure, adds
                                       the counts to TOTALS
tally.py --close TOTALS                prints "N passed, N failed"; exits with 1 when one failed or none ran
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

SUMMARY = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")
LEFT_OUT = "left out: "  # what athanor_leave_out of cmake/AthanorRooms.cmake lets an entry say


def reason_left_out(case):
    """Why this machine could not run the tests that an entry stands for; nothing for an entry that ran or should have."""
    skipped = case.find("skipped")
    if skipped is None or skipped.get("message") != "SKIP_REGULAR_EXPRESSION_MATCHED":
        return None
    return (case.findtext("system-out") or "").strip().removeprefix(LEFT_OUT)


def count(case):
    """Passed and failed tests of one ctest entry. One that failed without saying where counts as one failure."""
    if reason_left_out(case) is not None:
        return 0, 0
    output = case.findtext("system-out") or ""
    ran_well = case.get("status") == "run"
    passed = sum(int(found[1]) for found in SUMMARY.finditer(output))
    failed = sum(int(found[2]) for found in SUMMARY.finditer(output))
    if passed + failed == 0:
        return (1, 0) if ran_well else (0, 1)
    return passed, failed if ran_well or failed else 1


def tally(preset, report, log, totals):
    if not Path(report).exists():
        sys.exit(f"ctest made no report; the end of {log}:\n" + "\n".join(Path(log).read_text().splitlines()[-20:]))
    cases = xml.parse(report).getroot().findall("testcase")
    counts = [count(case) for case in cases]
    passed, failed = (sum(column) for column in zip(*counts)) if counts else (0, 0)
    left_out = [f"{case.get('name')} ({reason})" for case in cases if (reason := reason_left_out(case)) is not None]
    more = f", {len(left_out)} left out: {', '.join(left_out)}" if left_out else ""
    print(f"{passed} passed, {failed} failed ({preset}){more}")
    for case, (_, failures) in zip(cases, counts):
        if failures:
            print(f"\n{preset}: {case.get('name')} failed; its output ends with:")
            print("\n".join("  | " + line for line in (case.findtext("system-out") or "").splitlines()[-80:]))
    with open(totals, "a", encoding="utf-8") as out:
        out.write(f"{passed} {failed}\n")


def close(totals):
    rows = [tuple(map(int, line.split())) for line in Path(totals).read_text().splitlines()]
    passed, failed = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(close(sys.argv[2]) if sys.argv[1] == "--close" else tally(*sys.argv[1:]))
