#!/usr/bin/env python3
"""Trains the glass transition model of this example and exports it as a model folder.

Each TABLE is a CSV file with the columns smiles (a repeat unit with two `*`) and tg_k (measured, kelvin); a column
`set` names parts of it. Figures are those of the rows of the first table. The tables of the committed model are
named in its card; they are not part of this repository. With --label further columns are trained together with the
temperature; tables and rows may then lack some of the values. `scripts/setup --train` makes the Python environment, and a
build of the project makes the graph tool `athanor-chem-graph`. An interrupted training resumes where it stopped.
"""

import argparse
import hashlib
import os
import pathlib
import re
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums in one order, so that a training can be repeated
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from training import classes, export, folds, graphs, intervals, member, network  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDS = 5
FOLD_SEED = 1
BOOSTING = "boosted trees on Morgan counts"
COMPARED = ("ensemble", BOOSTING, "ridge regression")  # columns of the card's table by class
FEWEST = 500  # temperatures; fewer than that have hardly an identifier that occurs often enough
FEWEST_OF_LABEL = 50
# Parts of the smaller table. Values of `jcim` differ from other sources by 29 K in the mean: 0.1 was the best of 0, 0.1
# and 0.3 on held-out rows. Those of `bicerano` are the well-known polymers and agree with other sources within 6 K:
# counted three times, these come out nearer to their values, at a cost of less than 0.1 K for all others.
WEIGHTS = {"jcim": 0.1, "bicerano": 3.0}
WEIGHTED = ("Rows whose column `set` says `jcim` count a tenth: they differ from other sources by 29 K in the mean on the same chains. Those of\n"
            "`bicerano`, which agree within 6 K and hold the well-known polymers, count three times.")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=pathlib.Path, metavar="TABLE")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        help="the model folder to write; without it nothing is exported")
    parser.add_argument("--work", type=pathlib.Path, metavar="DIR", default=ROOT / "out/training",
                        help="keeps trained folds, for a run that is interrupted (default: out/training)")
    parser.add_argument("--show", type=int, metavar="N", help="the number of the table, from 1, that may be told: its "
                        "chains are listed, pairs of measured and predicted values lie beside the model")
    parser.add_argument("--source", action="append", metavar="TEXT", help="where a table is from, once for each and in their "
                        "order, for the model's description (default: the names of the files)")
    parser.add_argument("--label", action="append", default=[], metavar="NAME:UNIT", help="a further column, such as "
                        "density:g/cm3, that the networks learn together with tg_k; a row may lack either. The model's outputs "
                        "are NAME_mean and NAME_std")
    parser.add_argument("--graph-tool", metavar="PATH", help="athanor-chem-graph (default: the newest under out/)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and order (default %(default)s)")
    arguments = parser.parse_args()
    arguments.labels = dict(text.partition(":")[::2] for text in arguments.label)
    if len(arguments.labels) != len(arguments.label):
        parser.error("--label: expected each name once")
    for name, unit in arguments.labels.items():
        if not unit or not re.fullmatch("[a-z][a-z0-9_]*", name) or name in ("tg", "tg_k", "low", "high", "smiles", "set"):
            parser.error(f"--label {name}: expected NAME:UNIT, a name of small letters, digits and _ that means nothing else here")
    arguments.source = arguments.source or [path.name for path in arguments.tables]
    if len(arguments.source) != len(arguments.tables):
        parser.error(f"expected a --source for each of {len(arguments.tables)} tables, or none, got {len(arguments.source)}")
    if arguments.show is not None and not 1 <= arguments.show <= len(arguments.tables):
        parser.error(f"--show: expected the number of a table, 1 to {len(arguments.tables)}, got {arguments.show}")
    for folder in filter(None, (arguments.work, arguments.out)):
        check_folder(folder)
    return arguments


