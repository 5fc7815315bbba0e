"""Greps every include against the table of rooms: who may include whom, and who may look into a room's detail/. The libraries
that lib/ROOM/CMakeLists.txt links, the order of cmake/AthanorRooms.cmake and the table of docs/architecture.md must say the same.

layering_test.py ROOT          says each include that the table forbids
layering_test.py --self-test   plants one offence of each kind and wants it found
"""

import re
import sys
import tempfile
from itertools import takewhile
from pathlib import Path

SIBLINGS = ["batching", "caching", "breaking", "admission", "loading", "manifest"]
ROOMS = {
    "core": [],
    **{room: ["core"] for room in SIBLINGS},
    "serving": ["core", *SIBLINGS],
    "torch": ["core"],
    "chem": ["core"],
}
EVERYTHING_BUT_MODELS = ["core", *SIBLINGS, "serving"]

# What each room may take from outside, as prefixes of include paths; the standard library and the system are everybody's.
# The header of core's JSON reader is private but not core's alone: one strict reader serves every room that reads JSON,
# and in a public header it would show nlohmann's types.
JSON = ["nlohmann/", "core/json_text.hpp"]
BASIC = ["fmt/", "tl/expected.hpp"]
OUTSIDE = {
    "core": [*BASIC, "nlohmann/", "xxhash.h", "sanitizer/"],
    **{room: BASIC for room in SIBLINGS},
    "serving": [*BASIC, "nlohmann/", "Eigen/"],
    "manifest": [*BASIC, *JSON],
    "torch": [*BASIC, *JSON, "torch/", "ATen/", "c10/", "caffe2/"],
    "chem": [*BASIC, *JSON, "GraphMol/", "RDGeneral/", "Geometry/", "DataStructs/"],
    "capi": [*BASIC, *JSON, "athanor.h"],
}
SYSTEM = ["sys/", "linux/", "cuda", "emmintrin.h", "immintrin.h"]
# Never in a header that a user includes: their types would become part of our interface.
NEVER_PUBLIC = ["core/json_text.hpp", "nlohmann/", "Eigen/", "GraphMol/", "RDGeneral/", "torch/", "ATen/", "c10/", "caffe2/"]
PLUGIN_HEADER = "athanor/plugin.h"
# A user's program may have another fmt than ours: only these headers, which need nothing compiled of it, speak of it.
FORMAT_HEADER = "format.hpp"

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')
DEPENDS = re.compile(r"athanor_add_room\(\s*\w+(.*?)\)", re.S)
SOURCES = {".hpp", ".ipp", ".h", ".cpp", ".c"}


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in SOURCES) if folder.is_dir() else []


def may_see_detail(name, room, other):
    """Whether the file may include a header of `other`'s detail/: compiled code, other detail and the room itself may, and
    every room that of core."""
    return name.startswith(("lib/", "capi/")) or (name.startswith("include/") and (other in (room, "core") or "/detail/" in name))


