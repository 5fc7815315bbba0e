#include "json_text.hpp"

#include <algorithm>
#include <set>

#include <fmt/ranges.h>

namespace athanor::inline v1::json {

namespace {

/// Watches the parser for what a JSON value cannot show afterwards.
struct ParseWatch {
  std::vector<std::set<std::string, std::less<>>> keys;
  std::string member;
  std::optional<std::string> repeated;
  bool too_deep = false;

  bool operator()(int depth, Json::parse_event_t event, Json const& parsed) {
    too_deep = too_deep || depth > max_depth;
    if (too_deep) return false;  // the rest is parsed, but nothing of it is kept
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      auto const& key = parsed.get_ref<std::string const&>();
      if (depth == 1) member = key;
      if (!keys.back().insert(key).second && !repeated) repeated = key;
    }
    return true;
  }
};

/// The number in the parser's message that no double holds it; the whole message when it has another form.
std::string_view quoted(std::string_view message) {
  auto const first = message.find('\'');
  auto const last = message.rfind('\'');
  return first < last ? message.substr(first + 1, last - first - 1) : message;
}

}  // namespace

tl::expected<Json, ParseFault> parse(std::string_view text) {
  using Kind = ParseFault::Kind;
  ParseWatch watch;
  Json value;
  auto const fault = [&](Kind kind, std::size_t byte = 0, std::string_view number = {}) {
    return tl::unexpected(
        ParseFault{kind, byte, std::string(number), watch.repeated.value_or(""), watch.member});
  };
  try {
    value = Json::parse(text.begin(), text.end(), [&](int depth, Json::parse_event_t event, Json& parsed) {
      return watch(depth, event, parsed);
    });
  } catch (Json::parse_error const& error) {
    return fault(Kind::grammar, error.byte - 1);
  } catch (Json::exception const& error) {
    return fault(Kind::number, 0, quoted(error.what()));
  }
  if (watch.too_deep) return fault(Kind::depth);
  if (watch.repeated) return fault(Kind::repeated_key);
  return value;
}

std::string to_string(ParseFault const& fault) {
  switch (fault.kind) {
    case ParseFault::Kind::grammar:
      return fmt::format("expected JSON, got something else at byte {}", fault.byte);
    case ParseFault::Kind::number:
      return fmt::format("expected JSON with numbers that fit a double, got {}", shorten(fault.number));
    case ParseFault::Kind::depth:
      return fmt::format("expected at most {} levels of nesting, got more", max_depth);
    case ParseFault::Kind::repeated_key:
      return fmt::format("the key '{}' is given twice in one object", fault.key);
  }
  return {};
}

Result<Json> parse(std::string_view text, std::string_view document, Reason reason) {
  return parse(text).map_error([&](ParseFault const& fault) {
    return make_error(Code::invalid_argument, reason, "{}: {}", document, to_string(fault));
  });
}

std::string shorten(std::string_view text) {
  constexpr std::size_t longest = 60;
  return fmt::format("{}{}", text.substr(0, longest), text.size() > longest ? "..." : "");
}

std::string describe(Json const& value) {
  if (value.is_discarded()) return "nothing";
  if (value.is_array() && value.size() > 8) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return "an object";
  return shorten(value.dump(-1, ' ', true));
}

void Reader::keep(std::string const& path, std::string const& sentence) {
  if (error_) return;
  error_ = make_error(Code::invalid_argument, reason_, "{}: {}{}{}", document_, path,
                      path.empty() ? "" : ": ", sentence);
}

void Node::expected(std::string_view what) const {
  reader_->refuse(path_, "expected {}, got {}", what, present() ? describe(*value_) : "nothing");
}

bool Node::object() const {
  if (present() && value_->is_object()) return true;
  expected("an object");
  return false;
}

bool Node::object(std::initializer_list<std::string_view> known) const {
  if (!object()) return false;
  for (auto const& [key, value] : value_->items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    reader_->refuse(path_, "unknown key '{}'; known: {}", key, fmt::join(known, ", "));
    return false;
  }
  return true;
}

Node Node::operator[](std::string_view key) const {
  Json const* member = nullptr;
  if (present() && value_->is_object())
    if (auto const found = value_->find(key); found != value_->end()) member = &*found;
  return {*reader_, member, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key)};
}

std::vector<std::pair<std::string, Node>> Node::named() const {
  std::vector<std::pair<std::string, Node>> all;
  if (!present() || !object()) return all;
  for (auto const& [key, value] : value_->items()) all.emplace_back(key, (*this)[key]);
  return all;
}

std::vector<Node> Node::list(std::size_t least) const {
  std::vector<Node> all;
  if (!present() && least == 0) return all;
  if (!present() || !value_->is_array() || value_->size() < least) {
    expected(least == 0 ? "a list" : fmt::format("a list of at least {}", least));
    return all;
  }
  for (std::size_t i = 0; i < value_->size(); ++i)
    all.emplace_back(*reader_, &(*value_)[i], fmt::format("{}[{}]", path_, i));
  return all;
}

std::string Node::text() const {
  if (present() && value_->is_string()) return value_->get<std::string>();
  expected("a text");
  return {};
}

bool is_name(std::string_view text) noexcept {
  auto const good = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || letter == '.' || letter == '_' || letter == '-';
  };
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, good);
}

std::string Node::name() const {
  if (present() && value_->is_string() && is_name(value_->get_ref<std::string const&>()))
    return value_->get<std::string>();
  expected("a name of 1 to 128 letters, digits, '.', '_' or '-'");
  return {};
}

std::int64_t Node::integer(std::int64_t least, std::int64_t most) const {
  if (present() && value_->is_number_integer()) {
    bool const fits = !value_->is_number_unsigned() || value_->get<std::uint64_t>() <= INT64_MAX;
    std::int64_t const value = fits ? value_->get<std::int64_t>() : 0;
    if (fits && value >= least && value <= most) return value;
  }
  expected(most == INT64_MAX ? fmt::format("a whole number of at least {}", least)
                             : fmt::format("a whole number from {} to {}", least, most));
  return least;
}

double Node::number() const {
  if (present() && value_->is_number()) return value_->get<double>();
  expected("a number");
  return 0;
}

bool Node::flag() const {
  if (present() && value_->is_boolean()) return value_->get<bool>();
  expected("true or false");
  return false;
}

}  // namespace athanor::inline v1::json
