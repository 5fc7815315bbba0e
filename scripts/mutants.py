"""Plants the mistakes of tests/mutants and tries them; scripts/mutants tells how it is used.

A list is a text of entries with an empty line between them:

    mutant: what is wrong with the code now, as a sentence
    file: include/athanor/batching/detail/queue_machine.ipp
    anchor: the text that is replaced; it stands in the file exactly once
    becomes: what stands there instead
    equivalent: why the difference is not visible (only where that is so)
    suite: the suite that must notice it alone (only where not any will do)

A value goes on in lines that begin with two spaces. An anchor that ends with a semicolon or a block is one or more whole statements that
declare nothing that is used below; any other is an expression. Edits of one file may share an anchor but not overlap otherwise.

A test names each mistake that it must notice in a comment of its own, which goes on in lines that begin with three spaces:

    // mutant: what is wrong with the code now, as a sentence
"""

import difflib
import fnmatch
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

KEYS = ("mutant", "file", "anchor", "becomes", "equivalent", "suite")
# Nearest first: a suite comes after those of the rooms that it stands on, and the dearest last.
SUITES = ("core", "admission", "breaking", "caching", "loading", "batching", "serving", "manifest", "capi", "simulation")
# The rooms that need models have a copy and suites of their own, so that the run without them stays short.
MODEL_SUITES = ("chem", "torch", "polymers")
# Those that run the rooms together. No other room but core is seen by the suite of another one.
JOINED = ("serving", "manifest", "capi", "simulation")
PROGRAMS = {"capi": ("athanor-capi-tests", "athanor-capi-exit", "athanor-capi-memory"),
            "polymers": ("athanor-polymers-files-tests", "athanor-polymers-tests")}
# Per suite: what runs its examples' program, and where that program is built.
SCRIPTS = {"polymers": (("program_test.py", "build_test.py", "interruption_test.py", "terminal_test.py"), "examples/polymers/polymers")}
JOBS = int(os.environ.get("ATHANOR_JOBS") or len(os.sched_getaffinity(0)))
SCHEDULES = "5000"
BYTES_OF_A_SUITE = 8 << 30
BYTES_OF_A_MODEL_SUITE = 32 << 30  # LibTorch reserves much more address space than it uses.
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
    name: str
    file: str
    anchor: str
    becomes: str
    equivalent: str
    suite: str
    place: str

    @property
    def edit(self):
        return hashlib.sha256("\0".join((self.file, self.anchor, self.becomes)).encode()).hexdigest()[:16]

    @property
    def number(self):
        """Depends on nothing but the edit, so that a longer list leaves what is compiled already as it is."""
        return int(self.edit[:7], 16) + 1

    @property
    def room(self):
        parts = Path(self.file).parts
        return parts[0] if parts[0] == "capi" else parts[2] if parts[0] == "include" else parts[1]

    @property
    def sentence(self):
        """What a comment of a test calls it."""
        return " ".join(self.name.partition("/")[2].split())


def read_list(project):
    """All entries, in the order of the files' names."""
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
                if fields.get("suite", SUITES[0]) not in SUITES + MODEL_SUITES:
                    sys.exit(f"{place}: expected one of {', '.join(SUITES + MODEL_SUITES)}, got {fields['suite']!r}")
                name = f"{path.stem}/{fields['mutant']}"
                mutants.append(Mutant(name, fields["file"], fields["anchor"], fields["becomes"],
                                      fields.get("equivalent", ""), fields.get("suite", ""), place))
                fields, key = {}, None
    sentences, edits = {}, {}
    for mutant in mutants:
        if sentences.setdefault(mutant.sentence, mutant) is not mutant:
            sys.exit(f"{mutant.place}: {sentences[mutant.sentence].place} is also called {mutant.sentence!r}")
        if edits.setdefault(mutant.number, mutant) is not mutant:
            sys.exit(f"{mutant.place}: the same edit as {edits[mutant.number].place}")
    return mutants


