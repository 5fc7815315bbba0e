"""Writes all polymers that m2p can make of sets of monomers, for polymerise_test.cpp to compare with.

m2p_products.py > m2p_products.tsv            the sets below, for the tree
m2p_products.py CSV [DEGREE...] > FILE        PolyID's sets: a CSV with a column smiles_monomer, monomers joined by dots

m2p chooses at random. Here each of its choices is taken in every way, so that a line holds the whole set of products:
mechanism, degree, share of meso diads or -, monomers, products, separated by tabs; products are joined by blanks.
Choices between equal products count once.

Needs m2p 0.1.8.3 (BSD 3-clause, https://github.com/NREL/m2p) and RDKit, from PyPI:
    pip install 'rdkit==2022.9.5' 'numpy<2' 'pandas<2.2' casadi tqdm && pip install --no-deps m2p==0.1.8.3
PolyID's sets: https://github.com/NREL/polyID, commit 4d90036, data/example_monomer_smiles.csv (BSD 3-clause).
"""

import csv
import random
import sys
import warnings

import numpy
import pandas
from m2p import PolyMaker
from m2p.stereo_reactions import polyester_stereo, polyvinyl_stereo
from rdkit import Chem, RDLogger

warnings.simplefilter("ignore")
RDLogger.DisableLog("rdApp.*")

BISPHENOL = "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1"
PYROMELLITIC = "O=C1OC(=O)c2cc3c(cc12)C(=O)OC3=O"
OXYDIANILINE = "Nc1ccc(Oc2ccc(N)cc2)cc1"
MDI = "O=C=Nc1ccc(Cc2ccc(N=C=O)cc2)cc1"
BISCARBONATE = "O=C1OCC(CCC2COC(=O)O2)O1"
# An odd degree of an imide is left out: m2p asks there for carboxylic acids where it means anhydrides, so that it never
# lets a chain end with two of them.
SETS = [
    ("vinyl", [2, 3, 10], "C=C"),
    ("vinyl", [2, 3, 4], "C=CC"),
    ("vinyl", [2, 3], "C=Cc1ccccc1"),
    ("vinyl", [2, 3], "C=C(C)C(=O)OC"),
    ("vinyl", [2], "C=CC#N.C=CC(=O)OC"),
    ("vinyl", [2, 3], "O=C1C=CC(=O)O1.C=Cc1ccccc1"),
    ("vinyl", [2, 5], "FC(F)=C(F)F"),
    ("vinyl", [2, 3], "C=C(F)F"),
    ("vinyl", [2], "C=CC=C"),
    ("vinyl", [2, 3], "CCOC(=O)/C=C/C(=O)OCC"),
    ("vinyl", [2, 3], "C1=CC2CCC1C2"),
    ("acrylate", [2, 3], "C=C(C)C(=O)OC"),
    ("acrylate", [2, 3], "C=CC(=O)OC.C=C(C)C(=O)OC"),
    ("acrylate", [2], "C=CC(=O)N.C=CC(=O)OCCCC"),
    ("ester", [2, 3, 4, 6], "O=C(O)c1ccc(C(=O)O)cc1.OCCO"),
    ("ester", [2, 3, 4], "O=C(Cl)CCCCC(=O)Cl.OCCO"),
    ("ester", [2, 3, 4], "CC(O)C(=O)O"),
    ("ester", [2, 3], "CC(O)C(=O)O.O=C(O)CO"),
    ("ester", [2, 3], "C[C@@H](O)CC(=O)O.CC(C)(CO)CO.O=C(O)CCC(=O)O"),
    ("ester", [2, 3], "OCC(O)CO.O=C(O)CCCCC(=O)O"),
    ("ester", [2, 3, 4], "O=C(O)/C=C/C(=O)O.CC(O)CO"),
    ("ester", [2, 3], "OCCO.O=C([O-])CC(=O)[O-]"),
    ("amide", [2, 3, 4, 6], "NCCCCCCN.O=C(O)CCCCC(=O)O"),
    ("amide", [2, 6], "NCCCCCC(=O)O"),
    ("amide", [2, 3, 4], "C[C@H](N)C(=O)O"),
    ("amide", [2, 3], "NCCCCCC(=O)O.NCCCCCCN.O=C(O)CCCCC(=O)O"),
    ("amide", [2, 3], "Nc1ccc(-c2ccc(N)c(N)c2)cc1N.O=C(O)c1cccc(C(=O)O)c1"),
    ("imide", [2, 4, 6], f"{PYROMELLITIC}.{OXYDIANILINE}"),
    ("imide", [2, 4], f"{PYROMELLITIC}.NCCCCCCN"),
    ("carbonate", [2, 3, 4, 6], f"O=C(Cl)Cl.{BISPHENOL}"),
    ("carbonate", [2, 3, 6], f"O=C(Oc1ccccc1)Oc1ccccc1.{BISPHENOL}"),
    ("carbonate", [2, 3, 4], "COC(=O)OC.OCCCCCCO"),
    ("urethane", [2, 3, 4, 6], f"{MDI}.OCCCCO"),
    ("urethane", [2, 3], f"O=C=NCCCCCCN=C=O.{BISPHENOL}"),
    ("nipu", [2, 3, 4], f"{BISCARBONATE}.NCCCCN"),
    ("nipu", [2, 3], f"{BISCARBONATE}.Nc1ccc(N)cc1"),
]
STEREO_SETS = [
    ("vinyl", [3, 4, 5], "C=CC"),
    ("vinyl", [3, 4, 5], "C=Cc1ccccc1"),
    ("vinyl", [3, 4, 5], "C=C(C)C(=O)OC"),
    ("acrylate", [3, 4, 5], "C=CC(=O)OC"),
    ("ester", [2, 3, 4, 5], "C[C@@H](O)CC(=O)O"),
]
# Both names of chain growth mean the same code of m2p.
NAMES = {"nipu": "NIPU", "acrylate": "vinyl"}
MOST_RUNS = 20000


