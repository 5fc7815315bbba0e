"""Runs the program `polymers` on a terminal: what its progress bar shows.

terminal_test.py PROGRAM
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import unittest

PROGRAM = sys.argv.pop(1)


def progress(stdin, columns):
    """What the progress bar showed on a terminal of so many columns, line by line."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    subprocess.run([PROGRAM, "predict", "-"], input=stdin, stdout=subprocess.DEVNULL, stderr=end, check=True)
    os.close(end)
    text = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    return [line for line in text.replace("\x1b[K", "").split("\r") if line]


class Terminal(unittest.TestCase):
    # mutant: show gives the bar thirty columns whatever the terminal has; it tells the time left before it knows a rate.
    def test_the_progress_bar_fits_into_one_line_of_the_terminal(self):
        for columns in (12, 40, 200):
            shown = progress(b"*CC*\n" * 600, columns)
            self.assertGreater(len(shown), 3)
            self.assertTrue(all(len(line) < columns for line in shown), shown)
            self.assertNotIn("left", shown[0])
        self.assertRegex(shown[-1], r"^\[#{30}\] 600/600 rows  \d+ rows/s  0 s left$")


if __name__ == "__main__":
    try:
        for descriptor in pty.openpty():
            os.close(descriptor)
    except OSError as missing:
        print(f"left out: {missing}")
        sys.exit()
    unittest.main()
