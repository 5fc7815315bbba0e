"""Plants the mistakes of tests/mutants and tries them; scripts/mutants tells how it is used.

A list is a text of entries with an empty line between them:

    mutant: what is wrong with the code now, as a sentence
    file: include/athanor/batching/detail/queue_machine.ipp
    anchor: the text that is replaced; it stands in the file exactly once
    becomes: what stands there instead
    equivalent: why nobody can see the difference (only where that is so)

A value goes on in lines that begin with two spaces. An anchor that ends with a semicolon is one or more whole statements that
declare nothing that is used below; any other is an expression. Edits of one file may share an anchor but not overlap otherwise.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

KEYS = ("mutant", "file", "anchor", "becomes", "equivalent")
# Suites in the order in which they are asked, after the one of the mistake's own room.
SUITES = ("core", "batching", "caching", "breaking", "admission", "loading", "manifest", "serving", "simulation", "capi")
SECONDS_TO_HANG = 120
CHOICE = """#pragma once
#include <cstdlib>
namespace athanor_mutants {
inline int const chosen = [] {
  char const* const number = std::getenv("ATHANOR_MUTANT");
  return number == nullptr ? 0 : std::atoi(number);
}();
constexpr bool is(int number) { return !__builtin_is_constant_evaluated() && chosen == number; }
}  // namespace athanor_mutants
"""


@dataclass
class Mutant:
    number: int
    name: str
    file: str
    anchor: str
    becomes: str
    equivalent: str
    place: str

    @property
    def room(self):
        parts = Path(self.file).parts
        return parts[0] if parts[0] == "capi" else parts[2] if parts[0] == "include" else parts[1]


def read_list(project):
    """All entries, numbered from 1 in the order of the files' names."""
    mutants = []
    for path in sorted((project / "tests/mutants").glob("*.txt")):
        fields, key, began = {}, None, 1
        for number, line in enumerate([*path.read_text().splitlines(), ""], 1):
            where = f"{path.relative_to(project)}:{number}"
            if line.startswith("  ") and key:
                fields[key] += "\n" + line[2:]
            elif line.strip():
                key, colon, value = line.partition(":")
                if not colon or key not in KEYS or key in fields:
                    sys.exit(f"{where}: expected one of {', '.join(KEYS)}, each once in an entry; got {line!r}")
                began = began if fields else number
                fields[key] = value.strip()
            elif fields:
                place = f"{path.relative_to(project)}:{began}"
                missing = [name for name in KEYS[:4] if name not in fields]
                if missing:
                    sys.exit(f"{place}: the entry has no {missing[0]}")
                name = f"{path.stem}/{fields['mutant']}"
                mutants.append(Mutant(len(mutants) + 1, name, fields["file"], fields["anchor"], fields["becomes"],
                                      fields.get("equivalent", ""), place))
                fields, key = {}, None
    names = [mutant.name for mutant in mutants]
    for mutant in mutants:
        if names.count(mutant.name) > 1:
            sys.exit(f"{mutant.place}: two entries are called {mutant.name!r}")
    return mutants


def pattern_of(anchor):
    """Spaces and line ends of an anchor stand for any of them, so that a new layout does not break the list."""
    return re.compile(r"\s+".join(re.escape(word) for word in anchor.split()))


def find_spans(project, mutants):
    """Per file, per place in it: the mutants that replace it. Says every anchor that does not stand there exactly once."""
    files, faults = {}, []
    for mutant in mutants:
        path = project / mutant.file
        text = path.read_text() if path.is_file() else ""
        found = list(pattern_of(mutant.anchor).finditer(text))
        if len(found) != 1:
            faults.append(f"{mutant.place}: the anchor stands {len(found)} times in {mutant.file}, expected once: {mutant.anchor}")
            continue
        files.setdefault(mutant.file, {}).setdefault(found[0].span(), []).append(mutant)
    for file, spans in files.items():
        ordered = sorted(spans)
        for before, after in zip(ordered, ordered[1:]):
            if before[1] > after[0]:
                faults.append(f"{spans[after][0].place}: its anchor overlaps the one of {spans[before][0].place}")
    if faults:
        sys.exit("\n".join(faults))
    return files


