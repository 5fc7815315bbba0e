/// JSON as this room reads it: strict, without duplicate keys, of bounded depth, and with errors that name
/// the place.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::manifest {

using Json = nlohmann::json;

/// The document, or where its grammar, its nesting (64 at most) or a repeated key fails it.
Result<Json> parse_json(std::string_view text, std::string_view document, Reason reason);

/// A value as errors show it: its JSON, cut when it is long.
std::string describe(Json const& value);

/// See tensor_from_json.
Result<Tensor> convert_tensor(Json const& value, TensorSpec const& spec);

/// Reads a document whose every mistake must be named, keeping the first: getters return a harmless value
/// after one, so that reading code need not branch.
class Reader {
 public:
  explicit Reader(std::string_view document) : document_(document) {}

  template <class... Args>
  void refuse(std::string const& path, fmt::format_string<Args...> sentence, Args&&... args) {
    keep(path, fmt::format(sentence, std::forward<Args>(args)...));
  }
  bool failed() const noexcept { return error_.has_value(); }
  Error take_error() { return std::move(*error_); }

 private:
  void keep(std::string const& path, std::string const& sentence);
  std::string document_;
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
  /// The elements of a list of at least `least`.
  std::vector<Node> list(std::size_t least = 0) const;

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

}  // namespace athanor::inline v1::manifest
