#include "rows.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "columns.hpp"
#include "csv.hpp"
#include "input.hpp"
#include "json_rows.hpp"
#include "text.hpp"

namespace polymers {

using athanor::Code;
using athanor::Error;
using athanor::fail;
using athanor::Reason;
using athanor::Result;

namespace {

class Arguments : public Rows {
 public:
  explicit Arguments(std::vector<std::string> smiles) : Rows({"smiles"}, {}), smiles_(std::move(smiles)) {}
  double fraction() const override { return static_cast<double>(at_) / static_cast<double>(smiles_.size()); }

 private:
  Result<std::optional<Row>> one() override {
    if (at_ == smiles_.size()) return std::optional<Row>();
    Row row;
    row.cells = {smiles_[at_]};
    row.smiles = trimmed(smiles_[at_++]);
    return std::optional(std::move(row));
  }

  std::vector<std::string> smiles_;
  std::size_t at_ = 0;
};

bool all_blank(std::span<std::string const> fields) {
  return std::ranges::all_of(fields, [](auto const& field) { return trimmed(field).empty(); });
}

class CsvRows : public Rows {
 public:
  CsvRows(CsvRecords records, std::vector<std::string> columns, std::size_t smiles, std::string smiles_column,
          std::optional<Record> first)
      : Rows(std::move(columns), std::move(smiles_column)),
        records_(std::move(records)),
        smiles_(smiles),
        name_(find_column(this->columns(), "name")),
        first_(std::move(first)) {}
  double fraction() const override { return records_.text().fraction(); }

 private:
  Result<std::optional<Row>> one() override {
    for (;;) {
      auto record =
          first_ ? Result<std::optional<Record>>(std::exchange(first_, std::nullopt)) : records_.next();
      if (!record) return tl::unexpected(std::move(record.error()));
      if (!*record) return std::optional<Row>();
      // Spreadsheets end their tables with rows of nothing.
      if ((*record)->fault || !all_blank((*record)->fields))
        return std::optional(row_of(std::move(**record)));
    }
  }

  // A name with an unquoted comma moves what stands behind it into the next columns, where a part of the
  // name may pass for a SMILES. Blank fields at the end do no harm, nor do missing ones behind the SMILES.
  bool fits(std::vector<std::string> const& fields) const {
    auto const surplus = std::span(fields).subspan(std::min(columns().size(), fields.size()));
    return fields.size() > smiles_ && all_blank(surplus);
  }

  Row row_of(Record record) const {
    Row row;
    row.line = record.line;
    if (record.fault) {
      row.error = std::move(record.fault);
    } else if (!fits(record.fields)) {
      row.error =
          misread(record.line, record.byte,
                  columns().size() == 1 ? "1 field, as in the header"
                                        : fmt::format("the {} fields of the header", columns().size()),
                  trimmed(record.text));
    }
    row.cells = std::move(record.fields);
    row.cells.resize(columns().size());
    if (row.error) return row;
    row.smiles = trimmed(row.cells[smiles_]);
    if (name_) row.name = row.cells[*name_];
    return row;
  }

  CsvRecords records_;
  std::size_t smiles_;
  std::optional<std::size_t> name_;
  std::optional<Record> first_;  // a record that was read to see its columns
};

// Of a line such as `CCO ethanol`, the SMILES and the name. A
// CXSMILES extension, between two |, is left with the SMILES.
std::pair<std::string_view, std::string_view> split_line(std::string_view line) {
  line = trimmed(line);
  std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  std::size_t const next = line.find_first_not_of(" \t", end);
  if (next != std::string_view::npos && line[next] == '|')
    if (std::size_t const last = line.find('|', next + 1); last != std::string_view::npos) end = last + 1;
  return {line.substr(0, end), trimmed(line.substr(end))};
}

class Lines : public Rows {
 public:
  explicit Lines(Text text) : Rows({"smiles", "name"}, {}), text_(std::move(text)) {}
  double fraction() const override { return text_.fraction(); }

