"""One member of the ensemble as it is exported: boosted trees and networks on the same Morgan counts, and an interval."""

import numpy as np
import torch
from torch import Tensor, nn

# What predicts the error of an answer, in the order of the coefficients.
ERROR_TERMS = ("one", "logarithm of the spread of the three models + 4 K", "share of unknown identifiers", "level",
               "level squared", "logarithm of the number of identifiers")
# The largest half-width [K].
WIDEST = 350.0


class Member(nn.Module):
    """Answers kelvin: the value, and the lower and upper end of its interval; and the further labels, by the networks alone."""

    names: list[str]

    def __init__(self, identifiers: Tensor, trees, networks, names=()):
        super().__init__()
        self.names = list(names)
        self.register_buffer("identifiers", identifiers)
        self.register_buffer("column", trees.column)
        self.register_buffer("threshold", trees.threshold)
        self.register_buffer("ruled_out", trees.ruled_out)
        self.register_buffer("leaf", trees.leaf)
        self.widest: float = WIDEST
        # Half precision halves the file; the sums are made in single precision.
        self.register_buffer("tables", torch.stack([fitted.network.table.detach().half() for fitted in networks]))
        self.register_buffer("shifts", torch.stack([fitted.network.shift.detach() for fitted in networks]))
        self.layers = nn.ModuleList([fitted.network.layers for fitted in networks])
        self.register_buffer("center", torch.tensor(np.array([fitted.center for fitted in networks]), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(np.array([fitted.scale for fitted in networks]), dtype=torch.float32))
        self.register_buffer("blend", torch.full([1 + len(networks)], 1 / (1 + len(networks))))
        self.register_buffer("error", torch.zeros(len(ERROR_TERMS)))
        self.requires_grad_(False)

    def grown(self, values: Tensor) -> Tensor:
        """The sum of all trees for dense values [identifiers, items]. Each step takes one node of every tree."""
        column = self.column.to(torch.int64)
        ruled_out = torch.zeros([self.column.size(1), values.size(1)], dtype=torch.int32, device=values.device)
        for node in range(self.column.size(0)):
            # 1 to the right, 0 to the left: comparing and choosing would take five times as long.
            right = values.index_select(0, column[node]).sub_(self.threshold[node].unsqueeze(1)).sign_().clamp_(min=0.0)
            ruled_out |= right.to(torch.int32).mul_(self.ruled_out[node].unsqueeze(1))
        lowest = ~ruled_out & (ruled_out + 1)  # of the bits that are 0
        place = torch.log2(lowest.to(torch.float32)).round().to(torch.int64)
        return self.leaf.gather(1, place).t().contiguous().sum(1)

    @torch.jit.export
    def guesses(self, identifier: Tensor, identifier_count: Tensor, heavy_atoms: Tensor, identifier_graph: Tensor,
                count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Kelvin of every model, trees first [items, models], what predicts the error besides the answer, and the further labels
        [items, labels]."""
        place = torch.searchsorted(self.identifiers, identifier).clamp(max=self.identifiers.size(0) - 1)
        known = self.identifiers[place] == identifier
        value = 6.0 * torch.sqrt(identifier_count.to(torch.float32) / heavy_atoms.to(torch.float32)[identifier_graph])
        zeros = torch.zeros([count], device=value.device)
        total = zeros.index_add(0, identifier_graph, torch.ones_like(value))
        missing = zeros.index_add(0, identifier_graph, (~known).to(torch.float32)) / total
        place, value, segment = place[known], value[known], identifier_graph[known]
        width = self.identifiers.size(0)
        dense = torch.zeros([width * count], device=value.device).index_add(0, place * count + segment, value)
        answers = [self.grown(dense.reshape(width, count))]
        labels = torch.zeros([count, len(self.names)], device=value.device)
        for number, layers in enumerate(self.layers):
            weighted = self.tables[number][place].to(torch.float32) * value.unsqueeze(1)
            pooled = torch.zeros([count, weighted.size(1)], device=value.device).index_add(0, segment, weighted)
            values = layers(pooled + self.shifts[number]) * self.scale[number] + self.center[number]
            answers.append(values[:, 0])
            labels = labels + values[:, 1:] / self.tables.size(0)
        return torch.stack(answers, 1), torch.stack([missing, torch.log(total)], 1), labels

    @torch.jit.export
    def terms(self, answers: Tensor, facts: Tensor) -> Tensor:
        """The ERROR_TERMS of each item."""
        level = ((answers @ self.blend - 400.0) / 100.0).clamp(-3.0, 5.0)
        spread = answers.std(1, correction=0)
        return torch.stack([torch.ones_like(level), torch.log(spread + 4.0), facts[:, 0], level, level * level,
                            facts[:, 1]], 1)

    def forward(self, atom: Tensor, bond: Tensor, identifier: Tensor, identifier_count: Tensor, heavy_atoms: Tensor,
                atom_graph: Tensor, bond_graph: Tensor, identifier_graph: Tensor,
                graphs: Tensor) -> dict[str, Tensor]:
        # Atoms and bonds are here for their token tables alone: the engine counts the unknown ones.
        answers, facts, labels = self.guesses(identifier, identifier_count, heavy_atoms, identifier_graph, int(graphs[0]))
        # Far from what training has seen the expected error is an extrapolation; WIDEST spans the whole table.
        half = torch.exp(self.terms(answers, facts) @ self.error).clamp(max=self.widest)
        value = answers @ self.blend
        found = {"tg": value, "low": (value - half).clamp(min=0.0), "high": value + half}
        for number, name in enumerate(self.names):
            found[name] = labels[:, number]
        return found


def inputs_of(graphs):
    """The arguments of `guesses` for a list of graphs."""
    pairs = [pair for graph in graphs for pair in graph.identifiers]
    lengths = torch.tensor([len(graph.identifiers) for graph in graphs])
    return (torch.tensor([identifier for identifier, _ in pairs]), torch.tensor([count for _, count in pairs]),
            torch.tensor([graph.heavy_atoms for graph in graphs]),
            torch.repeat_interleave(torch.arange(len(graphs)), lengths), len(graphs))


def guesses(member, graphs, batch=64):
    """What the models of a member answer for a list of graphs, in order: kelvin, facts and further labels."""
    with torch.inference_mode():
        parts = [member.guesses(*inputs_of(graphs[first:first + batch])) for first in range(0, len(graphs), batch)]
    return tuple(torch.cat(kind) for kind in zip(*parts))


def answer(member, graph):
    """The outputs for one graph, by their names."""
    identifier, count, heavy, segment, graphs = inputs_of([graph])
    nothing = torch.zeros([0], dtype=torch.int64)
    with torch.inference_mode():
        found = member(nothing, nothing, identifier, count, heavy, nothing, nothing, segment, torch.tensor([graphs]))
    return {name: float(value) for name, value in found.items()}
