/// Signatures of models, and the check of a request against one, before any resource is spent on it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/parameter.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// The name of the axis along which requests share a batch.
inline constexpr std::string_view items_axis = "items";

/// One dimension of a signature: a fixed length, a named length that must be equal in all tensors of a
/// request (requests are batched along `items`), or any length.
struct Dim {
  enum class Kind : std::uint8_t { fixed, named, any };
  Kind kind = Kind::any;
  std::int64_t length = 0;  ///< if `fixed`
  std::string name;         ///< if `named`

  /// One of each kind.
  static Dim fixed(std::int64_t length) { return {Kind::fixed, length, {}}; }
  static Dim named(std::string name) { return {Kind::named, 0, std::move(name)}; }
  static Dim any() { return {}; }
  bool operator==(Dim const&) const = default;
};

/// Whether NaN and infinities are allowed in a floating-point tensor.
enum class NonFinite : std::uint8_t { refuse, allow };

/// What the elements of a `bytes` tensor hold: UTF-8 text, or any bytes (an image, a sound).
enum class Encoding : std::uint8_t { utf8, any };

/// One input or output: name, element type, dimensions, and constraints on its elements.
struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Dim> dims;
  NonFinite non_finite = NonFinite::refuse;
  std::int64_t max_bytes = 0;          ///< limit for one element of a `bytes` tensor; 0: no limit
  std::string unit;                    ///< for display; may be empty
  Encoding encoding = Encoding::utf8;  ///< of a `bytes` tensor
  /// Of an input: one tensor for all items of a request, equal in all requests of a batch.
  bool shared = false;

  /// True if axis 0 is `items`: requests are stacked along it.
  bool stacks() const noexcept {
    return !dims.empty() && dims[0].kind == Dim::Kind::named && dims[0].name == items_axis;
  }
  bool operator==(TensorSpec const&) const = default;
};
/// `f32 [items, 10]`.
std::string to_string(TensorSpec const& spec);

/// Inputs, outputs and parameters by name: at most `max_tensors` inputs, as many outputs, and
/// `max_parameters` parameters (checked where a manifest is read). No parameter has the name of an input.
struct Signature {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<ParameterSpec> parameters{};
  /// By input: the row that every item gets if a request leaves the input out, or none_of() it. An input
  /// without one, or beyond the end, is required.
  std::vector<std::optional<Tensor>> defaults{};

  /// Whether a request may leave out the input at that index.
  bool is_optional(std::size_t input) const noexcept {
    return input < defaults.size() && defaults[input].has_value();
  }
};

/// The inputs and parameters of one request by name, in any order. Not thread-safe; may be reused. Borrowed
/// memory must stay valid for as long as the function that takes the request requires.
class Request {
 public:
  Request() = default;
  Request(std::initializer_list<NamedTensor> inputs) : inputs_(inputs) {}

  /// Adds an input, or replaces the input of that name.
  Request& set(std::string_view name, Tensor value);
  /// Sets a parameter to a number, stored as Tensor::scalar stores it.
  template <detail::ScalarNumber T>
  Request& set(std::string_view name, T number) {
    return set(name, detail::scalar_of(number));
  }
  /// Sets a parameter, or an input of one text. Borrows `text`.
  Request& set(std::string_view name, std::string_view text) { return set(name, Tensor::text(text)); }
  Request& set(std::string_view name, char const* text) { return set(name, std::string_view(text)); }
  /// Inputs and parameters. A parameter is a tensor of one element.
  std::vector<NamedTensor> const& inputs() const noexcept { return inputs_; }
  void clear() noexcept { inputs_.clear(); }

 private:
  std::vector<NamedTensor> inputs_;
};

/// The result of check(): the index of each signature input in the request, and the size of the request.
struct CheckedRequest {
  static constexpr std::uint8_t left_out = UINT8_MAX;
  /// Signature input i is request.inputs()[index[i]], or `left_out` if its default applies.
  std::uint8_t index[max_tensors]{};
  /// Signature parameter i is request.inputs()[parameter[i]], or `left_out` if the initial value applies.
  std::uint8_t parameter[max_parameters]{};
  std::int64_t items = 1;
  std::int64_t bytes = 0;   ///< all inputs together, including defaults that apply
  bool incomplete = false;  ///< the request leaves some input out
  bool unread = false;      ///< whether large inputs hold NaN or infinity is not known: LargeInputs::leave
};

/// Whether check() reads inputs of `large_input` bytes and more, or leaves that to the caller, who hashes
/// them, so that they are read once: see KeyHasher::add_finite.
enum class LargeInputs : std::uint8_t { read, leave };
inline constexpr std::size_t large_input = std::size_t{16} << 10;

/// The value in effect for signature parameter `index` in a checked request. Borrows texts from both.
ath_value parameter_of(Signature const& signature, Request const& request, CheckedRequest const& checked,
                       std::size_t index) noexcept;

/// Checks names, element types, ranks, fixed and named dimensions, batch sizes of at least one, byte limits,
/// the encoding of `bytes`, finiteness and parameters. Fails with invalid_argument and a message that names
/// the tensor, the index of a bad element, what was expected and what was given. Reads every byte of
/// floating-point and text inputs. Allocates only on failure.
Result<CheckedRequest> check(Signature const& signature, Request const& request,
                             LargeInputs large = LargeInputs::read);

/// The default that stands for None: a tensor without elements, of another rank than the input. Throws
/// std::bad_alloc.
Tensor none_of(TensorSpec const& spec);
inline bool is_none(TensorSpec const& spec, Tensor const& tensor) noexcept {
  return tensor.shape().rank() != spec.dims.size();
}

/// Adds the inputs that a checked request leaves out, a row of the default for each item or none_of(). Throws
/// std::bad_alloc.
void add_defaults(Signature const& signature, Request& request, CheckedRequest& checked);

/// The index of the first NaN or infinity; -1 if there is none, or if the element type is not floating-point.
std::int64_t first_non_finite(Tensor const& tensor) noexcept;
/// The error of check() for such an element of an input.
Error non_finite_error(TensorSpec const& spec, std::int64_t at);

/// True if `text` is well-formed UTF-8. Otherwise sets `*bad_byte` to the index of the first invalid
/// sequence.
bool is_utf8(std::string_view text, std::size_t* bad_byte) noexcept;

}  // namespace athanor::inline v1
