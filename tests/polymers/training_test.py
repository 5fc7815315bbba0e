"""Trains a small model by examples/polymers/train.py, as somebody with a table of their own does.

training_test.py GRAPH_TOOL PROGRAM, by a Python that has what `scripts/setup --train` brings
"""

import csv
import json
import math
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import lightgbm  # noqa: F401
    import numpy as np
    import rdkit  # noqa: F401
    import torch
    import xxhash  # noqa: F401
except ImportError as missing:
    print(f"left out: {missing}")
    sys.exit()

GRAPH_TOOL = sys.argv.pop(1)
PROGRAM = sys.argv.pop(1)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "polymers"
sys.path.insert(0, str(EXAMPLE))
import train  # noqa: E402
from training import folds, graphs, network  # noqa: E402

ENDS = ["C", "CC", "O", "OC", "Cl", "F", "C#N", "c1ccccc1", "C(=O)OC", "OC(C)=O", "C(N)=O", "C(F)(F)F"]


def density_of(smiles):
    """A made value that the chain decides and its temperature does not."""
    return 1 + 0.1 * smiles.count("O") + 0.2 * smiles.count("F") + 0.3 * smiles.count("Cl")


def write_table(path):
    """300 vinyl polymers, each in two spellings with its own value, and a density for one of the two; returns their number."""
    tails = [first + second for first in ("", "C", "CC", "CCC", "CCCC") for second in ENDS]
    units = [(f"*C{middle}C(*){tail}", f"*C({tail})C{middle}*") for middle in ("", "C", "CC", "O", "N") for tail in tails]
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["smiles", "tg_k", "density"])
        for number, spellings in enumerate(units):
            for place, spelling in enumerate(spellings):
                rows.writerow([spelling, 200 + 7 * len(spelling) + number % 5, "" if place else density_of(spelling)])
    return len(units)