def check_folder(path):
    """Ends the program before the training when its results could not be written behind it."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise SystemExit(f"{path}: expected a folder that can be written to; {there} is none")


def find_graph_tool(given):
    """The graph tool that was named, or else the newest one that a build left under out/."""
    built = sorted(ROOT.glob("out/**/athanor-chem-graph"), key=lambda path: path.stat().st_mtime)
    tool = given or (str(built[-1]) if built else None)
    if not tool or not os.access(tool, os.X_OK):
        raise SystemExit(f"{tool or 'no athanor-chem-graph under out/'}: not a program that can be run; "
                         "build it (cmake --build out/release --target polymers-graph), or name it with --graph-tool")
    return tool


def fingerprint_of(tables, seed, labels):
    """What a kept fold must have been trained from to be used again."""
    digest = hashlib.sha256()
    for path in [*tables, *sorted((pathlib.Path(__file__).parent / "training").glob("*.py"))]:
        if path.name not in ("export.py", "intervals.py", "classes.py", "member.py"):
            digest.update(path.read_bytes())
    digest.update(repr((seed, WEIGHTS, list(labels))).encode())
    return digest.hexdigest()


def check_numbers(measured, values, labels):
    """Ends the program when there are too few values to train with."""
    found = np.isfinite(measured).sum()
    if found < FEWEST:
        raise SystemExit(f"{found} temperatures in all; {FEWEST} are the fewest to train {FOLDS} folds with")
    for name, found in zip(labels, np.isfinite(values).sum(0)):
        if found < FEWEST_OF_LABEL:
            raise SystemExit(f"{found} values of {name} in all; {FEWEST_OF_LABEL} are the fewest to train with")


def check_chains(groups):
    """Ends the program when a fold would have no chain."""
    if groups.max() + 1 < FOLDS:
        raise SystemExit(f"{groups.max() + 1} chains in all; {FOLDS} are the fewest for as many folds")


def train(polymers, weights, groups, fold_of, arguments):
    """Trains the five folds, each without the rows that carry its number, or takes those that were kept."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    fingerprint = fingerprint_of(arguments.tables, arguments.seed, arguments.labels)
    molecules, measured = [polymer.graph for polymer in polymers], np.array([[row.measured, *row.labels] for row in polymers])
    start, trained = time.monotonic(), []
    for number in range(FOLDS):
        path = arguments.work / f"fold{number}.kept"
        fold = folds.load(path, fingerprint)
        if fold is None:
            inside, outside = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)

            def report(part, progress, number=number):
                print(f"fold {number + 1}/{FOLDS}  {part:10s} {progress}  elapsed {time.monotonic() - start:4.0f} s",
                      flush=True)

            fold = folds.train_fold([molecules[row] for row in inside], measured[inside], weights[inside],
                                    groups[inside], [molecules[row] for row in outside], network.Recipe(),
                                    arguments.seed * 1000 + number, report)
            folds.save(path, fold, fingerprint)
        else:
            print(f"fold {number + 1}/{FOLDS}  kept from an earlier run", flush=True)
        trained.append(fold)
    return trained


def out_of_fold(members, trained, molecules, measured, fold_of):
    """What the one member that did not see a row says about it: every model's answer, the terms of its error, other labels."""
    answers, facts = np.empty((len(molecules), 1 + folds.NETWORKS)), np.empty((len(molecules), 2))
    labels = np.empty((len(molecules), len(members[0].names)))
    references = {"training mean": np.empty(len(molecules)), "ridge regression": np.empty(len(molecules))}
    for number, (module, fold) in enumerate(zip(members, trained)):
        rows = np.flatnonzero(fold_of == number)
        found = member.guesses(module, [molecules[row] for row in rows])
        answers[rows], facts[rows], labels[rows] = (part.numpy() for part in found)
        references["ridge regression"][rows] = fold.ridge
        references["training mean"][rows] = np.nanmean(measured[fold_of != number])
    return answers, facts, references, labels


def choose_blend(answers, measured):
    """The share of the trees, to a twentieth, with the least error; the networks share the rest."""
    shares = np.arange(0.2, 0.81, 0.05)
    def mixed(share):
        return np.array([share] + [(1 - share) / folds.NETWORKS] * folds.NETWORKS)
    return mixed(min(shares, key=lambda share: np.abs(answers @ mixed(share) - measured).mean()))


def by_class(molecules, missed, measured, scored, fewest=20):
    """Lines of a table: the polymers of every class with at least `fewest`, the mean absolute errors of COMPARED, R² of the first."""
    names = np.array([classes.class_of(graph.smiles) if kept else "" for graph, kept in zip(molecules, scored)])
    order = sorted(set(names[scored]), key=lambda name: -(names == name).sum())
    return "\n".join(f"| {name} | {(names == name).sum()} | "
                     + " | ".join(f"{missed[model][names == name].mean():.1f}" for model in COMPARED)
                     + f" | {determination({name: missed[COMPARED[0]][names == name]}, measured[names == name])[name]:.2f} |"
                     for name in order if (names == name).sum() >= fewest)


