// JSON as people have it: values in lines, arrays, tables, torn or indented, and what is rejected of it.
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "csv.hpp"
#include "files.hpp"
#include "input.hpp"
#include "rows.hpp"

using namespace polymers;
using namespace std::string_literals;

namespace {

using Format = Input::Format;

using Texts = std::vector<std::string>;

}  // namespace

// mutant: behind a value that is too long reading goes on at the next line
// mutant: an escaped quote ends a JSON text
TEST_CASE("a JSON value of megabytes costs one row, in an array too") {
  Folder const folder;
  std::string const much = std::string(3 * longest_record, 'C') + "\\\", ]}[";
  for (auto const& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"in.jsonl", "\"*CC*\"\n\"" + much + "\"\n\"*CC(*)C\"\n"},
           {"in.json", "[\"*CC*\",\"" + much + "\",\"*CC(*)C\"]"},
           {"in.json", "[\"*CC*\",{\"smiles\":\"" + much + "\",\"a\":[1,2]},\"*CC(*)C\"]"}}) {
    for (auto const& path : {folder.write(name, text), folder.compress(name + ".gz", text)}) {
      auto const rows = read({path, Format::json});
      CHECK(rows.failure == "");
      REQUIRE(smiles_of(rows) == Texts{"*CC*", "", "*CC(*)C"});
      auto const& sentence = rows.rows[1].error->message;
      INFO(sentence);
      CHECK(sentence.find(" of the file: expected a value of at most 1048576 bytes, got ") !=
            std::string::npos);
    }
  }
  auto const torn = read({folder.write("in.json", "[\"*CC*\",\"" + much), Format::json});
  REQUIRE(torn.rows.size() == 2);
  CHECK(torn.rows[1].error);
  CHECK(torn.failure.find("a ] that closes the array") != std::string::npos);
}

// mutant: brackets inside a JSON text count
// mutant: a JSON value ends at its first comma
TEST_CASE("JSON is one value per line or one array, and its members are kept") {
  Folder const folder;
  auto const array = folder.write(
      "in.json",
      "[\n  {\"id\": 7, \"SMILES\": \"*CC*\", \"more\": {\"a\": [1, 2]}},\n  {\"SMILES\": \" *C]C* \", "
      "\"name\": \"a \\\" ], b\"},\n  \"*CC(*)C\", null, {\"smile\": 1}, {\"SMILES\": \"C\"\n]\n");
  auto const rows = read({array, Format::json});
  REQUIRE(smiles_of(rows) == Texts{"*CC*", "*C]C*", "*CC(*)C", "", "", ""});
  CHECK(rows.rows[0].cells == Texts{"7", "*CC*", "{\"a\":[1,2]}"});
  CHECK(rows.rows[1].name == "a \" ], b");
  CHECK(rows.rows[3].error->message.find("line 4, byte ") == 0);
  CHECK(rows.rows[5].error);
  auto const lines =
      read({folder.write("in.jsonl", "{\"psmiles\": \"*CC*\", \"smiles\": \"C=C\"}\n\n\"*CC(*)C\"\n"),
            Format::json});
  REQUIRE(smiles_of(lines) == Texts{"*CC*", "*CC(*)C"});
  CHECK(lines.rows[1].line == 3);
}

// mutant: the columns of JSON are the members of the first value
// mutant: a member is put into its column only if its case is that of the first object
// mutant: a bare text goes into the first column
// mutant: members that have no column are forgotten
TEST_CASE("the columns of JSON are those of the first object with SMILES, and the others fill them") {
  Folder const folder;
  auto rows =
      open_rows({folder.write("in.jsonl",
                              "junk\n\"*C*\"\n{\"a\": 1}\n{\"id\": 7, \"SMILES\": \"*CC*\"}\n"
                              "{\"smiles\": \"*CO*\", \"ID\": 8, \"note\": 1}\n{\"psmiles\": \"*CS*\"}\n"),
                 Format::json});
  REQUIRE(rows);
  CHECK((*rows)->columns() == Texts{"id", "SMILES"});
  CHECK((*rows)->smiles_column() == "SMILES");
  auto const part = (*rows)->next(10).value();
  REQUIRE(part.size() == 6);
  CHECK(part[0].error);
  CHECK(part[1].cells == Texts{"", "*C*"});
  CHECK(part[2].error);
  CHECK(part[3].cells == Texts{"7", "*CC*"});
  CHECK(part[4].cells == Texts{"8", "*CO*"});
  CHECK(part[5].cells == Texts{"", "*CS*"});
  CHECK(part[5].number == 6);
  CHECK((*rows)->left_out() == Texts{"a", "note"});
}

