"""compare_polyid.py PROGRAM GRAPH_TOOL TORCH_PYTHON: rows per second of PolyID in Python and of `polymers predict`, on one core.

scripts/polyid makes what this needs and calls it. The polymers are chains of 18 units that m2p makes, as PolyID's users
make them. Three subjects take turns, all pinned to one core, each warm, none with a cache to answer from:

    polyid      MultiModel.make_predictions of its own package: one graph a batch, features made anew for each network
    same        the same networks with the same weights and tokens, written as TorchScript, behind `polymers predict`
    shipped     the model that comes with `polymers`, of five members, on the same SMILES

PolyID's networks have the size of its publication (128 features, 12 messages, 3.6 million weights each); their weights are
drawn at random, since rates do not depend on them, and scaled so that answers differ by tens of kelvin. Each has tokens
of its own, learnt from four fifths of the polymers, so some are unknown to it. The answers of `same` must agree with those of
`polyid` within a thousandth of their standard deviation, and no row may be refused; else nothing is measured and the exit
status is 1. PolyID has no larger batches: padded ones of its networks give other answers.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

MONOMERS = Path(__file__).resolve().parents[2] / "tests" / "chem" / "m2p_products.tsv"
SIZE = {"atom_features": 128, "mol_features": 8, "num_messages": 12, "dropout": 0.05, "learning_rate": 1e-4, "decay": 1e-5}
UNITS = 18
SCALES = {"embedding": 1.0, "bondwise_values": 15.0, "": 0.75}  # of the weights that are called so, the first that fits
TOLERANCE = 1e-3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the program polymers")
    parser.add_argument("graph_tool", help="the program athanor-chem-graph")
    parser.add_argument("torch_python", help="a Python that has torch")
    parser.add_argument("--polymers", type=int, default=20, help="how many, at most (%(default)s)")
    parser.add_argument("--networks", type=int, default=5, help="how many of PolyID's (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each subject, in turn (%(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="pin all to it (%(default)s)")
    return parser.parse_args()


given = arguments()
os.sched_setaffinity(0, {given.core})  # before TensorFlow counts cores, and for all children
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import keras  # noqa: E402
import nfp  # noqa: E402
import numpy  # noqa: E402
import pandas  # noqa: E402
import xxhash  # noqa: E402
from m2p import PolyMaker  # noqa: E402
from polyid import MultiModel, SingleModel  # noqa: E402
from polyid.models import global100  # noqa: E402
from polyid.preprocessors.features import atom_features_v1, bond_features_v1  # noqa: E402
from polyid.preprocessors.preprocessors import PolymerPreprocessor  # noqa: E402
from rdkit import RDLogger  # noqa: E402

RDLogger.DisableLog("rdApp.*")


def quietly(call, *values, **named):
    """What `call` returns, without its progress."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return call(*values, **named)


def make_polymers(count):
    """`count` chains that m2p makes of the monomers of its parity test, as many of each mechanism as there are."""
    with open(MONOMERS, encoding="utf-8") as file:
        sets = list(dict.fromkeys((row[0], row[3]) for row in csv.reader(file, delimiter="\t") if row[2] == "-"))
    random.Random(0).shuffle(sets)
    maker, chains = PolyMaker(), []
    for mechanism, monomers in sets:
        random.seed(0)
        numpy.random.seed(0)
        table = pandas.DataFrame({"monomers": [maker.get_monomers(monomers, stereochemistry=False)]})
        made = quietly(maker.thermoplastic, table, DP=UNITS, mechanism=mechanism).smiles_polymer.iloc[0]
        if not made.startswith("ERROR") and made not in chains:
            chains.append(made)
    return pandas.DataFrame({"smiles_polymer": chains[:count]})


def make_network(polymers, number):
    """One of PolyID's models, with tokens and a scale of its own."""
    keras.utils.set_random_seed(number)
    labelled = polymers.assign(tg=numpy.random.default_rng(number).normal(370, 80, len(polymers)))
    known = labelled[labelled.index % 5 != number % 5]
    model = SingleModel(prediction_columns=["tg"], df_train=known, df_validate=known, model_id=number)
    model.generate_data_scaler()
    quietly(model.generate_preprocessor, PolymerPreprocessor, atom_features=atom_features_v1, bond_features=bond_features_v1)
    model.model = global100(model.preprocessor, prediction_columns=["tg"], params=SIZE)
    quietly(model.predict, polymers[:1])  # nfp's layers make their weights when they are first called
    for weight in model.model.weights:
        weight.assign(weight * next(scale for name, scale in SCALES.items() if name in weight.path))
    return model


