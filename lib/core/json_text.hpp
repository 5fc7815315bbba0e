/// The one JSON reader of the library: strict, without repeated keys, of bounded depth, and with errors that
/// name the place. Private: rooms that read JSON include it by "core/json_text.hpp", users never see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::json {

using Json = nlohmann::json;

/// The most levels of lists and objects: more than any document needs, and few enough for code that recurses.
inline constexpr int max_depth = 64;

/// Why a text is rejected before its values are read.
struct ParseFault {
  enum class Kind : std::uint8_t {
    grammar,       ///< not JSON, from byte `byte` on, which is in line `line`
    number,        ///< `number` fits no double
    depth,         ///< more than max_depth levels
    repeated_key,  ///< `key` occurs twice in one object
  };
  Kind kind = Kind::grammar;
  std::size_t byte = 0;
  std::size_t line = 1;
  std::string number;
  std::string key;     ///< the repeated key
  std::string member;  ///< the key of the outermost object that was being read; empty before the first
};
/// What was expected and what came: `expected at most 64 levels of nesting, got more`.
std::string to_string(ParseFault const& fault);

/// The document's value, or the first fault.
tl::expected<Json, ParseFault> parse(std::string_view text);
/// The same with an error of invalid_argument / `reason` that begins with `document`.
Result<Json> parse(std::string_view text, std::string_view document, Reason reason);

/// A value as errors show it: its JSON, cut when it is long.
std::string describe(Json const& value);
/// `text` as errors show it: the first 60 bytes, and `...` where more follow.
std::string shorten(std::string_view text);

/// Reads a document whose every mistake must be named, keeping the first: getters return a harmless value
/// after one, so that reading code need not branch. Errors are invalid_argument / `reason`.
class Reader {
 public:
  Reader(std::string_view document, Reason reason) : document_(document), reason_(reason) {}

  template <class... Args>
  void refuse(std::string const& path, fmt::format_string<Args...> sentence, Args&&... args) {
    keep(path, fmt::format(sentence, std::forward<Args>(args)...));
  }
  bool failed() const noexcept { return error_.has_value(); }
  Error take_error() { return std::move(*error_); }

 private:
  void keep(std::string const& path, std::string const& sentence);
  std::string document_;
  Reason reason_;
  std::optional<Error> error_;
};

/// A value of the document, or its absence, and the path that leads there.
class Node {
 public:
  Node(Reader& reader, Json const* value, std::string path)
      : reader_(&reader), value_(value), path_(std::move(path)) {}

  bool present() const noexcept { return value_ != nullptr; }
  std::string const& path() const noexcept { return path_; }
  Json const* json() const noexcept { return value_; }
  Reader& reader() const noexcept { return *reader_; }

  /// Checks that this is an object with no key but these.
  bool object(std::initializer_list<std::string_view> known) const;
  bool object() const;
  Node operator[](std::string_view key) const;
  /// The members of an object whose keys are names of the user's.
  std::vector<std::pair<std::string, Node>> named() const;
  /// The elements of a list of `least` to `most`; none of a list that is refused.
  std::vector<Node> list(std::size_t least = 0, std::size_t most = SIZE_MAX) const;

  std::string text() const;
  /// A text that names something: letters, digits, `.`, `_`, `-`; at most 128.
  std::string name() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  double number() const;
  bool flag() const;

 private:
  void expected(std::string_view what) const;
  Reader* reader_;
  Json const* value_;
  std::string path_;
};

bool is_name(std::string_view text) noexcept;

}  // namespace athanor::inline v1::json
