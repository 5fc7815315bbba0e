#include "rows.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace polymers {

using athanor::Code;
using athanor::Error;
using athanor::fail;
using athanor::Reason;
using athanor::Result;

namespace {

// Everything up to the end of `file`, which may be null; `name` is for the sentence when it cannot be read.
Result<std::string> read_all(std::FILE* file, std::string const& name) {
  std::string text;
  std::array<char, 1 << 16> part;
  bool good = file != nullptr;
  while (good) {
    std::size_t const count = std::fread(part.data(), 1, part.size(), file);
    text.append(part.data(), count);
    if (count < part.size()) {
      good = std::ferror(file) == 0;
      break;
    }
  }
  if (good) return text;
  return fail(Code::not_found, Reason::file, "{}: cannot be read: {}", name,
              std::generic_category().message(errno));
}

Result<std::string> read_file(std::string const& path) {
  if (path == "-") return read_all(stdin, "standard input");
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> const file(std::fopen(path.c_str(), "rb"));
  return read_all(file.get(), path);
}

// Where a text begins: spreadsheets and editors mark UTF-8 with three bytes that belong to no column or line.
std::size_t start_of(std::string_view text) { return text.starts_with("\xEF\xBB\xBF") ? 3 : 0; }

// `got` starts at `byte` of the file; only its beginning is shown.
Error bad_row(std::size_t line, std::size_t byte, std::string_view expected, std::string_view got) {
  return {Code::invalid_argument,
          Reason::syntax,
          fmt::format("line {}, byte {} of the file: expected {}, got {}", line, byte, expected,
                      got.empty() ? "the end of the line" : clipped(got, 40)),
          {}};
}

// The records of a CSV text, one after the other.
class CsvReader {
 public:
  using Record = std::vector<std::string>;

  explicit CsvReader(std::string_view text) : text_(text), at_(start_of(text)) {}

  bool done() const { return at_ == text_.size(); }

  // The next record. After an error reading goes on at the next line, so that a forgotten quote costs one row
  // and not all that follow.
  Result<Record> next() {
    start_ = at_;
    start_line_ = line_;
    Record record;
    do {
      if (!record.empty()) ++at_;
      std::size_t const opening = at_;
      if (!read_field(record.emplace_back())) return tl::unexpected(refused(opening));
    } while (here(','));
    end_ = at_;
    if (here('\n')) ++at_;
    line_ += lines(start_, at_);
    return record;
  }

  // For the record that `next` gave last: it is not what was expected.
  Error misfit(std::string_view expected) const {
    return bad_row(start_line_, start_, expected, text_.substr(start_, end_ - start_));
  }

 private:
  bool here(char c) const { return at_ < text_.size() && text_[at_] == c; }
  std::size_t lines(std::size_t from, std::size_t to) const {
    auto const part = text_.substr(from, to - from);
    return static_cast<std::size_t>(std::ranges::count(part, '\n'));
  }

  // Moves to the comma or the end of the line behind the field. False when a field that starts with a quote
  // does not end with one.
  bool read_field(std::string& field) {
    if (here('"')) return read_quoted(field);
    std::size_t const end = std::min(text_.find_first_of(",\n", at_), text_.size());
    field = text_.substr(at_, end - at_);
    at_ = end;
    if (!here(',') && field.ends_with('\r')) field.pop_back();
    return true;
  }

  bool read_quoted(std::string& field) {
    for (++at_;;) {
      std::size_t const quote = text_.find('"', at_);
      if (quote == std::string_view::npos) return false;
      field += text_.substr(at_, quote - at_);
      at_ = quote + 1;
      if (!here('"')) break;
      field += '"';
      ++at_;
    }
    if (here('\r')) ++at_;
    return done() || here(',') || here('\n');
  }

  Error refused(std::size_t opening) {
    std::size_t const end = std::min(text_.find('\n', opening), text_.size());
    Error error =
        bad_row(line_ + lines(start_, opening), opening, "a field that ends with the quote it starts with",
                text_.substr(opening, end - opening));
    at_ = std::min(end + 1, text_.size());
    line_ += lines(start_, at_);
    return error;
  }

