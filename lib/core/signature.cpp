#include <athanor/core/signature.hpp>

#include <algorithm>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include <athanor/core/detail/view.hpp>

#include "finite.hpp"

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
  std::int64_t items = 1;

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
    if (dim.name != items_axis) continue;
    if (length == 0)
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: an empty batch: expected at least 1 item, got 0", spec.name);
    lengths.items = length;
  }
  return {};
}

/// The index of the first number with all bits of `exponent` set: NaN or infinity.
template <class Bits>
std::int64_t first_with_exponent(std::byte const* data, std::size_t count, Bits exponent) noexcept {
  auto const bits_at = [data](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
    return bits;
  };
  // Adding its lowest bit to an exponent of ones carries into the sign bit. A first pass without branches, in
  // integers, becomes vector code and decides; a second one finds the index.
  auto const lowest = static_cast<Bits>(exponent & (~exponent + 1U));
  Bits seen = 0;
  for (std::size_t i = 0; i < count; ++i)
    seen = static_cast<Bits>(seen | static_cast<Bits>((bits_at(i) & exponent) + lowest));
  if (seen >> (8 * sizeof(Bits) - 1) == 0) return -1;
  std::size_t at = 0;
  while ((bits_at(at) & exponent) != exponent) ++at;
  return static_cast<std::int64_t>(at);
}

Result<void> check_finite(TensorSpec const& spec, Tensor const& tensor) {
  std::int64_t const at = first_non_finite(tensor);
  if (at < 0) return {};
  return tl::unexpected(non_finite_error(spec, at));
}

Result<void> check_bytes(TensorSpec const& spec, Tensor const& tensor) {
  std::int64_t const count = tensor.shape().elements();
  if (tensor.offsets() == nullptr && count != 1)
    return fail(Code::invalid_argument, Reason::shape, "{}: expected offsets for {} texts, got none",
                spec.name, count);
  if (auto const* offsets = tensor.offsets()) {
    for (std::int64_t i = 0; i < count; ++i)
      if (offsets[i] < 0 || offsets[i + 1] < offsets[i] ||
          static_cast<std::uint64_t>(offsets[i + 1]) > tensor.size_bytes())
        return fail(Code::invalid_argument, Reason::shape,
                    "{}: element {}: expected offsets inside {} bytes, in ascending order, got {} to {}",
                    spec.name, i, tensor.size_bytes(), offsets[i], offsets[i + 1]);
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

/// `unread`: whether its numbers may be left unread; set to false when they were not.
Result<void> check_tensor(TensorSpec const& spec, Tensor const& tensor, NamedLengths& lengths, bool& unread) {
  if (tensor.dtype() != spec.dtype)
    return fail(Code::invalid_argument, Reason::dtype, "{}: expected {}, got {}", spec.name,
                to_string(spec.dtype), to_string(tensor.dtype()));
  if (auto fits = check_dims(spec, tensor, lengths); !fits) return fits;
  if (lacks_memory(tensor))
    return fail(Code::invalid_argument, Reason::shape, "{}: expected memory of {} bytes, got null", spec.name,
                tensor.size_bytes());
  if (spec.dtype == DType::bytes) {
    unread = false;
    return check_bytes(spec, tensor);
  }
  unread = unread && spec.non_finite == NonFinite::refuse && tensor.size_bytes() >= large_input;
  if (spec.non_finite == NonFinite::refuse && !unread) return check_finite(spec, tensor);
  return {};
}

std::string known_names(Signature const& signature) {
  std::string names;
  for (auto const& spec : signature.inputs) names += (names.empty() ? "" : ", ") + spec.name;
  for (auto const& spec : signature.parameters) names += (names.empty() ? "" : ", ") + spec.name;
  return names;
}

/// Finds and checks the parameters. Returns how many the request sets.
Result<std::size_t> check_parameters(Signature const& signature, Request const& request,
                                     CheckedRequest& checked) {
  auto const& given = request.inputs();
  std::size_t count = 0;
  for (std::size_t i = 0; i < signature.parameters.size(); ++i) {
    ParameterSpec const& spec = signature.parameters[i];
    auto const at = std::ranges::find(given, spec.name, &NamedTensor::name);
    checked.parameter[i] = CheckedRequest::left_out;
    if (at == given.end() && !spec.initial)
      return fail(Code::invalid_argument, Reason::missing_input,
                  "{}: expected {}, got no parameter of that name", spec.name, to_string(spec));
    if (at == given.end()) continue;
    if (auto allowed = check(spec, at->value); !allowed) return tl::unexpected(std::move(allowed.error()));
    checked.parameter[i] = static_cast<std::uint8_t>(at - given.begin());
    ++count;
  }
  return count;
}

/// The bytes that the defaults of left-out inputs will take. Saturates.
std::int64_t left_out_bytes(Signature const& signature, CheckedRequest const& checked) noexcept {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    if (checked.index[i] != CheckedRequest::left_out) continue;
    std::int64_t rows = 0;
    auto const row = static_cast<std::int64_t>(signature.defaults[i]->size_bytes());
    if (__builtin_mul_overflow(row, checked.items, &rows) || __builtin_add_overflow(bytes, rows, &bytes))
      return INT64_MAX;
  }
  return bytes;
}

/// The error for an input that the signature does not have or that the request gives twice, if there is one.
Result<void> check_names(Signature const& signature, Request const& request) {
  auto const& given = request.inputs();
  auto const named = [](auto const& list, std::string const& name) {
    return std::ranges::count_if(list, [&](auto const& each) { return each.name == name; });
  };
  for (auto const& input : given) {
    bool const known = named(signature.inputs, input.name) + named(signature.parameters, input.name) > 0;
    if (!known || named(given, input.name) > 1)
      return fail(Code::invalid_argument, Reason::extra_input, "{}: {}; the model takes {}", input.name,
                  known                          ? "given more than once"
                  : signature.parameters.empty() ? "not an input of the model"
                                                 : "neither an input nor a parameter of the model",
                  known_names(signature));
  }
  return {};
}

/// `row` repeated for every item. Throws std::bad_alloc.
Tensor repeated(Tensor const& row, std::int64_t items) {
  Shape shape = row.shape();
  shape[0] = items;
  if (row.dtype() == DType::bytes) {
    std::vector<std::string_view> texts;
    for (std::int64_t item = 0; item < items; ++item)
      for (std::int64_t i = 0; i < row.shape().elements(); ++i) texts.push_back(row.text_at(i));
    auto copies = Tensor::copy_texts(texts);
    if (!copies) throw std::bad_alloc();
    return copies->reshaped(shape);
  }
  auto rows = Tensor::allocate(row.dtype(), shape);
  if (!rows) throw std::bad_alloc();
  for (std::size_t at = 0; at < rows->size_bytes(); at += row.size_bytes())
    std::memcpy(rows->mutable_data() + at, row.data(), row.size_bytes());
  return std::move(*rows);
}

Result<void> check(Signature const& signature, Request const& request, LargeInputs large,
                   CheckedRequest& checked) {
  NamedLengths lengths;
  auto const& given = request.inputs();
  std::size_t known = signature.inputs.size();
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    TensorSpec const& spec = signature.inputs[i];
    std::size_t index = 0;
    while (index < given.size() && given[index].name != spec.name) ++index;
    if (index == given.size() && signature.is_optional(i)) {
      checked.index[i] = CheckedRequest::left_out;
      checked.incomplete = true;
      --known;
      continue;
    }
    if (index == given.size())
      return fail(Code::invalid_argument, Reason::missing_input, "{}: expected {}, got no input of that name",
                  spec.name, to_string(spec));
    bool unread = large == LargeInputs::leave;
    if (auto ok = check_tensor(spec, given[index].value, lengths, unread); !ok) return ok;
    checked.unread = checked.unread || unread;
    checked.index[i] = static_cast<std::uint8_t>(index);
    checked.bytes += static_cast<std::int64_t>(given[index].value.size_bytes());
  }
  if (!signature.parameters.empty()) {
    auto const parameters = check_parameters(signature, request, checked);
    if (!parameters) return tl::unexpected(parameters.error());
    known += *parameters;
  }
  if (given.size() != known)
    if (auto named = check_names(signature, request); !named) return named;
  checked.items = lengths.items;
  if (checked.incomplete &&
      __builtin_add_overflow(checked.bytes, left_out_bytes(signature, checked), &checked.bytes))
    checked.bytes = INT64_MAX;
  return {};
}

}  // namespace