def check_file(root, path, room, rooms_allowed):
    """One sentence for each include of `path`, a file of `room`, that is not allowed."""
    name = path.relative_to(root).as_posix()
    public = name.startswith(("include/", "capi/include/"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        target = found[1]
        where = f"{name}:{number}: "
        if ".." in target.split("/"):
            yield where + f"<{target}> climbs out of its folder"
        elif target.startswith("athanor/"):
            other = target.split("/")[1]
            if target == PLUGIN_HEADER:
                continue  # the C floor's tables, which every room above may speak of
            if target.count("/") == 1:
                if room not in ("capi", "umbrella", "user"):
                    yield where + f"{room} may not include <{target}>, which is all rooms at once"
            elif "/detail/" in target and not may_see_detail(name, room, other):
                yield where + f"<{target}> is private to the library"
            elif other != room and other not in rooms_allowed:
                yield where + f"{room} may not include <{target}>: {other} is not below it"
        elif public and target.startswith(tuple(NEVER_PUBLIC)):
            yield where + f"a public header may not include <{target}>"
        elif public and target.startswith("fmt/") and path.name != FORMAT_HEADER:
            yield where + f"a public header may not include <{target}>; only a {FORMAT_HEADER} may"
        elif "/" in target and room in OUTSIDE:
            if not target.startswith((*OUTSIDE[room], *SYSTEM)) and not (path.parent / target).exists():
                yield where + f"{room} may not include <{target}>, which is none of its dependencies"


def words_of(cell):
    """What a cell of the documented table permits, in the words of ROOMS."""
    if cell == "all of the above":
        return {"core", *SIBLINGS}
    if cell == "all but `torch` and `chem`":
        return set(EVERYTHING_BUT_MODELS)
    return set(re.findall("`([a-z]+)`", cell))


def check_page(root):
    """One sentence for each room that docs/architecture.md documents in another way, or not at all."""
    page = (root / "docs/architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z]+)` \|.*\| ([^|]*) \|$", page, re.M))
    for room, allowed in {**ROOMS, "capi": EVERYTHING_BUT_MODELS}.items():
        if room not in rows:
            yield f"docs/architecture.md: {room} is not in the table of rooms"
        elif words_of(rows[room]) != set(allowed):
            yield f"docs/architecture.md: {room} may include {', '.join(allowed) or 'no other room'}; the page says {rows[room]}"


def check_order(root):
    """One sentence for each room that cmake/AthanorRooms.cmake adds before one that it may include."""
    recipe = (root / "cmake/AthanorRooms.cmake").read_text(encoding="utf-8")
    added = re.findall(r"\w+", re.search(r"set\(ATHANOR_ROOMS ([^)]*)\)", recipe)[1])
    for place, room in enumerate(added):
        for below in sorted(set(ROOMS.get(room, [])) - set(added[:place])):
            yield f"cmake/AthanorRooms.cmake: {below} does not come before {room}"


def check(root):
    yield from check_page(root)
    yield from check_order(root)
    for room, allowed in ROOMS.items():
        for folder in (root / "include/athanor" / room, root / "lib" / room):
            for path in sources(folder):
                yield from check_file(root, path, room, allowed)
        recipe = root / "lib" / room / "CMakeLists.txt"
        for call in DEPENDS.findall(recipe.read_text(encoding="utf-8") if recipe.exists() else ""):
            words = call.split()
            after = words[words.index("DEPENDS") + 1 :] if "DEPENDS" in words else []
            depends = set(takewhile(lambda word: not word.isupper(), after))
            for word in sorted(depends - set(allowed)):
                yield f"lib/{room}/CMakeLists.txt: {room} may not depend on {word}"
            for word in sorted(set(allowed) - depends):
                yield f"lib/{room}/CMakeLists.txt: {room} does not depend on {word}, which it may include"
    for path in sources(root / "capi"):
        yield from check_file(root, path, "capi", EVERYTHING_BUT_MODELS)
    for path in sorted((root / "include/athanor").glob("*.hpp")):
        yield from check_file(root, path, "umbrella", EVERYTHING_BUT_MODELS)
    for folder in ("examples", "tests/consumers"):
        for path in sources(root / folder):
            yield from check_file(root, path, "user", ROOMS)
    unknown = {path.name for floor in ("include/athanor", "lib") for path in (root / floor).iterdir() if path.is_dir()}
    for room in sorted(unknown - ROOMS.keys()):
        yield f"{room}: a room that the table of {Path(__file__).name} does not know"


def page_with(wrong):
    """A page that documents the table of rooms, but for the cells of `wrong`."""
    cells = {room: ", ".join(f"`{other}`" for other in allowed) for room, allowed in {**ROOMS, "capi": EVERYTHING_BUT_MODELS}.items()}
    return "\n".join(f"| `{room}` | a purpose | {cell or 'no other room'} |" for room, cell in {**cells, **wrong}.items())


OFFENCES = {
    "include/athanor/core/a.hpp": ("#include <athanor/caching/cache.hpp>", "caching is not below it"),
    "include/athanor/caching/b.hpp": ("#include <athanor/batching/batcher.hpp>", "batching is not below it"),
    "include/athanor/loading/c.hpp": ("#include <nlohmann/json.hpp>", "a public header may not include"),
    "include/athanor/admission/i.hpp": ("#include <fmt/format.h>", "only a format.hpp may"),
    "include/athanor/breaking/d.hpp": ("#include <athanor/athanor.hpp>", "all rooms at once"),
    "lib/serving/e.cpp": ("#include <torch/script.h>", "none of its dependencies"),
    "lib/serving/k.cpp": ('#include "core/json_text.hpp"', "none of its dependencies"),
    "include/athanor/manifest/l.hpp": ('#include "core/json_text.hpp"', "a public header may not include"),
    "lib/chem/f.cpp": ('#include "../core/g.hpp"', "climbs out"),
    "lib/caching/CMakeLists.txt": ("athanor_add_room(caching\n  SOURCES a.cpp DEPENDS core loading LINK fmt::fmt)", "depend on loading"),
    "lib/manifest/CMakeLists.txt": ("athanor_add_room(manifest SOURCES a.cpp)", "does not depend on core"),
    "lib/cellar/h.cpp": ("", "does not know"),
    "cmake/AthanorRooms.cmake": (f"set(ATHANOR_ROOMS core {' '.join(SIBLINGS[:-1])} serving)", "manifest does not come before serving"),
    "docs/architecture.md": (page_with({"torch": "`core`, `caching`"}), "torch may include core; the page says `core`, `caching`"),
    "examples/j/main.cpp": ("#include <athanor/serving/detail/k.hpp>", "is private to the library"),
    "include/athanor/serving/l.hpp": ("#include <athanor/batching/detail/lane.hpp>", "is private to the library"),
    "capi/shim.cpp": ("#include <athanor/chem/graph.hpp>", "chem is not below it"),
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (text, _) in OFFENCES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n", encoding="utf-8")
        said = list(check(root))
    for name, (_, sentence) in OFFENCES.items():
        key = name if "cellar" not in name else "cellar"
        if not any(line.startswith(key) and sentence in line for line in said):
            sys.exit(f"the offence planted in {name} was not found ({sentence}); said was:\n" + "\n".join(said))
    if len(said) != len(OFFENCES):
        sys.exit(f"{len(OFFENCES)} offences were planted, {len(said)} found:\n" + "\n".join(said))


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        complaints = list(check(Path(sys.argv[1])))
        if complaints:
            sys.exit("\n".join(complaints))
