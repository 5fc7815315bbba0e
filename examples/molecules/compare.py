"""compare.py PROGRAM FOLDER [FILE [COUNT]]: ADMET-AI in Python against the model that export.py made of it, from SMILES.

PROGRAM is athanor-molecules, FOLDER the model's; FILE has a SMILES at the beginning of each line (by default, the drugs of
ADMET-AI's own table), of which the first COUNT are compared (1000). Prints the largest difference, each divided by the
value or by 1, whichever is larger, and fails if one is above 1e-4. RDKit of another year may see another molecule in some
SMILES; athanor-molecules has the RDKit that it was built with.
"""

import csv
import json
import subprocess
import sys

import rdkit
from admet_ai import ADMETModel

import admet

LARGEST = 1e-4


def molecules(path, count):
    if path is None:
        with open(admet.folder() / "resources" / "data" / "drugbank_approved.csv") as table:
            return [row["smiles"] for row in csv.DictReader(table)][:count]
    return [line.split()[0] for line in open(path) if line.strip()][:count]


def main(program, folder, path=None, count=1000):
    given = list(dict.fromkeys(molecules(path, int(count))))
    run = subprocess.run([program, folder], input="\n".join(given) + "\n", capture_output=True, text=True, check=True)
    answers = {row["smiles"]: row for row in map(json.loads, run.stdout.splitlines())}
    table = ADMETModel(include_physchem=False, drugbank_path=None).predict(given)
    names = {kind: admet.properties(kind) for kind in admet.files()}
    worst, unequal = (0.0, "", ""), {}
    compared = [smiles for smiles in table.index if "error" not in answers[smiles]]
    for smiles in compared:
        expected = table.loc[smiles]
        for kind, properties in names.items():
            for name, value in zip(properties, answers[smiles][f"{kind}_mean"], strict=True):
                difference = abs(value - expected[name]) / max(1.0, abs(expected[name]))
                if difference > LARGEST:
                    unequal[smiles] = max(unequal.get(smiles, 0.0), difference)
                else:
                    worst = max(worst, (difference, name, smiles))
    print(f"{len(compared)} molecules, {sum(map(len, names.values()))} properties each, RDKit {rdkit.__version__} in Python")
    print(f"within {LARGEST:g}: {len(compared) - len(unequal)}; the largest difference of these {worst[0]:.2g}, {worst[1]} of "
          f"{worst[2]}")
    for smiles, difference in unequal.items():
        print(f"differs by {difference:.2g}: {smiles}")
    for smiles in given:
        if (smiles in table.index) != ("error" not in answers[smiles]):
            print(f"refused by {'Athanor' if smiles in table.index else 'Python'} alone: {smiles}"
                  f" {answers[smiles].get('error', '')}")
    return 1 if unequal or not compared else 0


sys.exit(main(*sys.argv[1:]))
