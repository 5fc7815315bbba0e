"""The `extern template` lines of the headers and the explicit instantiations of lib/ must be the same list.

templates_test.py ROOT         says what stands in one list only
templates_test.py --self-test  compares two lists that differ
"""

import re
import sys
from pathlib import Path

DECLARED = re.compile(r"^\s*extern\s+template\s+(?:class|struct)?\s*([^;]+);", re.M)
DEFINED = re.compile(r"^\s*template\s+(?:class\s+|struct\s+)?(?!<)([^;{]+);", re.M)


def names(texts, pattern):
    return {re.sub(r"\s+", " ", found).strip() for text in texts for found in pattern.findall(text)}


def compare(headers, sources):
    declared, defined = names(headers, DECLARED), names(sources, DEFINED)
    for name in sorted(declared - defined):
        yield f"extern template {name}: no file of lib/ instantiates it"
    for name in sorted(defined - declared):
        yield f"template {name}: instantiated in lib/, but no header says extern template"


def read(folder, *patterns):
    return [path.read_text(encoding="utf-8") for pattern in patterns for path in sorted(folder.rglob(pattern))]


def self_test():
    headers = ["extern template class Cache<A>;\n  extern template class Queue<B,\n   C>;"]
    sources = ["template class Queue<B, C>;\ntemplate class Breaker<D>;\ntemplate <class T>\nvoid f(T);"]
    said = list(compare(headers, sources))
    if len(said) != 2 or "Cache<A>" not in said[0] or "Breaker<D>" not in said[1]:
        sys.exit(f"expected Cache<A> and Breaker<D> to be named, got {said}")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        root = Path(sys.argv[1])
        complaints = list(compare(read(root / "include", "*.hpp", "*.ipp"), read(root / "lib", "*.cpp")))
        if complaints:
            sys.exit("\n".join(complaints))
