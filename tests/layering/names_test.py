"""Reads every file of the project and refuses what ties it to one machine or one network.

names_test.py ROOT          says each place
names_test.py --self-test   plants one offence of each kind and wants it found
"""

import re
import subprocess
import sys
from pathlib import Path

# Spelt in parts, so that this file is not its own offence.
FORBIDDEN = {
    "a home folder of somebody": re.compile(r"/(?:home|Users)/[a-z]\w*/|/" + r"root/\.|/" + r"work/"),
    "a scratch folder": re.compile(r"/var/" + r"tmp/|/tmp/" + r"(?:build|slot|git|w/|fresh)"),
    "a package host": re.compile(
        r"(?:files\.|test\.)?pypi\." + r"org|pythonhosted\." + r"org|(?:deb|security|snapshot|ftp[.\w]*)\.debian\." + r"org"
        r"|download\.pytorch\." + r"org|crates\." + r"io|proxy\.golang\." + r"org|archive\.ubuntu\." + r"com"
    ),
    "an absolute library folder": re.compile(r"/usr/lib/x86_64" + r"-linux-gnu/"),
}
EXEMPT = {"LICENSE"}
BINARY = {".pt", ".pt2", ".png", ".so"}


def project_files(root):
    """What is committed or about to be; without git, everything outside build folders."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file()]
    return [name for name in names if name not in EXEMPT and not name.startswith((".git/", "out/", "build"))]


def check_text(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            found = pattern.search(line)
            if found:
                yield f"{name}:{number}: names {what}: {found[0]}"


def check(root):
    for name in project_files(root):
        path = Path(root) / name
        if path.suffix in BINARY or not path.is_file():
            continue
        yield from check_text(name, path.read_text(encoding="utf-8", errors="replace"))


def self_test():
    planted = ["/home/" + "ada/x", "/" + "work/x", "/tmp/" + "build-x", "/var/" + "tmp/x", "https://pypi." + "org", "deb.debian." + "org"]
    for text in planted:
        if not list(check_text("planted", text)):
            sys.exit(f"not found: {text}")
    if said := list(check_text("planted", "${TMPDIR:-/tmp} out/tmp/x, /tmp/athanor-hash-1 and $folder/tmp/y")):
        sys.exit(f"found where nothing is wrong: {said}")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        complaints = list(check(sys.argv[1]))
        if complaints:
            sys.exit("\n".join(complaints))
