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

/// The maximum number of parameters of a signature.
inline constexpr std::size_t max_parameters = 16;
/// The maximum length of a text parameter, in bytes. Longer texts are inputs.
inline constexpr std::size_t max_parameter_text = 4096;

/// The value of a parameter in a signature. The alternatives are in the order of ParameterType.
using ParameterValue = std::variant<bool, std::int64_t, double, std::string>;
enum class ParameterType : std::uint8_t { boolean, i64, f64, text };

/// The name that manifests use: `bool`, `i64`, `f64` or `text`.
std::string_view to_string(ParameterType type) noexcept;
/// The value as error messages show it; texts are quoted.
std::string to_string(ParameterValue const& value);

/// A tensor that borrows `value`, as a request holds it: one element, shape [], or [1] for a text.
Tensor view_of(ParameterValue const& value);

/// The declaration of one parameter. All values in it have the type `type`.
struct ParameterSpec {
  std::string name;
  ParameterType type = ParameterType::f64;
  std::optional<ParameterValue> initial{};  ///< the default; without one, it must be set
  std::optional<ParameterValue> least{};    ///< for i64 and f64
  std::optional<ParameterValue> most{};     ///< for i64 and f64
  std::vector<ParameterValue> choices{};    ///< for i64 and text; empty: any value
  /// A request that leaves it out may get another answer each time, so its answers are not cached.
  bool seed = false;

  bool operator==(ParameterSpec const&) const = default;
};
/// `f64 from 0 to 1`, `text, one of 'fast', 'exact'`.
std::string to_string(ParameterSpec const& spec);

/// Checks the value that a request gives a parameter: a single element of the spec's type (or, for an f64, an
/// i64 of at most 2^53 in magnitude, which converts exactly), finite, within the bounds, and one of the
/// choices; a text of at most max_parameter_text bytes of UTF-8 without NUL. Fails with invalid_argument and
/// a message that names the parameter, what was expected and what was given.
Result<void> check(ParameterSpec const& spec, Tensor const& value);

/// The value in effect: `given`, or the spec's initial value if `given` is null. -0.0 becomes 0.0.
/// Precondition: `given` has passed check(), or is null and there is an initial value. Borrows texts.
ath_value effective_value(ParameterSpec const& spec, Tensor const* given) noexcept;

}  // namespace athanor::inline v1
