"""export.py FOLDER: the published networks of ADMET-AI as a model that Athanor runs from SMILES.

ADMET-AI (https://github.com/swansonk14/admet_ai, MIT) predicts absorption, distribution, metabolism, excretion and toxicity
of drug-like molecules; its wheel holds two ensembles of five networks of chemprop 2. Member i of the model made here holds
network i of both. Needs admet-ai 2.0.1 from PyPI (and with it chemprop, rdkit and torch).
"""

import json
import sys
from pathlib import Path

import torch
import xxhash
from chemprop.data import BatchMolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.models import load_model
from chemprop.nn import NormAggregation
from rdkit import Chem
from torch import Tensor, nn

import admet

SELF_TEST = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "[Na+].[Cl-]"]


class Network(nn.Module):
    """One network: messages along directed edges, a sum over atoms, a head; for a batch that lies end to end."""

    def __init__(self, model):
        super().__init__()
        messages, head = model.message_passing, model.predictor
        assert isinstance(model.agg, NormAggregation) and isinstance(model.bn, nn.Identity)
        self.first, self.between, self.last = messages.W_i, messages.W_h, messages.W_o
        self.rounds, self.norm = int(messages.depth) - 1, float(model.agg.norm)
        self.head = nn.Sequential(*[layer for block in head.ffn for layer in block])
        self.classifies = "Classification" in type(head).__name__
        scaled = not self.classifies
        self.register_buffer("scale", head.output_transform.scale.clone() if scaled else torch.ones(1))
        self.register_buffer("center", head.output_transform.mean.clone() if scaled else torch.zeros(1))

    def forward(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor, reverse: Tensor, graph: Tensor,
                graphs: int) -> Tensor:
        start = self.first(torch.cat([atom.index_select(0, source), bond], 1))
        state = torch.relu(start)
        nothing = torch.zeros([atom.size(0), start.size(1)], dtype=atom.dtype, device=atom.device)
        for _ in range(self.rounds):
            arriving = nothing.index_add(0, target, state).index_select(0, source)
            state = torch.relu(start + self.between(arriving - state.index_select(0, reverse)))
        atoms = torch.relu(self.last(torch.cat([atom, nothing.index_add(0, target, state)], 1)))
        empty = torch.zeros([graphs, start.size(1)], dtype=atom.dtype, device=atom.device)
        answers = self.head(empty.index_add(0, graph, atoms) / self.norm)
        return torch.sigmoid(answers) if self.classifies else answers * self.scale + self.center


class Member(nn.Module):
    """A network of each kind."""

    def __init__(self, regression, classification):
        super().__init__()
        self.regression, self.classification = Network(regression), Network(classification)

    def forward(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor, reverse: Tensor, graph: Tensor,
                graphs: Tensor) -> dict[str, Tensor]:
        count = int(graphs)
        return {"regression": self.regression(atom, bond, source, target, reverse, graph, count),
                "classification": self.classification(atom, bond, source, target, reverse, graph, count)}


def manifest(members, properties, expected):
    """The text of athanor.json."""
    edges = {"dtype": "i64", "shape": ["edges"]}
    widths = {kind: len(names) for kind, names in properties.items()}
    return json.dumps({
        "athanor": 1, "name": "admet-ai", "version": "2.0.1",
        "description": "ADMET-AI 2.0.1: " + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in properties.items()),
        "backend": "torch", "format": "torchscript",
        "processor": {"name": "chemprop-graph", "inputs": ["smiles"]},
        "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"], "max_bytes": 8192}],
        "model_inputs": [
            {"name": "atom", "dtype": "f32", "shape": ["atoms", 72]}, {"name": "bond", "dtype": "f32", "shape": ["edges", 14]},
            {"name": "source", **edges, "index_of": "atoms"}, {"name": "target", **edges, "index_of": "atoms"},
            {"name": "reverse", **edges, "index_of": "edges"},
            {"name": "graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
            {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"}],
        "model_outputs": [{"name": kind, "dtype": "f32", "shape": ["items", width]} for kind, width in widths.items()],
        "outputs": [{"name": f"{kind}_{statistic}", "dtype": "f32", "shape": ["items", width], "from": f"{statistic}:{kind}"}
                    for kind, width in widths.items() for statistic in ("mean", "std")],
        "members": members,
        "batching": {"max_items": 64, "max_cost": 20000},
        "self_test": [{"inputs": {"smiles": SELF_TEST}, "outputs": expected, "tolerance": 1e-4}]}, indent=1)


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = admet.files()
    properties = {kind: admet.properties(kind) for kind in files}
    batch = BatchMolGraph([SimpleMoleculeMolGraphFeaturizer()(Chem.MolFromSmiles(smiles)) for smiles in SELF_TEST])
    source, target = batch.edge_index
    members, answers = [], []
    for number, paths in enumerate(zip(files["regression"], files["classification"])):
        models = [load_model(path, multicomponent=False).eval() for path in paths]
        file = folder / f"member{number}.pt"
        member = torch.jit.freeze(torch.jit.script(Member(*models).eval()))
        with torch.inference_mode():
            answers.append(member(batch.V, batch.E, source, target, batch.rev_edge_index, batch.batch,
                                  torch.tensor([len(SELF_TEST)])))
            for kind, model in zip(("regression", "classification"), models):
                assert torch.allclose(answers[-1][kind], model(batch), rtol=1e-5, atol=1e-6), f"{file}: {kind}"
        member.save(str(file))
        members.append({"file": file.name, "digest": f"xxh128:{xxhash.xxh128_hexdigest(file.read_bytes())}"})
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")
    expected = {f"{kind}_mean": torch.stack([answer[kind] for answer in answers]).mean(0).tolist() for kind in properties}
    (folder / "athanor.json").write_text(manifest(members, properties, expected) + "\n")


main(*sys.argv[1:])
