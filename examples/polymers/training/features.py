"""The numbers that models read: the square root of how often an atom of the chain carries a Morgan identifier."""

from dataclasses import dataclass

import numpy as np

# So scaled, most values lie between 1 and 6.
SCALE = 6.0


@dataclass
class Vocabulary:
    """The identifiers that a model has a column for, ascending."""

    identifiers: np.ndarray

    @staticmethod
    def of(graphs, fewest):
        """Identifiers that at least `fewest` of the graphs have: of rarer ones nothing can be learned."""
        seen, times = np.unique([identifier for graph in graphs for identifier, _ in graph.identifiers],
                                return_counts=True)
        return Vocabulary(seen[times >= fewest].astype(np.int64))

    def __len__(self):
        return len(self.identifiers)

    def row(self, graph):
        """Columns and values of one graph, in single precision as the exported members compute them."""
        identifiers = np.array([identifier for identifier, _ in graph.identifiers], np.int64)
        counts = np.array([count for _, count in graph.identifiers], np.float32)
        place = np.minimum(np.searchsorted(self.identifiers, identifiers), len(self) - 1)
        known = self.identifiers[place] == identifiers
        return place[known], np.sqrt(counts[known] / np.float32(graph.heavy_atoms)) * np.float32(SCALE)

    def matrix(self, graphs):
        """All rows, dense: [graphs, identifiers]."""
        dense = np.zeros((len(graphs), len(self)), np.float32)
        for number, graph in enumerate(graphs):
            place, value = self.row(graph)
            dense[number, place] = value
        return dense
