#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "columns.hpp"
#include "csv.hpp"
#include "files.hpp"
#include "input.hpp"
#include "rows.hpp"
#include "text.hpp"

using namespace polymers;
using namespace std::string_literals;
using athanor::Result;

namespace {

using Format = Input::Format;

using Texts = std::vector<std::string>;

}  // namespace

// mutant: a field ends where the text in memory does
TEST_CASE("rows come in windows, in their order, however the parts of the file fall") {
  Folder const folder;
  std::string text = "name,smiles\n";
  for (std::size_t i = 0; i < 30'000; ++i)
    text += fmt::format("\"row, \"\"{}\"\"\n{}\",{}\r\n", i, i, std::string(1 + i % 97, 'C'));
  auto const path = folder.write("in.csv", text);
  auto rows = open_rows({path, Format::csv});
  REQUIRE(rows);
  std::size_t number = 0;
  for (;;) {
    auto const part = (*rows)->next(1000);
    REQUIRE(part);
    if (part->empty()) break;
    CHECK(part->size() == 1000);
    for (auto const& row : *part) {
      REQUIRE(!row.error);
      REQUIRE(row.name == fmt::format("row, \"{}\"\n{}", number, number));
      REQUIRE(row.smiles.size() == 1 + number % 97);
      REQUIRE(row.line == 2 + 2 * number);
      REQUIRE(row.number == ++number);
    }
    CHECK((*rows)->fraction() == doctest::Approx(static_cast<double>(number) / 30'000).epsilon(0.1));
  }
  CHECK(number == 30'000);
}

// mutant: the known names of a column are tried from the last on
// mutant: names of columns that differ in case are different
// mutant: names of columns that differ in blanks are different
TEST_CASE("the column of repeat units is found in the tables that people have") {
  Folder const folder;
  for (auto const& [header, column] :
       std::initializer_list<std::pair<std::string, std::size_t>>{{"smiles,smiles_polymer", 1},
                                                                  {"SMILES,Tg", 0},
                                                                  {" Smiles ,id", 0},
                                                                  {"id,PSMILES", 1},
                                                                  {"smiles,psmiles", 1},
                                                                  {"canonical_smiles,id", 0},
                                                                  {"\"SMILES\",id", 0},
                                                                  {"\xEF\xBB\xBFid,SMILES", 1}}) {
    Texts cells{"CC", "CC"};
    cells[column] = " *CC(*)C\t";
    auto const path = folder.write("in.csv", fmt::format("{}\r\n{}\r\n,\r\n", header, fmt::join(cells, ",")));
    CHECK_MESSAGE(smiles_of(read({path, Format::csv})) == Texts{"*CC(*)C"}, header);
  }
}

// mutant: a column that is asked for is not looked for
// mutant: without a header the first record is dropped
// mutant: a column that is counted must have a name of its own
TEST_CASE("a column can be named or counted, and a header be missing") {
  Folder const folder;
  auto const path = folder.write("in.csv", "smiles,Repeat unit\nCC,*CC*\n");
  CHECK(smiles_of(read({path, Format::csv, "repeat unit"})) == Texts{"*CC*"});
  CHECK(smiles_of(read({path, Format::csv, "2"})) == Texts{"*CC*"});
  auto const twice = folder.write("twice.csv", "smiles,Smiles\nCC,*CC*\n");
  CHECK(read({twice, Format::csv}).failure.find("one column named smiles, got several; --smiles-column") !=
        std::string::npos);
  CHECK(smiles_of(read({twice, Format::csv, "2"})) == Texts{"*CC*"});
  CHECK(
      read({path, Format::csv, "3"}).failure.find("a column named 3, got the columns smiles, Repeat unit") !=
      std::string::npos);
  auto const bare = folder.write("bare.csv", "*CC*,a\n*CC(*)C,b\n");
  CHECK(smiles_of(read({bare, Format::csv, "", false})) == Texts{"*CC*", "*CC(*)C"});
  CHECK(smiles_of(read({bare, Format::csv, "2", false})) == Texts{"a", "b"});
  CHECK(read({bare, Format::csv}).failure.find("--no-header") != std::string::npos);
}

// mutant: separators inside quotes are counted
// mutant: fields are separated by commas whatever the file has
// mutant: the line that announces a separator stays in the text
// mutant: the separator is what occurs most often
// mutant: without a column of SMILES commas separate
// mutant: the name of a file says nothing of its separator
TEST_CASE("tabs and semicolons separate as well as commas") {
  Folder const folder;
  for (auto const* text :
       {"a\tSMILES\nx, y; z\t*CC*\n", "\"a,b,c\";SMILES\n1,5;*CC*\n", "sep=;\r\na;SMILES\r\n1,5;*CC*\r\n",
        "Tg, K (measured, dry)\tsmiles\n5\t*CC*\n", "SMILES;Tg, K;\"Tm, K, dry\"\n*CC*;1,5;2,5\n"}) {
    auto const rows = read({folder.write("in.csv", text), Format::csv});
    CHECK_MESSAGE(smiles_of(rows) == Texts{"*CC*"}, text);
    CHECK(rows.failure == "");
  }
  auto const named = folder.write("in.csv", "Tg, K\tunit\n5\t*CC*\n");
  CHECK(smiles_of(read({named, Format::csv, "unit"})) == Texts{"*CC*"});
  auto const bare = folder.write("in.csv", "*CC*;1,5;a\n");
  CHECK(smiles_of(read({bare, Format::csv, "", false})) == Texts{"*CC*"});
  for (auto const* name : {"in.tsv", "IN.TAB"}) {
    auto const by_name = folder.write(name, "*CC*\t1,5\ta, b\n");
    CHECK(smiles_of(read({by_name, Format::csv, "", false})) == Texts{"*CC*"});
  }
  auto const commas = folder.write("in.tsv", "smiles,a\n*CC*,1\n");
  CHECK(smiles_of(read({commas, Format::csv})) == Texts{"*CC*"});
}

// mutant: a record with a fault loses its cells
// mutant: a row keeps the cell of its SMILES only
TEST_CASE("every row keeps what the file has in its columns, and a bad one its number") {
  Folder const folder;
  auto const rows =
      read({folder.write("in.csv", "id,smiles,note\n1,*CC*,a\n2,C,b,c\n3\n\"4\n5,*CC(*)C,\n"), Format::csv});
  REQUIRE(rows.rows.size() == 5);
  CHECK(rows.rows[0].cells == Texts{"1", "*CC*", "a"});
  CHECK(rows.rows[1].cells == Texts{"2", "C", "b"});
  CHECK(rows.rows[1].error->message ==
        "line 3, byte 24 of the file: expected the 3 fields of the header, got 2,C,b,c");
  CHECK(rows.rows[2].cells == Texts{"3", "", ""});
  CHECK(rows.rows[2].error);
  CHECK(rows.rows[3].error->message.find("got \"4") != std::string::npos);
  CHECK(rows.rows[4].number == 5);
  CHECK(rows.rows[4].line == 6);
  CHECK(smiles_of(rows) == Texts{"*CC*", "", "", "", "*CC(*)C"});
}

// mutant: behind a record that is too long reading goes on inside its line
// mutant: reading goes on inside a line that was too long
// mutant: a quote that is not closed in time is told like one that never is
TEST_CASE("a record of megabytes costs one row") {
  Folder const folder;
  std::string const much(3 * longest_record, 'C');
  for (auto const& bad : {much, "\"" + much, "\"" + much + "\"x", "\"" + much + "\""}) {
    auto const rows = read({folder.write("in.csv", "smiles\n*CC*\n" + bad + "\n*CC(*)C\n"), Format::csv});
    REQUIRE(smiles_of(rows) == Texts{"*CC*", "", "*CC(*)C"});
    auto const& sentence = rows.rows[1].error->message;
    INFO(sentence);
    CHECK(sentence.starts_with("line 3, byte 12 of the file: expected a "));
    CHECK(sentence.find("1048576 bytes, got ") != std::string::npos);
  }
  auto const lines = read({folder.write("in.smi", "*CC*\n" + much + "\n*CC(*)C\n"), Format::lines});
  REQUIRE(lines.rows.size() == 3);
  CHECK(lines.rows[1].error->message.starts_with(
      "line 2, byte 5 of the file: expected a line of at most 1048576 bytes, got CCC"));
  CHECK(lines.rows[2].smiles == "*CC(*)C");
}
// mutant: the SMILES of a line ends at its first blank
// mutant: a line of names is taken for a molecule
TEST_CASE("a line is a SMILES and, after a blank, a name") {
  Folder const folder;
  auto const rows = read(
      {folder.write("in.smi", "SMILES Name\n*CC*\tpoly ethylene \r\n\n  *CC(*)C\n*CC* |$R1;;;R2$| named\n"),
       Format::lines});
  REQUIRE(smiles_of(rows) == Texts{"*CC*", "*CC(*)C", "*CC* |$R1;;;R2$|"});
  CHECK(rows.rows[0].name == "poly ethylene");
  CHECK(rows.rows[0].line == 2);
  CHECK(rows.rows[1].name == "");
  CHECK(rows.rows[2].name == "named");
}

// mutant: a table is read as lines
TEST_CASE("a table or JSON among lines is told with the option that reads it") {
  Folder const folder;
  for (auto const* text : {"name,smiles\nPE,*CC*\n", "smiles;Tg\n", "Name\tSMILES\n"})
    CHECK_MESSAGE(read({folder.write("in.txt", text), Format::lines}).failure.find("--csv reads it") !=
                      std::string::npos,
                  text);
  for (auto const* text : {"[\"*CC*\"]", "{\"smiles\": \"*CC*\"}\n", "[{\"smiles\": \"*CC*\"}]"})
    CHECK_MESSAGE(read({folder.write("in.txt", text), Format::lines}).failure.find("--jsonl reads it") !=
                      std::string::npos,
                  text);
  for (auto const* text : {"smiles\n*CC*\n", "SMILES\tName\n*CC*\tPE\n", "*CC* poly,smiles\n", "[*]CC[*]\n"})
    CHECK_MESSAGE(read({folder.write("in.txt", text), Format::lines}).rows.size() == 1, text);
}

// mutant: what cannot be read is taken for the end
TEST_CASE("gzip is read as it comes, and what a torn file holds is given before the error") {
  Folder const folder;
  std::string text = "smiles\n";
  for (int i = 0; i < 20'000; ++i)
    text += fmt::format("*C{}C*\n", std::string(static_cast<std::size_t>(i * 7919 % 97), 'C'));
  auto const path = folder.compress("in.csv.gz", text);
  CHECK(format_of(path) == Format::csv);
  auto const whole = read({path, Format::csv});
  CHECK(whole.rows.size() == 20'000);
  CHECK(whole.failure == "");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) * 3 / 4);
  auto const torn = read({path, Format::csv});
  CHECK(torn.failure == path + ": cannot be read further: damaged gzip data: unexpected end of file");
  CHECK(torn.rows.size() > 5'000);
  for (auto const& row : torn.rows) REQUIRE(row.smiles.ends_with("C*"));
}

// mutant: what stands behind gzip data is dropped
// mutant: what fills up a tape is no gzip
// mutant: gzip has one member
TEST_CASE("gzip has as many members as there are, and nothing else behind them") {
  Folder const folder;
  auto const bytes_of = [&](std::string const& text) {
    std::ifstream file(folder.compress("part.gz", text), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  auto const one = bytes_of("smiles\n*CC*\n");
  auto const read_bytes = [&](std::string const& bytes) {
    return read({folder.write("in.csv.gz", bytes), Format::csv});
  };
  auto const two = read_bytes(one + bytes_of("*CO*\n"));
  CHECK(smiles_of(two) == Texts{"*CC*", "*CO*"});
  CHECK(two.failure == "");
  auto const filled = read_bytes(one + std::string(512, '\0'));
  CHECK(smiles_of(filled) == Texts{"*CC*"});
  CHECK(filled.failure == "");
  for (auto const& behind : {"*CO*\n"s, "\x1F"s, "\0*CO*"s}) {
    auto const more = read_bytes(one + behind);
    CHECK(smiles_of(more) == Texts{"*CC*"});
    CHECK_MESSAGE(more.failure.ends_with(
                      "cannot be read further: damaged gzip data: what stands behind its end is no gzip"),
                  more.failure);
  }
}

// mutant: one mark of UTF-8 stands before a text
TEST_CASE("marks of UTF-8 before a text are no part of it") {
  Folder const folder;
  for (auto const* marks : {"\xEF\xBB\xBF", "\xEF\xBB\xBF\xEF\xBB\xBF"})
    CHECK(smiles_of(read({folder.write("in.csv", marks + "smiles\n*CC*\n"s), Format::csv})) == Texts{"*CC*"});
}

// mutant: lines that end with CR are one line
// mutant: UTF-16 begins with its low byte
// mutant: what is no text is read as one
TEST_CASE("what is no text is named for what it is") {
  Folder const folder;
  for (auto const& [text, words] : std::initializer_list<std::pair<std::string, std::string>>{
           {"\xFF\xFEs\0m\0i\0"s, "UTF-16"},
           {"\xFE\xFF\0s\0m"s, "UTF-16"},
           {"s\0m\0i\0l\0"s, "UTF-16"},
           {"\0s\0m\0i\0l"s, "UTF-16"},
           {"PK\x03\x04\x14", "xlsx"},
           {"\xD0\xCF\x11\xE0\xA1", ".xls"},
           {"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"},

           {"BZh91AY", "bzip2"},
           {"PAR1\x15", "Parquet"},
           {"%PDF-1.7\n", "PDF"},
           {"\n\n<!doctype html>\n", "page of the web"},
           {"<HTML>\n", "page of the web"}}) {
    auto const failure = read({folder.write("in.csv", text), Format::csv}).failure;
    CHECK_MESSAGE(failure.find("this is ") != std::string::npos, failure);
    CHECK_MESSAGE(failure.find(words) != std::string::npos, failure);
  }
  auto const once = folder.compress("once.gz", "smiles\n*CC*\n");
  std::ifstream bytes(once, std::ios::binary);
  auto const twice = folder.compress("twice.csv.gz", std::string(std::istreambuf_iterator<char>(bytes), {}));
  CHECK(read({twice, Format::csv}).failure.find("more than once") != std::string::npos);
  CHECK(read({folder.write("cr.csv", "smiles,name\rCC,a\r"), Format::csv}).failure.find("got CR") !=
        std::string::npos);
  CHECK(read({folder.write("cr.smi", "*CC* PE\r*CO* POM\r"), Format::lines}).failure.find("got CR") !=
        std::string::npos);
  CHECK(
      read({folder.write("twice.csv", "smiles,Smiles\nCC,CCC\n"), Format::csv}).failure.find("one column") !=
      std::string::npos);
  CHECK(read({folder.write("empty.csv", ""), Format::csv}).failure.find("got none") != std::string::npos);
  CHECK(read({folder.write("head.csv", "smiles,\"name\nCC,a\n"), Format::csv}).failure.find("line 1") !=
        std::string::npos);
}

// mutant: files are one when their paths are
// mutant: a relative path of a new file is in no folder
TEST_CASE("one file is one file by whatever path") {
  Folder const folder;
  auto const path = folder.write("in.csv", "smiles\n");
  std::filesystem::create_symlink(path, folder.at("link.csv"));
  std::filesystem::create_hard_link(path, folder.at("hard.csv"));
  std::filesystem::create_directories(folder.at("x"));
  for (auto const* other : {"in.csv", "link.csv", "hard.csv", "./in.csv", "x/../in.csv"})
    CHECK_MESSAGE(same_file(folder.at(other), 1, path, 0), other);
  CHECK(!same_file(folder.write("other.csv", ""), 1, path, 0));
  CHECK(same_file(folder.at("new.csv"), 1, folder.at("x/../new.csv"), 1));
  CHECK(same_file("no-such-file.csv", 1, "./no-such-file.csv", 1));
  CHECK(!same_file("/dev/null", 1, "/dev/zero", 0));
}

// mutant: a formula stays one
// mutant: a negative number is marked as a formula is
TEST_CASE("no cell is a formula, and numbers stay as they are") {
  for (auto const* cell : {"=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-OH", "\tx"})
    CHECK_MESSAGE(csv_cell(cell, ',').starts_with("'"), cell);
  for (auto const* cell : {"-12.5", "+3e-4", "-7", "*CC*", "", "1-2"}) CHECK(csv_cell(cell, ',') == cell);
  CHECK(csv_cell("a,b", ',') == "\"a,b\"");
  CHECK(csv_cell("a,b", '\t') == "a,b");
  CHECK(csv_cell("a\"b\n", ',') == "\"a\"\"b\n\"");
  CHECK(csv_cell("=HYPERLINK(\"x\",1)", ',') == "\"'=HYPERLINK(\"\"x\"\",1)\"");
}

// mutant: the mark stays where it was when the text before it is cut
TEST_CASE("a mark stands under its byte, also in a long SMILES") {
  CHECK(pointed("C1CC", 1, 40) == Texts{"C1CC", " ^"});
  CHECK(pointed("CC", 2, 40) == Texts{"CC", "  ^"});
  CHECK(pointed("C\x01\xC3\xA4O", 4, 40) == Texts{"C???O", "    ^"});
  for (std::size_t const byte : {0U, 3U, 36U, 37U, 40U, 150U, 298U, 299U}) {
    std::string text(300, 'C');
    text[byte] = 'N';
    auto const lines = pointed(text, byte, 40);
    CHECK(lines[0].size() <= 40);
    REQUIRE(lines[1].size() <= 40);
    CHECK_MESSAGE(lines[0][lines[1].size() - 1] == 'N', byte);
  }
}
