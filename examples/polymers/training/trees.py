"""Gradient-boosted regression trees on Morgan counts, and the same trees as tensors."""

from dataclasses import dataclass

import lightgbm
import numpy as np
import torch


@dataclass
class Trees:
    """Every tree padded to the largest: children are inner nodes from 0, or leaves as -1 - leaf."""

    column: torch.Tensor     # i16 [trees, nodes]
    threshold: torch.Tensor  # f32 [trees, nodes]: left when the value is not above it
    child: torch.Tensor      # i8 [trees, nodes, 2]: left, right
    leaf: torch.Tensor       # f32 [trees, leaves]
    depth: int


SETTINGS = {"n_estimators": 1200, "learning_rate": 0.04, "num_leaves": 31, "max_depth": 10, "min_child_samples": 5,
            "colsample_bytree": 0.2, "subsample": 0.8, "subsample_freq": 1, "reg_lambda": 1.0}


def fit(rows, measured, weights, seed):
    """Boosted trees on dense rows."""
    model = lightgbm.LGBMRegressor(**SETTINGS, n_jobs=1, verbose=-1, random_state=seed)
    return model.fit(rows, measured, sample_weight=weights).booster_


def single_below(values):
    """The largest single-precision number that is not above each value, so that comparisons come out the same."""
    single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)


def as_tensors(booster):
    """The trees of a trained booster; a tree of one leaf goes there by either way."""
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    leaves = SETTINGS["num_leaves"]
    column = np.zeros((len(trees), leaves - 1), np.int16)
    threshold = np.zeros((len(trees), leaves - 1))
    child = np.full((len(trees), leaves - 1, 2), -1, np.int8)
    leaf = np.zeros((len(trees), leaves), np.float32)
    deepest = 1

    def place(number, node, depth):
        nonlocal deepest
        deepest = max(deepest, depth)
        if "split_index" not in node:
            leaf[number, node.get("leaf_index", 0)] = node["leaf_value"]
            return -1 - node.get("leaf_index", 0)
        at = node["split_index"]
        column[number, at] = node["split_feature"]
        threshold[number, at] = node["threshold"]
        child[number, at] = [place(number, node[side], depth + 1) for side in ("left_child", "right_child")]
        return at

    for number, tree in enumerate(trees):
        place(number, tree, 0)
    return Trees(torch.from_numpy(column), torch.from_numpy(single_below(threshold)), torch.from_numpy(child),
                 torch.from_numpy(leaf), deepest)
