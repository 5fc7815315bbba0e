#include "made_up.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <type_traits>

#include <athanor/core/detail/view.hpp>

#include "trial.hpp"

namespace athanor::inline v1::serving {

namespace {

/// What an element of the first made-up item is: small, so that few functions refuse it, of both signs, and
/// neither 0 nor 1, with which a mistake may be no mistake. Each further item has twice the numbers of the
/// one before, so that a model that mixes them is seen.
constexpr float made_up = 0.015625F;
constexpr int made_up_items = 2;

bool is_real(DType dtype) noexcept {
  return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

/// Floating-point elements are those of made-up item `number`, all others are `whole`.
void fill_made_up(Tensor& tensor, int number, int whole) noexcept {
  auto* const data = tensor.mutable_data();
  std::fill_n(data, tensor.size_bytes(), std::byte{0});
  auto const elements = static_cast<std::size_t>(tensor.shape().elements());
  std::size_t const width = element_size(tensor.dtype());
  for (std::size_t i = 0; i < elements; ++i) {
    float const value = std::ldexp(i % 2 == 0 ? made_up : -made_up, number);
    int const sign = i % 2 == 0 ? 0 : 0x8000;
    switch (tensor.dtype()) {
      case DType::f32: reinterpret_cast<float*>(data)[i] = value; break;
      case DType::f64: reinterpret_cast<double*>(data)[i] = static_cast<double>(value); break;
      case DType::f16:
        reinterpret_cast<std::uint16_t*>(data)[i] =
            static_cast<std::uint16_t>((0x2400 + number * 0x0400) | sign);
        break;
      case DType::bf16:
        reinterpret_cast<std::uint16_t*>(data)[i] =
            static_cast<std::uint16_t>((0x3c80 + number * 0x0080) | sign);
        break;
      default: data[i * width] = static_cast<std::byte>(whole);  // the lowest byte of an integer
    }
  }
}

Result<Tensor> make_up(TensorSpec const& spec, int number, int whole) {
  std::vector<std::int64_t> lengths;
  auto bytes =
      static_cast<std::int64_t>(spec.dtype == DType::bytes ? sizeof(std::int64_t) : element_size(spec.dtype));
  for (Dim const& dim : spec.dims) {
    lengths.push_back(dim.kind == Dim::Kind::fixed ? dim.length : 1);
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(lengths.back(), 1), &bytes) ||
        bytes > most_trial_bytes)
      return fail(Code::failed_precondition, Reason::model_load, "input {}: {} is too large to be made up",
                  spec.name, to_string(spec));
  }
  Shape const shape{std::span<std::int64_t const>(lengths)};
  if (spec.dtype == DType::bytes) {
    std::vector<std::string_view> const texts(static_cast<std::size_t>(shape.elements()),
                                              whole == 0 ? "" : "a");
    return Tensor::copy_texts(texts).map([&](Tensor const& tensor) { return tensor.reshaped(shape); });
  }
  auto tensor = Tensor::allocate(spec.dtype, shape);
  if (tensor) fill_made_up(*tensor, number, whole);
  return tensor;
}

/// A value that `spec` allows, for a parameter that every request must set.
ParameterValue make_up(ParameterSpec const& spec) {
  if (!spec.choices.empty()) return spec.choices[0];
  ParameterValue const zeros[] = {false, std::int64_t{0}, 0.0, std::string()};
  ParameterValue const& zero = zeros[static_cast<std::size_t>(spec.type)];
  if (check(spec, view_of(zero))) return zero;
  return spec.least ? *spec.least : *spec.most;
}

/// Whether the model input of that name holds positions on another input.
bool is_index(Manifest const& manifest, std::string const& name) noexcept {
  return std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& input) {
    return input.spec.name == name && !input.index_of.empty();
  });
}

Result<Request> make_up_request(ModelDescription const& description, int number) {
  Request request;
  auto const& inputs = description.signature.inputs;
  bool const reads_reals =
      std::ranges::any_of(inputs, [](TensorSpec const& spec) { return !spec.shared && is_real(spec.dtype); });
  bool const on_cpu = description.manifest.device.value_or(Device{}).type == DeviceType::cpu;
  for (TensorSpec const& spec : inputs) {
    bool const zeros = reads_reals || !on_cpu || is_index(description.manifest, spec.name);
    int const own = spec.shared ? 0 : number;  // items of one batch have it in common
    auto tensor = make_up(spec, own, zeros ? 0 : own);
    if (!tensor) return tl::unexpected(std::move(tensor.error()));
    request.set(spec.name, std::move(*tensor));
  }
  for (ParameterSpec const& spec : description.signature.parameters) {
    if (spec.initial) continue;
    auto value = view_of(make_up(spec)).clone();
    if (!value) return tl::unexpected(std::move(value.error()));
    request.set(spec.name, std::move(*value));
  }
  return request;
}

