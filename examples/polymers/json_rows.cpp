#include "json_rows.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <deque>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "columns.hpp"
#include "csv.hpp"
#include "json_tables.hpp"
#include "text.hpp"

namespace polymers {

using athanor::Result;
using Json = nlohmann::ordered_json;

namespace {

// So many values are read to find an object with SMILES, whose members are the columns.
constexpr std::size_t most_ahead = 256;

// One value of the text, as it is written, and where it starts.
struct Value {
  std::string text;
  std::size_t line = 0;
  std::size_t byte = 0;
  bool too_long = false;
};

// How the values of a text lie.
enum class Layout : std::uint8_t {
  lines,    // one per line
  objects,  // each over several lines, as programs write them that indent
  array
};

// Values nested deeper are not read: to copy and to write them takes stack for each level.
constexpr std::size_t most_levels = 1000;

// How deep inside arrays and objects a place of a text is, byte by byte.
class Nesting {
 public:
  void take(char c) {
    if (inside_) {
      inside_ = c != '"' || escaped_;
      escaped_ = c == '\\' && !escaped_;
    } else if (c == '"') {
      inside_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && depth_ > 0) {
      --depth_;
    }
  }
  void close_text() { inside_ = false; }
  bool outside() const { return !inside_ && depth_ == 0; }
  bool in_text() const { return inside_; }
  std::size_t depth() const { return depth_; }

 private:
  std::size_t depth_ = 0;
  bool inside_ = false;   // a text
  bool escaped_ = false;  // the next byte of that text is
};

bool too_deep(std::string_view text) {
  Nesting nesting;
  return std::ranges::any_of(text, [&](char c) {
    nesting.take(c);
    return nesting.depth() > most_levels;
  });
}

// Where an integer stands that 64 bits do not hold: read as a double, it would be another one.
std::optional<std::size_t> large_integer(std::string_view text) {
  constexpr std::string_view of_numbers = "0123456789+-.eE";
  Nesting nesting;
  for (std::size_t i = 0; i < text.size(); ++i) {
    nesting.take(text[i]);
    if (nesting.in_text() || (text[i] != '-' && (text[i] < '0' || text[i] > '9'))) continue;
    auto const number = text.substr(i, text.find_first_not_of(of_numbers, i) - i);
    bool const negative = number.front() == '-';
    std::uint64_t size = 0;
    auto const read =
        std::from_chars(number.data() + (negative ? 1 : 0), number.data() + number.size(), size);
    bool const whole = read.ptr == number.data() + number.size();
    bool const fits = read.ec == std::errc() && (!negative || size <= std::uint64_t{1} << 63);
    if (whole && !fits) return i;
    i += number.size() - 1;
  }
  return std::nullopt;
}

// Finds where a value ends, in one part of the text after the other.
class End {
 public:
  explicit End(Layout layout) : layout_(layout) {}

  // The first byte behind the value; no value when it goes on behind `part`.
  std::optional<std::size_t> find(std::string_view part) {
    if (layout_ == Layout::lines) {
      std::size_t const end = part.find('\n');
      return end == std::string_view::npos ? std::nullopt : std::optional(end);
    }
    for (std::size_t i = 0; i < part.size(); ++i)
      if (ends_at(part[i])) return i;
    return std::nullopt;
  }

 private:
  bool ends_at(char c) {
    if (layout_ == Layout::objects && c == '\n') nesting_.close_text();  // JSON has no text of several lines
    if (nesting_.outside() && (layout_ == Layout::array ? c == ',' || c == ']' : c == '\n')) return true;
    nesting_.take(c);
    return false;
  }

  Layout layout_;
  Nesting nesting_;
};

// The values of a text, one after the other.
class Values {
 public:
  explicit Values(Text text) : text_(std::move(text)) {}

  // The next value; no value at the end. An array that ends
  // before its ] has lost values, so that is an error.
  Result<std::optional<Value>> next() {
    if (closed_) return std::optional<Value>();
    bool const first = !std::exchange(started_, true);
    if (auto const skipped = skip_rest(); !skipped) return tl::unexpected(skipped.error());
    auto something = to_something();
    if (first && something && *something) {
      if (auto const known = take_layout(); !known) return tl::unexpected(known.error());
      something = to_something();
    } else if (in_array() && something && *something && text_.rest().front() == ',') {
      text_.take(1);
      something = to_something();
    }
    if (!something) return tl::unexpected(something.error());
    if (!*something)
      return in_array() ? torn("a ] that closes the array", "the end of the file")
                        : Result<std::optional<Value>>(std::nullopt);
    return in_array() && text_.rest().front() == ']' ? close() : read();
  }

  Text const& text() const { return text_; }
  bool in_array() const { return layout_ == Layout::array; }

