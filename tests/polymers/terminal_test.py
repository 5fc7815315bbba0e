"""Runs the program `polymers` on a terminal: what its progress bar and its table show.

terminal_test.py PROGRAM
"""

import fcntl
import os
import pty
import re
import resource
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

PROGRAM = sys.argv.pop(1)


def on_terminal(words, columns, streams, environment=None, prepare=None):
    """What the program showed on a terminal of so many columns that stands behind `streams`."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    places = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **dict.fromkeys(streams, end)}
    environment = {**os.environ, "TERM": "xterm", **(environment or {})}
    subprocess.run([PROGRAM, *words], stdin=subprocess.DEVNULL, check=True, env=environment, preexec_fn=prepare, **places)
    os.close(end)
    text = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    return text


class Terminal(unittest.TestCase):
    # mutant: the progress bar has thirty columns whatever the terminal has
    # mutant: the time that is left is told before a rate is known
    def test_the_progress_bar_fits_into_one_line_of_the_terminal(self):
        with tempfile.NamedTemporaryFile(suffix=".smi") as file:
            file.write(b"*CC*\n" * 600)
            file.flush()
            for columns in (12, 40, 200):
                text = on_terminal(["predict", file.name], columns, ["stderr"])
                shown = [line for line in text.replace("\x1b[K", "").split("\r") if line]
                self.assertGreater(len(shown), 3)
                self.assertTrue(all(len(line) < columns for line in shown), shown)
                self.assertNotIn("left", shown[0])
                if columns > 12:
                    self.assertRegex(shown[-1], r"\b600 rows  \d+ rows/s  0 s left$")
        self.assertRegex(shown[-1], r"^\[#{30}\] 600 rows  \d+ rows/s  0 s left$")

    # mutant: the first column of a table is as wide as its longest SMILES
    # mutant: the environment cannot turn off colours
    def test_the_table_fits_the_terminal_and_is_coloured_unless_that_is_unwanted(self):
        arguments = ["*CC(*)" + "C" * 100, "*CC(*)C1CC", "CCCCCCCC", "*CC(*)C(=O)" + "O" * 60 + "%"]
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            text = on_terminal(["predict", *arguments], 80, ["stdout"], environment)
            self.assertEqual("\x1b[31m" in text, coloured)
            plain = re.sub(r"\x1b\[\d+m", "", text).replace("\r", "")
            self.assertNotIn("\x1b", plain)
            self.assertTrue(all(len(line) < 80 for line in plain.splitlines()), plain)

    # mutant: text has no room on a narrow terminal
    def test_a_narrow_terminal_breaks_lines_and_takes_no_memory(self):
        for words in (["predict", "*CC*", "C1CC"], ["info"]):
            for columns in (2, 5, 13, 20):
                text = on_terminal(words, columns, ["stdout"], prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))
                self.assertIn("refused" if words[0] == "predict" else "program", text)
                self.assertLess(len(text), 10_000)


if __name__ == "__main__":
    try:
        for descriptor in pty.openpty():
            os.close(descriptor)
    except OSError as missing:
        print(f"left out: {missing}")
        sys.exit()
    unittest.main()
