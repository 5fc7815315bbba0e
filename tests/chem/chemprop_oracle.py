"""Writes what chemprop makes of some molecules, for chemprop_test.cpp and networks_test.cpp to compare with.

chemprop_oracle.py > chemprop_oracle.tsv          the molecules below, for the tree
chemprop_oracle.py FILE > OTHER                   a file of SMILES, one a line

Columns, separated by tabs: SMILES; atoms by the table v2; atoms by v1; bonds; two answers of a small network on v2. An
atom is the places of its ones, joined by commas, and after a colon its last feature, the mass; a bond is its two atoms and
after a colon the places of its ones. Parameter i of each matrix of the network is 0.125 * ((7 * i + 3) % 11) - 0.5.

Needs chemprop 2.2 (MIT, https://github.com/chemprop/chemprop) from PyPI.
"""

import sys

import torch
from chemprop.data import BatchMolGraph
from chemprop.featurizers import MultiHotAtomFeaturizer, SimpleMoleculeMolGraphFeaturizer
from chemprop.models import MPNN
from chemprop.nn import BondMessagePassing, NormAggregation, RegressionFFN
from rdkit import Chem

MOLECULES = """
C O [Na+].[Cl-] [He] CCO C=C C#N [C-]#[O+] CC(=O)Oc1ccccc1C(=O)O Cn1cnc2c1c(=O)n(C)c(=O)n2C c1ccc2[nH]ccc2c1
N[C@@H](C)C(=O)O N[C@H](C)C(=O)O C[C@@](F)(Cl)Br C/C=C/C C/C=C\\C F/C=C/C=C\\F C[C@H]1CC[C@@H](C)CC1 C/C=C/[C@H](O)C CC=CC
[2H]C([2H])([2H])O [13CH3]C [H][H] [H]C([H])=O [NH4+] [OH-] C[N+](C)(C)CC(=O)[O-] O=[N+]([O-])c1ccccc1 [Fe+2] [Ca+2].[O-2]
FS(F)(F)(F)(F)F P(Cl)(Cl)(Cl)(Cl)Cl CS(C)(=O)=O OP(=O)(O)O Ic1ccccc1 [Se]1C=CC=C1 C[Si](C)(C)C B1OCCO1 C[Hg]C [U] *CC(*)C
C1CC1 C12CC1C2 c1ccccc1-c1ccccc1 C1=CC=CC=CC=C1 O=C1C=CC(=O)C=C1 CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O
C[C@]12CC[C@H]3[C@H]([C@@H]1CC[C@@H]2O)CCC4=CC(=O)CC[C@]34C N#Cc1ccc(cc1)C(c1ccc(cc1)C#N)n1cncn1 [O-][Cl+3]([O-])([O-])[O-]
CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O C/N=C/c1ccccc1 C/C(=N\\O)C
""".split()


def ones(values):
    return ",".join(str(place) for place in values.nonzero()[0])


def small_network():
    network = MPNN(BondMessagePassing(d_h=8, depth=3), NormAggregation(norm=100), RegressionFFN(2, input_dim=8, hidden_dim=8))
    with torch.no_grad():
        for parameter in network.parameters():
            place = torch.arange(parameter.numel())
            parameter.copy_((0.125 * ((7 * place + 3) % 11) - 0.5).view_as(parameter))
    return network.eval()


def main(arguments):
    given = [line.split()[0] for line in open(arguments[0])] if arguments else MOLECULES
    tables = [SimpleMoleculeMolGraphFeaturizer(table) for table in (MultiHotAtomFeaturizer.v2(), MultiHotAtomFeaturizer.v1())]
    network = small_network()
    for smiles in given:
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            continue
        graphs = [table(molecule) for table in tables]
        columns = [smiles]
        for graph in graphs:
            columns.append(" ".join(f"{ones(row[:-1])}:{row[-1]:.6g}" for row in graph.V))
        source, target = graphs[0].edge_index
        columns.append(" ".join(f"{a}-{b}:{ones(row)}" for a, b, row in zip(source, target, graphs[0].E)))
        with torch.inference_mode():
            answers = network(BatchMolGraph([graphs[0]]))[0]
        columns.append(" ".join(f"{float(value):.9g}" for value in answers))
        print("\t".join(columns))


main(sys.argv[1:])
