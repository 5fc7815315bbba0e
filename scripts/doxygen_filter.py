"""Hands a C++ header to Doxygen with our way of commenting spelt out: a comment covers what follows it up to the next blank
line. So one sentence can stand above a group of overloads, and a struct's comment can speak of its fields.

doxygen_filter.py HEADER   writes the header, line by line, to standard output
"""

import re
import sys
from pathlib import Path

COMMENT_OR_TEXT = re.compile(r'/\*.*?(?:\*/|$)|//.*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])+\'')
# What the language has given a meaning needs no sentence: comparisons and the special member functions.
KNOWN = re.compile(r"(?:\S+ )*operator(?:==|<=>|=)\(|(?:explicit )?~?(\w+)\((?:\1 const ?& ?\w*|\1&& ?\w*)?\)(?: noexcept)?(?:;| =| :)")
SCOPE = re.compile(r'\b(?:namespace|class|struct|union|enum)\b(?!.*\)\s*(?:const|noexcept|override|requires\b.*)*\s*\{)|extern ""')
NO_DECLARATION = re.compile(r"#|//|/?\*|[}){\]]|(?:public|private|protected):|namespace\b|extern \"|friend\b|ATH_")


def without_comments(line):
    return COMMENT_OR_TEXT.sub(lambda found: "" if found[0].startswith("/") else '""', line).strip()


def spell_out(lines):
    scopes, covered, begins, in_comment, in_trailing, parentheses = [], False, True, False, False, 0
    for line in lines:
        text = line.strip()
        if in_trailing:
            in_trailing = "*/" not in text
            yield line
            continue
        if in_comment or text.startswith(("///", "/**")):
            in_comment = (in_comment or text.startswith("/**")) and "*/" not in text
            covered = True
            yield line
            continue
        if not text:
            covered, begins = False, True
            yield line
            continue
        code = without_comments(text)
        own = "///<" in line or "/**<" in line
        in_trailing = "/*" in line and "*/" not in line
        documented = covered or KNOWN.match(text)
        if documented and begins and not own and all(scopes) and parentheses == 0 and code and not NO_DECLARATION.match(text):
            yield "/** As said above. */ " + line
        else:
            yield line
        for index, brace in enumerate(code):
            if brace == "{":
                scopes.append(bool(SCOPE.search(code[:index] + "{")) and parentheses == 0)
            elif brace == "}" and scopes:
                scopes.pop()
        parentheses += code.count("(") - code.count(")")
        if code:
            begins = code.endswith((";", "{", "}", ",", ":")) and parentheses == 0


def main(path):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    print("\n".join(spell_out(lines)))


if __name__ == "__main__":
    main(sys.argv[1])