template <class T>
void halve_elements(Tensor& tensor) noexcept {
  for (T& value : tensor.mutable_as<T>()) {
    if constexpr (std::is_integral_v<T>) {
      if (value == 1 || value == static_cast<T>(-1)) continue;
    }
    value = static_cast<T>(value / 2);
  }
}

/// Halves the normal numbers of a half-precision type. `exponent`: the bits of the exponent; `unit`: the
/// lowest of these.
void halve_bits(Tensor& tensor, std::uint16_t exponent, std::uint16_t unit) noexcept {
  auto* const bits = reinterpret_cast<std::uint16_t*>(tensor.mutable_data());
  for (std::int64_t i = 0; i < tensor.shape().elements(); ++i) {
    auto const power = static_cast<std::uint16_t>(bits[i] & exponent);
    if (power > unit && power != exponent) bits[i] = static_cast<std::uint16_t>(bits[i] - unit);
  }
}

/// The first half of a text, at the end of a character if it is UTF-8.
std::string_view first_half(std::string_view text, Encoding encoding) noexcept {
  std::size_t length = text.size() / 2;
  if (encoding == Encoding::utf8)
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U) --length;
  return text.substr(0, length);
}

Result<Tensor> halve(TensorSpec const& spec, Tensor const& given) {
  if (given.dtype() == DType::bytes) {
    std::vector<std::string_view> texts;
    for (std::int64_t i = 0; i < given.shape().elements(); ++i)
      texts.push_back(first_half(given.text_at(i), spec.encoding));
    return Tensor::copy_texts(texts).map([&](Tensor const& made) { return made.reshaped(given.shape()); });
  }
  auto tensor = given.clone();
  if (!tensor) return tensor;
  switch (given.dtype()) {
    case DType::f32: halve_elements<float>(*tensor); break;
    case DType::f64: halve_elements<double>(*tensor); break;
    case DType::f16: halve_bits(*tensor, 0x7c00, 0x0400); break;
    case DType::bf16: halve_bits(*tensor, 0x7f80, 0x0080); break;
    case DType::i64: halve_elements<std::int64_t>(*tensor); break;
    case DType::i32: halve_elements<std::int32_t>(*tensor); break;
    case DType::i16: halve_elements<std::int16_t>(*tensor); break;
    case DType::i8: halve_elements<std::int8_t>(*tensor); break;
    case DType::u64: halve_elements<std::uint64_t>(*tensor); break;
    case DType::u32: halve_elements<std::uint32_t>(*tensor); break;
    case DType::u16: halve_elements<std::uint16_t>(*tensor); break;
    case DType::u8: halve_elements<std::uint8_t>(*tensor); break;
    case DType::boolean:
    case DType::bytes: break;
  }
  return tensor;
}

TensorSpec const* input_of(ModelDescription const& description, std::string_view name) noexcept {
  auto const& inputs = description.signature.inputs;
  auto const found = std::ranges::find(inputs, name, &TensorSpec::name);
  return found == inputs.end() ? nullptr : &*found;
}

}  // namespace

Result<std::vector<Request>> make_up_requests(ModelDescription const& description) {
  std::vector<Request> requests;
  int const count = description.manifest.batching.max_items == 1 ? 1 : made_up_items;
  for (int number = 0; number < count; ++number) {
    auto request = make_up_request(description, number);
    if (!request) return tl::unexpected(std::move(request.error()));
    requests.push_back(std::move(*request));
  }
  return requests;
}

Request first_item(ModelDescription const& description, Request const& request) {
  Request first;
  for (NamedTensor const& given : request.inputs()) {
    TensorSpec const* const spec = input_of(description, given.name);
    first.set(given.name, spec != nullptr && spec->stacks() ? given.value.rows(0, 1) : given.value);
  }
  return first;
}

Result<Request> halve(ModelDescription const& description, Request const& request) {
  Request halved;
  for (NamedTensor const& given : request.inputs()) {
    TensorSpec const* const spec = input_of(description, given.name);
    bool const kept = spec == nullptr || spec->shared;
    auto value = kept ? Result<Tensor>(given.value) : halve(*spec, given.value);
    if (!value) return tl::unexpected(std::move(value.error()));
    halved.set(given.name, std::move(*value));
  }
  return halved;
}

}  // namespace athanor::inline v1::serving
