#include "json_rows.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "columns.hpp"
#include "csv.hpp"
#include "text.hpp"

namespace polymers {

using athanor::Result;
using Json = nlohmann::ordered_json;

namespace {

// One value of the text, as it is written, and where it starts.
struct Value {
  std::string text;
  std::size_t line = 0;
  std::size_t byte = 0;
  bool too_long = false;
};

// The values of a text, one after the other: one per line, or the elements of one array.
class Values {
 public:
  explicit Values(Text text) : text_(std::move(text)) {}

  Result<std::optional<Value>> next() {
    if (!started_) {
      started_ = true;
      auto const first = to_something();
      if (!first) return tl::unexpected(first.error());
      array_ = *first && text_.rest().front() == '[';
      if (array_) text_.take(1);
    }
    if (std::exchange(inside_line_, false))
      if (auto const skipped = skip_line(text_); !skipped) return tl::unexpected(skipped.error());
    auto const something = to_something();
    if (!something) return tl::unexpected(something.error());
    if (!*something || (array_ && text_.rest().front() == ']')) return std::optional<Value>();
    return read();
  }

  Text const& text() const { return text_; }

 private:
  // Moves to the next byte that is no blank; false at the end.
  Result<bool> to_something() {
    for (;;) {
      std::size_t const at = text_.rest().find_first_not_of(array_ ? ", \t\r\n" : " \t\r\n");
      text_.take(std::min(at, text_.rest().size()));
      if (at != std::string_view::npos) return true;
      auto more = text_.more();
      if (!more || !*more) return more;
    }
  }

  // Where the value ends that `rest` starts with; no value when it goes on behind `rest`.
  std::optional<std::size_t> end_of(std::string_view rest) const {
    if (!array_) {
      std::size_t const end = rest.find('\n');
      return end == std::string_view::npos ? std::nullopt : std::optional(end);
    }
    std::size_t depth = 0;
    bool inside = false;  // a text
    for (std::size_t i = 0; i < rest.size(); ++i) {
      char const c = rest[i];
      if (inside) {
        if (c == '\\') ++i;
        inside = c != '"';
      } else if (c == '"') {
        inside = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (depth == 0 && (c == ',' || c == ']')) {
        return i;
      } else if (c == '}' || c == ']') {
        depth -= depth > 0 ? 1 : 0;
      }
    }
    return std::nullopt;
  }

  Result<std::optional<Value>> read() {
    Value value{{}, text_.line(), text_.byte()};
    for (bool end = false;;) {
      auto const rest = text_.rest();
      auto size = end_of(rest);
      value.too_long = !size && rest.size() >= longest_record;
      if (!size && (end || value.too_long)) size = rest.size();
      if (size) {
        value.text = trimmed(rest.substr(0, *size));
        text_.take(*size);
        inside_line_ = value.too_long;
        return std::optional(std::move(value));
      }
      auto const more = text_.more();
      if (!more) return tl::unexpected(more.error());
      end = !*more;
    }
  }

  Text text_;
  bool started_ = false;
  bool array_ = false;
  bool inside_line_ = false;  // reading stands inside a line of which nothing more is wanted
};

std::vector<std::string> names_of(Json const& object) {
  std::vector<std::string> names;
  for (auto const& [name, member] : object.items()) names.push_back(name);
  return names;
}

std::string cell_of(Json const& member) {
  if (member.is_null()) return {};
  return member.is_string() ? member.get<std::string>()
                            : member.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class JsonRows : public Rows {
 public:
  JsonRows(Values values, std::optional<Value> first, std::vector<std::string> columns,
           std::string smiles_column, std::string wanted)
      : Rows(std::move(columns), std::move(smiles_column)),
        values_(std::move(values)),
        first_(std::move(first)),
        wanted_(std::move(wanted)) {}
  double fraction() const override { return values_.text().fraction(); }

 private:
  Result<std::optional<Row>> one() override {
    auto value = first_ ? Result<std::optional<Value>>(std::exchange(first_, std::nullopt)) : values_.next();
    if (!value) return tl::unexpected(std::move(value.error()));
    if (!*value) return std::optional<Row>();
    return std::optional(row_of(**value));
  }

  Row row_of(Value const& value) const {
    Row row;
    row.line = value.line;
    row.cells.resize(columns().size());
    auto const refuse = [&](std::size_t at, std::string_view expected) {
      row.error = misread(value.line, value.byte + at, expected, std::string_view(value.text).substr(at));
    };
    if (value.too_long) {
      refuse(0, fmt::format("a value of at most {} bytes", longest_record));
      return row;
    }
    Json json;
    try {
      json = Json::parse(value.text);
    } catch (Json::parse_error const& error) {
      refuse(std::min(std::max(error.byte, std::size_t{1}) - 1, value.text.size()), "JSON");
      return row;
    } catch (Json::exception const&) {
      // A number that no double holds: what follows refuses the row.
    }
    if (json.is_string()) {
      row.smiles = trimmed(json.get_ref<std::string const&>());
      row.cells.front() = json.get<std::string>();
      return row;
    }
    auto const names = json.is_object() ? names_of(json) : std::vector<std::string>();
    auto const smiles = find_smiles(names, wanted_);
    if (json.is_object()) fill(row, json, value.text);
    if (!smiles || !json[names[*smiles]].is_string()) {
      refuse(0, fmt::format("a JSON text, or an object with a text named {}",
                            wanted_.empty() ? "smiles" : wanted_));
      return row;
    }
    row.smiles = trimmed(json[names[*smiles]].get_ref<std::string const&>());
    if (auto const name = find_column(names, "name"); name && json[names[*name]].is_string())
      row.name = json[names[*name]].get<std::string>();
    return row;
  }

  void fill(Row& row, Json const& object, std::string const& text) const {
    row.object = text;
    for (std::size_t i = 0; i < columns().size(); ++i)
      if (object.contains(columns()[i])) row.cells[i] = cell_of(object[columns()[i]]);
  }

  Values values_;
  std::optional<Value> first_;
  std::string wanted_;
};

}  // namespace

Result<std::unique_ptr<Rows>> open_json(Text text, Input const& input) {
  Values values(std::move(text));
  auto first = values.next();
  if (!first) return tl::unexpected(std::move(first.error()));
  std::vector<std::string> columns{"smiles", "name"};
  std::string smiles_column;
  auto const json = *first ? Json::parse((*first)->text, nullptr, false) : Json();
  if (json.is_object()) {
    auto names = names_of(json);
    if (auto const smiles = find_smiles(names, input.smiles_column)) {
      smiles_column = names[*smiles];
      columns = std::move(names);
    }
  }
  return std::make_unique<JsonRows>(std::move(values), std::move(*first), std::move(columns),
                                    std::move(smiles_column), input.smiles_column);
}

}  // namespace polymers