TEST_CASE("the cell of the SMILES holds what is predicted, and another SMILES without a column is left out") {
  Folder const folder;
  auto rows = open_rows(
      {folder.write("in.jsonl",
                    "{\"smiles\": \"*CC*\"}\n"
                    "{\"psmiles\": \"*CC(*)C\", \"smiles\": \"C=CC\", \"canonical_smiles\": \"C\"}\n"),
       Format::json});
  REQUIRE(rows);
  auto const part = (*rows)->next(10).value();
  REQUIRE(part.size() == 2);
  CHECK(part[1].smiles == "*CC(*)C");
  CHECK(part[1].cells == Texts{"*CC(*)C"});
  CHECK((*rows)->left_out() == Texts{"canonical_smiles"});
}

// mutant: JSON that is indented is read line by line
// mutant: a text that is not closed swallows the objects behind it
TEST_CASE("JSON may be indented: each object goes over several lines") {
  Folder const folder;
  auto const rows = read({folder.write("in.jsonl",
                                       "{ \n  \"smiles\": \"*CC*\",\n  \"more\": {\n    \"a\": [1]\n  }\n}\n"
                                       "{\n  \"smiles\": \"*CO*\n}\njunk\n\n{\n  \"smiles\": \"*CS*\"\n}"),
                          Format::json});
  REQUIRE(smiles_of(rows) == Texts{"*CC*", "", "", "*CS*"});
  CHECK(rows.rows[0].cells == Texts{"*CC*", "{\"a\":[1]}"});
  CHECK(rows.rows[1].line == 7);
  CHECK(rows.rows[2].error->message.find("line 10, byte ") == 0);
  CHECK(rows.rows[3].line == 12);
  auto const one = read({folder.write("in.json", "{\n \"smiles\": \"*CC*\"\n}\n"), Format::json});
  CHECK(smiles_of(one) == Texts{"*CC*"});
}

// What is read of `text`: the columns, and the cells of each row.
std::string table_of(Folder const& folder, std::string const& text, std::string const& column = "") {
  auto rows = open_rows({folder.write("in.json", text), Format::json, column});
  if (!rows) return rows.error().message;
  std::string table = fmt::format("{}", fmt::join((*rows)->columns(), " "));
  auto const read = (*rows)->next(10);
  for (auto const& row : *read)
    table +=
        fmt::format("; {}", row.error ? row.error->message : fmt::format("{}", fmt::join(row.cells, " ")));
  return table;
}

// mutant: a table by columns is one value
// mutant: the columns of a table are taken for those of all lengths
// mutant: a table by rows is one value
// mutant: a table that is split is one value
// mutant: a table inside an object is one value
// mutant: names of rows are dropped
// mutant: rows that count are named
TEST_CASE("a table may be one JSON value, in each of the orientations of pandas that name columns") {
  Folder const folder;
  for (std::string const text :
       {R"({"id":{"0":7,"1":8},"smiles":{"0":"*CC*","1":"*CO*"}})",
        R"({"id":[7,8],"smiles":["*CC*","*CO*"]})",
        "{\n  \"id\": [\n    7,\n    8\n  ],\n  \"smiles\": [\n    \"*CC*\",\n    \"*CO*\"\n  ]\n}\n",
        R"({"0":{"id":7,"smiles":"*CC*"},"1":{"id":8,"smiles":"*CO*"}})",
        R"({"columns":["id","smiles"],"index":[0,1],"data":[[7,"*CC*"],[8,"*CO*"]]})",
        R"({"columns":["id","smiles"],"data":[[7,"*CC*"],[8,"*CO*"]]})",
        R"({"schema":{"fields":[]},"data":[{"id":7,"smiles":"*CC*"},{"id":8,"smiles":"*CO*"}]})"})
    CHECK_MESSAGE(table_of(folder, text) == "id smiles; 7 *CC*; 8 *CO*", text);
  CHECK(table_of(folder, R"({"smiles":{"PE":"*CC*","POM":"*CO*"}})") == "index smiles; PE *CC*; POM *CO*");
  CHECK(table_of(folder, R"({"PE":{"smiles":"*CC*"},"POM":{"smiles":"*CO*"}})") ==
        "index smiles; PE *CC*; POM *CO*");
  CHECK(table_of(folder, R"({"columns":["smiles"],"index":[5],"data":[["*CC*"]]})") ==
        "index smiles; 5 *CC*");
  CHECK(table_of(folder, R"({"smiles":{"0":null,"1":"*CC*"},"SMILES_2":{"0":1,"1":2}})") ==
        "smiles SMILES_2; line 1, byte 0 of the file: expected a JSON text, or an object with a text named "
        "smiles, got "
        R"({"smiles":null,"SMILES_2":1}; *CC* 2)");
}

