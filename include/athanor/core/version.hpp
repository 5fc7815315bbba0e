/// The version of the library. The package takes it from here.
#pragma once

#include <string_view>

namespace athanor::inline v1 {

/// `MAJOR.MINOR.PATCH`.
inline constexpr std::string_view version_text = "0.1.0";

}  // namespace athanor::inline v1
