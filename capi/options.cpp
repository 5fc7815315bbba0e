#include "options.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "core/json_text.hpp"

namespace athanor::capi {

namespace {

using json::Json;
using json::ParseFault;

/// `key` is empty where it is the whole text that is refused, `got` is ASCII and may be long.
tl::unexpected<Error> refuse_shown(std::string_view key, std::string_view expected, std::string_view got) {
  return fail(Code::invalid_argument, Reason::option, "options: {}{}expected {}, got {}", key,
              key.empty() ? "" : ": ", expected, json::shorten(got));
}

tl::unexpected<Error> refuse(std::string_view key, std::string_view expected, Json const& got) {
  return refuse_shown(key, expected, got.dump(-1, ' ', true));
}

// One overload for each type of option.

/// A whole number from 0 that fits into T.
template <std::integral T>
Result<void> read(std::string_view key, Json const& value, T& into) {
  auto const largest = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
  bool const whole = value.is_number_unsigned() || (value.is_number_integer() && value == 0);  // also -0
  if (!whole || value.get<std::uint64_t>() > largest)
    return refuse(key, fmt::format("a whole number from 0 to {}", largest), value);
  into = static_cast<T>(value.get<std::uint64_t>());
  return {};
}

/// A limit; without the key there is none.
template <std::integral T>
Result<void> read(std::string_view key, Json const& value, std::optional<T>& into) {
  return read(key, value, into.emplace());
}

/// A duration in milliseconds; fractions of one are taken as they are, down to a nanosecond.
std::optional<Duration> milliseconds(Json const& value) {
  constexpr double least = 1e-6;
  constexpr double most = 9e12;  // as nanoseconds it still fits into 63 bits
  double const given = value.is_number() ? value.get<double>() : -1;
  if (given != 0 && !(given >= least && given <= most)) return std::nullopt;
  return Duration(static_cast<std::int64_t>(given * 1e6));
}

Result<void> read(std::string_view key, Json const& value, Duration& into) {
  auto const given = milliseconds(value);
  if (!given) return refuse(key, "milliseconds: 0, or 1e-6 to 9e12", value);
  into = *given;
  return {};
}

Result<void> read(std::string_view key, Json const& value, std::vector<std::string>& into) {
  if (!value.is_array()) return refuse(key, "a list of texts", value);
  for (auto const& item : value) {
    if (!item.is_string() || item.get_ref<std::string const&>().empty())
      return refuse(key, "a list of texts", value);
    auto const& name = item.get_ref<std::string const&>();
    if (name.find('\0') != std::string::npos) return refuse(key, "texts without NUL", item);
    if (std::ranges::find(into, name) == into.end()) into.push_back(name);
  }
  return {};
}

Result<void> read(std::string_view key, Json const& value, CallerRuns& into) {
  if (value == "when_idle") {
    into = CallerRuns::when_idle;
  } else if (value == "never") {
    into = CallerRuns::never;
  } else {
    return refuse(key, "\"when_idle\" or \"never\"", value);
  }
  return {};
}

Result<void> read(std::string_view key, Json const& value, bool& into) {
  if (!value.is_boolean()) return refuse(key, "true or false", value);
  into = value.get<bool>();
  return {};
}

template <auto member>
Result<void> read_into(std::string_view key, Json const& value, HostOptions& options) {
  return read(key, value, options.engine.*member);
}

/// A deadline, which 0 cannot be; the engine would name its own option, which has no unit in its name.
template <auto member>
Result<void> read_deadline(std::string_view key, Json const& value, HostOptions& options) {
  auto const given = milliseconds(value);
  if (!given || *given == Duration{}) return refuse(key, "milliseconds: 1e-6 to 9e12", value);
  options.engine.*member = *given;
  return {};
}

struct Row {
  std::string_view key;
  Result<void> (*read)(std::string_view key, Json const& value, HostOptions& options);
};

constexpr std::array<Row, 12> rows{{
    {"plugins", [](std::string_view key, Json const& value,
                   HostOptions& options) { return read(key, value, options.plugins); }},
    {"threads", read_into<&EngineOptions::threads>},
    {"caller_runs", read_into<&EngineOptions::caller_runs>},
    {"default_deadline_ms", read_deadline<&EngineOptions::default_deadline>},
    {"max_items", read_into<&EngineOptions::max_items>},
    {"max_bytes", read_into<&EngineOptions::max_bytes>},
    {"cache_bytes", read_into<&EngineOptions::cache_bytes>},
    {"cache_ttl_ms", read_into<&EngineOptions::cache_ttl>},
    {"model_bytes", read_into<&EngineOptions::model_bytes>},
    {"load_deadline_ms", read_deadline<&EngineOptions::load_deadline>},
    {"load_threads", read_into<&EngineOptions::load_threads>},
    {"breaker", read_into<&EngineOptions::breaker>},
}};

tl::unexpected<Error> refuse_fault(ParseFault const& fault) {
  switch (fault.kind) {
    case ParseFault::Kind::grammar: break;
    case ParseFault::Kind::number:
      return refuse_shown(fault.member, "a number that fits a double", fault.number);
    case ParseFault::Kind::depth:
      return refuse_shown(fault.member, fmt::format("at most {} levels of nesting", json::max_depth), "more");
    case ParseFault::Kind::repeated_key:
      return fail(Code::invalid_argument, Reason::option, "options: expected every key once, got '{}' again",
                  fault.key);
  }
  return refuse_shown("", "JSON", fmt::format("something else at byte {}", fault.byte));
}

/// The parsed object; a key given twice is refused rather than silently decided.
Result<Json> parse_object(std::string_view text) {
  auto object = json::parse(text);
  if (!object) return refuse_fault(object.error());
  if (!object->is_object()) return refuse_shown("", "a JSON object", object->type_name());
  return std::move(*object);
}

}  // namespace

Result<HostOptions> parse_options(std::string_view text) {
  auto object = parse_object(text);
  if (!object) return tl::unexpected(std::move(object.error()));
  HostOptions options;
  for (auto const& [key, value] : object->items()) {
    auto const row = std::ranges::find(rows, std::string_view(key), &Row::key);
    if (row == rows.end()) {
      std::string known;
      for (auto const& other : rows) known += (known.empty() ? "" : ", ") + std::string(other.key);
      return fail(Code::invalid_argument, Reason::option, "options: unknown key '{}'; known: {}", key, known);
    }
    if (auto read = row->read(row->key, value, options); !read)
      return tl::unexpected(std::move(read.error()));
  }
  return options;
}

}  // namespace athanor::capi
