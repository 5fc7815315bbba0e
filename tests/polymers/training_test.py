"""Trains a small model by examples/polymers/train.py, as somebody with a table of their own does.

training_test.py GRAPH_TOOL PROGRAM, by a Python that has what `scripts/setup --train` brings
"""

import csv
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import lightgbm  # noqa: F401
    import rdkit  # noqa: F401
    import torch  # noqa: F401
    import xxhash  # noqa: F401
except ImportError as missing:
    print(f"left out: {missing}")
    sys.exit()

GRAPH_TOOL = sys.argv.pop(1)
PROGRAM = sys.argv.pop(1)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "polymers"
sys.path.insert(0, str(EXAMPLE))
from training import folds, graphs  # noqa: E402

ENDS = ["C", "CC", "O", "OC", "Cl", "F", "C#N", "c1ccccc1", "C(=O)OC", "OC(C)=O", "C(N)=O", "C(F)(F)F"]


def write_table(path):
    """300 vinyl polymers, each in two spellings with its own value; returns their number."""
    tails = [first + second for first in ("", "C", "CC", "CCC", "CCCC") for second in ENDS]
    units = [(f"*C{middle}C(*){tail}", f"*C({tail})C{middle}*") for middle in ("", "C", "CC", "O", "N") for tail in tails]
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["smiles", "tg_k"])
        for number, spellings in enumerate(units):
            for spelling in spellings:
                rows.writerow([spelling, 200 + 7 * len(spelling) + number % 5])
    return len(units)


class Training(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        self.table = self.folder / "table.csv"
        self.units = write_table(self.table)

    def training(self):
        return subprocess.Popen([sys.executable, "-u", EXAMPLE / "train.py", self.table, "--show", "1", "--graph-tool", GRAPH_TOOL, "--work", self.folder / "work", "--out", self.folder / "model"], stdout=subprocess.PIPE, text=True)

    def test_all_spellings_of_a_chain_are_in_one_fold(self):
        rows = graphs.read_table(self.table, 1, GRAPH_TOOL)
        self.assertEqual(len(rows), 2 * self.units)
        groups = graphs.group_by_chain([row.graph for row in rows])
        fold_of = folds.assign_folds(groups, 5, 1)
        self.assertTrue((fold_of[::2] == fold_of[1::2]).all())
        self.assertLess(max(map(list(fold_of).count, range(5))) - min(map(list(fold_of).count, range(5))), 10)

    def test_values_that_contradict_each_other_are_named_with_their_rows(self):
        self.table.write_text("smiles,tg_k\n*CC(*)C,250\n*CC*,200\n*CCCC*,231\n*C(C)C*,255\n")
        rows = graphs.read_table(self.table, 1, GRAPH_TOOL)
        repeated = graphs.repeated_chains(rows, graphs.group_by_chain([row.graph for row in rows]))
        self.assertIn("2 chains occur more than once", graphs.describe_contradictions(repeated))
        self.assertIn("by more than 30 K in 1 of them", graphs.describe_contradictions(repeated))
        self.assertEqual(graphs.list_contradictions(repeated).split("\n"), ["   31.0 K apart", "     200.0 K  table 1, row 2: *CC*", "     231.0 K  table 1, row 3: *CCCC*", "    5.0 K apart", "     250.0 K  table 1, row 1: *CC(*)C", "     255.0 K  table 1, row 4: *C(C)C*"])

    def test_an_interrupted_training_goes_on_and_its_model_is_what_python_says(self):
        with self.training() as first:
            for line in first.stdout:
                if line.startswith("fold 2/5"):
                    first.kill()
        self.assertTrue((self.folder / "work" / "fold0.kept").exists())
        self.assertFalse((self.folder / "model").exists())
        with self.training() as second:
            said = second.stdout.read()
        self.assertEqual(second.returncode, 0, said)
        self.assertEqual(said.count("kept from an earlier run"), 1, said)
        figures = json.loads((self.folder / "model" / "cross_validation.json").read_text())
        self.assertEqual(figures["sources"], [f"{2 * self.units} rows: table.csv"])
        self.assertEqual(figures["pairs_of"], "table.csv")
        card = (self.folder / "model" / "MODEL_CARD.md").read_text()
        self.assertNotIn("PolyMetriX", card)
        self.assertNotIn("CC BY", card)
        self.assertNotIn("second table", card)
        self.assertIn("All rows count alike.", card)
        self.assertIn("There is no other table.", card)
        self.assertIn("`in_table` is 1 for a chain of table 1, in any spelling", card)
        oracle = json.loads((self.folder / "model" / "oracle.json").read_text())["rows"]
        asked = "".join(json.dumps(row["smiles"]) + "\n" for row in oracle)
        run = subprocess.run([PROGRAM, "predict", "--plain", "--jsonl", "-", "--out", self.folder / "out.jsonl", "--model", self.folder / "model"], input=asked, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        answers = [json.loads(line) for line in (self.folder / "out.jsonl").read_text().splitlines()]
        for row, answer in zip(oracle, answers, strict=True):
            self.assertAlmostEqual(answer["tg_k"], row["mean"], delta=1e-5 * row["mean"])
            self.assertAlmostEqual(answer["tg_low_k"], row["low"], delta=1e-5 * row["mean"])


if __name__ == "__main__":
    unittest.main()
