/// Lets any fmt from 9 on print a Report: fmt::print("{}", report). Nothing compiled of fmt is needed here.
#pragma once

#include <algorithm>

#include <athanor/core/format.hpp>
#include <athanor/serving/options.hpp>

template <>
struct fmt::formatter<athanor::Report> {
  constexpr auto parse(format_parse_context& context) { return context.begin(); }

  template <class Context>
  auto format(athanor::Report const& report, Context& context) const {
    auto const text = to_string(report);
    return std::copy(text.begin(), text.end(), context.out());
  }
};