def make_choice(original, mutants):
    """The text that behaves as the original does, unless one of the mutants is chosen."""
    choice = original
    statement = original.rstrip().endswith((";", "}"))
    for mutant in mutants:
        condition = f"::athanor_mutants::is({mutant.number})"
        if statement:
            choice = f"{{ if ({condition}) {{ {mutant.becomes} }} else {{ {choice} }} }}"
        else:
            choice = f"({condition} ? ({mutant.becomes}) : ({choice}))"
    return choice


def write_if_changed(path, data):
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def plant(project, copy):
    files = find_spans(project, read_list(project))
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, check=True).stdout
    names = [name for name in tracked.decode().split("\0") if name and (project / name).is_file()]
    for name in names:
        data = (project / name).read_bytes()
        if name in files:
            text = data.decode()
            for (begin, end), mutants in sorted(files[name].items(), reverse=True):
                text = text[:begin] + make_choice(text[begin:end], mutants) + text[end:]
            data = text.encode()
        write_if_changed(copy / name, data)
        shutil.copymode(project / name, copy / name)
    kept = {copy / name for name in names}
    for folder in ("include", "lib", "capi", "tests"):
        for path in (copy / folder).rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()
    write_if_changed(copy / "chosen_mutant.hpp", CHOICE.encode())


def run_suite(build, suite, number):
    """None when the suite passes; else the first test that failed, or how the suite ended."""
    command = ["ctest", "--test-dir", str(build), "-R", rf"^{suite}(\..*)?$", "--stop-on-failure", "--output-on-failure",
               "--timeout", str(SECONDS_TO_HANG)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                          env={**os.environ, "ATHANOR_MUTANT": str(number)})
    if done.returncode == 0:
        return None
    if "***Timeout" in done.stdout:
        return "hangs"
    named = re.search(r"TEST CASE:\s*(.*)", done.stdout)
    return named.group(1).strip() if named else "crashes" if "***Exception" in done.stdout else "fails"


def try_mutant(build, mutant):
    for suite in dict.fromkeys((mutant.room, *SUITES)):
        fault = run_suite(build, suite, mutant.number)
        if fault:
            return f"{suite}: {fault}"
    return None


def try_all(project, copy, globs):
    build = copy / "out/no-models"
    chosen = [mutant for mutant in read_list(project)
              if not globs or any(fnmatch.fnmatch(mutant.name, glob) for glob in globs)]
    if not chosen:
        sys.exit(f"no mistake is called {' '.join(globs)}; scripts/mutants --list names them")
    for suite in SUITES:
        fault = run_suite(build, suite, 0)
        if fault:
            sys.exit(f"without any mistake the suite {suite} fails: {fault}")
    began, noticed, survived, equivalent, wrong = time.monotonic(), {}, {}, {}, 0
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2))) as pool:
        for done, (mutant, by) in enumerate(zip(chosen, pool.map(lambda one: try_mutant(build, one), chosen)), 1):
            kind = equivalent if mutant.equivalent and not by else noticed if by else survived
            kind[mutant.room] = kind.get(mutant.room, 0) + 1
            wrong += bool(mutant.equivalent and by)
            verdict = f"noticed by {by}" if by else f"equivalent: {mutant.equivalent}" if mutant.equivalent else "SURVIVED"
            print(f"{done:4}/{len(chosen)} {mutant.name}: {verdict}", flush=True)
    print(f"\n{'room':12} noticed  survived  equivalent   noticed of those that are no equivalents")
    for room in sorted({mutant.room for mutant in chosen}):
        seen, missed = noticed.get(room, 0), survived.get(room, 0)
        share = f"{100 * seen / (seen + missed):.0f} %" if seen + missed else "-"
        print(f"{room:12} {seen:7}  {missed:8}  {equivalent.get(room, 0):10}   {share}")
    totals = [sum(kind.values()) for kind in (noticed, survived, equivalent)]
    print(f"{time.monotonic() - began:.0f} s: {totals[0]} noticed, {totals[1]} survived, {totals[2]} equivalent")
    return 1 if totals[1] or wrong else 0


def main(arguments):
    match arguments:
        case ["--check", project]:
            mutants = read_list(Path(project))
            find_spans(Path(project), mutants)
            print(f"{len(mutants)} mistakes, each anchor in its place")
        case ["--list", project]:
            print("\n".join(mutant.name for mutant in read_list(Path(project))))
        case ["--plant", project, copy]:
            plant(Path(project), Path(copy))
        case ["--try", project, copy, *globs]:
            return try_all(Path(project), Path(copy), globs)
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