def parameters(model):
    """The weights by the names that polyid_network.py gives them."""
    named = {}

    def take(name, layer):
        named[f"{name}.weight"], named[f"{name}.bias"] = layer.kernel.numpy().T, layer.bias.numpy()

    def of(kind):
        return [layer for layer in model.layers if isinstance(layer, kind)]

    for name in ("atom", "bond"):
        named[f"{name}.weight"] = model.get_layer(f"{name}_embedding").embeddings.numpy()
    take("readout", model.get_layer("bondwise_values_0"))
    last = SIZE["num_messages"] - 1
    updates = [*(f"updates.{i}" for i in range(last)), "last"]
    for place, layer in zip(["start", *(f"{update}.graph" for update in updates)], of(nfp.GlobalUpdate), strict=True):
        take(f"{place}.query", layer.query_layer)
        take(f"{place}.value", layer.value_layer)
    pairs = [(f"{update}.edge", layer.concat) for update, layer in zip(updates, of(nfp.EdgeUpdate), strict=True)]
    for i, layer in enumerate(of(nfp.NodeUpdate)):
        pairs += [(f"atoms.{i}.message", layer.concat), (f"atoms.{i}.node", layer)]
    for place, layer in pairs:
        take(f"{place}.0", layer.dense1)
        take(f"{place}.2", layer.dense2)
    return named


def codes_of(graphs, prepared, tokens, member):
    """The codes of athanor-chem-graph in the order of PolyID's tokens, which begin at 2; fails when they do not pair up."""
    token_of = {}
    for graph, mine in zip(graphs, prepared, strict=True):
        assert len(graph[member]) == len(mine[member]), f"{graph['smiles']}: the graphs differ"
        for code, token in zip(graph[member], mine[member].tolist(), strict=True):
            assert token_of.setdefault(code, token) == token, f"{graph['smiles']}: {member} {code} is {token}"
    code_of = {token: code for code, token in token_of.items() if token > 1}
    return [code_of[token] for token in range(2, tokens + 1)]


def export(models, polymers, folder):
    """The same networks as a model folder."""
    smiles = "\n".join(polymers.smiles_polymer) + "\n"
    lines = subprocess.run([given.graph_tool], input=smiles, capture_output=True, text=True, check=True).stdout.splitlines()
    graphs = [json.loads(line) for line in lines]
    members = []
    for number, model in enumerate(models):
        prepared = [model.preprocessor(row) for _, row in polymers.iterrows()]
        for graph, mine in zip(graphs, prepared, strict=True):
            assert mine["connectivity"].T.tolist() == [graph["source"], graph["target"]], f"{graph['smiles']}: the edges differ"
        weights = parameters(model.model)
        (folder / f"{number}.json").write_text(json.dumps({name: value.shape for name, value in weights.items()}))
        (folder / f"{number}.f32").write_bytes(b"".join(value.astype("f4").tobytes() for value in weights.values()))
        members.append({
            "file": f"{number}.pt",
            "lookups": {"atom": codes_of(graphs, prepared, model.preprocessor.atom_tokenizer.num_classes, "atom"),
                        "bond": codes_of(graphs, prepared, model.preprocessor.bond_tokenizer.num_classes, "bond")},
            "scale": {"tg": {"center": float(model.data_scaler.center_[0]), "scale": float(model.data_scaler.scale_[0])}}})
    subprocess.run([given.torch_python, Path(__file__).with_name("polyid_network.py"), folder], check=True)
    for member in members:
        member["digest"] = "xxh128:" + xxhash.xxh128_hexdigest((folder / member["file"]).read_bytes())
    number = {"dtype": "f32", "shape": ["items"]}
    count = {"dtype": "i64", "shape": ["items"]}
    (folder / "athanor.json").write_text(json.dumps({
        "athanor": 1, "name": "polyid", "version": "1.0.0", "backend": "torch", "format": "torchscript",
        "processor": {"name": "polymer-graph", "inputs": ["smiles"]},
        "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"]}],
        "model_inputs": [
            {"name": "atom", "dtype": "i64", "shape": ["atoms"]}, {"name": "bond", "dtype": "i64", "shape": ["edges"]},
            {"name": "source", "dtype": "i64", "shape": ["edges"], "index_of": "atoms"},
            {"name": "target", "dtype": "i64", "shape": ["edges"], "index_of": "atoms"},
            {"name": "atom_graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
            {"name": "edge_graph", "dtype": "i64", "shape": ["edges"], "make": "segment"},
            {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"}],
        "model_outputs": [{"name": "tg", **number}],
        "outputs": [
            *({"name": name, **number, "unit": "K", "from": f"{how}:tg"} for name, how in
              (("tg_mean", "mean"), ("tg_std", "std"), ("tg_low", "mean"), ("tg_high", "mean"))),
            {"name": "unknown_tokens", **count, "from": "unknown"},
            {"name": "unseen_identifiers", **count, "from": "processor:unseen_identifiers"},
            {"name": "repeat_unit", **count, "from": "processor:polymer"},
            {"name": "in_table", **count, "from": "processor:listed"}],
        "batching": {"max_items": 32, "max_cost": 1500},
        "members": members}))


