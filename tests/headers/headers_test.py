"""Compiles every given header alone, twice in one file, in each language standard asked for.

headers_test.py COMPILER LANGUAGE STANDARDS FLAGS_FILE HEADER…   (LANGUAGE is c or c++, STANDARDS as in c99,c11; one flag per line)
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-pedantic-errors", "-Werror", "-fsyntax-only"]
STRICT_CXX = ["-Wshadow", "-Wconversion"]


def compile_alone(command, header):
    text = f'#include "{header}"\n#include "{header}"\n'
    # A file that has nothing of its own is an error in pedantic C.
    text += "typedef int header_test;\n"
    result = subprocess.run([*command, "-"], input=text, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f"{header} does not compile alone: {' '.join(command)}\n{result.stderr}"


def main(compiler, language, standards, flags_file, *headers):
    flags = [line for line in Path(flags_file).read_text(encoding="utf-8").splitlines() if line]
    strict = STRICT + (STRICT_CXX if language == "c++" and "++" in compiler else [])
    tasks = [
        ([compiler, "-x", language, f"-std={standard}", *strict, *flags], header)
        for standard in standards.split(",")
        for header in headers
    ]
    if not tasks:
        sys.exit("no header was given")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [said for said in pool.map(lambda task: compile_alone(*task), tasks) if said]
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{len(headers)} headers compile alone as {standards}")


if __name__ == "__main__":
    main(*sys.argv[1:])
