#pragma once

namespace athanor::inline v1::detail {

/// Marks a constructor whose options the caller has validated: what `create()` would check is not checked.
struct Validated {};

}  // namespace athanor::inline v1::detail
