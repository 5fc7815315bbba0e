#include <athanor/core/signature.hpp>

#include <cmath>
#include <cstring>

#include <fmt/format.h>

namespace athanor::inline v1 {

namespace {

/// The named lengths found so far in a request. One per call, so entries beyond `count` stay uninitialised.
struct NamedLengths {
  struct Entry {
    Dim const* dim;
    std::int64_t length;
    TensorSpec const* spec;
  };
  Entry entries[max_tensors * Shape::max_rank];
  std::size_t count = 0;

  Entry const* find(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < count; ++i)
      if (entries[i].dim->name == name) return &entries[i];
    return nullptr;
  }
};

Result<void> check_dims(TensorSpec const& spec, Tensor const& tensor, NamedLengths& lengths) {
  auto const& shape = tensor.shape();
  if (shape.rank() != spec.dims.size())
    return fail(Code::invalid_argument, Reason::shape, "{}: expected {}, got {} {}", spec.name,
                to_string(spec), to_string(tensor.dtype()), to_string(shape));
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    Dim const& dim = spec.dims[axis];
    std::int64_t const length = shape[axis];
    if (length < 0)
      return fail(Code::invalid_argument, Reason::shape, "{}: axis {}: expected a length, got {}", spec.name,
                  axis, length);
    if (dim.kind == Dim::Kind::fixed && length != dim.length)
      return fail(Code::invalid_argument, Reason::shape, "{}: axis {}: expected {}, got {} (shape {})",
                  spec.name, axis, dim.length, length, to_string(shape));
    if (dim.kind != Dim::Kind::named) continue;
    if (auto const* known = lengths.find(dim.name)) {
      if (known->length != length)
        return fail(Code::invalid_argument, Reason::shape, "{}: axis {} ({}): expected {} as in {}, got {}",
                    spec.name, axis, dim.name, known->length, known->spec->name, length);
    } else {
      lengths.entries[lengths.count++] = {&dim, length, &spec};
    }
    if (dim.name == items_axis && length == 0)
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: an empty batch: expected at least 1 item, got 0", spec.name);
  }
  return {};
}

template <class T>
std::int64_t first_non_finite_of(Tensor const& tensor) noexcept {
  auto const values = tensor.as<T>();
  // x - x is 0 for every finite x and NaN otherwise: a first pass without branches decides, a second finds
  // the index.
  T sum = 0;
  for (T value : values) sum += value - value;
  if (sum == T{0}) return -1;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) return static_cast<std::int64_t>(i);
  return -1;
}

/// Half-precision types: NaN and infinity have all exponent bits set.
std::int64_t first_non_finite_half(Tensor const& tensor, std::uint16_t exponent) noexcept {
  auto const count = static_cast<std::size_t>(tensor.shape().elements());
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.data() + 2 * i, 2);
    if ((bits & exponent) == exponent) return static_cast<std::int64_t>(i);
  }
  return -1;
}

Result<void> check_finite(TensorSpec const& spec, Tensor const& tensor) {
  std::int64_t const at = first_non_finite(tensor);
  if (at < 0) return {};
  return fail(Code::invalid_argument, Reason::non_finite,
              "{}: element {}: expected a finite value, got NaN or infinity", spec.name, at);
}

Result<void> check_bytes(TensorSpec const& spec, Tensor const& tensor) {
  std::int64_t const count = tensor.shape().elements();
  if (tensor.offsets() == nullptr && count != 1)
    return fail(Code::invalid_argument, Reason::shape, "{}: {} texts need offsets, got none", spec.name,
                count);
  if (auto const* offsets = tensor.offsets()) {
    for (std::int64_t i = 0; i < count; ++i)
      if (offsets[i] < 0 || offsets[i + 1] < offsets[i] ||
          static_cast<std::uint64_t>(offsets[i + 1]) > tensor.size_bytes())
        return fail(Code::invalid_argument, Reason::shape,
                    "{}: element {}: offsets {} to {} do not lie in {} bytes in ascending order", spec.name,
                    i, offsets[i], offsets[i + 1], tensor.size_bytes());
  }
  for (std::int64_t i = 0; i < count; ++i) {
    auto const text = tensor.text_at(i);
    if (spec.max_bytes > 0 && static_cast<std::int64_t>(text.size()) > spec.max_bytes)
      return fail(Code::invalid_argument, Reason::too_large,
                  "{}: element {}: expected at most {} bytes, got {}", spec.name, i, spec.max_bytes,
                  text.size());
    std::size_t at = 0;
    if (spec.encoding == Encoding::utf8 && !is_utf8(text, &at))
      return fail(Code::invalid_argument, Reason::syntax, "{}: element {}: byte {} is not UTF-8", spec.name,
                  i, at);
  }
  return {};
}