  std::string_view text_;
  std::size_t at_;
  std::size_t line_ = 1;
  // The record that was read last.
  std::size_t start_ = 0;
  std::size_t end_ = 0;
  std::size_t start_line_ = 1;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  auto const first = text.find_first_not_of(blanks);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool same_name(std::string_view one, std::string_view other) {
  auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(trimmed(one), trimmed(other), {}, lower, lower);
}

// The first of `names` that a column has, or the number of columns.
std::size_t column_of(std::vector<std::string> const& header, std::span<std::string_view const> names) {
  for (auto const name : names)
    if (auto const at =
            std::ranges::find_if(header, [&](auto const& column) { return same_name(column, name); });
        at != header.end())
      return static_cast<std::size_t>(at - header.begin());
  return header.size();
}

// Repeat units before molecules: a table with both was made from monomers, which are no polymers.
constexpr std::array<std::string_view, 4> smiles_names{"smiles_polymer", "psmiles", "smiles",
                                                       "canonical_smiles"};
constexpr std::array<std::string_view, 1> name_names{"name"};

// A name with a comma that nobody quoted moves what stands behind it into the next columns, where a part of
// the name may pass for a SMILES. Empty fields at the end do no harm, nor do missing ones behind the SMILES.
bool fits(CsvReader::Record const& record, std::size_t columns, std::size_t smiles) {
  auto const surplus = std::span(record).subspan(std::min(columns, record.size()));
  return record.size() > smiles && std::ranges::all_of(surplus, &std::string::empty);
}

// The text without the ends of its lines, line by line: `take(line, number, byte)`.
void for_each_line(std::string_view text, auto const& take) {
  std::size_t number = 0;
  for (std::size_t at = start_of(text); at < text.size();) {
    std::size_t const end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    take(line, ++number, at);
    at = end + 1;
  }
}

Row row_of_json(std::string_view line, std::size_t number, std::size_t byte) {
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(line);
  } catch (nlohmann::json::parse_error const& error) {
    std::size_t const at = std::min(std::max(error.byte, std::size_t{1}) - 1, line.size());
    return {{}, {}, bad_row(number, byte + at, "JSON", line.substr(at))};
  } catch (nlohmann::json::exception const&) {
    // A number that no double holds: what follows refuses the row.
  }
  if (value.is_string()) return {value.get<std::string>(), {}};
  if (value.is_object() && value.contains("smiles") && value["smiles"].is_string()) {
    bool const named = value.contains("name") && value["name"].is_string();
    return {value["smiles"].get<std::string>(), named ? value["name"].get<std::string>() : std::string()};
  }
  return {{}, {}, bad_row(number, byte, "a JSON text, or an object with a text named smiles", line)};
}

}  // namespace

Result<Table> read_csv(std::string const& path, CsvOptions const& options) {
  auto const text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  CsvReader reader(*text);
  CsvReader::Record header;
  if (options.header) {
    auto first = reader.next();
    if (!first) return fail(Code::invalid_argument, Reason::syntax, "{}: {}", path, first.error().message);
    header = std::move(*first);
  } else {
    header = {"smiles"};
  }
  std::string_view const wanted = options.smiles_column;
  auto const smiles_of = [&](auto const& columns) {
    return wanted.empty() ? column_of(columns, smiles_names) : column_of(columns, std::span(&wanted, 1));
  };
  std::size_t const smiles = smiles_of(header);
  std::size_t const name = column_of(header, name_names);
  auto const columns = fmt::format("{}", fmt::join(header, ", "));
  if (columns.find('\r') != std::string::npos)
    return fail(Code::invalid_argument, Reason::syntax,
                "{}: expected lines that end with LF or CR LF, got CR", path);
  if (smiles == header.size())
    return fail(
        Code::invalid_argument, Reason::missing_input,
        "{}: expected a column named {}, got {}; --smiles-column names another one, --no-header is for "
        "a file without names",
        path, wanted.empty() ? fmt::format("{}", fmt::join(smiles_names, " or ")) : std::string(wanted),
        columns.empty() ? "none" : "the columns " + clipped(columns, 200));
  if (std::ranges::count_if(header, [&](auto const& column) { return same_name(column, header[smiles]); }) >
      1)
    return fail(Code::invalid_argument, Reason::syntax, "{}: expected one column named {}, got several", path,
                header[smiles]);
  auto const expected = fmt::format("the {} fields of the header", header.size());
  Table table{{}, options.header ? std::string(trimmed(header[smiles])) : std::string()};
  auto& rows = table.rows;
  while (!reader.done()) {
    auto record = reader.next();
    if (!record) {
      rows.push_back({{}, {}, std::move(record.error())});
      continue;
    }
    if (record->size() == 1 && record->front().empty()) continue;
    if (options.header && !fits(*record, header.size(), smiles)) {
      rows.push_back({{}, {}, reader.misfit(expected)});
      continue;
    }
    record->resize(std::max(record->size(), header.size()));
    rows.push_back(
        {std::string(trimmed((*record)[smiles])), name < header.size() ? (*record)[name] : std::string()});
  }
  return table;
}

Result<std::vector<Row>> read_jsonl(std::string const& path) {
  auto const text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  std::vector<Row> rows;
  for_each_line(*text, [&](std::string_view line, std::size_t number, std::size_t byte) {
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      rows.push_back(row_of_json(line, number, byte));
  });
  return rows;
}

Result<std::vector<Row>> read_lines() {
  auto const text = read_file("-");
  if (!text) return tl::unexpected(text.error());
  std::vector<Row> rows;
  for_each_line(*text, [&](std::string_view line, std::size_t, std::size_t) {
    if (!line.empty()) rows.push_back({std::string(line), {}});
  });
  return rows;
}

Result<std::vector<Handbook>> read_handbook(std::string const& path) {
  auto text = read_file(path);
  if (!text) return tl::unexpected(std::move(text.error()));
  auto const book = nlohmann::json::parse(*text, nullptr, false);
  std::vector<Handbook> handbook;
  if (book.is_object() && book.contains("polymers"))
    for (auto const& row : book["polymers"]) {
      bool const trained_on = row.value("source", "") == "table";
      handbook.push_back(
          {row.value("smiles", ""), row.value("name", ""), row.value("tg", 0.0),
           row.value("reference", "") + (trained_on ? "; the demonstration model was trained on it" : "")});
    }
  if (handbook.empty())
    return fail(Code::invalid_argument, Reason::syntax, "{}: expected a JSON object with a list of polymers",
                path);
  return handbook;
}

}  // namespace polymers