std::int64_t first_non_finite(Tensor const& tensor) noexcept {
  return detail::first_non_finite(tensor.dtype(), tensor.data(), tensor.size_bytes());
}

std::int64_t detail::first_non_finite(DType dtype, std::byte const* data, std::size_t bytes) noexcept {
  auto const first = [&](auto exponent) {
    return first_with_exponent(data, bytes / sizeof(exponent), exponent);
  };
  switch (dtype) {
    case DType::f32: return first(std::uint32_t{0x7f800000});
    case DType::f64: return first(std::uint64_t{0x7ff0000000000000});
    case DType::f16: return first(std::uint16_t{0x7c00});
    case DType::bf16: return first(std::uint16_t{0x7f80});
    default: return -1;
  }
}

Error non_finite_error(TensorSpec const& spec, std::int64_t at) {
  return make_error(Code::invalid_argument, Reason::non_finite,
                    "{}: element {}: expected a finite value, got NaN or infinity", spec.name, at);
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

Result<CheckedRequest> check(Signature const& signature, Request const& request, LargeInputs large) {
  Result<CheckedRequest> checked;  // filled in where the caller reads it
  if (auto ok = check(signature, request, large, *checked); !ok)
    checked = tl::unexpected(std::move(ok.error()));
  return checked;
}

Tensor none_of(TensorSpec const& spec) {
  auto none = Tensor::allocate(spec.dtype, spec.dims.size() == 1 ? Shape{0, 0} : Shape{0});
  if (!none) throw std::bad_alloc();
  return std::move(*none);
}

void add_defaults(Signature const& signature, Request& request, CheckedRequest& checked) {
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    if (checked.index[i] != CheckedRequest::left_out) continue;
    TensorSpec const& spec = signature.inputs[i];
    Tensor const& row = *signature.defaults[i];
    checked.index[i] = static_cast<std::uint8_t>(request.inputs().size());
    request.set(spec.name, is_none(spec, row) ? row : repeated(row, checked.items));
  }
  checked.incomplete = false;
}

ath_value parameter_of(Signature const& signature, Request const& request, CheckedRequest const& checked,
                       std::size_t index) noexcept {
  std::uint8_t const at = checked.parameter[index];
  return effective_value(signature.parameters[index],
                         at == CheckedRequest::left_out ? nullptr : &request.inputs()[at].value);
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