def by_polyid(models, polymers):
    """Seconds, those of the features among them, and answers."""
    many = MultiModel()
    many.models = models
    begun = time.perf_counter()
    table = quietly(many.make_predictions, polymers)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    for model in models:
        for _, row in polymers.iterrows():
            model.preprocessor(row)
    features = time.perf_counter() - begun
    return seconds, features, table.groupby("smiles_polymer").tg_pred.mean()[polymers.smiles_polymer].to_numpy()


def by_program(table, polymers, *model):
    """Seconds of `polymers predict`, and those of the features among them. Reading and loading the model are in neither."""
    command = [given.program, "predict", table, "--threads", "1", *model]
    told = subprocess.run([*command, "--explain"], capture_output=True, text=True, check=True)
    words = " ".join((told.stdout + told.stderr).split())
    rows, refused, rate = re.search(r"(\d+) rows, (\d+) refused, ([\d.]+) rows/s", words).groups()
    assert (int(rows), int(refused)) == (len(polymers), 0), words[-200:]
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    features = sum(float(value) * units[unit] for value, unit in re.findall(r"prepared in ([\d.]+) ([num]?s)", words))
    return len(polymers) / float(rate), features


def answers_of_program(table, folder):
    out = folder / "answers.csv"
    command = [given.program, "predict", table, "--model", folder, "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    with open(out, encoding="utf-8") as file:
        return numpy.array([float(row["tg_k"]) for row in csv.DictReader(file)])


def check(expected, got):
    worst = float(numpy.max(numpy.abs(got - expected)) / numpy.std(expected))
    print(f"answers of the same networks: a standard deviation of {numpy.std(expected):.0f} K, at most {worst:.1e} of it apart")
    if not worst <= TOLERANCE:
        sys.exit(f"expected at most {TOLERANCE:g} of it")


def print_figures(measured, rows):
    base = statistics.median(seconds for seconds, _ in measured["polyid"])
    print(f"{'':10}{'rows/s':>9}{'lowest':>9}{'highest':>9}{'to polyid':>11}{'features [ms/row]':>19}{'rest':>9}")
    for name, runs in measured.items():
        seconds, features = statistics.median(s for s, _ in runs), statistics.median(f for _, f in runs)
        rates = [rows / s for s, _ in runs]
        print(f"{name:10}{rows / seconds:9.4g}{min(rates):9.4g}{max(rates):9.4g}{base / seconds:10.3g}x"
              f"{1e3 * features / rows:19.3g}{1e3 * (seconds - features) / rows:9.3g}")


def main():
    polymers = make_polymers(given.polymers)
    models = [make_network(polymers, number) for number in range(given.networks)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table = folder / "polymers.csv"
        polymers.to_csv(table, index=False)
        export(models, polymers, folder)
        expected = by_polyid(models, polymers)[2]
        print(f"{len(polymers)} polymers of {UNITS} units, {given.networks} networks, core {given.core}")
        check(expected, answers_of_program(table, folder))
        measured = {"polyid": [], "same": [], "shipped": []}
        for _ in range(given.repetitions):
            measured["polyid"].append(by_polyid(models, polymers)[:2])
            measured["same"].append(by_program(table, polymers, "--model", folder))
            measured["shipped"].append(by_program(table, polymers))
    print_figures(measured, len(polymers))


main()
