#include <athanor/core/backend.hpp>

#include <array>
#include <cstring>
#include <string_view>

#include <athanor/core/detail/reason_table.hpp>
#include <athanor/core/detail/view.hpp>

namespace athanor::inline v1 {

namespace {

/// The offsets of no texts: a caller's need not be memory at all.
constexpr std::int64_t no_offsets[1] = {0};

bool is_code(std::int32_t number) noexcept {
  return number > 0 && static_cast<std::size_t>(number) < detail::code_table.size();
}
bool is_reason(std::int32_t number) noexcept {
  return number >= 0 && static_cast<std::size_t>(number) < detail::reason_table.size();
}

}  // namespace

TensorView to_view(Tensor const& tensor) noexcept {
  TensorView view{};
  view.data = const_cast<std::byte*>(tensor.data());
  bool const no_texts = tensor.dtype() == DType::bytes && tensor.shape().elements() == 0;
  view.offsets = no_texts ? no_offsets : tensor.offsets();
  view.size_bytes = tensor.size_bytes();
  view.ndim = static_cast<std::int32_t>(tensor.shape().rank());
  // Those beyond the rank, too: without a branch.
  for (std::size_t axis = 0; axis < Shape::max_rank; ++axis) view.shape[axis] = tensor.shape()[axis];
  view.dtype = static_cast<std::int32_t>(tensor.dtype());
  view.device_type = static_cast<std::int32_t>(tensor.device().type);
  view.device_index = tensor.device().index;
  return view;
}

Tensor from_view(TensorView const& view) noexcept {
  Shape const shape = shape_of(view);
  DType const dtype = dtype_of(view);
  if (dtype != DType::bytes) return Tensor::view(dtype, view.data, shape);
  std::string_view const text(static_cast<char const*>(view.data), view.size_bytes);
  if (view.offsets == nullptr) return Tensor::text(text);
  return Tensor::texts({view.offsets, static_cast<std::size_t>(shape.elements()) + 1}, text, shape);
}

std::int32_t put_failure(ath_failure& failure, Error const& error) noexcept {
  failure.code = static_cast<std::int32_t>(error.code == Code::ok ? Code::unknown : error.code);
  failure.reason = static_cast<std::int32_t>(error.reason);
  std::size_t const length = std::min(error.message.size(), sizeof(failure.message) - 1);
  std::memcpy(failure.message, error.message.data(), length);
  failure.message[length] = '\0';
  return failure.code;
}

Error take_failure(std::int32_t code, ath_failure const& failure) {
  std::string_view sentence(failure.message, ::strnlen(failure.message, sizeof(failure.message)));
  if (sentence.empty()) sentence = "the backend failed without a message";
  if (is_code(code) && is_reason(failure.reason))
    return make_error(static_cast<Code>(code), static_cast<Reason>(failure.reason), "{}", sentence);
  return make_error(Code::internal, Reason::backend_contract,
                    "{} (expected a code and a reason of athanor.h, got {} and {})", sentence, code,
                    failure.reason);
}

Result<ath_value const*> detail::find_parameter(ath_item const& item, std::size_t index, std::int32_t type) {
  constexpr std::array<std::string_view, 5> names{"none", "bool", "i64", "f64", "text"};
  // A later version of the host may have types that this one cannot name.
  auto const given = static_cast<std::size_t>(index < item.parameter_count ? item.parameters[index].type : 0);
  std::size_t const got = given < names.size() ? given : 0;
  if (got == static_cast<std::size_t>(type)) return &item.parameters[index];
  return fail(Code::failed_precondition, Reason::manifest,
              "parameters[{}]: the processor expected {}, the manifest declares {}", index,
              names[static_cast<std::size_t>(type)], names[got]);
}

tl::unexpected<Error> detail::gave_nothing(char const* name, char const* what) {
  return fail(Code::internal, Reason::backend_contract, "'{}': expected a {}, got a null pointer", name,
              what);
}

}  // namespace athanor::inline v1