 private:
  // Who indents leaves the first { alone in its line.
  Result<void> take_layout() {
    if (text_.rest().front() == '[') {
      layout_ = Layout::array;
      text_.take(1);
    }
    for (bool more = text_.rest().starts_with('{'); more && layout_ == Layout::lines;) {
      std::size_t const at = text_.rest().find_first_not_of(" \t\r", 1);
      if (at != std::string_view::npos) {
        if (text_.rest()[at] == '\n') layout_ = Layout::objects;
        break;
      }
      auto const read = text_.more();
      if (!read) return tl::unexpected(read.error());
      more = *read && text_.rest().size() < longest_record;
    }
    return {};
  }

  // Moves to the next byte that is no blank; false at the end.
  Result<bool> to_something() {
    for (;;) {
      std::size_t const at = text_.rest().find_first_not_of(" \t\r\n");
      text_.take(std::min(at, text_.rest().size()));
      if (at != std::string_view::npos) return true;
      auto more = text_.more();
      if (!more || !*more) return more;
    }
  }

  Result<std::optional<Value>> torn(std::string_view expected, std::string_view got) const {
    auto error = misread(text_.line(), text_.byte(), expected, got);
    error.message = text_.name() + ": " + error.message;
    return tl::unexpected(std::move(error));
  }

  // The end of the array, behind which nothing stands.
  Result<std::optional<Value>> close() {
    text_.take(1);
    auto const something = to_something();
    if (!something) return tl::unexpected(something.error());
    if (*something) return torn("nothing behind the array", text_.rest());
    closed_ = true;
    return std::optional<Value>();
  }

  Result<std::optional<Value>> read() {
    Value value{{}, text_.line(), text_.byte()};
    End end(layout_);
    std::size_t seen = 0;
    for (bool whole = false; !whole;) {
      auto const size = end.find(text_.rest().substr(seen));
      seen = size ? seen + *size : text_.rest().size();
      value.too_long = !size && seen >= longest_record;
      auto const more = size || value.too_long ? Result<bool>(false) : text_.more();
      if (!more) return tl::unexpected(more.error());
      whole = !*more;
    }
    value.text = trimmed(text_.rest().substr(0, seen));
    text_.take(seen);
    if (value.too_long) cut_ = end;
    return std::optional(std::move(value));
  }

  // Moves to the end of a value that was too long.
  Result<void> skip_rest() {
    for (auto end = std::exchange(cut_, std::nullopt); end;) {
      auto const size = end->find(text_.rest());
      text_.take(size.value_or(text_.rest().size()));
      auto const more = size ? Result<bool>(false) : text_.more();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
    }
    return {};
  }

