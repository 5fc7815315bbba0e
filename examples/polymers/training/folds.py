"""Five folds that never split a chain, and the parts of the member that each of them trains."""

import pickle
import time
from dataclasses import dataclass

import numpy as np
import torch

from . import baseline, network, trees
from .features import Vocabulary

FEWEST = 5     # graphs that must have an identifier for it to be a column
NETWORKS = 2   # in a member
FIRST_TOKEN = 2


def assign_folds(groups, count, seed):
    """Deals whole groups, largest first and otherwise shuffled, to the fold that is smallest so far."""
    random = np.random.default_rng(seed)
    sizes = np.bincount(groups)
    order = sorted(random.permutation(len(sizes)), key=lambda group: -sizes[group])
    filled = np.zeros(count, int)
    fold_of_group = np.zeros(len(sizes), int)
    for group in order:
        fold_of_group[group] = np.argmin(filled)
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def codes(arrays):
    """Codes in the order in which training meets them; the token of a code is its index plus 2."""
    return list(dict.fromkeys(code for array in arrays for code in array.tolist()))


@dataclass
class Fold:
    """What one fold has trained, and its ridge regression's answers for the rows that it has not seen."""

    vocabulary: Vocabulary
    trees: trees.Trees
    networks: list
    atoms: list
    bonds: list
    ridge: np.ndarray
    seconds: float


def train_fold(graphs, measured, weights, groups, unseen, recipe, seed, report):
    """Trains the parts on the given rows and their values [rows, labels], kelvin first, NaN where there is none: trees and the
    ridge regression on the temperatures, networks on all labels. `report(part, progress)` is called now and then."""
    start = time.monotonic()
    vocabulary = Vocabulary.of(graphs, FEWEST)
    rows = [vocabulary.row(graph) for graph in graphs]
    dense = vocabulary.matrix(graphs)
    report("ridge", f"{len(vocabulary)} identifiers")
    known, kelvin = np.isfinite(measured[:, 0]), measured[:, 0]
    trusted = known & (weights >= 1)
    ridge = baseline.predict_ridge(dense[trusted], kelvin[trusted], vocabulary.matrix(unseen), groups[trusted])
    report("trees", f"{trees.SETTINGS['n_estimators']} of up to {trees.SETTINGS['num_leaves']} leaves")
    boosted = trees.as_tensors(trees.fit(dense[known], kelvin[known], weights[known], seed))
    networks = []
    for number in range(NETWORKS):
        def progress(epoch, loss, number=number):
            if epoch % 10 == 0:
                report(f"network {number}", f"epoch {epoch}/{recipe.epochs}  loss {loss:.4f}")

        networks.append(network.train(rows, measured, weights, len(vocabulary), recipe, seed * 10 + number, progress))
    return Fold(vocabulary, boosted, networks, codes(graph.atom for graph in graphs),
                codes(graph.bond for graph in graphs), ridge, time.monotonic() - start)


def save(path, fold, fingerprint):
    """Keeps a trained fold, so that a training that was interrupted goes on behind it."""
    partial = path.with_suffix(".part")
    torch.save({"fingerprint": fingerprint, "fold": fold}, partial)
    partial.rename(path)


def load(path, fingerprint):
    """The fold that an earlier run of the same training kept, or None. The file is this program's own."""
    if not path.exists():
        return None
    try:
        kept = torch.load(path, weights_only=False)
    except (EOFError, RuntimeError, pickle.UnpicklingError):
        return None  # a full disk or a loss of power left a part of it
    return kept["fold"] if kept["fingerprint"] == fingerprint else None
