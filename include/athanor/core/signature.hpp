/// Signatures: what a model takes and gives, and the check of a request against it before anything is spent.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// The name of the axis along which requests share a batch.
inline constexpr std::string_view items_axis = "items";

/// One dimension of a signature: a fixed length, a named length that all tensors of a request agree on
/// (`items` is the one that batches), or any length.
struct Dim {
  enum class Kind : std::uint8_t { fixed, named, any };
  Kind kind = Kind::any;
  std::int64_t length = 0;  ///< of `fixed`
  std::string name;         ///< of `named`

  static Dim fixed(std::int64_t length) { return {Kind::fixed, length, {}}; }
  static Dim named(std::string name) { return {Kind::named, 0, std::move(name)}; }
  static Dim any() { return {}; }
  bool operator==(Dim const&) const = default;
};

/// What to do with NaN and infinities in a floating-point tensor.
enum class NonFinite : std::uint8_t { refuse, allow };

/// One input or output: name, element type, dimensions, and what its elements may be.
struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Dim> dims;
  NonFinite non_finite = NonFinite::refuse;
  std::int64_t max_bytes = 0;  ///< limit of one element of a `bytes` tensor; 0 for none
  std::string unit;            ///< shown to people; empty when there is none

  /// True when axis 0 is `items`, so that requests are stacked along it.
  bool stacks() const noexcept {
    return !dims.empty() && dims[0].kind == Dim::Kind::named && dims[0].name == items_axis;
  }
  bool operator==(TensorSpec const&) const = default;
};
/// `f32 [items, 10]`.
std::string to_string(TensorSpec const& spec);

/// Inputs and outputs by name. At most `max_tensors` of each (checked by whoever builds one from a manifest).
struct Signature {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

/// The inputs of one request, by name, in any order.
/// Not thread-safe; may be reused. Borrowed tensors must live as the function that takes the request says.
class Request {
 public:
  Request() = default;
  Request(std::initializer_list<NamedTensor> inputs) : inputs_(inputs) {}

  /// Adds an input, or replaces the one of that name.
  Request& set(std::string_view name, Tensor value);
  std::vector<NamedTensor> const& inputs() const noexcept { return inputs_; }
  void clear() noexcept { inputs_.clear(); }

 private:
  std::vector<NamedTensor> inputs_;
};

/// What the check found: where each input of the signature lies in the request, and how many items the
/// request holds.
struct CheckedRequest {
  std::uint8_t place[max_tensors]{};  ///< signature input i is request.inputs()[place[i]]
  std::int64_t items = 1;
  std::int64_t bytes = 0;  ///< of all inputs together
};

/// Checks names, element types, ranks, fixed and named dimensions, emptiness, text limits, UTF-8 and
/// finiteness. Refuses with invalid_argument, naming the tensor, what was expected and what came; a wrong
/// element is named by its position. Reads every byte of floating-point and text inputs, changes nothing,
/// allocates only on failure.
Result<CheckedRequest> check(Signature const& signature, Request const& request);

/// Position of the first NaN or infinity among the elements; -1 when there is none, or no floating-point
/// type.
std::int64_t first_non_finite(Tensor const& tensor) noexcept;

/// True when `text` is well-formed UTF-8; otherwise `*bad_byte` is the position of the first offending byte.
bool is_utf8(std::string_view text, std::size_t* bad_byte) noexcept;

}  // namespace athanor::inline v1
