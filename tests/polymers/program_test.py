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

PROGRAM = str(Path(sys.argv.pop(1)).resolve())
MODEL = Path(__file__).resolve().parents[2] / "examples" / "polymers" / "model"
GIB = 1 << 30


def limit_files(size):
    """Before a program starts: its files are full at so many bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


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

    # mutant: a refused row is left out of the predictions
    def test_a_bad_row_among_good_ones_keeps_its_place_and_changes_no_neighbour(self):
        path = self.write("in.csv", 'name,smiles\na,*CC*\n"b, bad",C1CC\nc,*CC(*)C\nd,\ne,*CC(*)Cl\n')
        rows = self.predict_to_csv("--csv", path)
        self.assertEqual([row["name"] for row in rows], ["a", "b, bad", "c", "d", "e"])
        self.assertIn("byte 1", rows[1]["error"])
        self.assertIn("no SMILES", rows[3]["error"])
        alone = {row["smiles"]: row["tg_k"] for smiles in ("*CC*", "*CC(*)C", "*CC(*)Cl") for row in self.predict_to_csv(smiles)}
        for row in rows:
            self.assertEqual(row["error"] == "", row["smiles"] in alone)
            if not row["error"]:
                self.assertAlmostEqual(float(row["tg_k"]), float(alone[row["smiles"]]), delta=0.011)

    # mutant: a refused row is left out of the predictions
    def test_five_hundred_bad_rows_among_ten_thousand_are_each_named_in_their_place(self):
        good = ["*CC*", "*CC(*)C", "*CC(*)Cl", "*CC(*)c1ccccc1", "*CC(*)C#N", "*CCO*", "*C=CC*"]
        bad = ["C1CC", "", "*CC", "CCO", "*CC(*)(*)C", "[Na+]", "C<C", "nan", "*CC(*)C(", "[U]C"]
        rows = [(f"{number}", bad[number // 20 % len(bad)] if number % 20 == 13 else good[number % len(good)]) for number in range(10_000)]
        path = self.write("in.csv", "id,smiles\n" + "".join(f"{number},{smiles}\n" for number, smiles in rows))
        output, _ = self.predict(path, "--out", self.folder / "out.csv")
        self.assertRegex(output, r"(?m)^10000 rows, 500 refused, [\d.]+ rows/s$")
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            answers = list(csv.DictReader(file))
        self.assertEqual([(answer["id"], answer["smiles"]) for answer in answers], rows)
        for number, answer in enumerate(answers):
            self.assertEqual((answer["error"] != "", answer["tg_k"] == ""), (number % 20 == 13,) * 2, answer)

    # mutant: the object of a row is dropped
    # mutant: cells that a row does not have are written
    def test_json_lines_in_and_out(self):
        path = self.write(
            "in.jsonl",
            '"*CC*"\n\n{"smiles": "*CC(*)C", "name": "polypropylene", "lot": 7, "more": {"a": [1, 2]}}\n'
            '{"smiles": "((", "note": [1, null]}\n')
        out = self.folder / "out.jsonl"
        self.predict("--jsonl", path, "--out", out)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([row["smiles"] for row in rows], ["*CC*", "*CC(*)C", "(("])
        self.assertEqual((rows[1]["name"], rows[1]["lot"], rows[1]["more"]), ("polypropylene", 7, {"a": [1, 2]}))
        self.assertNotIn("name", rows[0])
        self.assertTrue(rows[0]["repeat_unit"])
        self.assertGreater(rows[0]["tg_k"], 50)
        self.assertIn("error", rows[2])
        self.assertEqual(rows[2]["note"], [1, None])

    # mutant: a line that is no JSON ends the run
    # mutant: the byte of a JSON fault is counted from its line
    def test_a_bad_json_line_is_an_error_row_and_changes_no_neighbour(self):
        path = self.write("in.jsonl", '"*CC*"\n{"smiles": "C\n{"smile": 1}\n{"smiles": 7}\n\x1b[31m\n1e999\n\n"*CC(*)Cl"\n')
        rows = self.predict_to_csv("--jsonl", path)
        self.assertEqual([row["smiles"] for row in rows], ["*CC*", "", "", "7", "", "", "*CC(*)Cl"])
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

    # mutant: a quote anywhere in a field opens it
    def test_a_quote_inside_a_field_is_a_character(self):
        path = self.write("in.csv", 'smiles,name\n*CC*,5" pipe\n*CC(*)C,"5"" pipe, ""PP"""\r\n*CC(*)Cl,"two\nlines"\n')
        rows = self.predict_to_csv("--csv", path)
        self.assertEqual([row["name"] for row in rows], ['5" pipe', '5" pipe, "PP"', "two\nlines"])
        self.assertEqual([row["error"] for row in rows], ["", "", ""])

    def test_brackets_at_both_ends_belong_to_the_smiles(self):
        rows = self.predict_to_csv("[*]CC[*]", "[Na+]", "--", "*CC*")
        self.assertEqual([row["smiles"] for row in rows], ["[*]CC[*]", "[Na+]", "*CC*"])
        self.assertAlmostEqual(float(rows[0]["tg_k"]), float(rows[2]["tg_k"]), delta=0.011)

    # mutant: the progress bar is drawn into a pipe
    # mutant: control characters reach the terminal as they are
    def test_standard_input_is_read_and_a_pipe_sees_neither_bar_nor_control_characters(self):
        output, errors = self.predict("-", stdin=b"*CC*\r\n\nC\0C\n\x1b[31mC\n")
        self.assertEqual(errors, "")
        self.assertNotIn("\x1b", output)
        self.assertNotIn("\0", output)
        self.assertIn("NUL at byte 1", output)
        self.assertRegex(output, r"(?m)^3 rows, 2 refused, [\d.]+ rows/s$")

    # mutant: a dash is a file of that name
    # mutant: what is said goes where the predictions go
    def test_a_path_of_a_dash_is_standard_input_or_output(self):
        output, errors = self.predict("--csv", "-", "--out", "-", stdin=b"smiles\n*CC*\n")
        self.assertEqual([row["smiles"] for row in csv.DictReader(output.splitlines())], ["*CC*"])
        self.assertIn("1 row, 0 refused", errors)
        output, _ = self.predict("--jsonl", "-", "--html", "-", stdin=b'"*CC*"\n')
        self.assertRegex(output, r"\A<!doctype html>[^\0]*</html>\n\Z")

    # mutant: the number of units does not reach the processor
    # mutant: the self-test of a model is given oligomers
    def test_an_oligomer_of_three_units_is_not_the_endless_chain(self):
        endless = self.predict_to_csv("*CC(*)c1ccccc1")[0]
        oligomer = self.predict_to_csv("*CC(*)c1ccccc1", "--units", "3")[0]
        self.assertEqual(oligomer["error"], "")
        self.assertGreater(abs(float(endless["tg_k"]) - float(oligomer["tg_k"])), 0.5)

    def test_without_input_nine_polymers_show_the_cache_at_work(self):
        output, _ = self.predict()
        self.assertLess(output.count("\n"), 30)
        self.assertTrue(all(len(line) <= 80 for line in output.splitlines()), output)
        for name in ("polyethylene", "polystyrene", "poly(lactic acid)", "bisphenol A polycarbonate"):
            self.assertRegex(output, r"(?m)^" + re.escape(name) + r" +\d+[* ] +\d+ +\d+ to \d+$")
        self.assertGreater(int(re.search(r"hit rate (\d+) %", output)[1]), 50)

    # mutant: an answer from the cache is explained as if it had been computed
    def test_an_answer_that_was_not_computed_is_explained_by_the_cache(self):
        first, _, last = self.predict("--explain")[0].split("as one of 4 callers saw it")[1:]
        self.assertEqual(last.count("nothing computed: the cache held the answer"), 9)
        self.assertRegex(" ".join(first.split()), r"K between members; batch of [1-9]\d*, 5 members, prepared in .* computed in ")

    # mutant: the handbook is searched for the text of a SMILES
    # mutant: a refusal on the page marks no place
    # mutant: the page is given a < as it is
    # mutant: the data of a model are not told
    # mutant: the page does not say whose polymers its plot shows
    def test_the_page_stands_alone_and_can_be_cited(self):
        page = self.folder / "page.html"
        self.predict("*C(c1ccccc1)C*", "C<C&", "--html", page)
        text = page.read_text(encoding="utf-8")
        self.assertIn("<svg", text)
        self.assertIn("known: 373 K", text)
        self.assertIn("C&lt;C&amp;", text)
        self.assertIn("<pre>C&lt;C&amp;\n ^</pre>", text)
        self.assertIn("Cross-validation", text)
        for words in ("glass-transition 2.", "6615 rows: the curated table of PolyMetriX", "800 rows: S. Choi", "21.5 K in the mean on the 6615 rows", "252 polymers of S. Choi", "CC BY 4.0", "polymers predict '*C(c1ccccc1)C*' 'C&lt;C&amp;' --html"):
            self.assertIn(words, text)
        self.assertRegex(text, r"<dt>date</dt><dd>20\d\d-\d\d-\d\d</dd>")
        rest = re.sub(r"xmlns(:\w+)?=(['\"])[^'\"]*\2", "", text)
        self.assertNotRegex(rest, r"https?://|<script [^>]|\bsrc=|<link|@import|url\(")

    # mutant: the page is given bytes that are no UTF-8
    # mutant: every row gets a card
    # mutant: the handbook forgets what the model was trained on
    def test_the_page_is_utf_8_and_of_a_size_that_a_browser_opens_and_says_what_it_was_trained_on(self):
        page = self.folder / "page.html"
        self.predict("--csv", self.write("in.csv", b"smiles,name\n*CC(*)c1ccccc1,M\xfcller\n" + b"*OC(C)C(*)=O,\n" * 400), "--html", page, "--out", "/dev/null")
        text = page.read_text(encoding="utf-8")
        self.assertIn("M\ufffdller", text)
        self.assertEqual(text.count("<div class='card'>"), 200)
        self.assertEqual(text.count("<tr><td>"), 401)
        self.assertIn("the first 200 of 401 rows", text)
        self.assertRegex(text, "known: 373 K <small>[^<]*model was trained on it")
        self.assertRegex(text, "known: 328 K <small>[^<]*may have been trained on it")

    # mutant: paper shows as many rows as a screen
    def test_paper_has_all_rows_of_the_table_and_no_controls(self):
        page = self.folder / "page.html"
        self.predict("*CC*", "--html", page)
        print_rules = page.read_text(encoding="utf-8").partition("@media print")[2].partition("</style>")[0]
        self.assertRegex(print_rules, r"\.scroll \{[^}]*max-height: none; overflow: visible")
        self.assertRegex(print_rules, r"\.tools[^}]*\{ display: none; \}")

    # mutant: the demonstration runs one round
    # mutant: only the first round of the first caller is counted
    def test_the_histogram_holds_every_answer_of_every_caller(self):
        page = self.folder / "page.html"
        self.predict("--threads", "3", "--html", page)
        self.assertIn("from a call to its answer, 81 answers", page.read_text(encoding="utf-8"))
        self.assertIn("<p>9 rows, 0 refused. The dot", page.read_text(encoding="utf-8"))
        self.predict("*CC*", "C1CC", "--html", page)
        self.assertIn("from a call to its answer, 1 answers", page.read_text(encoding="utf-8"))

    # mutant: a run whose rows all failed ends with 0
    def test_nothing_predicted_ends_with_1(self):
        self.predict("C1CC", status=1)
        self.predict("-", stdin=b"", status=1)
        big = self.write("big.csv", "smiles\n" + "C" * 10_000_000 + "\n")
        output, _ = self.predict("--csv", big, status=1)
        self.assertLess(len(output), 1000)

    # mutant: what cannot be read is taken for the end
    def test_input_that_cannot_be_read_is_one_sentence(self):
        for arguments, words in (
            (("--csv", self.write("other.csv", "name,formula\na,b\n")), ("smiles", "formula")),
            (("--csv", self.write("empty.csv", "")), ("smiles", "got none")),
            (("--smi", self.write("none.txt", "\n")), ("none.txt", "at least one row")),
            (("--csv", self.folder / "none.csv"), ("none.csv", "No such file")),
            (("--csv", self.folder), (str(self.folder), "directory")),
            ((self.folder / "none.smi",), ("none.smi", "No such file")),
            (("--model", self.folder / "nowhere", "CC"), ("nowhere", "manifest")),
        ):
            output, errors = self.predict(*arguments, status=1)
            self.assertEqual(output, "")
            self.assertEqual(errors.count("\n"), 1, errors)
            for word in words:
                self.assertIn(word, errors)

    # mutant: what cannot be read is taken for the end
    def test_standard_input_that_cannot_be_read_is_one_sentence(self):
        for words, reason in (("- < /", "directory"), ("- <&-", "descriptor")):
            status, errors = self.shell(words)
            self.assertEqual(status, 1, errors)
            self.assertRegex(errors, rf"^polymers: [^\n]*standard input: cannot be read: [^\n]*{reason}\n$")

    # mutant: names of columns are told as they are
    def test_a_file_that_is_no_table_cannot_steer_the_terminal(self):
        _, errors = self.predict("--csv", self.write("noise.csv", bytes(range(32)) + b"\x1b[31m" + bytes(range(128, 256)) * 1000), status=1)
        self.assertRegex(errors, r"^[ -~]{1,600}\n$")

    # mutant: an error ends the program with 0
    def test_errors_that_nobody_can_hear_still_end_with_1(self):
        for words in ("--csv /nonexistent 2>/dev/full", "--csv /nonexistent 2>&-"):
            self.assertEqual(self.shell(words)[0], 1, words)

    # mutant: nobody looks at the outputs of a model
    # mutant: of the outputs of a model the names are looked at only
    # mutant: nobody looks at the dimensions of a model's outputs
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

    # mutant: the ends of an interval are exchanged
    # mutant: any number is taken for a coverage
    # mutant: a chain of the table with surroundings of its own is out
    def test_the_interval_is_told_with_its_coverage(self):
        (row,) = self.predict_to_csv("*CC(*)c1ccccc1")
        self.assertLess(float(row["tg_low_k"]), float(row["tg_k"]))
        self.assertLess(float(row["tg_k"]), float(row["tg_high_k"]))
        self.assertEqual(row["in_table"], "1")
        (rare,) = self.predict_to_csv("*CC(*)Cl")
        self.assertEqual((rare["in_table"], rare["domain"]), ("1", "trained on"))
        self.assertGreater(int(rare["unseen_identifiers"]), 0)
        output, _ = self.predict("*CC(*)c1ccccc1")
        self.assertIn("in, trained on it", output)
        self.assertIn("90 % interval", output.splitlines()[0])
        self.assertIn(f"{float(row['tg_low_k']):.0f} to {float(row['tg_high_k']):.0f}", output)
        model = self.model()
        for text in ('{"coverage": 90}', '{"coverage": "most"}', "[", "7"):
            (model / "calibration.json").write_text(text)
            output, _ = self.predict("--model", model, "*CC*")
            self.assertRegex(output.splitlines()[0], r"Tg \[K\] +interval +domain", text)

    # mutant: figures of any form are told as numbers
    def test_figures_of_another_form_are_left_out_of_what_is_told_of_a_model(self):
        model = self.model()
        figures = json.loads((MODEL / "calibration.json").read_text())
        for change in ({"coverage": None}, {"held_out": "x"}, {"held_out_by_tercile_of_width": [1, 2, "x"]}, {"median_half_width": {}}):
            (model / "calibration.json").write_text(json.dumps({**figures, **change}))
            told = subprocess.run([PROGRAM, "info", "--model", model], capture_output=True, check=False)
            self.assertEqual((told.returncode, told.stderr), (0, b""), change)
            self.assertIn(b"\nprogram ", told.stdout)

    # mutant: the name of a workbook is taken for a SMILES
    def test_a_workbook_is_named_for_what_it_is(self):
        path = self.folder / "polymers.xlsx"
        path.write_bytes(b"PK\x03\x04" + bytes(60))
        output, errors = self.predict(path, status=1)
        self.assertEqual(output, "")
        self.assertIn("this is a workbook such as .xlsx", errors)

    # mutant: a pair of a cross-validation need not be numbers
    # mutant: the axes of the plot end below its highest point
    def test_a_cross_validation_of_another_form_leaves_out_its_points(self):
        model = self.model()
        page = self.folder / "page.html"
        for text, words in (('{"pairs": [["a", 1], [null, {}], 3]}', "No cross-validation"), ('[["a", 1], [300, 310]]', "1 polymers"), ('{"pairs": "none"}', "No cross-validation")):
            (model / "cross_validation.json").write_text(text)
            self.predict("--model", model, "*CC*", "--html", page)
            self.assertIn(words, page.read_text(encoding="utf-8"))
        for pairs, last in ("[[20, 310]]", 400), ("[[300, 1310]]", 1400), ("[[0, 9000]]", 9100), ("[[300, 300]]", 400):
            (model / "cross_validation.json").write_text(pairs)
            self.predict("--model", model, "*CC*", "--html", page)
            plot = page.read_text(encoding="utf-8").split("predicted against measured")[1].split("</svg>")[0]
            ticks = [int(tick) for tick in re.findall(r">(\d+)</text>", plot)]
            self.assertEqual(max(ticks), last)
            self.assertLess(len(ticks), 30)
            for x, y in re.findall(r"cx='([\d.]+)' cy='([\d.]+)'", plot):
                self.assertTrue(56 <= float(x) <= 420 and 16 <= float(y) <= 380, plot)

    def test_an_endless_file_is_no_table(self):
        _, errors = self.predict("--csv", "/dev/zero", status=1)
        self.assertIn("/dev/zero: line 1, byte 0 of the file: expected a record of at most 1048576 bytes", errors)

    # mutant: a thread that cannot start is told without its name
    def test_a_thread_that_cannot_start_is_called_one(self):
        def large_stacks():
            resource.setrlimit(resource.RLIMIT_STACK, (4 * GIB, 4 * GIB))
            resource.setrlimit(resource.RLIMIT_AS, (12 * GIB, 12 * GIB))

        _, errors = self.predict("--threads", "64", status=1, prepare=large_stacks)
        self.assertRegex(errors, r"^polymers: [^\n]*thread[^\n]*\n$")

    def test_output_that_cannot_be_written_is_one_sentence(self):
        for place in ("/dev/full", self.folder / "no" / "such" / "folder.csv"):
            for option in ("--out", "--html"):
                _, errors = self.predict("*CC*", option, place, status=1)
                self.assertIn(str(place), errors)
        with open("/dev/full", "wb") as full:
            _, errors = self.predict("-", stdin=b"*CC*\n" * 2000, stdout=full, status=1)
        self.assertIn("standard output", errors)

    # mutant: a page that cannot be written is found out behind the run
    def test_a_page_without_a_place_is_told_before_the_run(self):
        output, errors = self.predict("*CC*", "--html", self.folder / "no" / "page.html", status=1)
        self.assertEqual(output, "")
        self.assertIn("page.html: cannot be written: No such file or directory", errors)

    # mutant: what no prediction says may be lost on a full disk
    def test_nothing_of_what_is_said_is_lost_without_a_word(self):
        for words in (["info"], ["build", "C=C"], ["--version"], ["predict", "--help"]):
            with open("/dev/full", "wb") as full:
                result = subprocess.run([PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual((result.returncode, result.stderr), (1, b"polymers: standard output: cannot be written\n"), words)

    # mutant: nobody looks whether a page reached its file
    def test_a_page_whose_last_bytes_do_not_fit_is_an_error(self):
        page = self.folder / "page.html"
        self.predict("*CC*", "--html", page)
        room = page.stat().st_size - 100  # a stream writes them when it is closed
        _, errors = self.predict("*CC*", "--html", page, status=1, prepare=lambda: limit_files(room))
        self.assertRegex(errors, r"page\.html: cannot be written: File too large\n$")

    # mutant: an option takes an empty path
    def test_an_empty_path_is_wrong_usage(self):
        for option in ("--csv", "--jsonl", "--smi", "--out", "--html", "--model"):
            output, errors = self.predict(option, "", status=2)
            self.assertEqual(output, "")
            self.assertIn(option, errors)
        for arguments in (("--csv=",), ("CC", "--out", "")):
            self.predict(*arguments, status=2)

    # mutant: wrong usage ends with the number that CLI11 gives
    # mutant: a dash among SMILES is one
    # mutant: a file may stand beside SMILES
    def test_wrong_usage_ends_with_2(self):
        for arguments in (
            ("--threads", "0"),
            ("--unknown",),
            ("--units", "x", "CC"),
            ("--csv", "a", "CC"),
            ("--csv", "a", "--jsonl", "b"),
            ("-", "CC"),
            ("a.csv", "b.csv"),
            ("a.csv", "--smi", "b"),
            ("CC", "--no-header"),
            ("CC", "--smiles-column", "a"),
            ("CC", "--out", self.folder / "o.xlsx"),
        ):
            _, errors = self.predict(*arguments, status=2)
            self.assertTrue(errors)
        bare = subprocess.run([PROGRAM], capture_output=True, check=False)
        self.assertEqual(bare.returncode, 2)
        self.assertIn(b"predict", bare.stderr)
        self.assertEqual(subprocess.run([PROGRAM, "predict", "--help"], capture_output=True, check=False).returncode, 0)

    # mutant: a file of another name is taken for a SMILES
    # mutant: a word with a dash is an option
    def test_a_word_that_is_no_smiles_is_told_for_what_it_is(self):
        table = self.write("table", "smiles\n*CC*\n")
        for word, words in ((self.folder, "got a folder"), (table, "--csv, --jsonl and --smi"), ("-[CH2-CH2]-", "never begin with -")):
            output, errors = self.predict(word, status=2)
            self.assertEqual(output, "")
            self.assertIn(words, errors)
        self.write("C", "")
        one = subprocess.run([PROGRAM, "predict", "C", "--plain"], cwd=self.folder, capture_output=True, check=False)
        self.assertEqual(one.returncode, 0, one.stderr)

    # mutant: of columns of one name JSON keeps the last
    def test_no_cell_is_lost_in_json(self):
        out = self.folder / "out.jsonl"
        self.predict(self.write("in.csv", "id,id,,smiles,\n1,2,3,*CC*,4\n"), "--out", out)
        row = json.loads(out.read_text())
        self.assertEqual([row[name] for name in ("id", "id_2", "column_3", "smiles", "column_5")], ["1", "2", "3", "*CC*", "4"])

    # mutant: a member of an object is lost to the prediction's of its name
    def test_a_member_that_is_called_like_a_prediction_keeps_its_value(self):
        out = self.folder / "out.jsonl"
        objects = ({"smiles": "*CC*"}, {"smiles": "*CO*", "tg_k": 199, "error": "none", "input_error": 0, "domain": "mine"}, {"smiles": "C1", "error": 5})
        self.predict(self.write("in.jsonl", "".join(json.dumps(row) + "\n" for row in objects)), "--out", out)
        first, second, third = (json.loads(line) for line in out.read_text().splitlines())
        self.assertEqual([second[name] for name in ("input_tg_k", "input_domain", "input_error", "input_input_error")], [199, "mine", 0, "none"])
        self.assertNotIn("error", second)
        self.assertEqual(second.keys() - first.keys(), {"input_tg_k", "input_domain", "input_error", "input_input_error"})
        self.assertEqual(third["input_error"], 5)
        self.assertIn("ring", third["error"])

    # mutant: a polymer beside a solvent is no mixture
    def test_a_mixture_is_refused_unless_it_is_asked_for(self):
        self.assertIn("not a polymer alone: this is a repeat unit and a molecule", " ".join(self.predict("*CC*.c1ccccc1", status=1)[0].split()))
        self.predict("*CC*.c1ccccc1", "--plain")
        self.predict("*CC(*)C(=O)[O-].[Na+]")

    # mutant: another model was trained on the handbook
    def test_of_another_model_nothing_is_told_of_its_training(self):
        self.assertIn("The model was trained on this value", self.predict()[0])
        output, _ = self.predict("--model", self.model())
        self.assertNotIn("*", output.split("engine:")[0])

    # mutant: what a model is does not tell its coverage
    # mutant: the data of a model are not told
    # mutant: an error is told without the rows that it is measured on
    def test_the_program_says_what_it_is_and_what_its_model_is(self):
        version = subprocess.run([PROGRAM, "--version"], capture_output=True, check=True).stdout.decode()
        self.assertRegex(version, r"^polymers, of Athanor \d+\.\d+\.\d+\n$")
        info = subprocess.run([PROGRAM, "info"], capture_output=True, check=True).stdout.decode()
        for words in ("glass-transition 2.", "K ensemble", "on the 6615 rows of the first source", "made for 90 % of polymers", "90.1, 90.7 and 89.2 % of the narrow, middle and wide third", "at most 41.8 K to either side", "6615 rows: the curated table of PolyMetriX", "800 rows: S. Choi", "MODEL_CARD.md"):
            self.assertIn(words, " ".join(info.split()))
        nothing = subprocess.run([PROGRAM, "info", "--model", self.folder], capture_output=True, check=False)
        self.assertEqual((nothing.returncode, nothing.stdout), (1, b""))

    # mutant: the predictions lack the columns of the input
    # mutant: a column is added under a name that the input has
    def test_the_output_repeats_the_columns_of_the_input(self):
        path = self.write("in.tsv", "id\tTG_K\tPSMILES\tnote\n007\t-12.5\t *CC* \t=1+1\n8\t3\tC1CC\ta\tb\n\t\t\t\n9\t4\t*CC(*)C\n")
        output, _ = self.predict(path, "--out", self.folder / "out.csv")
        self.assertIn("SMILES from the column PSMILES", output)
        self.assertIn("row 2: line 3, byte 43 of the file: expected the 4 fields of the header", " ".join(output.split()))
        text = (self.folder / "out.csv").read_text()
        self.assertNotRegex(text, "miss|hit|millisecond")
        rows = list(csv.DictReader(text.splitlines()))
        self.assertEqual([(row["id"], row["TG_K"], row["PSMILES"].strip(), row["note"]) for row in rows], [("007", "-12.5", "*CC*", "'=1+1"), ("8", "3", "C1CC", "a"), ("9", "4", "*CC(*)C", "")])
        self.assertGreater(float(rows[0]["predicted_tg_k"]), 50)
        self.assertEqual([row["error"] == "" for row in rows], [True, False, True])
        celsius = self.predict(path, "--out", "-", "--celsius")[0]
        self.assertAlmostEqual(float(next(csv.DictReader(celsius.splitlines()))["tg_c"]), float(rows[0]["predicted_tg_k"]) - 273.15, delta=0.011)
        self.predict(path, "--out", self.folder / "out.json")
        array = json.loads((self.folder / "out.json").read_text())
        self.assertEqual([row["id"] for row in array], ["007", "8", "9"])

    # mutant: the input may be overwritten
    # mutant: files are one when their paths are
    # mutant: predictions and page may be one file
    # mutant: what is said may grow the input
    # mutant: predictions and page may share a pipe
    def test_a_run_never_writes_over_its_input(self):
        path = self.write("in.csv", "smiles,id\n*CC*,1\n")
        (self.folder / "link.csv").symlink_to(path)
        for option in ("--out", "--html"):
            _, errors = self.predict(path, option, self.folder / "link.csv", status=1)
            self.assertIn("would be overwritten", errors)
        status, errors = self.shell(f"'{path}' >> '{path}'")
        self.assertEqual(status, 1, errors)
        self.assertIn("standard output: this is the input", errors)
        emptied = self.write("emptied.csv", "smiles\n*CC*\n")
        self.assertIn("standard output: this is the input", self.shell(f"'{emptied}' > '{emptied}'")[1])
        status, errors = self.shell(f"- --out '{path}' < '{path}'")
        self.assertEqual(status, 1, errors)
        self.assertEqual(path.read_text(), "smiles,id\n*CC*,1\n")
        (self.folder / "x").mkdir()
        _, errors = self.predict("*CC*", "--out", self.folder / "both", "--html", self.folder / "x" / ".." / "both", status=1)
        self.assertIn("both: this cannot be both the predictions and the page", errors)
        output, errors = self.predict("*CC*", "--out", "-", "--html", "-", status=1)
        self.assertEqual(output, "")
        self.assertIn("standard output: this cannot be both", errors)

    # mutant: a refusal draws no mark
    # mutant: an error tells its code
    def test_an_error_points_at_its_place_without_codes(self):
        output, _ = self.predict("*CC(*)C1CC", "*CC*")
        lines = output.splitlines()
        place = next(i for i, line in enumerate(lines) if line.strip() == "^")
        self.assertEqual(lines[place - 1].strip(), "*CC(*)C1CC")
        self.assertEqual(lines[place - 1][lines[place].index("^")], "1")
        self.assertNotIn("invalid_argument", output)
        _, errors = self.predict("--csv", self.folder / "none.csv", status=1)
        self.assertRegex(errors, r"^polymers: /[^:]*none\.csv: cannot be read: No such file or directory\n$")

    # mutant: what is said may reach a file through a closed stream
    def test_nothing_that_is_said_reaches_a_file_through_a_closed_stream(self):
        for streams in ("2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
            out = self.folder / "out.csv"
            self.shell(f"C1CC '*CC*' --out '{out}' {streams}")
            self.assertEqual([line[:5] for line in out.read_text().splitlines()], ["smile", "C1CC,", "*CC*,"], streams)

    # mutant: half a row stays in a file on a full disk
    # mutant: a file on a full disk is said to hold one row more
    # mutant: a limit of files ends the program
    def test_a_full_disk_leaves_whole_rows_and_says_how_many(self):
        out = self.folder / "out.csv"
        _, errors = self.predict("-", "--out", out, stdin=b"*CC*\n" * 5000, status=1, prepare=lambda: limit_files(60_000))
        text = out.read_text()
        count = int(re.search(r"cannot be written behind its first (\d+) rows: File too large", errors)[1])
        self.assertGreater(count, 0)
        self.assertTrue(text.endswith("\n"))
        self.assertEqual(text.count("\n"), 1 + count)


if __name__ == "__main__":
    unittest.main()
