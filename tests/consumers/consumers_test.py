"""Installs Athanor, moves what was installed, and builds and runs other people's projects against it.

consumers_test.py install BUILD WORK           installs BUILD, moves it to WORK/moved, looks for paths left behind
consumers_test.py cmake SOURCE WORK ARG…       configures, builds and runs the CMake project SOURCE; ARG goes to cmake,
                                               which must not warn
consumers_test.py pkg-config MAIN.C WORK CC    builds MAIN.C with pkg-config's flags, and runs it
consumers_test.py static MAIN.C WORK CC        builds MAIN.C with pkg-config --static, and runs it
consumers_test.py exports WORK                 what libathanor.so exports and needs
consumers_test.py readme README WORK CC ARG…   builds and runs the C++ and the C example of README, from its own folder
consumers_test.py sources FOLDER CC SOURCE… compiles the sources of Athanor with the headers in FOLDER searched first
consumers_test.py page PAGE HOME WORK CC       builds and runs the C example of PAGE, from the folder HOME
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode != 0:
        sys.exit(f"failed ({result.returncode}): {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def install(build, work):
    work, build = Path(work), Path(build)
    shutil.rmtree(work, ignore_errors=True)
    run("cmake", "--install", build, "--prefix", work / "first")
    (work / "first").rename(work / "moved")
    source = re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.+)$", (build / "CMakeCache.txt").read_text(), re.M)[1]
    left_behind = []
    for path in (work / "moved").rglob("*"):
        if path.suffix in {".cmake", ".pc", ".hpp", ".ipp", ".h"} and path.is_file():
            text = path.read_text(encoding="utf-8")
            left_behind += [f"{path} names {folder}" for folder in (str(work), str(build), source) if folder in text]
        elif ".so" in path.name and path.is_file() and not path.is_symlink():
            dynamic = run("readelf", "-d", path)
            left_behind += [f"the run path of {path} names {build}" for line in dynamic.splitlines() if "PATH" in line and str(build) in line]
            needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
            left_behind += [f"{path} needs {name}" for name in needed if re.search("fmt|xxhash", name)]
            left_behind += builders_paths(path, [source, str(Path.home())], re.findall(r"PATH.*\[(.+)\]", dynamic))
    if left_behind:
        sys.exit("\n".join(left_behind))


def builders_paths(path, folders, run_paths):
    """Which of the builder's folders stand in a binary, its run path apart, which says where LibTorch was found."""
    content = path.read_bytes()
    for run_path in run_paths:
        content = content.replace(run_path.encode() + b"\0", b"\0")
    return [f"{path} holds the builder's {folder}" for folder in folders if folder.encode() in content]


def cmake(source, work, *arguments, **options):
    build = Path(work) / ("build-" + Path(source).name + os.environ.get("BUILD_SUFFIX", ""))
    shutil.rmtree(build, ignore_errors=True)
    said = run("cmake", "--no-warn-unused-cli", "-G", "Ninja", "-S", source, "-B", build, f"-Dathanor_ROOT={Path(work) / 'moved'}", *arguments)
    if "CMake Warning" in said or "CMake Deprecation" in said:
        sys.exit(f"cmake warns:\n{said}")
    run("cmake", "--build", build)
    print(run(build / "consumer", **options))