def read_comments(project):
    """Place and text of each comment of the tests that names a mistake."""
    comments = []
    for path in sorted((project / "tests").rglob("*")):
        if path.suffix not in (".c", ".cpp", ".hpp", ".py"):
            continue
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            began = re.match(r"\s*(//|#|/\*) (mutants?\b.*)", line)
            if not began:
                continue
            text = [began[2]]
            for later in lines[number:]:
                more = re.match(r"\s*(?://|#|\*)   (\S.*)", later)
                if not more:
                    break
                text.append(more[1])
            comments.append((f"{path.relative_to(project)}:{number}", " ".join(text).removesuffix("*/").strip()))
    return comments


def check_comments(project, mutants):
    """Each comment names one entry of the list; says those that do not, and the name that is nearest. Returns their number."""
    named = {mutant.sentence: mutant.name for mutant in mutants}
    comments = read_comments(project)
    faults = []
    for place, text in comments:
        mark, _, sentence = text.partition(": ")
        if mark != "mutant" or sentence not in named:
            nearest = difflib.get_close_matches(sentence, named, 1, 0.0)[0]
            faults.append(f"{place}: no entry is called: {text}\n    the nearest: {named[nearest]}")
    if faults:
        sys.exit("\n".join(faults))
    return len(comments)


def pattern_of(anchor):
    """Spaces and line ends of an anchor stand for any of them, so that a new layout does not break the list."""
    return re.compile(r"\s+".join(re.escape(word) for word in anchor.split()))


def is_statement(text):
    return text.endswith(";") or (text.endswith("}") and ";" in text)


def without_literals(text):
    return re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'', "0", text)


def is_whole(text):
    """Whether each bracket of an expression or a statement has its partner, and no operator waits for an operand."""
    bare = without_literals(text)
    while (shorter := re.sub(r"\([^(){}\[\]]*\)|\{[^(){}\[\]]*\}|\[[^(){}\[\]]*\]", " 0", bare)) != bare:
        bare = shorter
    return not re.search(r"[(){}\[\]]|(&&|\|\||[=<>?:,*/%^|-]|[^+]\+)$|^(&&|\|\||[=<>?,])", bare.strip())


DECLARATION = re.compile(r"(?:^|[;{}])\s*(?!return\b|throw\b|delete\b|else\b|case\b|goto\b)(?:(?:static|constexpr|const|auto|unsigned)\s+)*"
                         r"[A-Za-z_][\w:]*(?:<[^;={}()]*>)?(?:\s*\bconst)?\s*[&*]?\s+(?:const\s+)?[&*]?([a-z_]\w*)\s*(?:=[^=]|[{(;])")


def without_braces(text):
    """The text without literals and what stands between braces."""
    text = without_literals(text)
    while (shorter := re.sub(r"\{[^{}]*\}", " ", text)) != text:
        text = shorter
    return text


def fault_of_form(anchor, before, behind):
    """Why the anchor cannot become one branch of a choice, as a statement of its own or as an operand; None if it can."""
    declared = DECLARATION.findall(without_braces(anchor))
    if not is_statement(anchor):
        return "declares something and is no statement" if declared or ";" in without_braces(anchor) else None
    block = without_braces(behind).partition("}")[0]
    below = [name for name in declared if re.search(rf"\b{name}\b", block)]
    if below:
        return f"declares {below[0]}, which is used below"
    if re.search(r"(\)|\belse)\s*$", before) and not re.match(r"(if|for|while|switch)\b", anchor) and without_braces(anchor).count(";") > 1:
        return "is more than the one statement behind a condition"
    return None


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
        for key in ("anchor", "becomes"):
            if not is_whole(getattr(mutant, key)):
                faults.append(f"{mutant.place}: expected an expression or whole statements as {key}, got: {getattr(mutant, key)}")
        if is_statement(mutant.anchor) and not re.search(r"([;{}):]|else|\*/)\s*$|//.*\n\s*$", text[:found[0].start()]):
            faults.append(f"{mutant.place}: the anchor ends as a statement does, but does not begin one: {mutant.anchor}")
        if fault := fault_of_form(mutant.anchor, text[:found[0].start()], text[found[0].end():]):
            faults.append(f"{mutant.place}: the anchor {fault}: {mutant.anchor}")
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
    for mutant in mutants:
        condition = f"::athanor_mutants::is({mutant.number})"
        if is_statement(original):
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
    for folder in ("include", "lib", "capi", "examples", "tests"):
        for path in (copy / folder).rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()
    write_if_changed(copy / "chosen_mutant.hpp", CHOICE.encode())


