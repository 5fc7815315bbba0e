#include "csv.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "columns.hpp"
#include "text.hpp"

namespace polymers {

using athanor::Code;
using athanor::Error;
using athanor::Reason;
using athanor::Result;

namespace {

// Reads one record from the beginning of a text, of which more may follow.
class Parser {
 public:
  enum class Outcome : std::uint8_t { whole, cut, refused };

  Parser(std::string_view text, char separator, bool end) : text_(text), separator_(separator), end_(end) {}

  Outcome parse() {
    do {
      if (!fields_.empty()) ++at_;
      opening_ = at_;
      auto const outcome =
          here('"') ? read_quoted(fields_.emplace_back()) : read_plain(fields_.emplace_back());
      if (outcome == Outcome::cut) return end_ ? refused() : outcome;
      if (outcome == Outcome::refused) return refused();
    } while (here(separator_));
    content_ = at_;
    if (here('\n')) ++at_;
    return Outcome::whole;
  }

  std::vector<std::string>& fields() { return fields_; }
  std::size_t size() const { return at_; }
  std::size_t content() const { return content_; }
  std::size_t opening() const { return opening_; }

 private:
  bool here(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool all_is_read() const { return at_ == text_.size() && !end_; }

  Outcome read_plain(std::string& field) {
    std::array<char, 2> const stops{separator_, '\n'};
    std::size_t const stop = text_.find_first_of(std::string_view(stops.data(), stops.size()), at_);
    if (stop == std::string_view::npos && !end_) return Outcome::cut;
    std::size_t const last = std::min(stop, text_.size());
    field = text_.substr(at_, last - at_);
    at_ = last;
    if (!here(separator_) && field.ends_with('\r')) field.pop_back();
    return Outcome::whole;
  }

  Outcome read_quoted(std::string& field) {
    for (++at_;;) {
      std::size_t const quote = text_.find('"', at_);
      if (quote == std::string_view::npos) return Outcome::cut;
      field += text_.substr(at_, quote - at_);
      at_ = quote + 1;
      if (all_is_read()) return Outcome::cut;
      if (!here('"')) break;
      field += '"';
      ++at_;
    }
    if (here('\r')) ++at_;
    if (all_is_read()) return Outcome::cut;
    return at_ == text_.size() || here(separator_) || here('\n') ? Outcome::whole : Outcome::refused;
  }

  // A field that starts with a quote and does not end with one: up to the end of the line where it starts.
  Outcome refused() {
    std::size_t const line_end = text_.find('\n', opening_);
    if (line_end == std::string_view::npos && !end_) return Outcome::cut;
    content_ = std::min(line_end, text_.size());
    at_ = std::min(content_ + 1, text_.size());
    return Outcome::refused;
  }

  std::string_view text_;
  char separator_;
  bool end_;  // nothing follows `text_`
  std::vector<std::string> fields_;
  std::size_t at_ = 0;
  std::size_t content_ = 0;  // the end of the record without the end of its line
  std::size_t opening_ = 0;  // of the field that was read last
};

}  // namespace

Error misread(std::size_t line, std::size_t byte, std::string_view expected, std::string_view got) {
  return {Code::invalid_argument,
          Reason::syntax,
          fmt::format("line {}, byte {} of the file: expected {}, got {}", line, byte, expected,
                      got.empty() ? "the end of the line" : clipped(got, 40)),
          {}};
}

Result<bool> skip_line(Text& text) {
  for (;;) {
    std::size_t const end = text.rest().find('\n');
    if (end != std::string_view::npos) {
      text.take(end + 1);
      return true;
    }
    text.take(text.rest().size());
    auto const more = text.more();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return false;
  }
}

Result<std::optional<Record>> CsvRecords::next() {
  if (std::exchange(inside_line_, false))
    if (auto const skipped = skip_line(text_); !skipped) return tl::unexpected(skipped.error());
  Record record;
  record.line = text_.line();
  record.byte = text_.byte();
  for (bool end = false;;) {
    auto const rest = text_.rest();
    if (rest.empty() && end) return std::optional<Record>();
    bool const too_long = rest.size() >= longest_record;
    Parser parser(rest, separator_, end || too_long);
    auto const outcome = rest.empty() ? Parser::Outcome::cut : parser.parse();
    if (outcome == Parser::Outcome::cut) {
      auto const more = text_.more();
      if (!more) return tl::unexpected(more.error());
      end = !*more;
      continue;
    }
    record.text = rest.substr(0, std::min<std::size_t>(parser.content(), 100));
    if (outcome == Parser::Outcome::refused) {
      auto const before = rest.substr(0, parser.opening());
      record.fault = misread(record.line + static_cast<std::size_t>(std::ranges::count(before, '\n')),
                             record.byte + parser.opening(),
                             fmt::format("a field that ends with the quote it starts with{}",
                                         too_long ? fmt::format(" within {} bytes", longest_record) : ""),
                             rest.substr(parser.opening(), parser.content() - parser.opening()));
    } else if (too_long && parser.size() == rest.size()) {
      record.fault = misread(record.line, record.byte,
                             fmt::format("a record of at most {} bytes", longest_record), record.text);
    } else {
      record.fields = std::move(parser.fields());
    }
    inside_line_ = too_long && parser.size() == rest.size();
    text_.take(parser.size());
    return std::optional(std::move(record));
  }
}

char separator_of(std::string_view text, std::string_view wanted) {
  std::array<std::pair<char, std::size_t>, 3> counts{{{',', 0}, {'\t', 0}, {';', 0}}};
  bool quoted = false;
  for (char const c : text) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n') break;
    for (auto& [separator, count] : counts)
      if (c == separator) ++count;
  }
  std::ranges::stable_sort(counts, std::greater(), &std::pair<char, std::size_t>::second);
  // The names of columns may have more commas, as in "Tg, K", than there are separators.
  for (auto const& [separator, count] : counts) {
    if (count == 0) break;
    Parser parser(text, separator, true);
    bool const whole = parser.parse() == Parser::Outcome::whole;
    if (whole && find_smiles(parser.fields(), wanted)) return separator;
  }
  return counts.front().first;
}

std::string csv_cell(std::string_view cell, char separator) {
  std::string result;
  if (!cell.empty() && std::string_view("=+-@\t\r").find(cell.front()) != std::string_view::npos) {
    std::string_view const digits = cell.front() == '+' ? cell.substr(1) : cell;
    double number = 0;
    auto const [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    bool const is_number = fault == std::errc() && end == digits.data() + digits.size();
    if (!is_number) result = "'";
  }
  result += cell;
  if (result.find_first_of("\"\n\r") == std::string::npos && result.find(separator) == std::string::npos)
    return result;
  std::string quoted = "\"";
  for (char const c : result) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace polymers