Result<void> check_tensor(TensorSpec const& spec, Tensor const& tensor, NamedLengths& lengths) {
  if (tensor.dtype() != spec.dtype)
    return fail(Code::invalid_argument, Reason::dtype, "{}: expected {}, got {}", spec.name,
                to_string(spec.dtype), to_string(tensor.dtype()));
  return check_dims(spec, tensor, lengths)
      .and_then([&]() -> Result<void> {
        return spec.dtype == DType::bytes ? check_bytes(spec, tensor) : Result<void>{};
      })
      .and_then([&]() -> Result<void> {
        return spec.non_finite == NonFinite::refuse ? check_finite(spec, tensor) : Result<void>{};
      });
}

std::string known_names(Signature const& signature) {
  std::string names;
  for (auto const& spec : signature.inputs) names += (names.empty() ? "" : ", ") + spec.name;
  return names;
}

}  // namespace

std::int64_t first_non_finite(Tensor const& tensor) noexcept {
  switch (tensor.dtype()) {
    case DType::f32: return first_non_finite_of<float>(tensor);
    case DType::f64: return first_non_finite_of<double>(tensor);
    case DType::f16: return first_non_finite_half(tensor, 0x7c00);
    case DType::bf16: return first_non_finite_half(tensor, 0x7f80);
    default: return -1;
  }
}

std::string to_string(TensorSpec const& spec) {
  std::string dims;
  for (auto const& dim : spec.dims) {
    if (!dims.empty()) dims += ", ";
    switch (dim.kind) {
      case Dim::Kind::fixed: dims += std::to_string(dim.length); break;
      case Dim::Kind::named: dims += dim.name; break;
      case Dim::Kind::any: dims += "?"; break;
    }
  }
  return fmt::format("{} [{}]", to_string(spec.dtype), dims);
}

Request& Request::set(std::string_view name, Tensor value) {
  for (auto& input : inputs_) {
    if (input.name != name) continue;
    input.value = std::move(value);
    return *this;
  }
  inputs_.emplace_back(std::string(name), std::move(value));
  return *this;
}

Result<CheckedRequest> check(Signature const& signature, Request const& request) {
  CheckedRequest checked;
  NamedLengths lengths;
  auto const& given = request.inputs();
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    TensorSpec const& spec = signature.inputs[i];
    std::size_t index = 0;
    while (index < given.size() && given[index].name != spec.name) ++index;
    if (index == given.size())
      return fail(Code::invalid_argument, Reason::missing_input, "{}: expected {}, got no input of that name",
                  spec.name, to_string(spec));
    if (auto ok = check_tensor(spec, given[index].value, lengths); !ok)
      return tl::unexpected(std::move(ok.error()));
    checked.index[i] = static_cast<std::uint8_t>(index);
    checked.bytes += static_cast<std::int64_t>(given[index].value.size_bytes());
  }
  if (given.size() != signature.inputs.size()) {
    for (auto const& input : given) {
      std::size_t times = 0;
      for (auto const& other : given) times += other.name == input.name ? 1U : 0U;
      bool known = false;
      for (auto const& spec : signature.inputs) known = known || spec.name == input.name;
      if (!known || times > 1)
        return fail(Code::invalid_argument, Reason::extra_input, "{}: {}; the model takes {}", input.name,
                    known ? "given more than once" : "not an input of the model", known_names(signature));
    }
  }
  if (auto const* items = lengths.find(items_axis)) checked.items = items->length;
  return checked;
}

bool is_utf8(std::string_view text, std::size_t* bad_byte) noexcept {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    unsigned char const lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    bool good = lead >= 0xc2 && lead <= 0xf4 && i + length <= text.size();
    for (std::size_t k = 1; good && k < length; ++k) good = (byte(i + k) & 0xc0) == 0x80;
    // Overlong forms, surrogates and code points above U+10FFFF.
    if (good && lead == 0xe0) good = byte(i + 1) >= 0xa0;
    if (good && lead == 0xed) good = byte(i + 1) < 0xa0;
    if (good && lead == 0xf0) good = byte(i + 1) >= 0x90;
    if (good && lead == 0xf4) good = byte(i + 1) < 0x90;
    if (!good) {
      *bad_byte = i;
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace athanor::inline v1
