"""Runs the scripts of a clone whose path holds spaces, with stand-ins for what they start: what they refuse, and how they
wait for each other.

scripts_test.py PROJECT
"""

import fcntl
import os
import re
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
        for name in ("cmake", "clang-tidy-16", "apt-cache", "doxygen"):
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

    def test_an_argument_too_many_is_refused_before_anything_starts(self):
        (self.clone / "examples/models").mkdir(parents=True)
        shutil.copy(PROJECT / "examples/models/export.py", self.clone / "examples/models")
        for call, sentence in (
            ("docs more", "unexpected argument 'more'"),
            ("gpu cuda:0 cuda:1", "two devices are named: cuda:0 and cuda:1"),
            ("gpu --pack cpu", "--pack takes no device, got cpu"),
            ("gpu gpu0", "no device is called 'gpu0'"),
            ("abi scripts/abi scripts/lint", "two libraries are named: scripts/abi and scripts/lint"),
            ("abi none.so", "there is no library none.so"),
            ("mutants --check caching/*", "--check takes nothing beside it, got: --check caching/*"),
            ("mutants --list --check", "--check takes nothing beside it, got: --list --check"),
            ("polyid 12", "unexpected argument '12'"),
            ("polyid --core", "--core needs a number, got ''"),
            ("polyid --polymers --core", "--polymers needs a number, got '--core'"),
            ("real-models --time unet", "--time takes no names, got unet"),
            ("real-models unet u-net", "no model is called 'u-net'"),
        ):
            self.assertIn(f"failed: {sentence}\n  what to do: ", self.run_script(*call.split(), status=1))
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

    def test_the_shared_cache_is_changed_by_one_script_at_a_time(self):
        self.stand_in("python3", f'echo "python3: $*" >>"{self.started}"\nexit 1\n')
        (self.clone / "examples/models").mkdir(parents=True)
        shutil.copy(PROJECT / "examples/models/export.py", self.clone / "examples/models")
        cache = self.folder / "cache"
        cache.mkdir()
        for script in ("polyid", "real-models"):
            with open(cache / "turn", "a", encoding="utf-8") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                waiting = self.start(script, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                self.assertEqual(waiting.stderr.readline(), f"{script}: waiting until another script has left {cache}\n")
                self.assertFalse(self.started.exists())
            waiting.communicate()
            self.assertEqual(self.started.read_text(), f"python3: -m venv --clear {cache}/{script}\n")
            self.started.unlink()

    def test_a_whole_environment_is_left_alone(self):
        self.stand_in("python3", f'echo "python3: $*" >>"{self.started}"\n')
        packages = self.folder / "cache/polyid/lib/python3.11/site-packages"
        text = (self.clone / "scripts/polyid").read_text()
        for wheel in [*re.search(r"wheels=\((.*)\)", text)[1].split(), re.search(r"later=(.*)", text)[1]]:
            name, _, version = wheel.replace("-", "_").partition("==")
            (packages / f"{name}-{version or 1}.dist-info").mkdir(parents=True)
            (packages / f"{name}-{version or 1}.dist-info/RECORD").touch()
        self.run_script("polyid", status=1)
        self.assertNotIn("python3", self.started.read_text())
        (packages / "scikit_learn-1.9.1.dist-info/RECORD").unlink()
        self.run_script("polyid", status=1)
        self.assertIn("python3: -m venv", self.started.read_text())

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
