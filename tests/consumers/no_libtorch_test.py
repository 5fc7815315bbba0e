"""What find_package(athanor) says and leaves behind where torch is wanted and there is no LibTorch.

no_libtorch_test.py SOURCE WORK ARG…   configures SOURCE with torch optional, then required; ARG goes to cmake
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from consumers_test import cmake


def main(source, work, *arguments):
    nowhere = f"-DATHANOR_TORCH_ROOT={Path(work) / 'nowhere'}"
    cmake(source, work, *arguments, nowhere)
    build = Path(work) / "build-required-torch"
    shutil.rmtree(build, ignore_errors=True)
    command = ["cmake", "-G", "Ninja", "-S", source, "-B", build, f"-Dathanor_ROOT={Path(work) / 'moved'}", "-DTORCH_IS=COMPONENTS", *arguments, nowhere]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    reason = re.search("torch needs LibTorch 2.11 or later|built without torch", " ".join(result.stderr.split()))
    if result.returncode == 0 or not reason:
        sys.exit(f"a required component was taken for found, or no reason was given:\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    main(*sys.argv[1:])
