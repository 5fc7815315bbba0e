"""Writes a trained ensemble as a model folder: TorchScript members, manifest, domain of validity, oracle, card."""

import io
import json
import pathlib
import re
import subprocess
import zipfile

import numpy as np
import torch
import xxhash

from . import member
from .features import Vocabulary
from .graphs import chain_key, run_graph_tool

# The nine polymers of the demonstration.
DEMO = ["*CC*", "*CC(*)C", "*CC(*)c1ccccc1", "*CC(*)(C)C(=O)OC", "*OC(C)C(*)=O", "*CC(*)Cl",
        "*OCCOC(=O)c1ccc(cc1)C(*)=O", "*Oc1ccc(cc1)C(C)(C)c1ccc(cc1)OC(*)=O",
        "*c1ccc(Oc2ccc(cc2)N2C(=O)c3cc4C(=O)N(*)C(=O)c4cc3C2=O)cc1"]
# The same kind of polymers as people without attachment points write them: plain molecules, taken as they stand.
PLAIN = ["CC", "CC(C)", "CC(c1ccccc1)", "CC(C)(C(=O)OC)", "CC(O)C(=O)", "CC(Cl)", "COC(=O)c1ccc(C(=O)O)cc1.OCCO",
         "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1.O=C(Cl)Cl",
         "c1ccc2c(c1)C(=O)N(c1ccc(C(=O)c3ccc(N4C(=O)c5ccccc5C4=O)cc3)cc1)C2=O"]
# Groups whose atoms releases of RDKit perceive differently, so that a model says at its load when it is served by another.
DRIFTING = ["*NC(=S)N*", "*P(=N*)(C)C", "*S(=O)(=O)c1ccc(*)cc1"]
# Further repeat units for the parity test: other elements, rings, one-atom units, and codes that training never met.
FURTHER = ["*C*", "*O*", "*CCO*", "*CCCCCC*", "*CC(*)C#N", "*CC(*)O", "*CC(F)(F)*", "*C(F)(F)C(F)(F)*", "*CC=CC*",
           "*NCCCCCC(*)=O", "*Nc1ccc(cc1)NC(=O)c1ccc(cc1)C(*)=O", "*c1ccc(cc1)S*", "*[Si](C)(C)O*",
           "*CC(*)C(=O)NCC(O)CN", "*c1ccc(*)s1", "*CC(*)[B](O)O", "*CC(*)[Ge](C)(C)C"]

VERSION = "2.0.0"
TOLERANCE = 1e-5
# An environment that one chain alone has is not one that training has learned anything of.
SEEN = 2


def digest(path):
    """XXH3-128 of a file, in the manifest's spelling."""
    return "xxh128:" + xxhash.xxh3_128_hexdigest(pathlib.Path(path).read_bytes())