class Training(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        self.table = self.folder / "table.csv"
        self.units = write_table(self.table)

    def training(self):
        return subprocess.Popen([sys.executable, "-u", EXAMPLE / "train.py", self.table, "--show", "1", "--label", "density:g/cm3", "--graph-tool", GRAPH_TOOL, "--work", self.folder / "work", "--out", self.folder / "model"], stdout=subprocess.PIPE, text=True)

    def test_all_spellings_of_a_chain_are_in_one_fold(self):
        rows = graphs.read_table(self.table, 1, GRAPH_TOOL)
        self.assertEqual(len(rows), 2 * self.units)
        groups = graphs.group_by_chain([row.graph for row in rows])
        fold_of = folds.assign_folds(groups, 5, 1)
        self.assertTrue((fold_of[::2] == fold_of[1::2]).all())
        self.assertLess(max(map(list(fold_of).count, range(5))) - min(map(list(fold_of).count, range(5))), 10)

    def test_rows_and_tables_may_lack_some_of_several_labels(self):
        self.table.write_text("smiles,density\n*CC*,0.85\n*CC(*)C,0.84\n")
        rows = graphs.read_table(self.table, 1, GRAPH_TOOL, ["density", "band_gap"])
        self.assertEqual([row.labels[0] for row in rows], [0.85, 0.84])
        self.assertTrue(all(math.isnan(value) for row in rows for value in (row.measured, row.labels[1])))
        self.assertEqual(graphs.repeated_chains(rows, [0, 0]), [])
        self.table.write_text("smiles,tg_k,density\n*CC*,,\n")
        with self.assertRaisesRegex(SystemExit, r"row 1: tg_k, density: expected at least one value, got none"):
            graphs.read_table(self.table, 1, GRAPH_TOOL, ["density"])
        self.table.write_text("smiles,tg_k,density\n*CC*,,much\n")
        with self.assertRaisesRegex(SystemExit, r"row 1: density: expected a number, got 'much'"):
            graphs.read_table(self.table, 1, GRAPH_TOOL, ["density"])
        with self.assertRaisesRegex(SystemExit, r"row 1: tg_k: expected a temperature in kelvin, got ''"):
            graphs.read_table(self.table, 1, GRAPH_TOOL)
        self.table.write_text("smiles,density\n*CC*,0.85\n")
        with self.assertRaisesRegex(SystemExit, r"no column tg_k$"):
            graphs.read_table(self.table, 1, GRAPH_TOOL)

    def test_nothing_is_learned_of_a_label_that_a_row_lacks(self):
        rows = [(np.array([number % 4]), np.ones(1, np.float32)) for number in range(400)]
        place = np.array([row[0][0] for row in rows], float)
        measured = np.column_stack([300 + 10 * place, place])
        measured[100:, 1] = np.nan
        recipe = network.Recipe(epochs=40, dropout=0, forget=0)
        fitted = network.train(rows, measured, np.ones(400), 4, recipe, 1, lambda epoch, loss: None)
        with torch.inference_mode():
            found = fitted.network(*network.joined(rows[:4])).numpy() * fitted.scale + fitted.center
        for row in range(4):
            self.assertAlmostEqual(found[row, 0], 300 + 10 * row, delta=3)
            self.assertAlmostEqual(found[row, 1], row, delta=0.3)

    def test_too_few_values_to_train_with_are_told(self):
        values = np.full((600, 1), np.nan)
        values[:49] = 1
        with self.assertRaisesRegex(SystemExit, "^49 values of density in all; 50 are the fewest to train with$"):
            train.check_numbers(np.ones(600), values, ["density"])
        with self.assertRaisesRegex(SystemExit, "^499 temperatures in all; 500 are the fewest to train 5 folds with$"):
            train.check_numbers(np.where(np.arange(600) < 499, 300, np.nan), values, ["density"])

        with self.assertRaisesRegex(SystemExit, "^4 chains in all; 5 are the fewest for as many folds$"):
            train.check_chains(np.arange(600) % 4)
        train.check_chains(np.arange(600) % 5)

    def test_a_row_that_cannot_be_read_is_told_with_its_place(self):
        for text, words in (("smiles,tg_k\n*CC*,200\n*C(,200\n", r"row 2: the graph tool refuses '\*C\(': "),
                            ("tg_k,smiles\n200\n", "row 1: smiles: expected one line of text, got None$"),
                            ('smiles,tg_k\n"*CC\n*",200\n', r"row 1: smiles: expected one line of text, got '\*CC\\n\*'$"),
                            (f"smiles,tg_k,note\n*CC*,200,{'x' * 200_000}\n", "cannot be read: field larger")):
            self.table.write_text(text)
            with self.assertRaisesRegex(SystemExit, "^" + str(self.table) + ": " + words):
                graphs.read_table(self.table, 1, GRAPH_TOOL)

    def test_what_would_fail_behind_the_training_is_told_before_it(self):
        for words, status, said in ((["--show", "2"], 2, "expected the number of a table, 1 to 1, got 2"), (["--show", "0"], 2, "got 0"),
                                    (["--out", self.table / "model"], 1, "expected a folder that can be written to"),
                                    (["--work", self.table], 1, "expected a folder that can be written to")):
            refused = subprocess.run([sys.executable, EXAMPLE / "train.py", self.table, "--graph-tool", GRAPH_TOOL, "--work", self.folder / "work", *words], capture_output=True, text=True, check=False)
            self.assertEqual(refused.returncode, status, refused.stderr)
            self.assertIn(said, refused.stderr)

    def test_a_damaged_kept_fold_is_trained_again(self):
        kept = self.folder / "fold0.kept"
        torch.save({"fingerprint": "x", "fold": 7}, kept)
        self.assertEqual(folds.load(kept, "x"), 7)
        whole = kept.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            kept.write_bytes(whole[:size])
            self.assertIsNone(folds.load(kept, "x"), size)

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
        label = re.search(r"\| density \[g/cm3\] \| 300 \| ([\d.]+) \| ([\d.]+) \|", card)
        self.assertLess(float(label[1]), 0.5 * float(label[2]), card)
        manifest = json.loads((self.folder / "model" / "athanor.json").read_text())
        self.assertEqual({one["name"]: one.get("unit") for one in manifest["outputs"] if "density" in one["name"]},
                         {"density_mean": "g/cm3", "density_std": "g/cm3"})
        self.assertTrue(all("density_mean" in test["outputs"] for test in manifest["self_test"]))
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
