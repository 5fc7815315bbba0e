"""The `global100` graph network of PolyID, restated for ragged batches and TorchScript.

Every row of a batch belongs to a graph named by `atom_graph` or `bond_graph`; nothing is padded.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Widths:
    """Sizes of the network; the published one has features 128, shared 8 and messages 12."""

    features: int = 32
    shared: int = 8
    messages: int = 3
    dropout: float = 0.2


def sum_by(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """Adds up the rows that carry the same index."""
    out = torch.zeros([count, rows.size(1)], dtype=rows.dtype, device=rows.device)
    return out.index_add(0, index, rows)


def perceptron(inputs: int, features: int) -> nn.Sequential:
    """The two-layer perceptron of every update: twice the features wide, relu between."""
    return nn.Sequential(nn.Linear(inputs, 2 * features), nn.ReLU(), nn.Linear(2 * features, features))


class GlobalUpdate(nn.Module):
    """One-head attention over all atoms and bonds of a graph together."""

    def __init__(self, widths: Widths):
        super().__init__()
        self.query = nn.Linear(widths.features, 1)
        self.value = nn.Linear(widths.features, widths.shared)

    def forward(self, atom: Tensor, bond: Tensor, atom_graph: Tensor, bond_graph: Tensor, count: int) -> Tensor:
        rows = torch.cat([atom, bond])
        graph = torch.cat([atom_graph, bond_graph])
        score = self.query(rows).squeeze(1)
        # The largest score of each graph is taken off first, so that no exponential overflows.
        peak = torch.zeros([count], dtype=score.dtype, device=score.device)
        peak = peak.scatter_reduce(0, graph, score.detach(), "amax", include_self=False)
        weight = torch.exp(score - peak[graph]).unsqueeze(1)
        total = sum_by(weight, graph, count)
        return sum_by(weight * self.value(rows), graph, count) / total


class Message(nn.Module):
    """One block: global state, bonds, then atoms, each residual."""

    def __init__(self, widths: Widths):
        super().__init__()
        features, shared = widths.features, widths.shared
        self.attend = GlobalUpdate(widths)
        self.edge = perceptron(3 * features + shared, features)
        self.message = perceptron(2 * features + shared, features)
        self.node = perceptron(features, features)
        self.dropout = nn.Dropout(widths.dropout)

    def forward(self, atom: Tensor, bond: Tensor, state: Tensor, source: Tensor, target: Tensor,
                atom_graph: Tensor, bond_graph: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        state = state + self.dropout(self.attend(atom, bond, atom_graph, bond_graph, count))
        shared = state[bond_graph]
        bond = bond + self.dropout(self.edge(torch.cat([bond, atom[source], atom[target], shared], 1)))
        message = self.message(torch.cat([atom[target], bond, shared], 1))
        atom = atom + self.dropout(self.node(sum_by(message, source, atom.size(0))))
        return atom, bond, state


class PolymerNetwork(nn.Module):
    """Tokens in, one scaled value per graph out. A graph without bonds has no defined answer: refuse it first."""

    def __init__(self, atom_rows: int, bond_rows: int, widths: Widths):
        super().__init__()
        self.atom_embedding = nn.Embedding(atom_rows, widths.features)
        self.bond_embedding = nn.Embedding(bond_rows, widths.features)
        self.start = GlobalUpdate(widths)
        self.blocks = nn.ModuleList([Message(widths) for _ in range(widths.messages)])
        self.readout = nn.Linear(widths.features, 1)

    @torch.jit.export
    def pool(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor,
             atom_graph: Tensor, bond_graph: Tensor, graphs: Tensor) -> Tensor:
        """The mean of the bond features of each graph."""
        count = int(graphs[0])
        atoms = self.atom_embedding(atom)
        bonds = self.bond_embedding(bond)
        state = self.start(atoms, bonds, atom_graph, bond_graph, count)
        for block in self.blocks:
            atoms, bonds, state = block(atoms, bonds, state, source, target, atom_graph, bond_graph, count)
        rows = sum_by(torch.ones([bonds.size(0), 1], dtype=bonds.dtype, device=bonds.device), bond_graph, count)
        return sum_by(bonds, bond_graph, count) / rows

    def forward(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor,
                atom_graph: Tensor, bond_graph: Tensor, graphs: Tensor) -> Tensor:
        # One Dense(1) for every directed bond and then the mean is the same Dense(1) of the mean.
        pooled = self.pool(atom, bond, source, target, atom_graph, bond_graph, graphs)
        return self.readout(pooled).squeeze(1)
