"""Runs the program `polymers` as its users do: what it prints, what it writes, and how it ends.

program_test.py PROGRAM
"""

import csv
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)


class Program(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)

    def predict(self, *arguments, status=0, stdin=b"", stdout=subprocess.PIPE):
        result = subprocess.run([PROGRAM, "predict", *map(str, arguments)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False)
        errors = result.stderr.decode()
        self.assertEqual(result.returncode, status, errors)
        return (result.stdout or b"").decode(), errors

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def predict_to_csv(self, *arguments, **options):
        self.predict(*arguments, "--out", self.folder / "out.csv", **options)
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    # mutant: a bad row is left out of the table.
    def test_a_bad_row_among_good_ones_keeps_its_place_and_changes_no_neighbour(self):
        path = self.write("in.csv", 'name,smiles\na,*CC*\n"b, bad",C1CC\nc,*CC(*)C\nd,\ne,*CC(*)Cl\n')
        rows = self.predict_to_csv("--csv", path)
        self.assertEqual([row["name"] for row in rows], ["a", "b, bad", "c", "d", "e"])
        self.assertIn("byte 1", rows[1]["error"])
        self.assertIn("empty", rows[3]["error"])
        alone = {row["smiles"]: row["tg_k"] for smiles in ("*CC*", "*CC(*)C", "*CC(*)Cl") for row in self.predict_to_csv(smiles)}
        for row in rows:
            self.assertEqual(row["error"] == "", row["smiles"] in alone)
            if not row["error"]:
                self.assertAlmostEqual(float(row["tg_k"]), float(alone[row["smiles"]]), delta=0.011)

    # mutant: read_jsonl drops the name.
    def test_json_lines_in_and_out(self):
        path = self.write("in.jsonl", '"*CC*"\n\n{"smiles": "*CC(*)C", "name": "polypropylene"}\n{"smiles": "(("}\n')
        out = self.folder / "out.jsonl"
        self.predict("--jsonl", path, "--out", out)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([row["smiles"] for row in rows], ["*CC*", "*CC(*)C", "(("])
        self.assertEqual(rows[1]["name"], "polypropylene")
        self.assertTrue(rows[0]["repeat_unit"])
        self.assertGreater(rows[0]["tg_k"], 50)
        self.assertIn("error", rows[2])

    # mutant: the SMILES are an option of CLI11, which takes the first of these for a list.
    def test_brackets_at_both_ends_belong_to_the_smiles(self):
        rows = self.predict_to_csv("[*]CC[*]", "[Na+]", "--", "*CC*")
        self.assertEqual([row["smiles"] for row in rows], ["[*]CC[*]", "[Na+]", "*CC*"])
        self.assertAlmostEqual(float(rows[0]["tg_k"]), float(rows[2]["tg_k"]), delta=0.011)

    # mutant: the progress bar does not ask for a terminal; control characters reach the terminal as they are.
    def test_standard_input_is_read_and_a_pipe_sees_neither_bar_nor_control_characters(self):
        output, errors = self.predict("-", stdin=b"*CC*\r\n\nC\0C\n\x1b[31mC\n")
        self.assertEqual(errors, "")
        self.assertNotIn("\x1b", output)
        self.assertNotIn("\0", output)
        self.assertIn("NUL at byte 1", output)
        self.assertRegex(output, r"(?m)^3 rows, 2 errors, \d+ rows/s, 1 batches, mean batch 1\.0, hit rate 0 %$")

    # mutant: `units` is not given to the stage, or given before the model has passed its self-test.
    def test_an_oligomer_of_three_units_is_not_the_endless_chain(self):
        endless = self.predict_to_csv("*CC(*)c1ccccc1")[0]
        oligomer = self.predict_to_csv("*CC(*)c1ccccc1", "--units", "3")[0]
        self.assertEqual(oligomer["error"], "")
        self.assertGreater(abs(float(endless["tg_k"]) - float(oligomer["tg_k"])), 0.5)

    # mutant: demonstrate runs one round.
    def test_without_input_nine_polymers_show_the_cache_at_work(self):
        output, _ = self.predict()
        for smiles in ("*CC*", "*CC(*)C", "*CC(*)c1ccccc1", "*CC(*)(C)C(=O)OC", "*OC(C)C(*)=O", "*CC(*)Cl", "*OCCOC(=O)c1ccc(cc1)C(*)=O", "*Oc1ccc(cc1)C(C)(C)c1ccc(cc1)OC(*)=O", "*c1ccc(Oc2ccc"):
            self.assertEqual(len(re.findall("(?m)^" + re.escape(smiles) + r"(\S*\.\.\.)? +\d+", output)), 3, smiles)
        self.assertGreater(int(re.search(r"hit rate (\d+) %", output)[1]), 50)
        self.assertIn("polystyrene", output)

    # mutant: the page links to a style sheet.
    def test_the_page_stands_alone(self):
        page = self.folder / "page.html"
        self.predict("*CC(*)c1ccccc1", "C<C&", "--html", page)
        text = page.read_text(encoding="utf-8")
        self.assertIn("<svg", text)
        self.assertIn("handbook 373 K", text)
        self.assertIn("C&lt;C&amp;", text)
        self.assertIn("Cross-validation", text)
        rest = re.sub(r"xmlns(:\w+)?=(['\"])[^'\"]*\2", "", text)
        self.assertNotRegex(rest, r"https?://|<script|<link|@import|url\(")

    # mutant: predict returns 0 when every row failed.
    def test_nothing_predicted_ends_with_1(self):
        self.predict("C1CC", status=1)
        self.predict("-", stdin=b"", status=1)
        big = self.write("big.csv", "smiles\n" + "C" * 10_000_000 + "\n")
        output, _ = self.predict("--csv", big, status=1)
        self.assertLess(len(output), 1000)

    # mutant: read_file takes what it could not read for an empty file.
    def test_input_that_cannot_be_read_is_one_sentence(self):
        for arguments, words in (
            (("--csv", self.write("other.csv", "name,formula\na,b\n")), ("smiles", "formula")),
            (("--csv", self.folder / "none.csv"), ("none.csv", "No such file")),
            (("--csv", self.folder), (str(self.folder), "directory")),
            (("--jsonl", self.write("bad.jsonl", '"C"\n{"smile": 1}\n')), ("bad.jsonl", "line 2")),
            (("--model", self.folder / "nowhere", "CC"), ("nowhere", "manifest")),
        ):
            output, errors = self.predict(*arguments, status=1)
            self.assertEqual(output, "")
            self.assertEqual(errors.count("\n"), 1, errors)
            for word in words:
                self.assertIn(word, errors)

    # mutant: write_file does not look at what fclose returns.
    def test_output_that_cannot_be_written_is_one_sentence(self):
        for place in ("/dev/full", self.folder / "no" / "such" / "folder.csv"):
            for option in ("--out", "--html"):
                _, errors = self.predict("CC", option, place, status=1)
                self.assertIn(str(place), errors)
        with open("/dev/full", "wb") as full:
            _, errors = self.predict("-", stdin=b"CC\n" * 2000, stdout=full, status=1)
        self.assertIn("standard output", errors)

    # mutant: main returns what CLI11 says.
    def test_wrong_usage_ends_with_2(self):
        for arguments in (("--threads", "0"), ("--unknown",), ("--units", "x", "CC"), ("--csv", "a", "CC"), ("--csv", "a", "--jsonl", "b")):
            _, errors = self.predict(*arguments, status=2)
            self.assertTrue(errors)
        self.assertEqual(subprocess.run([PROGRAM], capture_output=True, check=False).returncode, 2)
        self.assertEqual(subprocess.run([PROGRAM, "predict", "--help"], capture_output=True, check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
