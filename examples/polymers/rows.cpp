#include "rows.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include <nlohmann/json.hpp>

namespace polymers {

using athanor::Code;
using athanor::fail;
using athanor::Reason;
using athanor::Result;

namespace {

Result<std::string> read_file(std::string const& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
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
  int const reason = errno;
  if (file != nullptr) std::fclose(file);
  if (good) return text;
  return fail(Code::not_found, Reason::file, "{}: cannot be read: {}", path, std::strerror(reason));
}

// One record of a CSV text; `at` moves behind it.
std::vector<std::string> next_record(std::string_view text, std::size_t& at) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (; at < text.size(); ++at) {
    char const c = text[at];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        fields.back() += text[++at];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  return fields;
}

std::size_t column_of(std::vector<std::string> const& header, std::initializer_list<std::string_view> names) {
  for (auto const name : names)
    if (auto const at = std::ranges::find(header, name); at != header.end())
      return static_cast<std::size_t>(at - header.begin());
  return header.size();
}

}  // namespace

Result<std::vector<Row>> read_csv(std::string const& path) {
  auto text = read_file(path);
  if (!text) return tl::unexpected(std::move(text.error()));
  std::size_t at = 0;
  auto const header = next_record(*text, at);
  std::size_t const smiles = column_of(header, {"smiles", "smiles_polymer"});
  std::size_t const name = column_of(header, {"name"});
  if (smiles == header.size())
    return fail(Code::invalid_argument, Reason::missing_input,
                "{}: expected a column named smiles (or smiles_polymer), got the columns {}", path,
                fmt::join(header, ", "));
  std::vector<Row> rows;
  while (at < text->size()) {
    auto record = next_record(*text, at);
    if (record.size() == 1 && record[0].empty()) continue;
    record.resize(std::max(record.size(), header.size()));
    rows.push_back({record[smiles], name < header.size() ? record[name] : std::string()});
  }
  return rows;
}

Result<std::vector<Row>> read_jsonl(std::string const& path) {
  auto text = read_file(path);
  if (!text) return tl::unexpected(std::move(text.error()));
  std::vector<Row> rows;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text->size();) {
    std::size_t const end = std::min(text->find('\n', at), text->size());
    std::string_view const line(text->data() + at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto const value = nlohmann::json::parse(line, nullptr, false);
    if (value.is_string()) {
      rows.push_back({value.get<std::string>(), {}});
    } else if (value.is_object() && value.contains("smiles") && value["smiles"].is_string()) {
      bool const named = value.contains("name") && value["name"].is_string();
      rows.push_back(
          {value["smiles"].get<std::string>(), named ? value["name"].get<std::string>() : std::string()});
    } else {
      return fail(Code::invalid_argument, Reason::syntax,
                  "{}: line {}: expected a JSON text, or an object with a text named smiles", path, number);
    }
  }
  return rows;
}

std::vector<Row> read_lines() {
  std::vector<Row> rows;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) rows.push_back({std::move(line), {}});
  }
  return rows;
}

Result<std::vector<Handbook>> read_handbook(std::string const& path) {
  auto text = read_file(path);
  if (!text) return tl::unexpected(std::move(text.error()));
  auto const book = nlohmann::json::parse(*text, nullptr, false);
  std::vector<Handbook> handbook;
  if (book.is_object() && book.contains("polymers"))
    for (auto const& row : book["polymers"])
      handbook.push_back(
          {row.value("smiles", ""), row.value("name", ""), row.value("tg", 0.0), row.value("reference", "")});
  if (handbook.empty())
    return fail(Code::invalid_argument, Reason::syntax, "{}: expected a JSON object with a list of polymers",
                path);
  return handbook;
}

}  // namespace polymers
