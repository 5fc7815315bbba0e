"""Runs the program `polymers` as its users do: what it prints, what it writes, and how it ends.

program_test.py PROGRAM
"""

import csv
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)
MODEL = Path(__file__).resolve().parents[2] / "examples" / "polymers" / "model"
GIB = 1 << 30


class Program(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)

    def predict(self, *arguments, status=0, stdin=b"", stdout=subprocess.PIPE, prepare=None):
        result = subprocess.run([PROGRAM, "predict", *map(str, arguments)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False, preexec_fn=prepare)
        errors = result.stderr.decode()
        self.assertEqual(result.returncode, status, errors)
        return (result.stdout or b"").decode(), errors

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def shell(self, words):
        """Runs the program with redirections that only a shell can make."""
        result = subprocess.run(["sh", "-c", f'"$0" predict {words}', PROGRAM], capture_output=True, check=False)
        return result.returncode, result.stderr.decode()

    def model(self, change=None):
        """A copy of the model; `change` edits its manifest."""
        folder = Path(shutil.copytree(MODEL, self.folder / "model"))
        manifest = json.loads((folder / "athanor.json").read_text())
        if change:
            change(manifest)
        (folder / "athanor.json").write_text(json.dumps(manifest))
        return folder

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

    # mutant: read_jsonl gives up at the first line that it cannot read; the byte is counted from the line's start.
    def test_a_bad_json_line_is_an_error_row_and_changes_no_neighbour(self):
        path = self.write("in.jsonl", '"*CC*"\n{"smiles": "C\n{"smile": 1}\n{"smiles": 7}\n\x1b[31m\n1e999\n\n"*CC(*)Cl"\n')
        rows = self.predict_to_csv("--jsonl", path)
        self.assertEqual([row["smiles"] for row in rows], ["*CC*", "", "", "", "", "", "*CC(*)Cl"])
        alone = self.predict_to_csv("*CC*", "*CC(*)Cl")
        for row, lonely in ((rows[0], alone[0]), (rows[6], alone[1])):
            self.assertEqual(row["error"], "")
            self.assertAlmostEqual(float(row["tg_k"]), float(lonely["tg_k"]), delta=0.011)
        for row, line, byte, got in (
            (rows[1], 2, 20, "the end of the line"),
            (rows[2], 3, 21, '{"smile": 1}'),
            (rows[3], 4, 34, '{"smiles": 7}'),
            (rows[4], 5, 48, r"\x1b[31m"),
            (rows[5], 6, 54, "1e999"),
        ):
            self.assertIn(f"line {line}, byte {byte} of the file", row["error"])
            self.assertTrue(row["error"].endswith(f"got {got}"), row["error"])

    # mutant: read_field takes a quote in the middle of a field for an opening one.
    def test_a_quote_inside_a_field_is_a_character(self):
        path = self.write("in.csv", 'smiles,name\n*CC*,5" pipe\n*CC(*)C,"5"" pipe, ""PP"""\r\n*CC(*)Cl,"two\nlines"\n')
        rows = self.predict_to_csv("--csv", path)
        self.assertEqual([row["name"] for row in rows], ['5" pipe', '5" pipe, "PP"', "two\nlines"])
        self.assertEqual([row["error"] for row in rows], ["", "", ""])

    # mutant: CsvReader::refused leaves the reader where the search for the closing quote ended; `line_` is not moved on.
    def test_a_quote_that_is_never_closed_costs_one_row(self):
        for bad in ('"C1CC,b', '"CC"C,b', 'CC,"b', '"CC'):
            path = self.write("in.csv", f'smiles,name\n*CC*,"a\na"\n{bad}\n*CC(*)C,c\n*CC(*)Cl,d\n')
            rows = self.predict_to_csv("--csv", path)
            self.assertEqual([row["name"] for row in rows], ["a\na", "", "c", "d"], bad)
            self.assertEqual([row["error"] == "" for row in rows], [True, False, True, True], bad)
            self.assertIn("line 4, byte ", rows[1]["error"])
            self.assertTrue(rows[1]["error"].endswith("got " + bad[bad.index('"') :]), rows[1]["error"])
        rows = self.predict_to_csv("--csv", self.write("last.csv", 'smiles\n*CC*\n"CC'))
        self.assertIn("line 3, byte 12", rows[1]["error"])

    # mutant: read_csv takes the smiles column of a record without asking `fits`.
    def test_a_comma_that_nobody_quoted_makes_no_other_polymer_of_a_row(self):
        path = self.write("in.csv", "name,smiles,note\npolystyrene,*CC(*)c1ccccc1\nsalt of Cl,O,*CC(*)Cl,b\nPE\nPP,*CC(*)C,,,\n")
        rows = self.predict_to_csv("--csv", path)
        self.assertEqual([row["smiles"] for row in rows], ["*CC(*)c1ccccc1", "", "", "*CC(*)C"])
        self.assertEqual([row["error"] == "" for row in rows], [True, False, False, True])
        self.assertIn("line 3, byte 44 of the file: expected the 3 fields of the header, got salt of Cl,O,*CC(*)Cl,b", rows[1]["error"])
        self.assertTrue(rows[2]["error"].endswith("got PE"), rows[2]["error"])

    # mutant: `smiles_names` begins with smiles; same_name does not look at the case, or at the blanks.
    def test_the_column_of_repeat_units_is_found_whatever_its_case_and_named(self):
        for header, column in (
            ("smiles,smiles_polymer", 1),
            ("SMILES,Tg", 0),
            (" Smiles ,id", 0),
            ("id,PSMILES", 1),
            ("smiles,psmiles", 1),
            ("canonical_smiles,id", 0),
        ):
            cells = ["*CC(*)C" if i == column else "CC" for i in range(2)]
            path = self.write("in.csv", f"{header}\n" + " , ".join(cells) + "\n")
            rows = self.predict_to_csv("--csv", path)
            self.assertEqual([row["smiles"] for row in rows], ["*CC(*)C"], header)
            output, _ = self.predict("--csv", path)
            self.assertIn(f"SMILES from the column {header.split(',')[column].strip()}\n", output)

    # mutant: column_of is asked for the known names whatever --smiles-column says; the first line is a header always.
    def test_a_column_can_be_named_and_a_header_be_missing(self):
        path = self.write("in.csv", "smiles,polymer\nCC,*CC*\n")
        self.assertEqual([row["smiles"] for row in self.predict_to_csv("--csv", path, "--smiles-column", "Polymer")], ["*CC*"])
        _, errors = self.predict("--csv", path, "--smiles-column", "unit", status=1)
        self.assertIn("a column named unit, got the columns smiles, polymer", errors)
        rows = self.predict_to_csv("--csv", self.write("bare.csv", "*CC*,a\n*CC(*)C\n"), "--no-header")
        self.assertEqual([row["smiles"] for row in rows], ["*CC*", "*CC(*)C"])
        self.predict("--smiles-column", "smiles", "*CC*", status=2)

    # mutant: domain_of does not look at repeat_unit.
    def test_what_is_no_repeat_unit_is_never_in_the_domain(self):
        output, _ = self.predict("CCCCCCCC")
        self.assertRegex(output, r"(?m)^CCCCCCCC .*no repeat unit")

    # mutant: for_each_line starts at byte 0 whatever the text starts with.
    def test_the_mark_of_utf_8_belongs_to_no_line(self):
        rows = self.predict_to_csv("-", stdin=b"\xef\xbb\xbf*CC*\n")
        self.assertEqual([(row["smiles"], row["error"]) for row in rows], [("*CC*", "")])

    # mutant: CsvReader starts at byte 0 whatever the text starts with.
    def test_the_mark_of_utf_8_belongs_to_no_column(self):
        rows = self.predict_to_csv("--csv", self.write("in.csv", b"\xef\xbb\xbfsmiles,name\n*CC*,PE\n"))
        self.assertEqual([(row["smiles"], row["error"]) for row in rows], [("*CC*", "")])

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

    # mutant: read_file opens a file called -; `voice` stays standard output.
    def test_a_path_of_a_dash_is_standard_input_or_output(self):
        output, errors = self.predict("--csv", "-", "--out", "-", stdin=b"smiles\n*CC*\n")
        self.assertEqual([row["smiles"] for row in csv.DictReader(output.splitlines())], ["*CC*"])
        self.assertIn("1 rows, 0 errors", errors)
        output, _ = self.predict("--jsonl", "-", "--html", "-", stdin=b'"*CC*"\n')
        self.assertRegex(output, r"\A<!doctype html>[^\0]*</html>\n\Z")

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

    # mutant: explanation speaks of a batch whatever the cache did.
    def test_an_answer_that_was_not_computed_is_explained_by_the_cache(self):
        lines = self.predict("--explain")[0].splitlines()
        explained = {state: {after.split(":")[0].strip() for line, after in zip(lines, lines[1:]) if f" {state} " in line} for state in ("hit", "miss")}
        self.assertEqual(explained["hit"], {"nothing computed"})
        self.assertTrue(explained["miss"])
        for text in explained["miss"]:
            self.assertRegex(text, r"^batch of [1-9]\d*, 5 members, prepared in .* computed in ")

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

    # mutant: escaped takes the text as it is; every row gets a card; read_handbook drops the note.
    def test_the_page_is_utf_8_and_of_a_size_that_a_browser_opens_and_says_what_it_was_trained_on(self):
        page = self.folder / "page.html"
        self.predict("--csv", self.write("in.csv", b"smiles,name\n*CC(*)c1ccccc1,M\xfcller\n" + b"*OC(C)C(*)=O,\n" * 1200), "--html", page, "--out", "/dev/null")
        text = page.read_text(encoding="utf-8")
        self.assertIn("M\ufffdller", text)
        self.assertEqual(text.count("<div class='card'>"), 1000)
        self.assertIn("the first 1000 of 1201 rows", text)
        self.assertRegex(text, "handbook 373 K <small>[^<]*trained on it")
        self.assertNotRegex(text, "handbook 328 K <small>[^<]*trained on it")

    # mutant: the histogram is drawn of the first caller's first round.
    def test_the_histogram_holds_every_answer_of_every_caller(self):
        page = self.folder / "page.html"
        self.predict("--threads", "3", "--html", page)
        self.assertIn("from a call to its answer, 81 answers", page.read_text(encoding="utf-8"))
        self.predict("CC", "C1CC", "--html", page)
        self.assertIn("from a call to its answer, 1 answers", page.read_text(encoding="utf-8"))

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
            (("--csv", self.write("empty.csv", "")), ("smiles", "got none")),
            (("--csv", self.write("cr.csv", "smiles,name\rCC,a\r")), ("LF", "got CR")),
            (("--csv", self.write("twice.csv", "smiles,smiles\nCC,CCC\n")), ("one column", "smiles")),
            (("--csv", self.folder / "none.csv"), ("none.csv", "No such file")),
            (("--csv", self.folder), (str(self.folder), "directory")),
            (("--csv", self.write("head.csv", 'smiles,"name\nCC,a\n')), ("head.csv", "line 1")),
            (("--model", self.folder / "nowhere", "CC"), ("nowhere", "manifest")),
        ):
            output, errors = self.predict(*arguments, status=1)
            self.assertEqual(output, "")
            self.assertEqual(errors.count("\n"), 1, errors)
            for word in words:
                self.assertIn(word, errors)

    # mutant: read_lines takes what it could not read for an empty input.
    def test_standard_input_that_cannot_be_read_is_one_sentence(self):
        for words, reason in (("- < /", "directory"), ("- <&-", "descriptor")):
            status, errors = self.shell(words)
            self.assertEqual(status, 1, errors)
            self.assertRegex(errors, rf"^polymers: [^\n]*standard input: cannot be read: [^\n]*{reason}\n$")

    # mutant: read_csv joins the columns without `clipped`.
    def test_a_file_that_is_no_table_cannot_steer_the_terminal(self):
        _, errors = self.predict("--csv", self.write("noise.csv", bytes(range(32)) + b"\x1b[31m" + bytes(range(128, 256)) * 1000), status=1)
        self.assertRegex(errors, r"^[ -~]{1,600}\n$")

    # mutant: complain prints with fmt::print, whose exception nobody catches.
    def test_errors_that_nobody_can_hear_still_end_with_1(self):
        for words in ("--csv /nonexistent 2>/dev/full", "--csv /nonexistent 2>&-"):
            self.assertEqual(self.shell(words)[0], 1, words)

    # mutant: Predictor::open does not call check_outputs, or that looks only at the name, or not at the dimensions.
    def test_a_model_that_gives_something_else_is_refused_when_it_is_opened(self):
        def output(manifest, name):
            return next(output for output in manifest["outputs"] if output["name"] == name)

        def rename(manifest):
            output(manifest, "tg_mean")["name"] = "mean"
            for test in manifest["self_test"]:
                test["outputs"]["mean"] = test["outputs"].pop("tg_mean")

        def another_type(manifest):
            output(manifest, "repeat_unit").update({"dtype": "f32", "from": "mean:tg"})

        def drop(manifest):
            manifest["outputs"] = [output for output in manifest["outputs"] if output["name"] != "unknown_tokens"]

        def many_values_per_row(manifest):
            del manifest["self_test"]
            for tensor in (manifest["model_outputs"][0], output(manifest, "tg_mean"), output(manifest, "tg_std")):
                tensor["shape"] = ["items", 7]

        for change, words in ((many_values_per_row, ("tg_mean", "of f32 [items], and", "f32 [items, 7]")), (rename, ("tg_mean", "f32 [items]")), (another_type, ("repeat_unit", "f32 [items]", "i64 [items]")), (drop, ("unknown_tokens",))):
            output_text, errors = self.predict("--model", self.model(change), "CC", status=1)
            shutil.rmtree(self.folder / "model")
            self.assertEqual(output_text, "")
            self.assertEqual(errors.count("\n"), 1, errors)
            for word in words:
                self.assertIn(word, errors)

    # mutant: the CSV has the ends of the interval the other way round; read_coverage takes any number.
    def test_the_interval_is_told_with_its_coverage(self):
        (row,) = self.predict_to_csv("*CC(*)c1ccccc1")
        self.assertLess(float(row["tg_low_k"]), float(row["tg_k"]))
        self.assertLess(float(row["tg_k"]), float(row["tg_high_k"]))
        self.assertEqual(row["in_table"], "1")
        output, _ = self.predict("*CC(*)c1ccccc1")
        self.assertIn("in, trained on it", output)
        self.assertIn("90 % interval", output.splitlines()[0])
        self.assertIn(f"{float(row['tg_low_k']):.0f} to {float(row['tg_high_k']):.0f}", output)
        model = self.model()
        for text in ('{"coverage": 90}', '{"coverage": "most"}', "[", "7"):
            (model / "calibration.json").write_text(text)
            output, _ = self.predict("--model", model, "*CC*")
            self.assertRegex(output.splitlines()[0], r"Tg \[K\] +interval +spread", text)

    # mutant: read_pairs asks no element whether it is a number.
    def test_a_cross_validation_of_another_form_leaves_out_its_points(self):
        model = self.model()
        page = self.folder / "page.html"
        for text, words in (('{"pairs": [["a", 1], [null, {}], 3]}', "No cross-validation"), ('[["a", 1], [300, 310]]', "1 polymers"), ('{"pairs": "none"}', "No cross-validation")):
            (model / "cross_validation.json").write_text(text)
            self.predict("--model", model, "CC", "--html", page)
            self.assertIn(words, page.read_text(encoding="utf-8"))

    # mutant: main catches no std::bad_alloc.
    def test_an_endless_file_is_too_large_for_the_memory(self):
        def little_memory():
            resource.setrlimit(resource.RLIMIT_AS, (4 * GIB, 4 * GIB))

        _, errors = self.predict("--csv", "/dev/zero", status=1, prepare=little_memory)
        self.assertEqual(errors, "polymers: there is not enough memory\n")

    # mutant: main takes every std::system_error for one of standard output.
    def test_a_thread_that_cannot_start_is_called_one(self):
        def large_stacks():
            resource.setrlimit(resource.RLIMIT_STACK, (4 * GIB, 4 * GIB))
            resource.setrlimit(resource.RLIMIT_AS, (12 * GIB, 12 * GIB))

        _, errors = self.predict("--threads", "64", status=1, prepare=large_stacks)
        self.assertRegex(errors, r"^polymers: [^\n]*thread[^\n]*\n$")

    # mutant: write_file does not look at what fclose returns.
    def test_output_that_cannot_be_written_is_one_sentence(self):
        for place in ("/dev/full", self.folder / "no" / "such" / "folder.csv"):
            for option in ("--out", "--html"):
                _, errors = self.predict("CC", option, place, status=1)
                self.assertIn(str(place), errors)
        with open("/dev/full", "wb") as full:
            _, errors = self.predict("-", stdin=b"CC\n" * 2000, stdout=full, status=1)
        self.assertIn("standard output", errors)

    # mutant: an option takes the empty text, and the demonstration runs.
    def test_an_empty_path_is_wrong_usage(self):
        for option in ("--csv", "--jsonl", "--out", "--html", "--model"):
            for arguments in ((option, ""), (option + "=",), ("CC", option, "")):
                output, errors = self.predict(*arguments, status=2)
                self.assertEqual(output, "")
                self.assertIn(option, errors)

    # mutant: main returns what CLI11 says; take_smiles takes - for a SMILES among others, or lets the page replace the table.
    def test_wrong_usage_ends_with_2(self):
        for arguments in (("--threads", "0"), ("--unknown",), ("--units", "x", "CC"), ("--csv", "a", "CC"), ("--csv", "a", "--jsonl", "b"), ("-", "CC"), ("CC", "--out", "-", "--html", "-"), ("CC", "--out", self.folder / "o", "--html", self.folder / "o")):
            _, errors = self.predict(*arguments, status=2)
            self.assertTrue(errors)
        self.assertEqual(subprocess.run([PROGRAM], capture_output=True, check=False).returncode, 2)
        self.assertEqual(subprocess.run([PROGRAM, "predict", "--help"], capture_output=True, check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
