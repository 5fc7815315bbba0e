"""Classes of polymers, for figures by class: the first pattern that a repeat unit has names its class."""

from rdkit import Chem

PATTERNS = [
    ("polyimides", "C(=O)N(*)C(=O)"),
    ("polyurethanes and polyureas", "[O,N;!R]C(=O)[NX3;!R]"),
    ("polycarbonates", "[OX2]C(=O)[OX2]"),
    ("polyamides", "C(=O)[NX3]"),
    ("siloxanes and silanes", "[Si]"),
    ("phosphazenes and other phosphorus", "[P,p]"),
    ("acrylates and methacrylates", "[CH2]C(*)C(=O)[OX2]"),
    ("polyesters", "C(=O)[OX2]"),
    ("aromatic sulfones, ketones, ethers, sulfides", "c[O,S,$(S(=O)=O),$(C=O)]c"),
    ("vinyls with aromatic side groups", "[CH2][C;!R]c"),
    ("with other aromatic rings", "a"),
    ("with fluorine or chlorine", "[F,Cl]"),
    ("aliphatic ethers and acetals", "C[OX2]C"),
]
COMPILED = [(name, Chem.MolFromSmarts(pattern)) for name, pattern in PATTERNS]
OTHER = "other"


def class_of(smiles):
    """The class of a repeat unit."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return OTHER
    return next((name for name, pattern in COMPILED if molecule.HasSubstructMatch(pattern)), OTHER)