@dataclass
class Spent:
    """What a suite took without any mistake; a mistake that takes a multiple of it is said to hang."""
    wall: float
    cpu: float


def limit_memory(bytes_of_a_suite):
    resource.setrlimit(resource.RLIMIT_AS, (bytes_of_a_suite, bytes_of_a_suite))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def cpu_seconds(process):
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_program(command, folder, number, spent, bytes_of_a_suite):
    """Exit status, output and what it took. The status is None when it hangs: when it spends many times the processor time
    that it spends without a mistake, or none at all for long. Both hold on a machine that is busy with other things."""
    environment = {"ATHANOR_SCHEDULES": SCHEDULES, **os.environ, "ATHANOR_MUTANT": str(number)}
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=lambda: limit_memory(bytes_of_a_suite))
        looked, moved, cpu, status = began, began, 0.0, None
        while status is None:
            try:
                status = process.wait(0.25)
            except subprocess.TimeoutExpired:
                now, before = time.monotonic(), cpu
                stopped = max(now - looked - 1, 0)  # this script was, and its programs with it
                looked, began, moved = now, began + stopped, moved + stopped
                cpu = cpu_seconds(process.pid)
                moved = now if cpu > before else moved
                if spent and (cpu > 10 * spent.cpu + 5 or now - moved > 3 * spent.wall + 20 or now - began > 20 * spent.wall + 120):
                    break
        if status is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
        return status, text, Spent(time.monotonic() - began, cpu)


def run_suite(commands, folder, number, times, bytes_of_a_suite):
    """None when all programs pass; else the first test that failed, or how the program ended. Without a mistake, notes what
    each program took."""
    for program, command in commands.items():
        status, text, spent = run_program(command, folder, number, times.get(program), bytes_of_a_suite)
        if number == 0:
            times[program] = spent
        if status == 0:
            continue
        # Messages, too, stand under the name of their test.
        named = (re.search(r"(?:TEST CASE|FAILED):\s*(.*)", text[max(text.rfind("TEST CASE:", 0, text.find("ERROR:")), 0):])
                 or re.search(r"^(?:FAIL|ERROR): (\w+)", text, re.MULTILINE))
        if status is None:
            return "hangs"
        return named.group(1).strip() if named else f"ends by signal {-status}" if status < 0 else f"{program} fails"
    return None