 private:
  Result<std::optional<Row>> one() override {
    for (;;) {
      auto read = read_line();
      if (!read) return tl::unexpected(std::move(read.error()));
      if (!*read) return std::optional<Row>();
      auto const [smiles, name] = split_line(line_);
      // Some writers begin with a line of names.
      if (smiles.empty() || (start_line_ == 1 && names_smiles(smiles))) continue;
      Row row;
      row.line = start_line_;
      row.cells = {std::string(smiles), std::string(name)};
      row.smiles = smiles;
      row.name = name;
      if (too_long_)
        row.error = misread(start_line_, start_byte_,
                            fmt::format("a line of at most {} bytes", longest_record), smiles);
      return std::optional(std::move(row));
    }
  }

  // The next line goes to `line_`, the beginning of one that is too long; false at the end.
  Result<bool> read_line() {
    if (std::exchange(too_long_, false))
      if (auto skipped = skip_line(text_); !skipped) return skipped;
    start_line_ = text_.line();
    start_byte_ = text_.byte();
    for (bool end = false;;) {
      auto const rest = text_.rest();
      std::size_t const stop = rest.find('\n');
      if (stop != std::string_view::npos || (end && !rest.empty())) {
        line_ = rest.substr(0, stop);
        text_.take(std::min(stop, rest.size() - 1) + 1);
        return true;
      }
      if (end) return false;
      if (rest.size() >= longest_record) {
        line_ = rest.substr(0, 100);
        too_long_ = true;
        return true;
      }
      auto more = text_.more();
      if (!more) return more;
      end = !*more;
    }
  }

