/// Parameters: the named scalars that a request may set beside its tensors, such as a threshold or a seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <athanor/plugin.h>
#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// The most parameters of a signature.
inline constexpr std::size_t max_parameters = 16;
/// The longest text of a parameter, in bytes. A longer text is an input.
inline constexpr std::size_t max_parameter_text = 4096;

/// A value as a signature holds it. The alternatives have the order of ParameterType.
using ParameterValue = std::variant<bool, std::int64_t, double, std::string>;
enum class ParameterType : std::uint8_t { boolean, i64, f64, text };

/// The name that manifests use: `bool`, `i64`, `f64` or `text`.
std::string_view to_string(ParameterType type) noexcept;
/// As error sentences show it; a text in quotes.
std::string to_string(ParameterValue const& value);

/// Borrows `value` as a request holds it: one element, shape [], or [1] for a text.
Tensor view_of(ParameterValue const& value);

/// What a request may say under one name. Every value that is set is of the type `type`.
struct ParameterSpec {
  std::string name;
  ParameterType type = ParameterType::f64;
  std::optional<ParameterValue> initial{};  ///< of a request that sets none; without one, each request must
  std::optional<ParameterValue> least{};    ///< of an i64 or f64
  std::optional<ParameterValue> most{};     ///< of an i64 or f64
  std::vector<ParameterValue> choices{};    ///< of an i64 or a text; empty: any value
  /// Answers to a request that leaves it out may differ from one time to the next: they are not cached.
  bool seed = false;

  bool operator==(ParameterSpec const&) const = default;
};
/// `f64 from 0 to 1`, `text, one of 'fast', 'exact'`.
std::string to_string(ParameterSpec const& spec);

/// Whether `value`, of a request, is one that `spec` allows: a single element of the spec's type (for an f64 also an i64 of
/// at most 2^53 in magnitude, which is that number), finite, within range, one of the choices, and a text of at most
/// max_parameter_text bytes of UTF-8 without NUL. Fails with invalid_argument and a sentence that names the parameter,
/// what was expected and what was given.
Result<void> check(ParameterSpec const& spec, Tensor const& value);

/// What holds for a request that sets `given`, or with null sets nothing: then the spec's initial value. -0.0 becomes
/// 0.0. Precondition: `given` was checked; without it, there is an initial value. Borrows texts.
ath_value effective_value(ParameterSpec const& spec, Tensor const* given) noexcept;

}  // namespace athanor::inline v1
