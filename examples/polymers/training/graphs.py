"""Polymers as graphs: reading the table, running the graph tool, tokens, and ragged batches.

The graphs come from the C++ featuriser, the same code that serves predictions, so that
training and serving can not drift apart.
"""

import csv
import json
import math
import subprocess
from dataclasses import dataclass

import numpy as np
import torch

UNKNOWN_TOKEN = 1
FIRST_TOKEN = 2


@dataclass
class Graph:
    """One featurised molecule or endless chain; `identifiers` are (Morgan identifier, count) pairs."""

    smiles: str
    atom: np.ndarray
    bond: np.ndarray
    source: np.ndarray
    target: np.ndarray
    identifiers: list
    heavy_atoms: int
    polymer: int


@dataclass
class Polymer:
    """One row of the table: a name, a graph and a measured glass transition temperature in kelvin."""

    name: str
    graph: Graph
    measured: float


def run_graph_tool(tool, smiles):
    """Featurises a list of SMILES with the C++ program `polymers-graph`; one graph per line, in order."""
    answer = subprocess.run([tool], input="".join(line + "\n" for line in smiles), text=True,
                            stdout=subprocess.PIPE, check=True)
    lines = answer.stdout.splitlines()
    if len(lines) != len(smiles):
        raise SystemExit(f"{tool} answered {len(lines)} lines for {len(smiles)} SMILES")
    return [parse_graph(line, text) for line, text in zip(lines, smiles)]


def parse_graph(line, smiles):
    """Reads one JSON line of the graph tool; a refused SMILES ends the run with the tool's reason."""
    row = json.loads(line)
    if "error" in row:
        raise SystemExit(f"the graph tool refuses {smiles}: {row['error']}")
    arrays = {key: np.asarray(row[key], np.int64) for key in ("atom", "bond", "source", "target")}
    identifiers = [(int(identifier), int(count)) for identifier, count in row["identifiers"]]
    return Graph(smiles, identifiers=identifiers, heavy_atoms=int(row["heavy_atoms"]),
                 polymer=int(row["polymer"]), **arrays)


def read_table(path, tool):
    """Reads the table (columns name, smiles, tg_k) and featurises every repeat unit."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets mark UTF-8
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: cannot be read: {error}") from None
    missing = {"name", "smiles", "tg_k"} - set(rows[0] if rows else {})
    if missing:
        raise SystemExit(f"{path}: no column {', '.join(sorted(missing))}")
    graphs = run_graph_tool(tool, [row["smiles"] for row in rows])
    return [Polymer(row["name"], graph, kelvin(path, number, row["tg_k"]))
            for number, (row, graph) in enumerate(zip(rows, graphs), 1)]


def kelvin(path, number, text):
    """The measured value of a row of the table."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise SystemExit(f"{path}: row {number}: tg_k: expected a temperature in kelvin, got {text!r}")
    return value


def identifier_matrix(graphs):
    """Counts of Morgan identifiers, one row per graph, and the sorted identifiers of the columns."""
    identifiers = sorted({identifier for graph in graphs for identifier, _ in graph.identifiers})
    column = {identifier: index for index, identifier in enumerate(identifiers)}
    counts = np.zeros((len(graphs), len(identifiers)))
    for row, graph in enumerate(graphs):
        for identifier, count in graph.identifiers:
            counts[row, column[identifier]] += count
    return counts, identifiers


class TokenTable:
    """Numbers codes from 2 in the order in which training meets them; a code never met is token 1."""

    def __init__(self, code_arrays):
        seen = {}
        for codes in code_arrays:
            for code in codes.tolist():
                seen.setdefault(code, FIRST_TOKEN + len(seen))
        self._token = seen

    @property
    def codes(self):
        """The known codes; the token of a code is its index here plus 2."""
        return list(self._token)

    @property
    def rows(self):
        """Rows of the embedding: padding, unknown, and one for each code."""
        return FIRST_TOKEN + len(self._token)

    def tokens(self, codes):
        """Maps an array of codes to a tensor of tokens."""
        return torch.tensor([self._token.get(code, UNKNOWN_TOKEN) for code in codes.tolist()], dtype=torch.int64)


@dataclass
class Batch:
    """Graphs laid end to end: bond ends are offset, `*_graph` names the graph of each row."""

    atom: torch.Tensor
    bond: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    atom_graph: torch.Tensor
    bond_graph: torch.Tensor
    graphs: torch.Tensor

    def inputs(self):
        """The arguments of the network, in order."""
        return (self.atom, self.bond, self.source, self.target, self.atom_graph, self.bond_graph, self.graphs)


def tokenise(graphs, atom_table, bond_table):
    """Turns graphs into (atom, bond, source, target) tensors under one fold's token tables."""
    return [(atom_table.tokens(graph.atom), bond_table.tokens(graph.bond),
             torch.from_numpy(graph.source), torch.from_numpy(graph.target)) for graph in graphs]


def collate(pieces):
    """Joins tokenised graphs into one ragged batch."""
    atoms = torch.tensor([len(piece[0]) for piece in pieces])
    bonds = torch.tensor([len(piece[1]) for piece in pieces])
    order = torch.arange(len(pieces))
    offset = torch.repeat_interleave(torch.cumsum(atoms, 0) - atoms, bonds)
    atom, bond, source, target = (torch.cat(column) for column in zip(*pieces))
    return Batch(atom, bond, source + offset, target + offset, torch.repeat_interleave(order, atoms),
                 torch.repeat_interleave(order, bonds), torch.tensor([len(pieces)]))