class Suite:
    """The programs of a suite of the instrumented copy: built when they are asked for, and timed without any mistake."""

    def __init__(self, project, copy, name):
        self.build, self.name = copy / "out" / preset_of(name), name
        self.targets = PROGRAMS.get(name, (f"athanor-{name}-tests",))
        self.folder = self.build / "tests" / name
        self.bytes = BYTES_OF_A_MODEL_SUITE if name in MODEL_SUITES else BYTES_OF_A_SUITE
        takes_options = name != "capi"
        self.commands = {target: [str(self.folder / target), *(["--abort-after=1"] if takes_options else [])] for target in self.targets}
        self.by_file = dict(self.commands) if takes_options else {}  # the programs that take the name of a file of tests
        self.files = [self.folder / target for target in self.targets]
        if name in SCRIPTS:
            scripts, program = SCRIPTS[name]
            self.targets += (Path(program).name,)
            self.files.append(self.build / program)
            for script in scripts:
                path = project / "tests" / name / script
                self.files.append(path)
                self.commands[script] = [sys.executable, str(path), str(self.build / program), "--failfast"]

    def prepare(self):
        began = time.monotonic()
        print(f"{self.name}: build", end="", flush=True)
        log = self.build / f"mutants-{self.name}.log"
        with log.open("w") as output:
            command = ["cmake", "--build", str(self.build), "--parallel", str(JOBS), "--target", *self.targets, "--", "-k", "0"]
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
                sys.exit(f"\n{log}: a mistake that does not compile is named there: mend it in tests/mutants")
        files = [*self.files, *self.build.glob("capi/libathanor.so*"), *sorted(self.build.glob(f"lib/{self.name}/*athanor_*.so"))]
        self.stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        print(f" {time.monotonic() - began:.0f} s", flush=True)

    def time(self):
        self.spent = {}
        fault = self.fault(0)
        if fault:
            sys.exit(f"without any mistake the suite {self.name} fails: {fault}")
        print(f"{self.name}: passes without a mistake in {sum(spent.wall for spent in self.spent.values()):.1f} s", flush=True)

    def of_file(self, file):
        """What runs the tests of one file alone, timed without any mistake."""
        commands = {program: [*command, f"--source-file=*/{file}"] for program, command in self.by_file.items()}
        times = {}
        fault = run_suite(commands, self.folder, 0, times, self.bytes)
        if fault:
            sys.exit(f"without any mistake {file} fails: {fault}")
        return lambda number: run_suite(commands, self.folder, number, times, self.bytes)

    def fault(self, number):
        return run_suite(self.commands, self.folder, number, self.spent, self.bytes)


class Results:
    """What was found so far, a line each, so that an interrupted run goes on where it stood. A mistake that was noticed is
    not tried again; one that passed a suite is, as soon as that suite has been built anew."""

    def __init__(self, path):
        self.path, self.found = path, {}
        for line in path.read_text().splitlines() if path.is_file() else []:
            edit, suite, stamp, fault = json.loads(line)
            self.found.setdefault(edit, {})[suite] = (stamp, fault)

    def add(self, mutant, suite, fault):
        self.found.setdefault(mutant.edit, {})[suite.name] = (suite.stamp, fault)
        with self.path.open("a") as output:
            output.write(json.dumps([mutant.edit, suite.name, suite.stamp, fault]) + "\n")

    def noticed_by(self, mutant):
        for suite, (_, fault) in self.found.get(mutant.edit, {}).items():
            if fault:
                return f"{suite}: {fault}"
        return None

    def wants(self, mutant, suite):
        return not self.noticed_by(mutant) and self.found.get(mutant.edit, {}).get(suite.name, ("", None))[0] != suite.stamp


def preset_of(room):
    return "release" if room in MODEL_SUITES else "no-models"


def suites_of(mutant):
    """The suite of the room first, then those of the rooms that stand on it; a room without a suite is seen by the joined ones."""
    if mutant.suite:
        return (mutant.suite,)
    room = mutant.room
    if room in MODEL_SUITES:
        return tuple(dict.fromkeys((room, "polymers")))
    if room == "core":
        return SUITES
    if room == "capi":
        return ("capi",)
    if room in JOINED:
        return JOINED[JOINED.index(room):]
    return (*({room} & set(SUITES)), *JOINED)


def suites_named(comments):
    """Per sentence, the suites with a test that names it: they may notice what no suite of its room does."""
    named = {}
    for place, text in comments:
        named.setdefault(text.partition(": ")[2], set()).add(place.split("/")[1])
    return named


def try_suite(suite, mutants, results):
    suite.prepare()
    wanted = [mutant for mutant in mutants if results.wants(mutant, suite)]
    if not wanted:
        return
    suite.time()
    began = time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        for done, (mutant, fault) in enumerate(zip(wanted, pool.map(lambda one: suite.fault(one.number), wanted)), 1):
            results.add(mutant, suite, fault)
            left = (time.monotonic() - began) / done * (len(wanted) - done)
            verdict = f"noticed: {fault}" if fault else "passes"
            print(f"{suite.name} {done}/{len(wanted)}, {left:.0f} s left: {mutant.name}: {verdict}", flush=True)


