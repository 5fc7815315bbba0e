"""pages_test.py PROJECT: the tables of docs that list options, metrics and events name those of the sources, and no other."""

import re
import sys
import unittest
from pathlib import Path

PROJECT = Path(sys.argv.pop(1))


def read(path):
    return (PROJECT / path).read_text(encoding="utf-8")


def table(page, head, columns=(1,)):
    """The names in backticks in these columns of the table with that head."""
    lines = read(page).split("\n")
    first = lines.index(f"| {head} |") + 2
    rows = lines[first : lines.index("", first)]
    return [name for row in rows for column in columns for name in re.findall(r"`(\w+)`", row.split("|")[column])]


def members(path, struct):
    body = re.search(rf"\nstruct {struct} {{\n(.*?)\n}};", read(path), re.DOTALL)[1]
    return re.findall(r"^  [\w:<>* ]+? (\w+)(?:\{.*\}| = .*);", body, re.MULTILINE)


class Pages(unittest.TestCase):
    def test_the_options_of_an_engine_and_of_a_call_are_those_of_the_headers(self):
        for head, struct in (("member | meaning | default | rejected", "EngineOptions"), ("member | meaning | default", "CallOptions")):
            self.assertEqual(sorted(table("docs/cpp-api.md", head)), sorted(members("include/athanor/serving/options.hpp", struct)))

    def test_the_options_of_the_c_library_are_those_that_it_reads(self):
        rows = re.search(r"rows\{\{\n(.*?)\n\}\};", read("capi/options.cpp"), re.DOTALL)[1]
        keys = re.findall(r'^    \{"(\w+)"', rows, re.MULTILINE)
        self.assertEqual(sorted(table("docs/c-api.md", "key | default | key | default", (1, 3))), sorted(keys))
        commented = " ".join(re.findall(r"^ \* - (`.*?):", read("capi/include/athanor.h"), re.MULTILINE))
        self.assertEqual(sorted(re.findall(r"`(\w+)`", commented)), sorted(keys))

    def test_metrics_are_those_that_the_engine_writes(self):
        listed = table("docs/cpp-api.md", "metric of a model | what it is") + table("docs/cpp-api.md", "metric of the engine | what it is")
        self.assertEqual(sorted(listed), sorted(set(re.findall(r'"(athanor_\w+)"', read("lib/serving/observe.cpp")))))

    def test_events_are_those_that_have_a_name(self):
        self.assertEqual(table("docs/cpp-api.md", "event | when"), re.findall(r'case EventKind::\w+: return "(\w+)"', read("lib/core/events.cpp")))


if __name__ == "__main__":
    unittest.main()
