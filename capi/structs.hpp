/// The structs of athanor.h under the rule for `struct_size`.
#pragma once

#include <athanor.h>

#include <athanor/core/detail/struct_rule.hpp>

namespace athanor::inline v1::detail {

template <>
inline constexpr std::size_t first_size<ath_tensor_view> = 128;
template <>
inline constexpr std::size_t first_size<ath_tensor_spec> = 176;
template <>
inline constexpr std::size_t first_size<ath_report> = 72;

}  // namespace athanor::inline v1::detail

namespace athanor::capi {

using athanor::detail::fill_struct;
using athanor::detail::see_struct;
using athanor::detail::write_struct;

}  // namespace athanor::capi
