"""Runs `polymers build` as its users do: what it makes of monomers, and what it refuses.

build_test.py PROGRAM
"""

import csv
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)


class Build(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def build(self, *arguments, status=0):
        result = subprocess.run([PROGRAM, "build", *map(str, arguments)], capture_output=True, check=False)
        self.assertEqual(result.returncode, status, result.stderr.decode())
        return result.stdout.decode(), result.stderr.decode()

    # mutant: the monomers are predicted in the place of what was built
    # mutant: every oligomer has the same seed
    # mutant: monomers are not split at dots
    def test_polymers_are_built_from_monomers(self):
        output, _ = self.build("O=C(O)c1ccc(C(=O)O)cc1.OCCO", "--degree", 4)
        self.assertIn("mechanism    ester\nrepeat unit  *OCCOC(=O)c1ccc(C(*)=O)cc1\n4-mer ", output)
        separate, _ = self.build("O=C(O)c1ccc(C(=O)O)cc1", "OCCO", "--degree", 4)
        self.assertEqual(separate, output)
        output, _ = self.build("C=CC#N", "C=Cc1ccccc1", "--proportions", "1,3", "--count", 5)
        self.assertIn("repeat unit  none", output)
        self.assertEqual(len(set(output.splitlines()[2:])), 5)
        out = self.folder / "out.csv"
        self.build("C=Cc1ccccc1", "--predict", "--out", out)
        with open(out, newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        self.assertEqual(row["smiles"], "*CC(*)c1ccccc1")
        self.assertGreater(float(row["tg_k"]), 300)

    # mutant: what was built must pass for a polymer by its size
    # mutant: what tacticity does not change is not told
    def test_short_and_tactic_chains_are_predicted_as_what_they_are(self):
        output, _ = self.build("C=C", "C=CC", "--degree", 8, "--predict")
        self.assertRegex(output, r"(?m)^CC\S+ +\d+ +\d+ to \d+  no repeat unit$")
        self.assertNotIn("--meso", output)
        output, _ = self.build("C=CC", "--meso", 1, "--degree", 10, "--predict")
        self.assertIn("--meso changes the SMILES, not the temperature", output)

    # mutant: a seed is what CLI11 makes of it
    def test_a_seed_is_a_whole_number(self):
        for seed in ("-1", "18446744073709551616", "1.5"):
            _, errors = self.build("C=C", "--seed", seed, status=2)
            self.assertIn(f"--seed: expected a whole number from 0 to 18446744073709551615, got {seed}", errors)
        self.build("C=C", "--seed", "18446744073709551615")

    def test_what_cannot_be_built_is_refused_with_what_is_missing(self):
        _, errors = self.build("CCC", "OCCO", "--mechanism", "ester", status=1)
        self.assertIn("monomer 1 (CCC): ester joins aliphatic alcohol and carboxylic acid", errors)
        _, errors = self.build("C=C", "--mechanism", "esther", status=1)
        self.assertIn("mechanism: expected one of vinyl, acrylate", errors)
        self.build(status=2)
        self.build("C=C", "--out", self.folder / "out.csv", status=2)
        self.build("C=C", "--count", 0, status=2)


if __name__ == "__main__":
    unittest.main()
