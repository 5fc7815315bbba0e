"""Runs the scripts of a clone whose path holds spaces, with stand-ins for what they start: what they refuse, and that they
wait for each other.

scripts_test.py PROJECT
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(sys.argv.pop(1))


class Scripts(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.clone = self.folder / "a clone"
        shutil.copytree(PROJECT / "scripts", self.clone / "scripts")
        self.write("scripts/setup", "#!/bin/sh\n")
        self.path = self.folder / "path"
        self.started = self.folder / "started"
        for name in ("cmake", "clang-tidy-16"):
            self.stand_in(name, f'for last; do :; done; echo "{name}: $last" >>"{self.started}"\n')
        self.stand_in("clang-format-16", 'cat "$1"\n')

    def write(self, path, text):
        place = self.clone / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def stand_in(self, name, body):
        self.path.mkdir(exist_ok=True)
        program = self.path / name
        program.write_text("#!/bin/sh\n" + body, encoding="utf-8")
        program.chmod(0o755)

    def command(self, script, *arguments, cwd=None, **environment):
        variables = {**os.environ, "ATHANOR_CACHE": str(self.folder / "cache"), "PATH": f"{self.path}:{os.environ['PATH']}", **environment}
        variables = {name: value for name, value in variables.items() if value is not None}
        return {"args": [self.clone / "scripts" / script, *arguments], "cwd": cwd or self.clone, "env": variables, "stdin": subprocess.DEVNULL, "text": True}

    def run_script(self, *arguments, status=0, **options):
        result = subprocess.run(**self.command(*arguments, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
        self.assertEqual(result.returncode, status, result.stdout)
        return result.stdout

    def checked_files(self):
        lines = self.started.read_text().splitlines()
        return [line.removeprefix("clang-tidy-16: ") for line in lines if line.startswith("clang-tidy-16")]

    def test_every_script_explains_itself_and_refuses_what_it_does_not_know(self):
        shutil.copy(PROJECT / "scripts/setup", self.clone / "scripts")
        for script in sorted(path.name for path in self.clone.glob("scripts/*") if not path.suffix):
            self.assertIn(f"scripts/{script}", self.run_script(script, "--help"))
            if script != "demo":  # hands on what it is given
                self.assertIn("--nope'" if script == "test" else "unknown option --nope", self.run_script(script, "--nope", status=1))
        self.assertFalse(self.started.exists())

    def test_lint_refuses_what_it_cannot_check_by_name_and_starts_nothing(self):
        self.write("notes.md", "")
        (self.folder / "outside.cpp").write_text("")
        for argument, words in (("--nope", "unknown option"), ("none.cpp", "no file"), ("notes.md", "neither C nor C++"), ("../outside.cpp", "is not in")):
            output = self.run_script("lint", argument, status=1)
            self.assertIn(argument, output)
            self.assertIn(words, output)
        self.assertFalse(self.started.exists())

    def test_lint_finds_files_from_where_the_caller_stands(self):
        for name in ("a b.cpp", "c++.cpp"):
            source = self.write(f"lib/core/{name}", "int x;\n")
            self.write("out/no-models/compile_commands.json", f'"file": "{source}"\n')
            self.run_script("lint", name, "--no-models", cwd=source.parent)
            self.run_script("lint", source, "--no-models")
        self.assertEqual(self.checked_files(), ["lib/core/a b.cpp"] * 2 + ["lib/core/c++.cpp"] * 2)

    def test_a_header_alone_is_checked_for_its_format_only(self):
        self.write("include/a.hpp", "int x;\n")
        self.write("out/release/compile_commands.json", "[]\n")
        self.assertIn("clean", self.run_script("lint", "include/a.hpp"))
        self.assertEqual(self.checked_files(), [])

    def test_a_place_that_cannot_be_written_is_named_with_what_to_do(self):
        self.write("out", "a file\n")
        output = self.run_script("demo", status=1)
        self.assertIn(f"failed: {self.clone}/out/logs cannot be written", output)
        self.assertIn("what to do: ", output)
        output = self.run_script("demo", status=1, ATHANOR_CACHE=None, HOME=None)
        self.assertIn("failed: neither HOME nor ATHANOR_CACHE is set", output)

    def test_a_preset_that_does_not_exist_is_refused(self):
        for preset in ("nope", ""):
            self.assertIn(f"no preset is called '{preset}'", self.run_script("test", preset, status=1))

    def test_a_script_that_another_one_calls_shares_its_turn(self):
        steps = 'source "$(dirname "$0")/steps.sh"\nstep "some work" true\n'
        self.write("scripts/inner", steps)
        self.write("scripts/setup", f'#!/usr/bin/env bash\n{steps}"$project/scripts/inner"\nfinish "over"\n')
        (self.clone / "scripts/inner").chmod(0o755)
        self.assertIn("setup: over", self.run_script("setup"))

    def start(self, script, **options):
        process = subprocess.Popen(**self.command(script), **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_second_script_waits_for_the_first_and_for_nothing_that_it_started(self):
        program = self.write("out/release/examples/polymers/polymers", "#!/bin/sh\n")
        program.chmod(0o755)
        signal.signal(signal.SIGALRM, lambda *_: self.fail("one of the two scripts never ended"))
        signal.alarm(60)
        self.addCleanup(signal.alarm, 0)
        gate = self.folder / "gate"
        os.mkfifo(gate)
        # The first cmake waits at the gate; it leaves behind a process that lives until the test ends.
        self.stand_in("cmake", f'if mkdir "{self.folder}/first" 2>/dev/null; then read -r line <"{gate}"; tail -f /dev/null --pid={os.getpid()} >/dev/null 2>&1 & fi\n')
        first = self.start("demo", stdout=subprocess.PIPE)
        with open(gate, "w", encoding="utf-8") as opened:  # returns when the first cmake has come there
            second = self.start("demo", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertEqual(second.stderr.readline(), "demo: waiting until another script of this clone has ended\n")
            opened.write("go\n")
        self.assertIn("ready", first.communicate()[0])
        second.communicate()
        self.assertEqual((first.returncode, second.returncode), (0, 0))


if __name__ == "__main__":
    unittest.main()