  Text text_;
  bool started_ = false;
  Layout layout_ = Layout::lines;
  bool closed_ = false;     // the array is
  std::optional<End> cut_;  // reading stands inside a value of which nothing more is wanted
};

std::string cell_of(Json const& member) {
  if (member.is_null()) return {};
  return member.is_string() ? member.get<std::string>()
                            : member.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What was read to see the columns, the end or a failure among it.
using Ahead = std::deque<Result<std::optional<Value>>>;

// The columns are the members of the first object that has SMILES.
// Later objects fill them whatever the case of their names.
class JsonRows : public Rows {
 public:
  JsonRows(Values values, Ahead ahead, std::vector<std::string> columns, std::string smiles_column,
           std::string wanted)
      : Rows(std::move(columns), std::move(smiles_column)),
        values_(std::move(values)),
        ahead_(std::move(ahead)),
        wanted_(std::move(wanted)),
        smiles_(find_column(this->columns(), this->smiles_column()).value_or(0)) {}
  double fraction() const override { return values_.text().fraction(); }

 private:
  Result<std::optional<Row>> one() override {
    auto value = next_value();
    if (!value) return tl::unexpected(std::move(value.error()));
    if (!*value) return std::optional<Row>();
    return std::optional(row_of(**value));
  }

  Result<std::optional<Value>> next_value() {
    if (ahead_.empty()) return values_.next();
    auto value = std::move(ahead_.front());
    ahead_.pop_front();
    return value;
  }

  Row row_of(Value const& value) {
    Row row;
    row.line = value.line;
    row.cells.resize(columns().size());
    auto const refuse = [&](std::size_t at, std::string_view expected) {
      row.error = misread(value.line, value.byte + at, expected, std::string_view(value.text).substr(at));
    };
    if (value.too_long) {
      bool const table = value.text.starts_with('{') && !values_.in_array();
      refuse(0, fmt::format(
                    "a value of at most {} bytes{}", longest_record,
                    table ? ", or a table with an object for each row (in pandas orient='records')" : ""));
      return row;
    }
    if (too_deep(value.text)) {
      refuse(0, fmt::format("JSON of at most {} levels", most_levels));
      return row;
    }
    Json json;
    try {
      json = Json::parse(value.text);
    } catch (Json::parse_error const& error) {
      std::size_t const at = std::min(std::max(error.byte, std::size_t{1}) - 1, value.text.size());
      auto const rest = std::string_view(value.text).substr(at);
      if (at > 0 && value.text[at - 1] == '\\')
        refuse(at - 1, "JSON, where a SMILES has two \\ for each of its own");
      else if (rest.starts_with("NaN") || rest.starts_with("Infinity"))
        refuse(at, "JSON, where null stands for what is no number");
      else
        refuse(at, "JSON");
      return row;
    } catch (Json::exception const&) {
      refuse(0, "numbers of at most 1.8e308");
      return row;
    }
    if (auto const at = large_integer(value.text)) {
      refuse(*at, "integers of 64 bits, or a text in their place");
      return row;
    }
    if (json.is_string()) {
      row.smiles = trimmed(json.get_ref<std::string const&>());
      row.cells[smiles_] = json.get<std::string>();
      return row;
    }
    auto const names = json.is_object() ? names_of(json) : std::vector<std::string>();
    auto const smiles = find_smiles(names, wanted_);
    if (json.is_object()) fill(row, json, names, smiles ? std::string_view(names[*smiles]) : "", value.text);
    if (!smiles || !json[names[*smiles]].is_string()) {
      refuse(0, fmt::format("{} text named {}",
                            json.is_array()
                                ? "columns with names (in pandas orient='records'), as in an object with a"
                                : "a JSON text, or an object with a",
                            wanted_.empty() ? "smiles" : wanted_));
      return row;
    }
    auto const& text = json[names[*smiles]].get_ref<std::string const&>();
    row.smiles = trimmed(text);
    row.cells[smiles_] = text;  // its name may be another
    if (auto const name = find_column(names, "name"); name && json[names[*name]].is_string())
      row.name = json[names[*name]].get<std::string>();
    return row;
  }

  // `smiles` is the name of the member that is predicted, which has a column whatever it is called.
  void fill(Row& row, Json const& object, std::vector<std::string> const& names, std::string_view smiles,
            std::string const& text) {
    row.object = text;
    for (std::size_t i = 0; i < columns().size(); ++i) {
      auto const& column = columns()[i];
      auto const at = find_column(names, column);
      if (object.contains(column))
        row.cells[i] = cell_of(object[column]);
      else if (at)
        row.cells[i] = cell_of(object[names[*at]]);
    }
    for (auto const& name : names)
      if (!find_column(columns(), name) && name != smiles) leave_out(name);
  }

  Values values_;
  Ahead ahead_;
  std::string wanted_;
  std::size_t smiles_;  // the column
};

// The names of the members of an object with SMILES, and which of them these are.
std::optional<std::pair<std::vector<std::string>, std::size_t>> columns_of(Value const& value,
                                                                           std::string const& wanted) {
  auto const json = Json::parse(value.text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  auto names = names_of(json);
  auto const smiles = find_smiles(names, wanted);
  if (!smiles) return std::nullopt;
  return std::pair(std::move(names), *smiles);
}

// The first value, or the rows of the table that it is.
Ahead first_of(Values& values, std::string const& wanted) {
  Ahead ahead;
  ahead.push_back(values.next());
  auto const& value = ahead.front();
  if (!value || !*value || too_deep((*value)->text) || large_integer((*value)->text)) return ahead;
  auto const rows = rows_of_table(Json::parse((*value)->text, nullptr, false), wanted);
  if (!rows) return ahead;
  Value row{{}, (*value)->line, (*value)->byte};
  ahead.clear();
  for (auto const& object : *rows) {
    row.text = object.dump(-1, ' ', false, Json::error_handler_t::replace);
    ahead.emplace_back(row);
  }
  return ahead;
}

}  // namespace

Result<std::unique_ptr<Rows>> open_json(Text text, Input const& input) {
  Values values(std::move(text));
  Ahead ahead = first_of(values, input.smiles_column);
  if (!ahead.empty() && !ahead.front()) return tl::unexpected(ahead.front().error());
  std::vector<std::string> columns{"smiles", "name"};
  std::string smiles_column;
  for (std::size_t bytes = 0, seen = 0; seen < most_ahead && bytes < longest_record; ++seen) {
    if (seen == ahead.size()) ahead.push_back(values.next());
    auto const& value = ahead[seen];
    if (!value || !*value) break;
    bytes += (*value)->text.size();
    if (auto found = columns_of(**value, input.smiles_column)) {
      columns = std::move(found->first);
      smiles_column = columns[found->second];
      break;
    }
  }
  return std::make_unique<JsonRows>(std::move(values), std::move(ahead), std::move(columns),
                                    std::move(smiles_column), input.smiles_column);
}

}  // namespace polymers