def as_json(value, indent=""):
    """JSON with one line for every list or object that holds only plain values, so that tables stay readable."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not any(isinstance(item, (dict, list)) for _, item in items):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {as_json(item, inner)}" for key, item in value.items()]
    else:
        lines = [inner + as_json(item, inner) for item in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(lines) + f"\n{indent}{last}"


def write_json(path, value):
    """Writes one JSON file."""
    path.write_text(as_json(value) + "\n", encoding="utf-8")


def scripted(module):
    """Compiles a module; without the debug records, which would name the files of the machine that trained it."""
    buffer, stripped = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(stripped, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(entry, source.read(entry))
    stripped.seek(0)
    return torch.jit.load(stripped)


def write_members(members, folder):
    """Saves every member and gives back the members as read from disk."""
    paths = [folder / f"fold{number}.pt" for number in range(len(members))]
    for path, module in zip(paths, members):
        torch.jit.save(scripted(module), str(path))
    return [torch.jit.load(str(path)) for path in paths]


def toolkit_version(tool):
    """The version of the RDKit library that the graph tool is linked with, such as 2022.09.3."""
    linked = subprocess.run(["ldd", tool], text=True, stdout=subprocess.PIPE, check=True).stdout
    library = re.search(r"libRDKitGraphMol\S* => (\S+)", linked)
    version = library and re.search(r"(\d{4}\.\d{2}\.\d+)$", str(pathlib.Path(library[1]).resolve()))
    return version[1] if version else "unknown"


def chain_digest(graph):
    """The key under which the C++ processor finds a chain again."""
    text = " ".join(f"{identifier}:{count}" for identifier, count in chain_key(graph))
    return xxhash.xxh3_128_hexdigest(text.encode())


def write_domain(path, chains, shown, tool):
    """Writes the identifiers that at least SEEN chains of training have, and the keys of the chains that may be shown."""
    identifiers = Vocabulary.of(chains, SEEN).identifiers.tolist()
    write_json(path, {"rdkit": toolkit_version(tool), "radius": 2, "identifiers": identifiers,
                      "chains": sorted({chain_digest(graph) for graph in shown})})


def answers(members, tool, smiles, labels):
    """What the ensemble says about each SMILES, one at a time; the spread is the population standard deviation."""
    rows = []
    for graph in run_graph_tool(tool, smiles, "oracle"):
        each = [member.answer(module, graph) for module in members]
        found = {name: np.array([one[name] for one in each]) for name in each[0]}
        values = found["tg"]
        rows.append({"smiles": graph.smiles, "folds": values.tolist(), "mean": float(values.mean()),
                     "std": float(values.std()), "low": float(found["low"].mean()), "high": float(found["high"].mean()),
                     **{f"{name}_mean": float(found[name].mean()) for name in labels}})
    return rows


def member_entry(fold, path):
    """A member as the manifest lists it: file and token tables."""
    return {"file": path.name, "digest": digest(path), "lookups": {"atom": fold.atoms, "bond": fold.bonds}}


def signature(labels):
    """Inputs and outputs: what callers see, and what the members want; `labels` are names and units."""
    def column(name, dtype, rows, **more):
        return {"name": name, "dtype": dtype, "shape": [rows], **more}
    return {
        "inputs": [column("smiles", "bytes", "items")],
        "model_inputs": [
            column("atom", "i64", "atoms"), column("bond", "i64", "bonds"),
            column("identifier", "i64", "identifiers"), column("identifier_count", "i64", "identifiers"),
            column("heavy_atoms", "i64", "items"), column("atom_graph", "i64", "atoms", make="segment"),
            column("bond_graph", "i64", "bonds", make="segment"),
            column("identifier_graph", "i64", "identifiers", make="segment"),
            column("graphs", "i64", 1, make="count")],
        "model_outputs": [column(name, "f32", "items") for name in ("tg", "low", "high", *labels)],
        "outputs": [
            column("tg_mean", "f32", "items", unit="K", **{"from": "mean:tg"}),
            column("tg_std", "f32", "items", unit="K", **{"from": "std:tg"}),
            column("tg_low", "f32", "items", unit="K", **{"from": "mean:low"}),
            column("tg_high", "f32", "items", unit="K", **{"from": "mean:high"}),
            *(column(f"{name}_{how}", "f32", "items", unit=unit, **{"from": f"{how}:{name}"})
              for name, unit in labels.items() for how in ("mean", "std")),
            column("unknown_tokens", "i64", "items", **{"from": "unknown"}),
            column("unseen_identifiers", "i64", "items", **{"from": "processor:unseen_identifiers"}),
            column("repeat_unit", "i64", "items", **{"from": "processor:polymer"}),
            column("in_table", "i64", "items", **{"from": "processor:listed"})]}


def write_manifest(folder, folds, rows, coverage, sources, labels):
    """Writes `athanor.json`; `rows` become its self-tests."""
    entries = [member_entry(fold, folder / f"fold{number}.pt") for number, fold in enumerate(folds)]
    tests = [{"inputs": {"smiles": [row["smiles"]]},
              "outputs": {"tg_mean": [row["mean"]], "tg_std": [row["std"]], "tg_low": [row["low"]],
                          "tg_high": [row["high"]], **{f"{name}_mean": [row[f"{name}_mean"]] for name in labels}},
              "tolerance": TOLERANCE} for row in rows]
    write_json(folder / "athanor.json", {
        "athanor": 1, "name": "glass-transition", "version": VERSION,
        "description": "Glass transition temperature of homopolymers from the repeat unit, in kelvin: five members of "
                       "boosted trees and networks on Morgan counts; their mean, their population standard deviation, "
                       f"and an interval that covers {100 * coverage:.0f} % of held-out polymers. Trained on "
                       f"{'; '.join(sources)}. See MODEL_CARD.md.",
        "backend": "torch", "format": "torchscript",
        "processor": {"name": "polymer-graph", "inputs": ["smiles"],
                     "options": {"domain": "domain.json", "identifiers": True},
                     "digests": {"domain.json": digest(folder / "domain.json")}},
        **signature(labels), "members": entries, "batching": {"max_items": 64, "max_cost": 8000}, "self_test": tests})


def write_oracle(path, rows):
    """Writes what Python answers for the exported folds, as the reference of the parity tests."""
    write_json(path, {"unit": "K", "spread": "population standard deviation over the folds",
                      "made_with": f"torch {torch.__version__.split('+')[0]}, one polymer at a time", "rows": rows})


def write_cross_validation(path, facts, measured, predicted):
    """Writes the figures of all, `facts`, and the parity pairs of the table that may be shown, without structures or names."""
    pairs = [[float(value), round(float(guess), 1)] for value, guess in zip(measured, predicted)]
    write_json(path, {"unit": "K", **facts, "columns": ["measured", "predicted by the fold that did not see it"],
                      "pairs": pairs})


def write_card(folder, figures):
    """Fills the model card's template with the figures of this training."""
    template = pathlib.Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(template.format_map(figures), encoding="utf-8")


def export(folder, members, folds, chains, shown, coverage, tool, sources, labels):
    """Writes everything that serving needs; `chains` are one graph each, `shown` those of a table that
    may be told; `coverage` are the figures of the intervals; `sources` say where each table is from; `labels` are the units of
    the further labels by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    exported = write_members(members, folder)
    write_domain(folder / "domain.json", chains, shown, tool)
    write_json(folder / "calibration.json", coverage)
    tested = DEMO + PLAIN + DRIFTING
    rows = answers(exported, tool, tested + FURTHER, labels)
    write_oracle(folder / "oracle.json", rows)
    write_manifest(folder, folds, rows[:len(tested)], coverage["coverage"], sources, labels)