def pkg_config(main, work, compiler, **options):
    moved = Path(work) / "moved"
    folders = {path.parent for path in moved.rglob("athanor.pc")}
    if len(folders) != 1:
        sys.exit(f"athanor.pc is in {folders or 'no folder'}")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folders.pop())}
    run("pkg-config", "--validate", "athanor", env=environment)
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "athanor", env=environment))
    library = shlex.split(run("pkg-config", "--variable=libdir", "athanor", env=environment))[0]
    program = Path(work) / "pkg-config-consumer" / Path(main).parent.name
    program.parent.mkdir(exist_ok=True)
    run(compiler, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", main, "-o", program, *flags, f"-Wl,-rpath,{library}")
    print(run(program, **options))


def static(main, work, compiler):
    """A program that needs no library of ours, or of anybody's, where it runs."""
    moved = Path(work) / "moved"
    environment = {**os.environ, "PKG_CONFIG_PATH": str(next(path.parent for path in moved.rglob("athanor.pc")))}
    flags = shlex.split(run("pkg-config", "--static", "--cflags", "--libs", "athanor", env=environment))
    program = Path(work) / "static-consumer"
    run(compiler, "-std=c99", main, "-static", "-o", program, *flags)
    if "NEEDED" in run("readelf", "-d", program):
        sys.exit(f"{program} needs shared libraries")
    print(run(program))


def exports(work):
    library = next(path for path in (Path(work) / "moved").rglob("libathanor.so*") if not path.is_symlink())
    symbols = [line.split() for line in run("nm", "-D", "--defined-only", library).splitlines()]
    names = [words[2].split("@")[0] for words in symbols if words[1] != "A"]
    bare = [words[2] for words in symbols if words[1] != "A" and not words[2].endswith("@@ATHANOR_0")]
    if bare:
        sys.exit("libathanor.so exports without its version node:\n" + "\n".join(bare))
    if re.search(r"R_\w+_(JUMP_SLOT?|GLOB_DAT)\s.*\bath_", run("readelf", "-rW", library)):
        sys.exit("libathanor.so calls functions of its own that another library may replace")
    strangers = [name for name in names if not name.startswith("ath_")]
    if strangers:
        sys.exit("libathanor.so exports what is not its own:\n" + "\n".join(strangers))
    if not 1 <= len(names) <= 60:
        sys.exit(f"libathanor.so exports {len(names)} functions; at least one and at most 60 are meant")
    header = "".join(path.read_text() for path in (Path(work) / "moved/include").rglob("athanor*.h"))
    undeclared = [name for name in names if not re.search(rf"\b{name}\s*\(", header)]
    declared = set(re.findall(r"\b(ath_\w+)\s*\(", re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.S)))
    missing = sorted(name for name in declared if name not in names and f"(*{name})" not in header)
    if undeclared or missing:
        sys.exit(f"exported but in no header: {undeclared}; in a header but not exported: {missing}")
    dynamic = run("readelf", "-d", library)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    if any(re.search("torch|c10|RDKit|cuda", name) for name in needed):
        sys.exit(f"libathanor.so needs a model library: {needed}")
    if "[libathanor.so.0]" not in dynamic:
        sys.exit("libathanor.so has not the SONAME libathanor.so.0")
    print(f"{len(names)} functions; needs {', '.join(needed)}")


def example(page, language, most):
    """The first code block of `language`; the examples promise to stay short."""
    found = re.search(rf"^```{re.escape(language)}\n(.*?)^```$", Path(page).read_text(encoding="utf-8"), re.M | re.S)
    if not found:
        sys.exit(f"{page} has no example in {language}")
    lines = [line for line in found[1].splitlines() if line.strip(" }") and not line.startswith("#include")]
    if len(lines) > most:
        sys.exit(f"the example in {language} is {len(lines)} lines long, without its includes; at most {most} are meant")
    return found[1]


def readme(readme_file, work, compiler, *arguments):
    source = Path(work) / "readme"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "readme", source)
    (source / "main.cpp").write_text(example(readme_file, "cpp", 24), encoding="utf-8")
    (source / "main.c").write_text(example(readme_file, "c", 24), encoding="utf-8")
    at_home = {"cwd": Path(readme_file).parent}
    cmake(source, work, *arguments, **at_home)
    pkg_config(source / "main.c", work, compiler, **at_home)


def sources(folder, compiler, *files):
    root = Path(__file__).parents[2]
    command = [compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-DFMT_HEADER_ONLY", '-DATHANOR_PLUGIN_FOLDER=""', "-isystem", folder]
    command += [f"-I{root / ours}" for ours in ("include", "capi/include", "lib")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda file: subprocess.run([*command, file], capture_output=True, text=True, check=False), files))
    complaints = [result.stderr for result in results if result.returncode != 0]
    if complaints or not files:
        sys.exit("\n".join(complaints) or "no source was given")
    print(f"{len(files)} sources compile with {folder}")


def page(page_file, home, work, compiler):
    main = Path(work) / Path(page_file).stem / "main.c"
    main.parent.mkdir(exist_ok=True)
    main.write_text(example(page_file, "c", 34), encoding="utf-8")
    pkg_config(main, work, compiler, cwd=home)


if __name__ == "__main__":
    modes = {"install": install, "cmake": cmake, "pkg-config": pkg_config, "exports": exports, "static": static, "readme": readme, "sources": sources, "page": page}
    modes[sys.argv[1]](*sys.argv[2:])
