"""Makes the .pt2 packages of tests/torch/packages: make_pt2.py FOLDER. Needs a whole Python torch of the release that
FindAthanorTorch asks for (scripts/setup --train makes one), and a C++ compiler.

A package is machine code: these are compiled for every x86-64 processor, so that they run wherever the tests do.

perceptron.pt2: f32 [b, 10] -> [b, 1], the weights of scripts.hpp's parameter_value.
pair.pt2: f32 [b, 4] and i64 [b] -> f32 [b, 4] and i64 [b].
fixed.pt2: f32 [1, 10] -> [1, 16], exported with one row and no dynamic axis: it takes more, and answers one.
writes.pt2: f32 [b, 4] -> [b, 4]: adds one to its input, in place, and doubles it.
named.pt2: exported with the keyword arguments ids and mask, f32 [b, 2] each; a dict of sum = ids + mask and tens = 10 ids.
fields.pt: a TorchScript module that returns a named tuple: mean = x, deviation = 2 x, count = 3 x.
twice.pt: a TorchScript module that calls athanor_tests::twice, the operator of operators.cpp.
"""
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import NamedTuple

import torch
from torch._inductor import cpp_builder


def compile_for_every_processor():
    flags_of = cpp_builder._get_optimization_cflags

    def baseline(*arguments, **keywords):
        cflags, ldflags = flags_of(*arguments, **keywords)
        return ["march=x86-64" if flag == "march=native" else flag for flag in cflags], ldflags

    cpp_builder._get_optimization_cflags = baseline


def parameter(*shape):
    count = torch.Size(shape).numel()
    values = [0.125 * ((i * 7 + 3) % 11) - 0.5 for i in range(count)]
    return torch.nn.Parameter(torch.tensor(values).reshape(shape))


class Perceptron(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.b1 = parameter(10, 16), parameter(16)
        self.w2, self.b2 = parameter(16, 1), parameter(1)

    def forward(self, x):
        return torch.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2


class Fixed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(10, 16), torch.nn.Linear(16, 16)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.copy_(parameter(16, layer.in_features))
                layer.bias.copy_(parameter(16))

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Pair(torch.nn.Module):
    def forward(self, x, n):
        return x * n.unsqueeze(1), n + 1


class Writes(torch.nn.Module):
    def forward(self, x):
        x.add_(1)
        return x * 2


class Named(torch.nn.Module):
    def forward(self, ids, mask):
        return {"sum": ids + mask, "tens": ids * 10}


class Answer(NamedTuple):
    mean: torch.Tensor
    deviation: torch.Tensor
    count: torch.Tensor


class Fields(torch.nn.Module):
    def forward(self, x):
        return Answer(x * 1, x * 2, x * 3)


class Twice(torch.nn.Module):
    def forward(self, x):
        return torch.ops.athanor_tests.twice(x)


def shrink(path):
    """Packs the file anew, compressed and without symbols and sources (of which the loader wants the name)."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as package:
            package.extractall(folder)
            names = [name for name in package.namelist() if not name.endswith(".debug_pkl")]
        for name in names:
            if name.endswith(".cpp"):
                pathlib.Path(folder, name).write_bytes(b"")
            if name.endswith(".so"):
                subprocess.run(["strip", "--strip-unneeded", pathlib.Path(folder, name)], check=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
            for name in names:
                package.write(pathlib.Path(folder, name), name)


def package(module, inputs, path, dynamic=True, keywords=None):
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes = tuple({0: batch} for _ in inputs) if dynamic else None
    if keywords:
        shapes = {name: {0: batch} for name in keywords}
    program = torch.export.export(module.eval(), inputs, keywords, dynamic_shapes=shapes)
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs={"cpp.threads": 1, "cpp.simdlen": 1}
    )
    shrink(path)


compile_for_every_processor()
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
package(Perceptron(), (torch.zeros(3, 10),), folder / "perceptron.pt2")
package(Pair(), (torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)), folder / "pair.pt2")
package(Fixed(), (torch.zeros(1, 10),), folder / "fixed.pt2", dynamic=False)
package(Writes(), (torch.zeros(3, 4),), folder / "writes.pt2")
package(Named(), (), folder / "named.pt2", keywords={"ids": torch.zeros(3, 2), "mask": torch.zeros(3, 2)})
torch.jit.script(Fields()).save(str(folder / "fields.pt"))
shrink(folder / "fields.pt")
torch.library.define("athanor_tests::twice", "(Tensor x) -> Tensor")
torch.jit.script(Twice()).save(str(folder / "twice.pt"))
shrink(folder / "twice.pt")
