"""page_test.py PAGE EXAMPLE: the code on PAGE is that of the program in the folder EXAMPLE, which is compiled and run.

Every block of PAGE marked cpp must stand in a source file of EXAMPLE, every block marked json in EXAMPLE/model/athanor.json.
"""

import re
import sys
from pathlib import Path


def squeezed(text):
    """Without white space: a page shows members without the class around them, and its lines may break elsewhere."""
    return "".join(text.split())


def main(page, example):
    sources = {"cpp": Path(example).glob("*.[ch]pp"), "json": Path(example).glob("model/athanor.json")}
    texts = {
        language: [squeezed(path.read_text(encoding="utf-8")) for path in paths] for language, paths in sources.items()
    }
    blocks = re.findall(r"^```(cpp|json)\n(.*?)^```$", Path(page).read_text(encoding="utf-8"), re.M | re.S)
    if not any(language == "cpp" for language, _ in blocks):
        sys.exit(f"{page} has no block of C++")
    for language, block in blocks:
        if not any(squeezed(block) in text for text in texts[language]):
            sys.exit(f"{page}: this block of {language} is not in {example}:\n{block}")
    print(f"{len(blocks)} blocks of {page} stand in {example}")


if __name__ == "__main__":
    main(*sys.argv[1:])
