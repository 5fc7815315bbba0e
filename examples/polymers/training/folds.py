"""Five folds grouped by structure, and the training of one fold."""

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from .graphs import UNKNOWN_TOKEN, TokenTable, collate, identifier_matrix, tokenise
from .network import PolymerNetwork, Widths

GROUP_OVERLAP = 0.7


@dataclass
class Recipe:
    """How a fold is trained. Learning rate: a short linear start, then half a cosine down to zero."""

    epochs: int = 50
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    warm_up: float = 0.05
    average: float = 0.998
    unknown_rate: float = 0.005
    huber: float = 0.5
    hints: int = 64
    hint_weight: float = 1.0
    seed: int = 1
    widths: Widths = field(default_factory=Widths)


@dataclass
class Scaler:
    """Robust scaling: median to 0, interquartile range to 1."""

    center: float
    scale: float

    @staticmethod
    def fit(values):
        low, middle, high = np.percentile(values, [25, 50, 75])
        return Scaler(float(middle), float(high - low))


@dataclass
class Fold:
    """A trained network with the token tables and the scaler that belong to it."""

    network: torch.nn.Module
    atom_table: TokenTable
    bond_table: TokenTable
    scaler: Scaler

    def predict(self, graphs, batch=64):
        """Kelvin for each graph, in order."""
        pieces = tokenise(graphs, self.atom_table, self.bond_table)
        with torch.inference_mode():
            parts = [self.network(*collate(pieces[first:first + batch]).inputs())
                     for first in range(0, len(pieces), batch)]
        return torch.cat(parts).double().numpy() * self.scaler.scale + self.scaler.center


def group_by_structure(graphs):
    """Labels graphs so that those whose sets of Morgan identifiers overlap by 0.7 or more (Tanimoto) share a label.

    The rule is transitive: the same chain written from another atom, and near twins, end in one group.
    """
    present = (identifier_matrix(graphs)[0] > 0).astype(float)
    common = present @ present.T
    size = present.sum(1)
    near = common >= GROUP_OVERLAP * (size[:, None] + size[None, :] - common)
    label = np.full(len(graphs), -1)
    for start in range(len(graphs)):
        waiting = [start] if label[start] < 0 else []
        while waiting:
            row = waiting.pop()
            label[row] = start
            waiting += [other for other in np.flatnonzero(near[row]) if label[other] < 0]
    return np.unique(label, return_inverse=True)[1]


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


def learning_rate_at(progress, warm_up):
    """Share of the full learning rate: a short linear start, then half a cosine down to zero."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def forget_some(tokens, rate, generator):
    """Replaces a share of the tokens by `unknown`, so that its embedding is trained too."""
    return torch.where(torch.rand(tokens.shape, generator=generator) < rate, UNKNOWN_TOKEN, tokens)


def structure_hints(graphs, count):
    """Training targets that need no measurement: the leading components of the Morgan counts per heavy atom.

    A network that has to tell these as well as the property overfits the few measurements less. The layer
    that learns them is thrown away afterwards.
    """
    counts, _ = identifier_matrix(graphs)
    rows = counts / np.array([graph.heavy_atoms for graph in graphs])[:, None]
    rows -= rows.mean(0)
    squares, vectors = np.linalg.eigh(rows @ rows.T)
    strength, components = np.sqrt(squares[::-1][:count]), vectors[:, ::-1][:, :count]
    return torch.tensor(components * np.sqrt(len(graphs) * strength / strength[0]), dtype=torch.float32)


class Trainer:
    """Trains one network on one part of the table and keeps a running average of its weights."""

    def __init__(self, pieces, targets, hints, network, recipe, seed):
        self.pieces, self.targets, self.hints, self.recipe = pieces, targets, hints, recipe
        self.network, self.averaged = network, copy.deepcopy(network).eval()
        self.hint_layer = torch.nn.Linear(recipe.widths.features, hints.size(1))
        self.parameters = [*network.parameters(), *self.hint_layer.parameters()]
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.AdamW([
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0}])
        self.steps = 0
        self.total_steps = recipe.epochs * math.ceil(len(pieces) / recipe.batch)

    def epoch(self):
        """One pass over the training part in random order; returns the mean loss of the property."""
        self.network.train()
        order = torch.randperm(len(self.pieces), generator=self.generator).tolist()
        losses = [self.step(order[first:first + self.recipe.batch])
                  for first in range(0, len(order), self.recipe.batch)]
        return sum(losses) / len(losses)

    def step(self, rows):
        """One optimiser step on the given rows; returns the loss of the property."""
        share = learning_rate_at(self.steps / self.total_steps, self.recipe.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * share
        batch = collate([self.pieces[row] for row in rows])
        batch.atom = forget_some(batch.atom, self.recipe.unknown_rate, self.generator)
        batch.bond = forget_some(batch.bond, self.recipe.unknown_rate, self.generator)
        pooled = self.network.pool(*batch.inputs())
        scaled = self.network.readout(pooled).squeeze(1)
        loss = torch.nn.functional.smooth_l1_loss(scaled, self.targets[rows], beta=self.recipe.huber)
        hint = torch.nn.functional.mse_loss(self.hint_layer(pooled), self.hints[rows])
        self.optimizer.zero_grad()
        (loss + self.recipe.hint_weight * hint).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.steps += 1
        self.average()
        return float(loss.detach())

    def average(self):
        """Moves the averaged weights a little towards the present ones; slower once the average is warm."""
        keep = min(self.recipe.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - keep)


def train_fold(graphs, measured, recipe, number, report):
    """Trains one fold on the given rows; `report(epoch, loss, fold)` is called after each epoch."""
    seed = recipe.seed * 1000 + number
    torch.manual_seed(seed)
    atom_table = TokenTable([graph.atom for graph in graphs])
    bond_table = TokenTable([graph.bond for graph in graphs])
    scaler = Scaler.fit(measured)
    targets = torch.tensor((measured - scaler.center) / scaler.scale, dtype=torch.float32)
    network = PolymerNetwork(atom_table.rows, bond_table.rows, recipe.widths)
    trainer = Trainer(tokenise(graphs, atom_table, bond_table), targets, structure_hints(graphs, recipe.hints),
                      network, recipe, seed)
    fold = Fold(trainer.averaged, atom_table, bond_table, scaler)
    for epoch in range(1, recipe.epochs + 1):
        report(epoch, trainer.epoch(), fold)
    return fold
