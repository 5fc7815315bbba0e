#include "output.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "columns.hpp"
#include "csv.hpp"

namespace polymers {

using athanor::Code;
using athanor::Error;
using athanor::fail;
using athanor::Reason;
using athanor::Result;
using Json = nlohmann::ordered_json;

namespace {

// What is appended to the columns of the input, in this order.
std::vector<std::string> added_columns(std::vector<std::string> const& input, bool celsius) {
  std::string const unit = celsius ? "c" : "k";
  std::vector<std::string> names{"tg_" + unit,     "tg_low_" + unit, "tg_high_" + unit, "spread_k",
                                 "domain",         "repeat_unit",    "in_table",        "unseen_identifiers",
                                 "unknown_tokens", "error"};
  // A table of measured values may have such a column itself.
  for (auto& name : names)
    while (find_column(input, name)) name.insert(0, "predicted_");
  return names;
}

// The columns as members of an object, which has each name once and none that is empty.
std::vector<std::string> member_names(std::vector<std::string> const& columns) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::string name = columns[i].empty() ? fmt::format("column_{}", i + 1) : columns[i];
    while (std::ranges::find(names, name) != names.end()) name += fmt::format("_{}", i + 1);
    names.push_back(std::move(name));
  }
  return names;
}

// The members of an object of the input. One that is called like what is
// added, which the object that named the columns lacked, gets another name.
Json members_of(std::string const& object, std::vector<std::string> const& added) {
  Json const given = Json::parse(object, nullptr, false);
  Json members = Json::object();
  for (auto const& [name, value] : given.items()) {
    std::string free = name;
    while (std::ranges::find(added, free) != added.end() || (free != name && given.contains(free)))
      free.insert(0, "input_");
    members[free] = value;
  }
  return members;
}

std::string message_of(Prediction const& prediction) {
  return prediction.error ? prediction.error->message : "";
}

}  // namespace

std::string unfit_output(std::string_view path) {
  if (!has_suffix(path, {".gz", ".xlsx", ".xls", ".ods", ".parquet", ".smi", ".zip"})) return {};
  return "writes .csv, .tsv, .json and .jsonl";
}

void Output::Close::operator()(std::FILE* file) const {
  if (file != stdout) std::fclose(file);
}

Result<Output> Output::open(std::string const& path, std::vector<std::string> const& columns, bool celsius) {
  std::unique_ptr<std::FILE, Close> file(path == "-" ? stdout : std::fopen(path.c_str(), "wb"));
  int const reason = errno;
  Output output(std::move(file), path == "-" ? "standard output" : path);
  if (!output.file_) return tl::unexpected(output.unwritable(reason));
  if (has_suffix(path, {".jsonl", ".ndjson"})) output.format_ = Format::lines;
  if (has_suffix(path, ".json")) output.format_ = Format::array;
  if (has_suffix(path, {".tsv", ".tab"})) output.separator_ = '\t';
  output.celsius_ = celsius;
  output.columns_ = output.format_ == Format::csv ? columns : member_names(columns);
  output.added_ = added_columns(columns, celsius);
  std::string header = output.format_ == Format::array ? "[" : "";
  if (output.format_ == Format::csv) {
    for (auto const& name : columns) header += csv_cell(name, output.separator_) + output.separator_;
    for (auto const& name : output.added_) header += name + output.separator_;
    header.back() = '\n';
  }
  if (auto const written = output.append(header); !written) return tl::unexpected(written.error());
  return output;
}

Result<void> Output::write(std::span<Prediction const> predictions) {
  std::string text;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    switch (format_) {
      case Format::csv: text += csv_row(predictions[i]) + "\n"; break;
      case Format::lines: text += json_row(predictions[i]) + "\n"; break;
      case Format::array: text += (rows_ + i == 0 ? "\n" : ",\n") + json_row(predictions[i]); break;
    }
  }
  auto written = append(text);
  if (written) rows_ += predictions.size();
  return written;
}

Result<void> Output::finish() {
  if (format_ == Format::array) return append("\n]\n");
  return append("");
}

Result<void> Output::append(std::string const& text) {
  long const whole = file_.get() == stdout ? -1 : std::ftell(file_.get());
  bool const good = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (std::fflush(file_.get()) == 0 && good) return {};
  int const reason = errno;
  // Half a row would pass for a whole one. What went to standard output cannot be taken back.
  if (whole >= 0 && ::ftruncate(::fileno(file_.get()), whole) == 0) std::clearerr(file_.get());
  return tl::unexpected(unwritable(reason));
}

Error Output::unwritable(int reason) {
  return {Code::unavailable,
          Reason::file,
          fmt::format("{}: cannot be written{}: {}", name_,
                      rows_ > 0 ? fmt::format(" behind its first {} rows", rows_) : "",
                      std::generic_category().message(reason)),
          {}};
}

std::string Output::csv_row(Prediction const& p) const {
  std::string text;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    text += csv_cell(i < p.row.cells.size() ? p.row.cells[i] : "", separator_) + separator_;
  if (p.error) {
    text.append(added_.size() - 1, separator_);
  } else {
    text += fmt::format("{:.2f}{s}{:.2f}{s}{:.2f}{s}{:.2f}{s}{}{s}{}{s}{}{s}{}{s}{}{s}",
                        shown(p.tg_k, celsius_), shown(p.low_k, celsius_), shown(p.high_k, celsius_),
                        p.spread_k, to_string(p.domain()), p.repeat_unit ? 1 : 0, p.in_table ? 1 : 0,
                        p.unseen_identifiers, p.unknown_tokens, fmt::arg("s", separator_));
  }
  return text + csv_cell(message_of(p), separator_);
}

std::string Output::json_row(Prediction const& p) const {
  Json row;
  if (!p.row.object.empty()) {
    row = members_of(p.row.object, added_);
  } else {
    for (std::size_t i = 0; i < columns_.size() && i < p.row.cells.size(); ++i)
      if (i == 0 || !p.row.cells[i].empty()) row[columns_[i]] = p.row.cells[i];
  }
  if (p.error) {
    row[added_.back()] = message_of(p);
  } else {
    std::array<Json, 9> const values{shown(p.tg_k, celsius_),
                                     shown(p.low_k, celsius_),
                                     shown(p.high_k, celsius_),
                                     p.spread_k,
                                     std::string(to_string(p.domain())),
                                     p.repeat_unit,
                                     p.in_table,
                                     p.unseen_identifiers,
                                     p.unknown_tokens};
    for (std::size_t i = 0; i < values.size(); ++i) row[added_[i]] = values[i];
  }
  return row.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<void> check_writable(std::string const& path) {
  if (path == "-") return {};
  bool const there = ::access(path.c_str(), F_OK) == 0;
  auto const folder = std::filesystem::path(path).parent_path();
  std::string const place = there ? path : folder.empty() ? "." : folder.string();
  if (::access(place.c_str(), W_OK) == 0) return {};
  return fail(Code::unavailable, Reason::file, "{}: cannot be written: {}", path,
              std::generic_category().message(errno));
}

Result<void> write_file(std::string const& path, std::string const& text) {
  bool const to_output = path == "-";
  std::FILE* file = to_output ? stdout : std::fopen(path.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int reason = errno;
  if (file != nullptr && (to_output ? std::fflush(file) : std::fclose(file)) != 0) {
    if (good) reason = errno;
    good = false;
  }
  if (good) return {};
  return fail(Code::unavailable, Reason::file, "{}: cannot be written: {}",
              to_output ? "standard output" : path, std::generic_category().message(reason));
}

}  // namespace polymers
