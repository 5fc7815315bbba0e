"""Interrupts `polymers predict` while it reads, computes and writes.

interruption_test.py PROGRAM
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)


class Interruption(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def interrupt(self, out, number, prepare=None):
        """Sends the signal while the program waits for input that never comes, behind rows that it has written."""
        with subprocess.Popen([PROGRAM, "predict", "-", "--out", out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare) as program:
            # More than the windows that are read at once.
            program.stdin.write(b"*CC*\n" * 100_000)
            program.stdin.flush()
            while not out.exists() or out.stat().st_size < 1000:
                self.assertIsNone(program.poll())
                time.sleep(0.01)
            program.send_signal(number)
            output, errors = program.communicate()
        return program.returncode, output.decode(), errors.decode()

    # mutant: the output of a run is not finished
    def test_an_interruption_keeps_what_is_done(self):
        out = self.folder / "out.json"
        status, _, errors = self.interrupt(out, signal.SIGINT)
        self.assertEqual(status, 130, errors)
        rows = json.loads(out.read_text())
        self.assertIn(f"interrupted; the first {len(rows)} rows are done", errors)
        self.assertEqual({row["error"] for row in rows if "error" in row}, set())

    # mutant: a terminal that is gone ends the program at once
    # mutant: an interruption that is ignored interrupts
    def test_a_terminal_that_is_gone_interrupts_unless_that_is_ignored(self):
        for ignored in (False, True):
            out = self.folder / f"out{ignored}.csv"
            prepare = (lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignored else None
            status, output, errors = self.interrupt(out, signal.SIGHUP, prepare)
            rows = out.read_text().count("\n") - 1
            self.assertEqual(status, 0 if ignored else 128 + signal.SIGHUP, errors)
            self.assertEqual("interrupted; the first" in errors, not ignored)
            self.assertIn(f"\n{rows} rows, 0 refused", "\n" + output)
            if ignored:
                self.assertEqual(rows, 100_000)

    # mutant: an interruption breaks what is written
    def test_an_interruption_breaks_no_write_into_a_pipe_that_is_full(self):
        path = self.folder / "in.smi"
        path.write_text("*CC*\n" * 2000)
        reader, writer = os.pipe()
        with subprocess.Popen([PROGRAM, "predict", path, "--out", "-"], stdout=writer, stderr=subprocess.PIPE) as program:
            while select.select([], [writer], [], 0)[1]:
                self.assertIsNone(program.poll())
                time.sleep(0.01)
            program.send_signal(signal.SIGINT)
            os.close(writer)
            with open(reader, "rb") as file:
                output = file.read()
            _, errors = program.communicate()
        self.assertEqual(program.returncode, 130, errors)
        self.assertIn(f"interrupted; the first {output.count(b'*CC*')} rows are done", errors.decode())


if __name__ == "__main__":
    unittest.main()
