/// Options of a gate.
#pragma once

#include <cstdint>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// The limits of a gate.
struct GateOptions {
  std::int64_t max_items = 1024;        ///< items held at once by all callers together
  std::int64_t max_bytes = 64LL << 20;  ///< bytes held at once by all callers together
};

namespace admission {

/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(GateOptions const& options);

}  // namespace admission

}  // namespace athanor::inline v1
