#!/usr/bin/env python3
"""Trains the glass transition model of this example and exports it as a model folder.

The table is the one of S. Choi et al., "Automated BigSMILES conversion workflow and dataset for homopolymeric
macromolecules", Scientific Data 11, 371 (2024), CC BY 4.0: columns name, smiles (a repeat unit with two `*`),
tg_k (measured, kelvin). It is not part of this repository. `scripts/setup --train` makes the Python
environment, and a build of the project makes the graph tool `athanor-chem-graph`.
"""

import argparse
import os
import pathlib
import sys
import time

# Linear algebra of this size is fastest on one thread; numpy reads this once, at import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from training import baseline, export, folds, graphs  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDS = 5
FOLD_SEED = 1
FEWEST = 100  # fewer than that fill no batch, and principal components of so few mean nothing


def parse_arguments():
    recipe = folds.Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="TABLE", help="the table, as CSV")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        help="the model folder to write; without it nothing is exported")
    parser.add_argument("--graph-tool", metavar="PATH", help="athanor-chem-graph (default: the newest under out/)")
    parser.add_argument("--seed", type=int, default=recipe.seed, help="of weights and order (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=recipe.epochs, help="per fold (default %(default)s)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1),
                        help="that torch may use (default %(default)s)")
    return parser.parse_args()


def find_graph_tool(given):
    """The graph tool that was named, or else the newest one that a build left under out/."""
    built = sorted(ROOT.glob("out/**/athanor-chem-graph"), key=lambda path: path.stat().st_mtime)
    tool = given or (str(built[-1]) if built else None)
    if not tool or not os.access(tool, os.X_OK):
        raise SystemExit(f"{tool or 'no athanor-chem-graph under out/'}: not a program that can be run; "
                         "build it (cmake --build out/release --target polymers-graph), or name it with --graph-tool")
    return tool


class Progress:
    """One line per epoch: validation error, time spent, time to go over all folds."""

    def __init__(self, epochs):
        self.epochs, self.done, self.start = epochs, 0, time.monotonic()

    def line(self, number, epoch, loss, error):
        self.done += 1
        spent = time.monotonic() - self.start
        left = spent / self.done * (FOLDS * self.epochs - self.done)
        print(f"fold {number}  epoch {epoch:3d}/{self.epochs}  loss {loss:.4f}  validation MAE {error:6.2f} K  "
              f"elapsed {spent:4.0f} s  left {left:4.0f} s", flush=True)


def train(molecules, measured, fold_of, recipe):
    """Trains the five folds, each without the rows that carry its number."""
    progress = Progress(recipe.epochs)
    trained = []
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
        held_out = [molecules[row] for row in outside]

        def report(epoch, loss, fold):
            error = np.abs(fold.predict(held_out) - measured[outside]).mean()
            progress.line(number, epoch, loss, error)

        trained.append(folds.train_fold([molecules[row] for row in inside], measured[inside], recipe, number, report))
    return trained


def out_of_fold(ensemble, molecules, fold_of):
    """Predicts every polymer by the one network that did not see it."""
    predicted = np.empty(len(molecules))
    for number, fold in enumerate(ensemble):
        rows = np.flatnonzero(fold_of == number)
        predicted[rows] = fold.predict([molecules[row] for row in rows])
    return predicted


def reference_predictions(molecules, measured, fold_of, groups):
    """Out-of-fold predictions of the training mean and of both ridge regressions."""
    forms = baseline.forms_of(molecules)
    predicted = {name: np.empty(len(molecules)) for name in ["training mean", *forms]}
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
        predicted["training mean"][outside] = measured[inside].mean()
        for name, rows in forms.items():
            predicted[name][outside] = baseline.predict_ridge(rows, measured, inside, outside, groups)
    return predicted


def verdict(predictions, measured):
    """One plain sentence: does the network beat the better ridge, and by how much more than chance?"""
    missed = {name: np.abs(values - measured) for name, values in predictions.items()}
    ridge = min((name for name in missed if name.startswith("ridge")), key=lambda name: missed[name].mean())
    gain = missed[ridge] - missed["graph network"]
    doubt = gain.std(ddof=1) / np.sqrt(len(gain))
    if gain.mean() > 0:
        sentence = f"The graph network beats the better ridge regression by {gain.mean():.2f} K"
    else:
        sentence = f"The graph network does NOT beat the better ridge regression: it is {-gain.mean():.2f} K worse"
    sentence += f" (standard error of the difference {doubt:.2f} K)"
    return sentence + ("." if abs(gain.mean()) > 2 * doubt else "; statistically that is a draw.")


def mean_absolute_errors(predictions, measured):
    return {name: round(float(np.abs(values - measured).mean()), 2) for name, values in predictions.items()}


def figures_of(table, groups, recipe, ensemble, errors, sentence, minutes):
    """What the model card states about this training."""
    widths = recipe.widths
    return {
        "publication": export.PUBLICATION, "polymers": len(table), "groups": int(groups.max()) + 1,
        "features": widths.features, "shared": widths.shared, "messages": widths.messages,
        "hidden": 2 * widths.features,
        "dropout": widths.dropout, "parameters": sum(p.numel() for p in ensemble[0].network.parameters()),
        "errors": "\n".join(f"| {name} | {error:.1f} |" for name, error in errors.items()), "verdict": sentence,
        "epochs": recipe.epochs, "batch": recipe.batch, "rate": recipe.learning_rate, "decay": recipe.weight_decay,
        "huber": recipe.huber, "hints": recipe.hints, "hint_weight": recipe.hint_weight, "seed": recipe.seed,
        "unknown": 100 * recipe.unknown_rate, "average": recipe.average, "minutes": f"{minutes:.0f}",
        "version": export.VERSION, "torch": torch.__version__.split("+")[0]}


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    start = time.monotonic()
    tool = find_graph_tool(arguments.graph_tool)
    table = graphs.read_table(arguments.data, tool)
    if len(table) < FEWEST:
        raise SystemExit(f"{arguments.data}: {len(table)} polymers; {FEWEST} are the fewest to train {FOLDS} folds with")
    molecules = [polymer.graph for polymer in table]
    measured = np.array([polymer.measured for polymer in table])
    groups = folds.group_by_structure(molecules)
    fold_of = folds.assign_folds(groups, FOLDS, FOLD_SEED)
    print(f"{len(table)} polymers in {groups.max() + 1} groups; folds of {np.bincount(fold_of).tolist()}", flush=True)

    recipe = folds.Recipe(epochs=arguments.epochs, seed=arguments.seed)
    predictions = reference_predictions(molecules, measured, fold_of, groups)
    ensemble = train(molecules, measured, fold_of, recipe)
    if arguments.out:
        ensemble = export.export(arguments.out, ensemble, molecules, tool)
    predictions["graph network"] = out_of_fold(ensemble, molecules, fold_of)
    errors = mean_absolute_errors(predictions, measured)

    minutes = (time.monotonic() - start) / 60
    print("\nMean absolute error over the five folds, each polymer predicted by the model that did not see it:")
    for name, error in errors.items():
        print(f"  {name:40s} {error:6.2f} K")
    sentence = verdict(predictions, measured)
    print(sentence)
    if arguments.out:
        export.write_cross_validation(arguments.out / "cross_validation.json", measured,
                                      predictions["graph network"], errors)
        export.write_card(arguments.out, figures_of(table, groups, recipe, ensemble, errors, sentence, minutes))
    print(f"{minutes:.1f} minutes" + (f"; written to {arguments.out}" if arguments.out else ""))


if __name__ == "__main__":
    main()
