"""Compiles one file as it stands, which must succeed, and once for each of its opening lines

    // without PART: sentence

with WITHOUT_PART defined, which must fail, and must say our sentence.

must_not_compile_test.py COMPILER FILE FLAG…
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LINE = re.compile(r"^// without (\w+): (.+)$", re.M)


def main(compiler, file, *flags):
    command = [compiler, "-std=c++20", "-fsyntax-only", *flags, file]
    text = Path(file).read_text(encoding="utf-8")
    cases = LINE.findall(text)
    # Each part that the code leaves out is asked for, and nothing else: a line that a formatter broke would go unseen.
    used = set(re.findall(r"WITHOUT_(\w+)", text))
    if used != {name for name, _ in cases}:
        sys.exit(f"{file} leaves out {sorted(used)}, but its opening lines name {sorted(name for name, _ in cases)}")

    def complaint(case):
        define = [f"-DWITHOUT_{case[0]}"] if case else []
        result = subprocess.run([*command, *define], capture_output=True, text=True, check=False)
        if case is None:
            return None if result.returncode == 0 else f"the whole of {file} must compile:\n{result.stderr}"
        if result.returncode == 0:
            return f"without {case[0]} it compiles"
        # The sentence must be an assertion's message, not the source line that a compiler quotes.
        said = [line for line in result.stderr.splitlines() if "error:" in line]
        return None if any(case[1] in line for line in said) else f"without {case[0]}: {case[1]!r} is not said in\n" + "\n".join(said)

    if not cases:
        sys.exit(f"{file} names no part to leave out")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [said for said in pool.map(complaint, [None, *cases]) if said]
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{len(cases)} parts of {Path(file).name} are each asked for in a sentence")


if __name__ == "__main__":
    main(*sys.argv[1:])
