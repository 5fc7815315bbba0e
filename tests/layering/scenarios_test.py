"""docs/scenarios.md and the tests must name the same scenarios: each one that is written down has a test whose name begins
with its number in every file that its row names, and each number that a test's name begins with is written down. A test in
C++ that has a number names a mutant.

scenarios_test.py ROOT         says what stands on one side only
scenarios_test.py --self-test  compares two sides that differ
"""

import re
import sys
from pathlib import Path

NUMBER = r"S\d-\d+"
ROW = re.compile(rf"^\| ({NUMBER}) \|(.*)\|\s*$", re.M)
FILE = re.compile(r"`(tests/[^`]+)`")
# A test's name may begin with several numbers, and stand on the line after its macro.
NAME = re.compile(rf"[\"'](({NUMBER}\b[ ,]*)+)")
# The comments right above a test, and its number.
HEAD = re.compile(rf'((?:^//.*\n)*)^TEST_CASE(?:_TEMPLATE)?\(\s*"({NUMBER})', re.M)


def written(text):
    """Every scenario of the table with the files of its row."""
    return {number: FILE.findall(rest) for number, rest in ROW.findall(text)}


def tested(files):
    """Every scenario that a test's name begins with, and in which files."""
    found = {}
    for name, text in files.items():
        for start in NAME.findall(text):
            for number in re.findall(NUMBER, start[0]):
                found.setdefault(number, set()).add(name)
    return found


def compare(document, files):
    rows, tests = written(document), tested(files)
    if not rows:
        yield "docs/scenarios.md: no rows found"
    for number, places in rows.items():
        if not places:
            yield f"docs/scenarios.md: {number} names no test file"
        for place in places:
            if place not in tests.get(number, ()):
                yield f"docs/scenarios.md: {number}: {place} has no test of that name"
    for name, text in files.items():
        for comments, number in HEAD.findall(text):
            if "// mutant: " not in comments:
                yield f"{name}: the test of {number} names no mutant: expected a comment '// mutant: SENTENCE' above it"
    for number in sorted(tests):
        if number not in rows:
            yield f"{', '.join(sorted(tests[number]))}: tests {number}, which docs/scenarios.md does not have"


def read_tests(root):
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / "tests").rglob("*"))
        if path.suffix in {".cpp", ".c", ".hpp", ".py"} and path.name != Path(__file__).name
    }


def self_test():
    document = "| S1-1 | a | core | `tests/a.cpp` |\n| S1-2 | b | core | `tests/a.cpp`, `tests/b.cpp` |\n| S1-3 | c | core | |\n"
    files = {
        "tests/a.cpp": '// mutant: z\nTEST_CASE(\n    "S1-1 x")\n\n// z\nTEST_CASE("S1-2 S1-4 y")',
        "tests/b.cpp": 'CHECK("not S1-2")',
    }
    said = list(compare(document, files))
    wanted = ["S1-2: tests/b.cpp", "S1-3 names no test file", "the test of S1-2 names no mutant", "tests/a.cpp: tests S1-4"]
    if len(said) != 4 or not all(part in line for part, line in zip(wanted, said)):
        sys.exit(f"expected {wanted}, got {said}")
    if not list(compare("", {})):
        sys.exit("an empty document was taken for a whole one")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        root = Path(sys.argv[1])
        complaints = list(compare((root / "docs/scenarios.md").read_text(encoding="utf-8"), read_tests(root)))
        if complaints:
            sys.exit("\n".join(complaints))