def try_named(suite, mutants, results, comments):
    """Asks the files of tests that name a mistake before any whole suite: they notice most, in a fraction of the time."""
    if not suite.by_file:
        return
    suite.prepare()
    folder = f"tests/{suite.name}/"
    files = {}
    for place, text in comments:
        file = place.rpartition(":")[0]
        if file.startswith(folder) and file.endswith(".cpp"):
            files.setdefault(file, set()).add(text.partition(": ")[2])
    for file, sentences in files.items():
        named = [mutant for mutant in mutants if mutant.sentence in sentences and not results.noticed_by(mutant)]
        if not named:
            continue
        fault_of = suite.of_file(file)
        with ThreadPoolExecutor(JOBS) as pool:
            for mutant, fault in zip(named, pool.map(lambda one: fault_of(one.number), named)):
                print(f"{file}: {mutant.name}: {f'noticed: {fault}' if fault else 'passes'}", flush=True)
                if fault:
                    results.add(mutant, suite, fault)


def show_table(chosen, results):
    rooms = {mutant.room: [0, 0, 0] for mutant in chosen}
    wrong = 0
    print()
    for mutant in chosen:
        by = results.noticed_by(mutant)
        rooms[mutant.room][0 if by else 2 if mutant.equivalent else 1] += 1
        if bool(by) == bool(mutant.equivalent):
            wrong += 1
            print(f"{mutant.place}: {mutant.name}: {f'an equivalent, but noticed by {by}' if by else 'SURVIVED'}")
    print(f"\n{'room':12} entries  noticed  survived  equivalent   noticed of those that are no equivalents")
    for room, (noticed, survived, equivalent) in sorted(rooms.items()):
        share = f"{100 * noticed / (noticed + survived):.0f} %" if noticed + survived else "-"
        print(f"{room:12} {noticed + survived + equivalent:7}  {noticed:7}  {survived:8}  {equivalent:10}   {share}")
    totals = [sum(kind) for kind in zip(*rooms.values())]
    print(f"{totals[0]} noticed, {totals[1]} survived, {totals[2]} equivalent")
    return 1 if wrong else 0


def choose(project, globs):
    """What the globs name; without any, all but what needs models."""
    chosen = [mutant for mutant in read_list(project)
              if (any(fnmatch.fnmatch(mutant.name, glob) for glob in globs) if globs else mutant.room not in MODEL_SUITES)]
    if not chosen:
        sys.exit(f"no mistake is called {' '.join(globs)}; scripts/mutants --list names them")
    return chosen


def try_all(project, copy, preset, globs):
    chosen = [mutant for mutant in choose(project, globs) if preset_of(mutant.room) == preset]
    results = Results(copy / "results.jsonl")
    comments = read_comments(project)
    named = suites_named(comments)
    for trial in (lambda *both: try_named(*both, results, comments), lambda *both: try_suite(*both, results)):
        for name in SUITES + MODEL_SUITES:
            left = [mutant for mutant in chosen if not results.noticed_by(mutant) and preset_of(name) == preset
                    and (name in suites_of(mutant) or not mutant.suite and name in named.get(mutant.sentence, ()))]
            if left:
                trial(Suite(project, copy, name), left)
    return show_table(chosen, results)


def main(arguments):
    match arguments:
        case ["--check", project]:
            mutants = read_list(Path(project))
            find_spans(Path(project), mutants)
            comments = check_comments(Path(project), mutants)
            print(f"{len(mutants)} mistakes, each anchor in its place; {comments} comments, each of them names one")
        case ["--list", project]:
            print("\n".join(mutant.name for mutant in read_list(Path(project))))
        case ["--presets", project, *globs]:
            print("\n".join(sorted({preset_of(mutant.room) for mutant in choose(Path(project), globs)})))
        case ["--plant", project, copy]:
            plant(Path(project), Path(copy))
        case ["--try", project, copy, preset, *globs]:
            return try_all(Path(project), Path(copy), preset, globs)
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
