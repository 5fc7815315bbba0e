"""page_test.py PAGE EXAMPLE: the code on PAGE is that of the program in the folder EXAMPLE, which is compiled and run.

Every block of PAGE marked cpp must stand in EXAMPLE/main.cpp, every block marked json in EXAMPLE/model/athanor.json, line by
line; indentation may differ, since a page shows members without the class around them.
"""

import re
import sys
from pathlib import Path


def lines_of(text):
    return [line.strip() for line in text.splitlines()]


def contains(lines, block):
    return any(lines[start : start + len(block)] == block for start in range(len(lines) - len(block) + 1))


def main(page, example):
    sources = {"cpp": Path(example) / "main.cpp", "json": Path(example) / "model/athanor.json"}
    blocks = re.findall(r"^```(cpp|json)\n(.*?)^```$", Path(page).read_text(encoding="utf-8"), re.M | re.S)
    if not any(language == "cpp" for language, _ in blocks):
        sys.exit(f"{page} has no block of C++")
    for language, block in blocks:
        if not contains(lines_of(sources[language].read_text(encoding="utf-8")), lines_of(block)):
            sys.exit(f"{page}: this block is not in {sources[language]}:\n{block}")
    print(f"{len(blocks)} blocks of {page} stand in {example}")


if __name__ == "__main__":
    main(*sys.argv[1:])
