"""polyid_network.py FOLDER: writes N.pt of the weights that compare_polyid.py took from PolyID's networks, for each N.json of
FOLDER, which has their shapes, and N.f32, which has their numbers one after the other."""

import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn


def dense(inputs, width):
    """The two layers of nfp's updates."""
    return nn.Sequential(nn.Linear(inputs, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


class GraphUpdate(nn.Module):
    """Attention of each graph to its atoms and bonds, with one head."""

    def __init__(self, width, units):
        super().__init__()
        self.query, self.value = nn.Linear(width, 1), nn.Linear(width, units)

    def forward(self, atom: Tensor, bond: Tensor, graph: Tensor, graphs: int) -> Tensor:
        elements = torch.cat([atom, bond])
        query = self.query(elements).squeeze(1)
        highest = torch.zeros([graphs], dtype=query.dtype).scatter_reduce(0, graph, query, "amax", include_self=False)
        share = torch.exp(query - highest.index_select(0, graph))
        total = torch.zeros([graphs], dtype=query.dtype).index_add(0, graph, share)
        value = share.unsqueeze(1) * self.value(elements)
        return torch.zeros([graphs, value.size(1)], dtype=query.dtype).index_add(0, graph, value) / total.unsqueeze(1)


class Updates(nn.Module):
    """A message to the graphs, then to the bonds."""

    def __init__(self, width, units):
        super().__init__()
        self.graph, self.edge = GraphUpdate(width, units), dense(3 * width + units, width)

    def forward(self, atom: Tensor, bond: Tensor, state: Tensor, source: Tensor, target: Tensor, graph: Tensor,
                edge_graph: Tensor) -> tuple[Tensor, Tensor]:
        state = state + self.graph(atom, bond, graph, state.size(0))
        ends = [bond, atom.index_select(0, source), atom.index_select(0, target), state.index_select(0, edge_graph)]
        return bond + self.edge(torch.cat(ends, 1)), state


class AtomUpdate(nn.Module):
    """A message to the atoms."""

    def __init__(self, width, units):
        super().__init__()
        self.message, self.node = dense(2 * width + units, width), dense(width, width)

    def forward(self, atom: Tensor, bond: Tensor, state: Tensor, source: Tensor, target: Tensor, edge_graph: Tensor) -> Tensor:
        messages = self.message(torch.cat([atom.index_select(0, target), bond, state.index_select(0, edge_graph)], 1))
        return atom + self.node(torch.zeros_like(atom).index_add(0, source, messages))


class Network(nn.Module):
    """PolyID's global100 for a batch of graphs that lie end to end. Its answer is read from the bonds, so that nothing reads
    the atoms after the last message."""

    def __init__(self, atoms, bonds, width, units, messages):
        super().__init__()
        self.atom, self.bond = nn.Embedding(atoms, width), nn.Embedding(bonds, width)
        self.start = GraphUpdate(width, units)
        self.updates = nn.ModuleList(Updates(width, units) for _ in range(messages - 1))
        self.atoms = nn.ModuleList(AtomUpdate(width, units) for _ in range(messages - 1))
        self.last = Updates(width, units)
        self.readout = nn.Linear(width, 1)

    def forward(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor, atom_graph: Tensor, edge_graph: Tensor,
                graphs: Tensor) -> Tensor:
        count, graph = int(graphs), torch.cat([atom_graph, edge_graph])
        atoms, bonds = self.atom(atom), self.bond(bond)
        state = self.start(atoms, bonds, graph, count)
        for update, move in zip(self.updates, self.atoms):
            bonds, state = update(atoms, bonds, state, source, target, graph, edge_graph)
            atoms = move(atoms, bonds, state, source, target, edge_graph)
        bonds, _ = self.last(atoms, bonds, state, source, target, graph, edge_graph)
        values, nothing = self.readout(bonds).squeeze(1), torch.zeros([count], dtype=bonds.dtype)
        return nothing.index_add(0, edge_graph, values) / nothing.index_add(0, edge_graph, torch.ones_like(values))


for path in Path(sys.argv[1]).glob("*.json"):
    shapes = json.loads(path.read_text())
    numbers = torch.frombuffer(bytearray(path.with_suffix(".f32").read_bytes()), dtype=torch.float32)
    parts = numbers.split([math.prod(shape) for shape in shapes.values()])
    weights = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts)}
    messages = 2 + max(int(name.split(".")[1]) for name in weights if name.startswith("atoms."))
    width, units = weights["atom.weight"].size(1), weights["start.value.bias"].size(0)
    network = Network(weights["atom.weight"].size(0), weights["bond.weight"].size(0), width, units, messages)
    network.load_state_dict(weights)
    torch.jit.freeze(torch.jit.script(network.eval())).save(str(path.with_suffix(".pt")))