// mutant: the number of a column decides where the columns of a table are
TEST_CASE("the number of a column counts the columns of a table, wherever they are") {
  Folder const folder;
  for (std::string const text : {R"({"0":{"smiles":"*CC*","id":7},"1":{"smiles":"*CO*","id":8}})",
                                 R"({"columns":["smiles","id"],"data":[["*CC*",7],["*CO*",8]]})",
                                 R"({"smiles":["*CC*","*CO*"],"id":[7,8]})"})
    CHECK_MESSAGE(table_of(folder, text, "1") == "smiles id; *CC* 7; *CO* 8", text);
  CHECK(table_of(folder, R"({"0":{"unit":"*CC*"},"1":{"unit":"*CO*"}})", "1") == "unit; *CC*; *CO*");
  CHECK(table_of(folder, R"({"unit":{"PE":"*CC*"},"id":{"PE":7}})", "1") == "index unit id; PE *CC* 7");
  CHECK(table_of(folder, R"({"unit":["*CC*"],"id":[7]})", "1") == "unit id; *CC* 7");
}

// mutant: a list is asked for a text
// mutant: a table that is too long is not told how to be written
TEST_CASE("a table in JSON whose columns have no names, or not the same rows, is refused in words") {
  Folder const folder;
  CHECK(table_of(folder, R"([["*CC*",1]])") ==
        "smiles name; line 1, byte 1 of the file: expected columns with names (in pandas orient='records'), "
        "as in an object "
        R"(with a text named smiles, got ["*CC*",1])");
  for (std::string const text :
       {R"({"smiles":["*CC*","*CO*"],"id":[7]})", R"({"smiles":{"0":"*CC*"},"id":{"1":7}})",
        R"({"smiles":["*CC*"],"id":7})", R"({"columns":["smiles","id"],"data":[["*CC*"]]})",
        R"({"columns":[1],"data":[["*CC*"]]})", R"({"data":[{"smiles":"*CC*"},1]})"})
    CHECK_MESSAGE(
        table_of(folder, text).find("expected a JSON text, or an object with a text named smiles") !=
            std::string::npos,
        text);
  CHECK_MESSAGE(
      table_of(folder, "{\"smiles\":[\"" + std::string(std::size_t{1} << 20, 'C') + "\"]}")
              .find("expected a value of at most 1048576 bytes, or a table with an object for each row "
                    "(in pandas orient='records'), got {\"smiles\"") != std::string::npos,
      "a long table");
}

// mutant: an array that is not closed passes for a whole one
// mutant: what stands behind an array is not looked at
// mutant: a comma too many is no value
TEST_CASE("a torn array is an error behind its rows") {
  Folder const folder;
  auto const torn = read({folder.write("torn.json", "[\"*CC*\",\n\"*CO*\","), Format::json});
  CHECK(smiles_of(torn) == Texts{"*CC*", "*CO*"});
  CHECK_MESSAGE(torn.failure.ends_with("torn.json: line 2, byte 16 of the file: expected a ] that closes the "
                                       "array, got the end of the file"),
                torn.failure);
  auto const more = read({folder.write("in.json", "[\"*CC*\"]\n\"*CO*\""), Format::json});
  CHECK(smiles_of(more) == Texts{"*CC*"});
  CHECK_MESSAGE(more.failure.find("expected nothing behind the array, got \"*CO*\"") != std::string::npos,
                more.failure);
  auto const commas = read({folder.write("in.json", "[\"*CC*\",,\"*CO*\",\n]\n"), Format::json});
  CHECK(smiles_of(commas) == Texts{"*CC*", "", "*CO*"});
  CHECK(commas.failure == "");
  CHECK(read({folder.write("in.json", "[]"), Format::json}).failure == "");
}

