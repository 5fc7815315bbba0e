// Tensors as a C host describes them, in memory of exactly the stated size: rejected,
// or the elements that strides and offsets name, gathered here by other arithmetic.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>

#include "bytes.hpp"
#include "tensor_view.hpp"

using namespace athanor;
using athanor_tests::Bytes;
using athanor_tests::expect;

namespace {

__extension__ using Wide = __int128;

struct Given {
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  std::int64_t strides[ATH_MAX_RANK] = {};
  std::unique_ptr<std::int64_t[]> offsets{};
  std::unique_ptr<std::uint8_t[]> memory{};

  explicit Given(Bytes& bytes) {
    auto const flags = bytes.take<std::uint8_t>();
    view.dtype = bytes.take<std::uint8_t>() % 16;
    view.ndim = flags % 16 == 15 ? bytes.take<std::int32_t>() : flags % 4;
    for (auto& length : view.shape) length = bytes.take_length();
    for (auto& stride : strides) {
      auto const kind = bytes.take<std::uint8_t>();
      stride = kind < 240 ? kind % 16 - 8 : bytes.take<std::int64_t>();
    }
    if ((flags & 16U) != 0) view.strides = strides;
    view.byte_offset = static_cast<std::uint64_t>(bytes.take_length());
    if ((flags & 64U) != 0) view.device_type = bytes.take<std::uint8_t>() % 4;
    if ((flags & 32U) != 0) {
      std::size_t const count = bytes.take<std::uint8_t>() % 16;
      offsets = std::make_unique<std::int64_t[]>(count);
      for (std::size_t i = 0; i < count; ++i) offsets[i] = bytes.take_length();
      // As many as the shape asks for, or none: their number is not stated, so it cannot be checked.
      std::int64_t elements = 1;
      bool fits = view.ndim >= 0 && view.ndim <= ATH_MAX_RANK;
      for (std::int32_t axis = 0; fits && axis < view.ndim; ++axis)
        fits = !__builtin_mul_overflow(elements, view.shape[axis], &elements);
      if (fits && elements >= 0 && elements < static_cast<std::int64_t>(count)) view.offsets = offsets.get();
    }
    std::string const content = bytes.rest();
    memory = std::make_unique<std::uint8_t[]>(content.size());
    if (!content.empty()) std::memcpy(memory.get(), content.data(), content.size());
    view.data = memory.get();
    // 0 would say "not stated", and any element would be believed.
    view.size_bytes = content.size();
  }
};

/// Whether a copy of the elements may need more than 16 MiB: a stride of 0 asks for it without
/// any memory, and what a host asks for is its own word. Lengths whose product wraps are tried.
bool copies_much(ath_tensor_view const& view) {
  std::int64_t bytes = static_cast<std::int64_t>(sizeof(double));
  for (std::int32_t axis = 0; axis < std::min<std::int32_t>(view.ndim, ATH_MAX_RANK); ++axis)
    if (__builtin_mul_overflow(bytes, view.shape[axis], &bytes)) return false;
  return bytes > (1 << 24);
}

void check_numbers(ath_tensor_view const& view, Tensor const& tensor) {
  auto const width = static_cast<Wide>(element_size(tensor.dtype()));
  auto const elements = tensor.shape().elements();
  for (std::int64_t i = 0; i < elements; ++i) {
    Wide at = static_cast<Wide>(view.byte_offset);
    std::int64_t rest = i;
    Wide dense = 1;
    for (std::int32_t axis = view.ndim; axis-- > 0;) {
      Wide const stride = view.strides != nullptr ? static_cast<Wide>(view.strides[axis]) : dense;
      at += rest % view.shape[axis] * stride * width;
      rest /= view.shape[axis];
      dense *= view.shape[axis];
    }
    expect(at >= 0 && at + width <= static_cast<Wide>(view.size_bytes), "no element lies outside");
    expect(std::memcmp(static_cast<std::uint8_t const*>(view.data) + static_cast<std::size_t>(at),
                       tensor.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(width),
                       static_cast<std::size_t>(width)) == 0,
           "each element is the one that the strides name");
  }
}

void check_texts(ath_tensor_view const& view, Tensor const& tensor) {
  for (std::int64_t i = 0; i < tensor.shape().elements(); ++i) {
    std::string_view const text = tensor.text_at(i);
    auto const* const data = static_cast<char const*>(view.data) + view.byte_offset;
    std::int64_t const first = view.offsets != nullptr ? view.offsets[i] : 0;
    std::int64_t const end = view.offsets != nullptr
                                 ? view.offsets[i + 1]
                                 : static_cast<std::int64_t>(view.size_bytes - view.byte_offset);
    expect(text == std::string_view(data + first, static_cast<std::size_t>(end - first)),
           "each text is the one that the offsets name");
  }
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
// Memory that cannot be had is an error of the library, not of the allocator.
extern "C" char const* __asan_default_options() {  // NOLINT: the sanitizer's name
  return "allocator_may_return_null=1";
}
#endif

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  Bytes bytes(data, size);
  Given const given(bytes);
  // Without a size everything is believed: that is the caller's word.
  if (given.view.size_bytes == 0 && given.view.dtype != ATH_DTYPE_BYTES) return 0;
  if (copies_much(given.view)) return 0;
  auto const tensor = capi::tensor_of("x", given.view);
  if (!tensor) {
    expect(!tensor.error().message.empty(), "a rejection has a sentence");
    return 0;
  }
  if (tensor->dtype() == DType::bytes) {
    check_texts(given.view, *tensor);
    if (tensor->shape().elements() == 0)
      expect(tensor->offsets() != nullptr && tensor->offsets()[0] == 0,
             "no texts have offsets of the library's");
  } else {
    check_numbers(given.view, *tensor);
  }
  auto const copy = tensor->clone();
  expect(!copy || copy->shape() == tensor->shape(), "a copy has the same shape");
  return 0;
}
