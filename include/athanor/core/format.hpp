/// Lets any fmt from 9 on print an Error: fmt::print("{}", error). Nothing compiled of fmt is needed here.
#pragma once

#include <algorithm>

#include <fmt/core.h>
#include <athanor/core/error.hpp>

template <>
struct fmt::formatter<athanor::Error> {
  constexpr auto parse(format_parse_context& context) { return context.begin(); }

  template <class Context>
  auto format(athanor::Error const& error, Context& context) const {
    auto const text = to_string(error);
    return std::copy(text.begin(), text.end(), context.out());
  }
};
