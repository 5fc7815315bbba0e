/// A JSON object as the files and options of this room are read: strictly, see core/json_text.hpp.
#pragma once

#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::chem {

/// The object that `text` is. Errors are invalid_argument / `reason` and begin with `document`.
inline Result<json::Json> parse_object(std::string_view text, std::string_view document, Reason reason) {
  auto value = json::parse(text);
  if (!value) return fail(Code::invalid_argument, reason, "{}: {}", document, to_string(value.error()));
  if (!value->is_object())
    return fail(Code::invalid_argument, reason, "{}: expected a JSON object, got {}", document,
                json::describe(*value));
  return std::move(*value);
}

/// What an error says that the object has under the key.
inline std::string describe_member(json::Json const& object, std::string_view key) {
  auto const member = object.find(key);
  return member == object.end() ? "nothing" : json::describe(*member);
}

}  // namespace athanor::inline v1::chem