def by_label(labels, values, guesses, fold_of):
    """Lines of a table: each further label, its rows, the mean absolute error of the member that did not see a row, and of the
    mean of the rows that it saw, R²."""
    lines = []
    for place, (name, unit) in enumerate(labels.items()):
        known = np.isfinite(values[:, place])
        measured, found, fold = values[known, place], guesses[known, place], fold_of[known]
        mean = np.array([measured[fold != number].mean() for number in range(FOLDS)])[fold]
        explained = determination({name: found - measured}, measured)[name]
        lines.append(f"| {name} [{unit}] | {known.sum()} | {np.abs(found - measured).mean():.3g} | {np.abs(mean - measured).mean():.3g} "
                     f"| {explained:.3f} |")
    head = ["Further labels, of all rows that have them, each by the one member that did not see it; the networks answer them, without an interval:",
            "", "| label | rows | mean absolute error | of the training mean | R² |", "|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) if lines else "No further label was trained."


def by_part(polymers, missed, widths, scored):
    """Lines of a table: the rows without a part in the figures, by table and part: their number, mean absolute error, coverage."""
    names = np.array([f"table {polymer.table}{', `' + polymer.part + '`' if polymer.part else ''}" for polymer in polymers])
    names[scored | np.isnan(missed)] = ""
    lines = [f"| {name} | {(names == name).sum()} | {missed[names == name].mean():.1f} | {100 * (missed <= widths)[names == name].mean():.0f} % |"
             for name in sorted(set(names) - {""})]
    return "\n".join(["Rows of other tables, each by the one member that did not see it, with the intervals of the first table:", "", "| rows of | rows | mean absolute error [K] | in their interval |", "|---|---|---|---|", *lines] if lines else ["There is no other table."])


def determination(missed, measured):
    """R² of each model."""
    variance = ((measured - measured.mean()) ** 2).mean()
    return {name: 1 - (values ** 2).mean() / variance for name, values in missed.items()}


def gain_of(ensemble, boosting):
    """How far the ensemble is ahead of boosting, with the standard error of the difference."""
    gain = boosting - ensemble
    return f"{gain.mean():.2f} K (standard error {gain.std(ddof=1) / np.sqrt(len(gain)):.2f} K)"


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    tool = find_graph_tool(arguments.graph_tool)
    polymers = [row for number, path in enumerate(arguments.tables, 1) for row in graphs.read_table(path, number, tool, arguments.labels)]
    molecules, measured = [polymer.graph for polymer in polymers], np.array([row.measured for row in polymers])
    values = np.array([row.labels for row in polymers])
    check_numbers(measured, values, arguments.labels)
    weights = np.array([WEIGHTS.get(polymer.part, 1.0) for polymer in polymers])
    table = np.array([polymer.table for polymer in polymers])
    scored = (table == 1) & np.isfinite(measured)
    if not scored.any():
        raise SystemExit(f"{arguments.tables[0]}: expected temperatures in the first table, whose rows the figures are of, got none")
    groups = graphs.group_by_chain(molecules)
    check_chains(groups)
    fold_of = folds.assign_folds(groups, FOLDS, FOLD_SEED)
    repeated = graphs.repeated_chains(polymers, groups)
    contradictions = graphs.describe_contradictions(repeated)
    print(f"{len(polymers)} rows, {groups.max() + 1} chains; folds of {np.bincount(fold_of).tolist()}")
    print(f"{contradictions}\n{graphs.list_contradictions(repeated)}", flush=True)

    trained = train(polymers, weights, groups, fold_of, arguments)
    members = [member.Member(torch.from_numpy(fold.vocabulary.identifiers), fold.trees, fold.networks, arguments.labels).eval()
               for fold in trained]
    answers, facts, predictions, guesses = out_of_fold(members, trained, molecules, measured, fold_of)
    blend = choose_blend(answers[scored], measured[scored])
    terms = []
    for module in members:
        module.blend = torch.tensor(blend, dtype=torch.float32)
    terms = members[0].terms(torch.tensor(answers, dtype=torch.float32), torch.tensor(facts, dtype=torch.float32))
    terms = terms.double().numpy()
    predictions |= {BOOSTING: answers[:, 0], "one network on Morgan counts": answers[:, 1],
                    "ensemble": answers @ blend}
    missed = {name: np.abs(values - measured) for name, values in predictions.items()}
    widths = intervals.held_out_half_widths(terms[scored], missed["ensemble"][scored], fold_of[scored])
    coverage = intervals.coverage_figures(widths, missed["ensemble"][scored])
    calibrated = intervals.calibrate(terms[scored], missed["ensemble"][scored])
    for module in members:
        module.error = torch.tensor(calibrated, dtype=torch.float32)

    errors = {name: round(float(values[scored].mean()), 2) for name, values in missed.items()}
    explained = determination({name: values[scored] for name, values in missed.items()}, measured[scored])
    ahead = gain_of(missed["ensemble"][scored], missed[BOOSTING][scored])
    minutes = sum(fold.seconds for fold in trained) / 60
    print(f"\nMean absolute error on the {scored.sum()} rows of the first table, each predicted by the fold that did not see it:")
    for name, error in errors.items():
        print(f"  {name:40s} {error:6.2f} K  R² {explained[name]:6.3f}")
    labels = by_label(arguments.labels, values, guesses, fold_of)
    print(labels)
    print(f"ahead of boosted trees by {ahead}; share of the trees {blend[0]:.2f}\nintervals: {coverage}")
    if arguments.out:
        chains = [molecules[row] for row in np.unique(groups, return_index=True)[1]]
        listed = [graph for graph, number in zip(molecules, table) if number == arguments.show]
        sources = [f"{rows} rows: {source}" for rows, source in zip(np.bincount(table)[1:], arguments.source)]
        export.export(arguments.out, members, trained, chains, listed, coverage, tool, sources, arguments.labels)
        shown = (table == arguments.show) & (weights >= 1) & np.isfinite(measured)
        export.write_cross_validation(
            arguments.out / "cross_validation.json",
            {"sources": sources,
             "errors_of": f"the {scored.sum()} rows of the first source, each by the fold that did not see it",
             "mean_absolute_error": errors,
             "pairs_of": arguments.source[arguments.show - 1] if arguments.show else "no table"},
            measured[shown], predictions["ensemble"][shown])
        recipe = network.Recipe()
        export.write_card(arguments.out, {
            "sources": "\n".join(f"- {source}" for source in sources), "version": export.VERSION, "rows": len(polymers),
            "scored": int(scored.sum()), "chains": int(groups.max()) + 1,
            "contradictions": contradictions, "identifiers": len(trained[0].vocabulary), "recipe": recipe,
            "networks": folds.NETWORKS, "share": f"{100 * blend[0]:.0f}", "fewest": folds.FEWEST,
            "trees": member_trees(trained), "errors": "\n".join(f"| {name} | {error:.1f} | {explained[name]:.3f} |"
                                                                   for name, error in errors.items()),
            "ahead": ahead, "coverage": coverage,
            "terciles": ", ".join(f"{100 * share:.1f} %" for share in coverage["held_out_by_tercile_of_width"]),
            "held_out": f"{100 * coverage['held_out']:.1f}",
            "classes": by_class(molecules, missed, measured, scored),
            "labels": labels,
            "parts": by_part(polymers, missed["ensemble"], np.minimum(np.exp(terms @ calibrated), member.WIDEST), scored),
            "weighted": WEIGHTED if (weights != 1).any() else "All rows count alike.",
            "told": f"of table {arguments.show}, which may be told, also digests of its chains, and pairs of measured and predicted values (`cross_validation.json`)"
                    if arguments.show else "no table may be told",
            "listed": f"`in_table` is 1 for a chain of table {arguments.show}, in any spelling; that a chain is in another table is not told."
                      if arguments.show else "`in_table` is 0 for every chain: no table may be told.",
            "show": f" --show {arguments.show}" if arguments.show else "",
            "minutes": f"{minutes:.0f}", "torch": torch.__version__.split("+")[0], "seed": arguments.seed})
    print(f"{minutes:.1f} minutes" + (f"; written to {arguments.out}" if arguments.out else ""))


def member_trees(trained):
    """How many trees a member has."""
    return trained[0].trees.column.size(0)


if __name__ == "__main__":
    main()
