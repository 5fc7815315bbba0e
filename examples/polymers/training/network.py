"""A network on Morgan counts: a weighted sum of the embeddings of a chain's atom environments, then two layers."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class Recipe:
    """How a network is trained. Learning rate: a short linear start, then half a cosine down to zero."""

    epochs: int = 60
    batch: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05
    average: float = 0.995
    forget: float = 0.1
    dropout: float = 0.1
    huber: float = 0.2
    width: int = 96
    hidden: int = 64


class CountNetwork(nn.Module):
    """Identifiers and their values in, a scaled value of each label per chain out; rows of a batch lie end to end."""

    def __init__(self, identifiers: int, labels: int, recipe: Recipe):
        super().__init__()
        self.table = nn.Parameter(0.03 * torch.randn(identifiers, recipe.width))
        self.shift = nn.Parameter(torch.zeros(recipe.width))
        self.layers = nn.Sequential(nn.SiLU(), nn.Dropout(recipe.dropout), nn.Linear(recipe.width, recipe.hidden),
                                    nn.SiLU(), nn.Dropout(recipe.dropout / 2), nn.Linear(recipe.hidden, labels))

    def forward(self, place: Tensor, value: Tensor, offset: Tensor) -> Tensor:
        pooled = nn.functional.embedding_bag(place, self.table, offset, mode="sum", per_sample_weights=value)
        return self.layers(pooled + self.shift)


@dataclass
class Fitted:
    """A trained network, and how its scaled answers become values: for each label a center and a scale."""

    network: CountNetwork
    center: np.ndarray
    scale: np.ndarray


def joined(rows):
    """Rows of a vocabulary as one batch: places, values, where each row begins."""
    lengths = np.array([len(place) for place, _ in rows])
    return (torch.from_numpy(np.concatenate([place for place, _ in rows])),
            torch.from_numpy(np.concatenate([value for _, value in rows])),
            torch.from_numpy(np.cumsum(lengths) - lengths))


def learning_rate_at(progress, warm_up):
    """Share of the full learning rate."""
    return min(1.0, progress / warm_up) * 0.5 * (1 + math.cos(math.pi * progress))


def train(rows, measured, weights, identifiers, recipe, seed, report):
    """Trains one network on `measured` [rows, labels], kelvin first; where a row has no value (NaN), nothing is learned of that
    label. `report(epoch, loss)` is called after each epoch. Gives back the averaged weights."""
    torch.manual_seed(seed)
    scale = np.nanstd(measured, 0)
    scale[scale == 0] = 1.0
    scale[0] = 100.0
    fitted = Fitted(CountNetwork(identifiers, measured.shape[1], recipe), np.nanmedian(measured, 0), scale)
    known = torch.tensor(np.isfinite(measured))
    targets = torch.tensor(np.nan_to_num((measured - fitted.center) / fitted.scale), dtype=torch.float32)
    weights = torch.tensor(weights, dtype=torch.float32)
    network = fitted.network
    averaged = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, foreach=True)
    steps, total = 0, recipe.epochs * math.ceil(len(rows) / recipe.batch)
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for chosen in torch.randperm(len(rows)).split(recipe.batch):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * learning_rate_at(steps / total, recipe.warm_up)
            place, value, offset = joined([rows[row] for row in chosen.tolist()])
            kept = (torch.rand_like(value) > recipe.forget) / (1 - recipe.forget)
            scaled = network(place, value * kept, offset)
            missed = nn.functional.smooth_l1_loss(scaled, targets[chosen], beta=recipe.huber, reduction="none")
            told = known[chosen]
            loss = (weights[chosen].unsqueeze(1) * missed * told).sum() / told.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            keep = min(recipe.average, (1 + steps) / (10 + steps))
            with torch.no_grad():
                torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), 1 - keep)
            losses.append(float(loss.detach()))
        report(epoch, sum(losses) / len(losses))
    fitted.network = averaged
    return fitted
