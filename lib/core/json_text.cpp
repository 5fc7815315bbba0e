#include "json_text.hpp"

#include <algorithm>

#include <fmt/ranges.h>

namespace athanor::inline v1::json {

namespace {

/// The number in the parser's message that no double holds it; the whole message when it has another form.
std::string_view quoted(std::string_view message) {
  auto const first = message.find('\'');
  auto const last = message.rfind('\'');
  return first < last ? message.substr(first + 1, last - first - 1) : message;
}

/// Builds the value, and ends the parse at the first fault. (The library's own builder with a callback looks
/// through a whole list at the end of every object in it.)
class Builder {
 public:
  bool null() { return put(nullptr) != nullptr; }
  bool boolean(bool value) { return put(value) != nullptr; }
  bool number_integer(std::int64_t value) { return put(value) != nullptr; }
  bool number_unsigned(std::uint64_t value) { return put(value) != nullptr; }
  bool number_float(double value, std::string const&) { return put(value) != nullptr; }
  bool string(std::string& value) { return put(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (open_.size() == 1) fault_.member = name;
    auto const [place, added] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!added) return refuse(ParseFault::Kind::repeated_key, std::move(name));
    next_ = &place->second;
    return true;
  }
  bool parse_error(std::size_t byte, std::string const&, Json::exception const& error) {
    if (dynamic_cast<Json::parse_error const*>(&error) == nullptr)
      fault_.number = std::string(quoted(error.what()));
    fault_.byte = fault_.number.empty() ? byte - 1 : 0;
    return refuse(fault_.number.empty() ? ParseFault::Kind::grammar : ParseFault::Kind::number, {});
  }

  Json& value() noexcept { return value_; }
  ParseFault& fault() noexcept { return fault_; }

 private:
  bool refuse(ParseFault::Kind kind, std::string key) {
    fault_.kind = kind;
    fault_.key = std::move(key);
    return false;
  }
  Json* put(Json value) {
    if (open_.empty()) return &(value_ = std::move(value));
    if (!open_.back()->is_array()) return &(*next_ = std::move(value));
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }
  bool open(Json container) {
    if (open_.size() == max_depth) return refuse(ParseFault::Kind::depth, {});
    open_.push_back(put(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Json value_;
  std::vector<Json*> open_;  // lists and objects, the outermost first
  Json* next_ = nullptr;     // the value of the last key
  ParseFault fault_;
};

}  // namespace

tl::expected<Json, ParseFault> parse(std::string_view text) {
  Builder builder;
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.value());
  ParseFault& fault = builder.fault();
  fault.line += static_cast<std::size_t>(std::ranges::count(text.substr(0, fault.byte), '\n'));
  return tl::unexpected(std::move(fault));
}

std::string to_string(ParseFault const& fault) {
  switch (fault.kind) {
    case ParseFault::Kind::grammar:
      return fmt::format("expected JSON, got something else at byte {} (line {})", fault.byte, fault.line);
    case ParseFault::Kind::number:
      return fmt::format("expected JSON with numbers that fit a double, got {}", shorten(fault.number));
    case ParseFault::Kind::depth:
      return fmt::format("expected at most {} levels of nesting, got more", max_depth);
    case ParseFault::Kind::repeated_key:
      return fmt::format("expected every key of an object once, got '{}' again", fault.key);
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
    reader_->refuse(path_, "unknown key '{}'; known: {}", key, fmt::join(known.begin(), known.end(), ", "));
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

std::vector<Node> Node::list(std::size_t least, std::size_t most) const {
  std::vector<Node> all;
  if (!present() && least == 0) return all;
  if (!present() || !value_->is_array() || value_->size() < least) {
    expected(least == 0 ? "a list" : fmt::format("a list of at least {}", least));
    return all;
  }
  if (value_->size() > most) {
    reader_->refuse(path_, "expected at most {}, got {}", most, value_->size());
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
  expected(most != INT64_MAX    ? fmt::format("a whole number from {} to {}", least, most)
           : least != INT64_MIN ? fmt::format("a whole number of at least {}", least)
                                : "a whole number");
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
