"""Makes the .pt2 packages that package_test.cpp runs: make_pt2.py FOLDER. Needs a whole Python torch and a C++ compiler.

perceptron.pt2: [b, 10] -> [b, 1], the weights of scripts.hpp's parameter_value.
pair.pt2: f32 [b, 4] and i64 [b] -> f32 [b, 4] and i64 [b].
"""
import pathlib
import sys

import torch


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


class Pair(torch.nn.Module):
    def forward(self, x, n):
        return x * n.unsqueeze(1), n + 1


def package(module, inputs, path):
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes = tuple({0: batch} for _ in inputs)
    program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs={"cpp.threads": 1}
    )


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
package(Perceptron(), (torch.zeros(3, 10),), folder / "perceptron.pt2")
package(Pair(), (torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)), folder / "pair.pt2")