// mutant: the backslashes of JSON are not explained
TEST_CASE("a backslash that JSON does not know is told how to be written") {
  Folder const folder;
  auto const rows = read(
      {folder.write("in.jsonl", "{\"smiles\": \"*C\\C=C*\"}\n{\"smiles\": \"*C\\\\C=C*\"}\n"), Format::json});
  REQUIRE(smiles_of(rows) == Texts{"", "*C\\C=C*"});
  CHECK_MESSAGE(
      rows.rows[0].error->message ==
          "line 1, byte 14 of the file: expected JSON, where a SMILES has two \\ for each of its own, "
          "got \\C=C*\"}",
      rows.rows[0].error->message);
}

// mutant: NaN in JSON is told as any mistake
TEST_CASE("numbers that JSON does not have are told as such") {
  Folder const folder;
  auto const rows = read({folder.write("in.jsonl",
                                       "{\"smiles\": \"*CC*\", \"tg\": NaN}\n{\"smiles\": \"*CC*\", \"tg\": "
                                       "-Infinity}\n{\"smiles\": \"*CC*\", \"tg\": 1e400}\n"),
                          Format::json});
  REQUIRE(rows.rows.size() == 3);
  for (std::size_t i : {0U, 1U})
    CHECK_MESSAGE(
        rows.rows[i].error->message.find("null stands for what is no number, got ") != std::string::npos,
        rows.rows[i].error->message);
  CHECK_MESSAGE(rows.rows[2].error->message.find("numbers of at most 1.8e308") != std::string::npos,
                rows.rows[2].error->message);
}

// mutant: an integer that 64 bits do not hold is rounded
// mutant: of a table an integer that 64 bits do not hold is rounded
// mutant: digits in a text count as an integer
// mutant: the least negative integer does not count as one of 64 bits
TEST_CASE("an integer that 64 bits do not hold is refused, not rounded") {
  Folder const folder;
  auto const rows = read({folder.write("in.jsonl", R"({"id": 18446744073709551615, "smiles": "*CC*"}
{"id": -9223372036854775808, "smiles": "*CC*", "note": "\"18446744073709551616\""}
{"id": 1.5, "smiles": "*CC*", "width": 18446744073709551616.0, "height": -1e30}
{"id": 18446744073709551616, "smiles": "*CC*"}
{"smiles": "*CC*", "id": -9223372036854775809}
)"),
                          Format::json});
  REQUIRE(rows.rows.size() == 5);
  CHECK(rows.rows[0].cells == std::vector<std::string>{"18446744073709551615", "*CC*"});
  CHECK(rows.rows[1].cells == std::vector<std::string>{"-9223372036854775808", "*CC*"});
  for (std::size_t i : {0U, 1U, 2U}) CHECK_FALSE(rows.rows[i].error);
  REQUIRE(rows.rows[3].error);
  CHECK(rows.rows[3].error->message ==
        "line 4, byte 217 of the file: expected integers of 64 bits, or a text in their place, got "
        "18446744073709551616, \"smiles\": \"*CC*\"}");
  REQUIRE(rows.rows[4].error);
  auto const table =
      read({folder.write("in.json", R"({"smiles": ["*CC*"], "id": [18446744073709551616]})"), Format::json});
  REQUIRE(table.rows.size() == 1);
  REQUIRE(table.rows[0].error);
}

// mutant: a value of any depth is read
// mutant: a table of any depth is read
TEST_CASE("JSON of more levels than there is stack for costs one row") {
  Folder const folder;
  auto const nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  auto const object = [&](std::size_t levels) {
    return R"({"smiles": "*CC*", "more": )" + nested(levels) + "}";
  };
  for (auto const* name : {"in.jsonl", "in.json"}) {
    bool const array = name == "in.json"s;
    auto const text = array ? "[" + object(200'000) + ",\"*CO*\"," + object(900) + "]"
                            : object(200'000) + "\n\"*CO*\"\n" + object(900);
    auto const rows = read({folder.write(name, text), Format::json});
    REQUIRE(smiles_of(rows) == Texts{"", "*CO*", "*CC*"});
    CHECK(rows.rows[0].error->message.find("expected JSON of at most 1000 levels") != std::string::npos);
    CHECK_FALSE(rows.rows[2].error);
  }
  auto const table = R"({"smiles": {"0": "*CC*"}, "more": {"0": )" + nested(200'000) + "}}";
  CHECK(read({folder.write("table.json", table), Format::json}).rows[0].error);
}
