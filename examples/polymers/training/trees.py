"""Gradient-boosted regression trees on Morgan counts, and the same trees as tensors."""

from dataclasses import dataclass

import lightgbm
import numpy as np
import torch


@dataclass
class Trees:
    """Every tree padded to the largest. A node sends values above its threshold to the right, which rules out the leaves
    on its left; a tree answers with the first leaf that none of its nodes rules out (QuickScorer: C. Lucchese et al.,
    SIGIR 2015, 73). All nodes of all trees can so be looked at in any order, without following a path."""

    column: torch.Tensor     # i16 [nodes, trees]
    threshold: torch.Tensor  # f32 [nodes, trees]
    ruled_out: torch.Tensor  # i32 [nodes, trees]: bit i is 1 where leaf i is on the node's left
    leaf: torch.Tensor       # f32 [trees, leaves], from left to right


SETTINGS = {"n_estimators": 1200, "learning_rate": 0.04, "num_leaves": 31, "max_depth": 10, "min_child_samples": 5,
            "colsample_bytree": 0.2, "subsample": 0.8, "subsample_freq": 1, "reg_lambda": 1.0}


def fit(rows, measured, weights, seed):
    """Boosted trees on dense rows."""
    settings = SETTINGS | {"objective": "regression", "num_threads": 1, "verbosity": -1, "seed": seed}
    return lightgbm.train(settings, lightgbm.Dataset(rows, measured, weight=weights))


def single_below(values):
    """The largest single-precision number that is not above each value, so that comparisons come out the same."""
    single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)


def as_tensors(booster):
    """The trees of a trained booster; a node that is none rules out nothing."""
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    leaves = SETTINGS["num_leaves"]
    column = np.zeros((leaves - 1, len(trees)), np.int16)
    threshold = np.zeros((leaves - 1, len(trees)))
    ruled_out = np.zeros((leaves - 1, len(trees)), np.int32)
    leaf = np.zeros((len(trees), leaves), np.float32)

    def place(number, node, first):
        """Puts a node and all below it, whose leaves begin at `first`; gives back where they end."""
        if "split_index" not in node:
            leaf[number, first] = node["leaf_value"]
            return first + 1
        at = node["split_index"]
        column[at, number] = node["split_feature"]
        threshold[at, number] = node["threshold"]
        middle = place(number, node["left_child"], first)
        ruled_out[at, number] = (1 << middle) - (1 << first)
        return place(number, node["right_child"], middle)

    for number, tree in enumerate(trees):
        place(number, tree, 0)
    return Trees(torch.from_numpy(column), torch.from_numpy(single_below(threshold)), torch.from_numpy(ruled_out),
                 torch.from_numpy(leaf))