  Text text_;
  // The line that was read last.
  std::string line_;
  std::size_t start_line_ = 1;
  std::size_t start_byte_ = 0;
  bool too_long_ = false;
};

std::string_view without_gz(std::string_view path) {
  if (has_suffix(path, ".gz")) path.remove_suffix(3);
  return path;
}

// What a file says of its separator: in a line of its own, which
// Excel writes, or by its name, if its first line has a tab.
std::optional<char> announced_separator(Text& text, std::string_view path) {
  auto const rest = text.rest();
  if (rest.starts_with("sep=") && rest.size() >= 6 && (rest[5] == '\n' || rest[5] == '\r')) {
    char const separator = rest[4];
    text.take(std::min(rest.find('\n'), rest.size() - 1) + 1);
    return separator;
  }
  bool const by_name = has_suffix(without_gz(path), {".tsv", ".tab"});
  bool const has_tab = rest.substr(0, rest.find('\n')).find('\t') != std::string_view::npos;
  return by_name && has_tab ? std::optional('\t') : std::nullopt;
}

Error in_file(std::string const& name, Error error) {
  error.message = name + ": " + error.message;
  return error;
}

// What a text is that begins with this line and holds no lines of SMILES; empty where it may.
std::string_view other_kind(std::string_view line) {
  if (line.starts_with("[\"") || line.starts_with("{\"") || line.starts_with("[{"))
    return "JSON; --jsonl reads it";
  if (line.find('*') != std::string_view::npos) return {};  // a repeat unit, whatever its name
  char const separator = separator_of(line);
  for (std::size_t first = 0; first < line.size();) {
    std::size_t const end = std::min(line.find(separator, first), line.size());
    bool const part = first > 0 || (end < line.size() && separator != '\t');
    if (part && names_smiles(line.substr(first, end - first))) return "a table with a header; --csv reads it";
    first = end + 1;
  }
  return {};
}

tl::unexpected<Error> lines_of_cr(std::string const& name) {
  return fail(Code::invalid_argument, Reason::syntax, "{}: expected lines that end with LF or CR LF, got CR",
              name);
}

Result<std::unique_ptr<Rows>> open_lines(Text text) {
  auto const line = trimmed(text.rest().substr(0, text.rest().find('\n')));
  if (line.find('\r') != std::string_view::npos) return lines_of_cr(text.name());
  if (auto const kind = other_kind(line); !kind.empty())
    return fail(Code::invalid_argument, Reason::syntax,
                "{}: expected lines of a SMILES and a name, this is {}", text.name(), kind);
  return std::make_unique<Lines>(std::move(text));
}

Result<std::unique_ptr<Rows>> open_csv(Text text, Input const& input) {
  std::string const name = text.name();
  auto const announced = announced_separator(text, input.path);
  char const separator = announced ? *announced : separator_of(text.rest(), input.smiles_column);
  CsvRecords records(std::move(text), separator);
  auto first = records.next();
  if (!first) return tl::unexpected(std::move(first.error()));
  if (!*first)
    return fail(Code::invalid_argument, Reason::missing_input,
                "{}: expected a column of SMILES, such as smiles, got none: the file is empty", name);
  if ((*first)->fault) return tl::unexpected(in_file(name, *(*first)->fault));
  std::vector<std::string> columns = (*first)->fields;
  if (std::ranges::any_of(columns, [](auto const& column) { return column.find('\r') != std::string::npos; }))
    return lines_of_cr(name);
  if (!input.header)
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = fmt::format("column_{}", i + 1);
  bool const first_column = !input.header && input.smiles_column.empty();
  auto const smiles = find_smiles(columns, first_column ? "1" : std::string_view(input.smiles_column));
  if (!smiles) return tl::unexpected(in_file(name, smiles.error()));
  auto& chosen = columns[*smiles];
  if (!input.header) chosen = "smiles";
  std::string column = input.header ? std::string(trimmed(chosen)) : std::string();
  auto kept = input.header ? std::optional<Record>() : std::move(*first);
  return std::make_unique<CsvRows>(std::move(records), std::move(columns), *smiles, std::move(column),
                                   std::move(kept));
}

}  // namespace

Result<std::vector<Row>> Rows::next(std::size_t count) {
  if (failure_) return tl::unexpected(*failure_);
  std::vector<Row> rows;
  while (rows.size() < count) {
    auto row = one();
    if (!row && rows.empty()) return tl::unexpected(std::move(row.error()));
    if (!row) failure_ = std::move(row.error());
    if (!row || !*row) break;
    (*row)->number = ++count_;
    rows.push_back(std::move(**row));
  }
  return rows;
}

void Rows::leave_out(std::string const& name) {
  constexpr std::size_t most = 20;
  if (left_out_.size() < most && std::ranges::find(left_out_, name) == left_out_.end())
    left_out_.push_back(name);
}

std::optional<Input::Format> format_of(std::string_view path) {
  using Format = Input::Format;
  // The last three are no text, and the reader says so; their names are no SMILES.
  constexpr std::array<std::pair<std::string_view, Format>, 14> suffixes{{{".csv", Format::csv},
                                                                          {".tsv", Format::csv},
                                                                          {".tab", Format::csv},
                                                                          {".json", Format::json},
                                                                          {".jsonl", Format::json},
                                                                          {".ndjson", Format::json},
                                                                          {".smi", Format::lines},
                                                                          {".smiles", Format::lines},
                                                                          {".can", Format::lines},
                                                                          {".ism", Format::lines},
                                                                          {".txt", Format::lines},
                                                                          {".xlsx", Format::csv},
                                                                          {".xls", Format::csv},
                                                                          {".parquet", Format::csv}}};
  for (auto const& [suffix, format] : suffixes)
    if (has_suffix(without_gz(path), suffix)) return format;
  return std::nullopt;
}

Result<std::unique_ptr<Rows>> open_rows(Input const& input) {
  auto text = Text::open(input.path);
  if (!text) return tl::unexpected(std::move(text.error()));
  switch (input.format) {
    case Input::Format::csv: return open_csv(std::move(*text), input);
    case Input::Format::json: return open_json(std::move(*text), input);
    case Input::Format::lines: break;
  }
  return open_lines(std::move(*text));
}

std::unique_ptr<Rows> rows_of(std::vector<std::string> smiles) {
  return std::make_unique<Arguments>(std::move(smiles));
}

}  // namespace polymers