class Choices:
    """The choices of one run, and the next run's."""

    def __init__(self):
        self.path = []
        self.position = 0

    def take(self, count):
        if self.position == len(self.path):
            self.path.append([0, count])
        self.position += 1
        return self.path[self.position - 1][0]

    def advance(self):
        while self.path and self.path[-1][0] + 1 == self.path[-1][1]:
            self.path.pop()
        if self.path:
            self.path[-1][0] += 1
        self.position = 0
        return bool(self.path)


choices = Choices()


def choose_product(products):
    """random.choice without its repetitions."""
    key = Chem.MolToSmiles if isinstance(products[0], Chem.Mol) else Chem.CanonSmiles
    distinct = {key(product): product for product in products}
    return distinct[sorted(distinct)[choices.take(len(distinct))]]


def choose_row(frame, count=1, **_):
    if len(frame) == 0:
        raise ValueError("no row")
    row = choices.take(len(frame))
    return frame.iloc[row : row + 1]


def all_products(mechanism, degree, monomers):
    global choices
    choices = Choices()
    make = getattr(PolyMaker(), f"_PolyMaker__poly_{NAMES.get(mechanism, mechanism)}")
    products = set()
    for _ in range(MOST_RUNS):
        polymer = make(tuple(monomers), degree, [], False)[0]
        if not polymer.startswith("ERROR"):
            products.add(Chem.CanonSmiles(polymer))
        if not choices.advance():
            return products
    return None


def all_stereo_products(mechanism, degree, monomer, meso):
    numpy.random.seed(0)
    if mechanism in ("vinyl", "acrylate"):
        frame = polyvinyl_stereo([monomer], degree, 80, [1], meso)
    else:
        mirrored = monomer.replace("@@", "@")
        frame = polyester_stereo([monomer, mirrored], degree, 80, [1], meso)
    return {Chem.CanonSmiles(polymer) for polymer in frame.smiles_polymer}


def put(mechanism, degree, meso, monomers, products):
    if products is None:
        print(f"more than {MOST_RUNS} ways: {mechanism} {degree} {monomers}", file=sys.stderr)
    elif products:
        print(mechanism, degree, meso, monomers, " ".join(sorted(products)), sep="\t", flush=True)


def fits(mechanism, monomers):
    # The vinyl mechanism of m2p leaves out monomers without C=C, which polymerise refuses.
    sets = [[monomer] for monomer in monomers] if mechanism == "vinyl" else [monomers]
    return all(all_products(mechanism, 2, each) for each in sets)


def polyid_sets(path, degrees):
    for row in csv.DictReader(open(path, newline="")):
        monomers = row["smiles_monomer"]
        for mechanism in ("vinyl", "ester", "amide", "carbonate", "imide", "nipu", "urethane"):
            if fits(mechanism, monomers.split(".")):
                yield mechanism, degrees, monomers


def main():
    random.choice = choose_product
    pandas.DataFrame.sample = choose_row
    degrees = [int(degree) for degree in sys.argv[2:]] or [2, 3, 4]
    for mechanism, set_degrees, monomers in polyid_sets(sys.argv[1], degrees) if sys.argv[1:] else SETS:
        for degree in set_degrees:
            put(mechanism, degree, "-", monomers, all_products(mechanism, degree, monomers.split(".")))
    for mechanism, set_degrees, monomer in [] if sys.argv[1:] else STEREO_SETS:
        for degree in set_degrees:
            for meso in [0, 1] + ([0.5] if degree % 2 else []):
                put(mechanism, degree, meso, monomer, all_stereo_products(mechanism, degree, monomer, meso))


if __name__ == "__main__":
    main()
