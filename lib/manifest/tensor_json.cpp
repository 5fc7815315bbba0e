#include <athanor/manifest/tensor_json.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "tensor_convert.hpp"

namespace athanor::inline v1 {

namespace manifest {

using json::Json;

namespace {

/// Walks nested lists once: fixes the shape and collects the leaves in row-major order.
class ListWalk {
 public:
  ListWalk(TensorSpec const& spec) : spec_(spec), rank_(spec.dims.size()), shape_(filled(spec)) {}

  Result<void> walk(Json const& value, std::size_t depth = 0) {
    if (depth == rank_) {
      if (value.is_array()) return refuse(depth, fmt::format("expected {} levels of lists, got more", rank_));
      leaves_.push_back(&value);
      return {};
    }
    if (!value.is_array())
      return refuse(depth, fmt::format("expected a list (level {} of {}), got {}", depth + 1, rank_,
                                       json::describe(value)));
    auto const length = static_cast<std::int64_t>(value.size());
    if (!known_[depth]) {
      if (spec_.dims[depth].kind == Dim::Kind::fixed && spec_.dims[depth].length != length)
        return refuse(depth, fmt::format("expected {} elements, got {}", spec_.dims[depth].length, length));
      known_[depth] = true;
      shape_[depth] = length;
    } else if (shape_[depth] != length) {
      return refuse(
          depth, fmt::format("expected {} elements as in the lists before, got {}", shape_[depth], length));
    }
    for (at_[depth] = 0; at_[depth] < value.size(); ++at_[depth])
      if (auto walked = walk(value[at_[depth]], depth + 1); !walked) return walked;
    return {};
  }

  Shape const& shape() const noexcept { return shape_; }
  std::vector<Json const*> const& leaves() const noexcept { return leaves_; }
  /// `[1][2]` of leaf number `index`.
  std::string position(std::size_t index) const {
    std::string text;
    for (std::size_t axis = rank_; axis-- > 0;) {
      auto const length = static_cast<std::size_t>(shape_[axis]);
      text = fmt::format("[{}]{}", index % length, text);
      index /= length;
    }
    return text;
  }

 private:
  static Shape filled(TensorSpec const& spec) {
    std::array<std::int64_t, Shape::max_rank> dims{};
    for (std::size_t i = 0; i < spec.dims.size(); ++i)
      dims[i] = spec.dims[i].kind == Dim::Kind::fixed ? spec.dims[i].length : 0;
    return Shape(std::span(dims.data(), spec.dims.size()));
  }
  tl::unexpected<Error> refuse(std::size_t depth, std::string const& sentence) const {
    std::string place;
    for (std::size_t i = 0; i < depth; ++i) place += fmt::format("[{}]", at_[i]);
    return fail(Code::invalid_argument, Reason::shape, "{}: {}{}{}", spec_.name, place,
                place.empty() ? "" : ": ", sentence);
  }

  TensorSpec const& spec_;
  std::size_t rank_;
  Shape shape_;
  bool known_[Shape::max_rank]{};
  std::size_t at_[Shape::max_rank]{};
  std::vector<Json const*> leaves_;
};

/// Writes one leaf; the reason that it cannot be held otherwise.
using Store = std::optional<Reason> (*)(Json const& value, std::byte* out);

template <class T>
std::optional<Reason> store_integer(Json const& value, std::byte* out) {
  if (!value.is_number_integer()) return Reason::dtype;
  if (value.is_number_unsigned()
          ? value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<T>::max())
          : value.get<std::int64_t>() < static_cast<std::int64_t>(std::numeric_limits<T>::min()))
    return Reason::value_range;
  auto const element = static_cast<T>(value.get<std::int64_t>());
  std::memcpy(out, &element, sizeof(T));
  return {};
}

std::optional<Reason> store_boolean(Json const& value, std::byte* out) {
  if (!value.is_boolean()) return Reason::dtype;
  *out = static_cast<std::byte>(value.get<bool>() ? 1 : 0);
  return {};
}

template <class T>
std::optional<Reason> store_float(Json const& value, std::byte* out) {
  if (!value.is_number()) return Reason::dtype;
  auto const element = static_cast<T>(value.get<double>());
  if (!std::isfinite(element)) return Reason::value_range;
  std::memcpy(out, &element, sizeof(T));
  return {};
}

/// `value` rounded to the nearest number with `mantissa_bits` after the point and no exponent below
/// `least_exponent`.
double round_to(double value, int mantissa_bits, int least_exponent) noexcept {
  if (value == 0) return value;
  int const exponent = std::max(std::ilogb(value), least_exponent);
  double const quantum = std::ldexp(1.0, exponent - mantissa_bits);
  return std::nearbyint(value / quantum) * quantum;
}

std::optional<Reason> store_f16(Json const& value, std::byte* out) {
  if (!value.is_number()) return Reason::dtype;
  double const rounded = round_to(value.get<double>(), 10, -14);
  double const size = std::abs(rounded);
  if (!(size <= 65504.0)) return Reason::value_range;
  unsigned bits = std::signbit(rounded) ? 0x8000U : 0U;
  if (size < 0x1p-14) {
    bits |= static_cast<unsigned>(size * 0x1p24);
  } else {
    int const exponent = std::ilogb(size);
    bits |= static_cast<unsigned>(exponent + 15) << 10;
    bits |= static_cast<unsigned>((std::ldexp(size, -exponent) - 1.0) * 1024.0);
  }
  auto const element = static_cast<std::uint16_t>(bits);
  std::memcpy(out, &element, sizeof(element));
  return {};
}

std::optional<Reason> store_bf16(Json const& value, std::byte* out) {
  if (!value.is_number()) return Reason::dtype;
  auto const rounded = static_cast<float>(round_to(value.get<double>(), 7, -126));
  if (!std::isfinite(rounded)) return Reason::value_range;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &rounded, sizeof(bits));
  auto const element = static_cast<std::uint16_t>(bits >> 16);
  std::memcpy(out, &element, sizeof(element));
  return {};
}

Store store_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean: return &store_boolean;
    case DType::u8: return &store_integer<std::uint8_t>;
    case DType::u16: return &store_integer<std::uint16_t>;
    case DType::u32: return &store_integer<std::uint32_t>;
    case DType::u64: return &store_integer<std::uint64_t>;
    case DType::i8: return &store_integer<std::int8_t>;
    case DType::i16: return &store_integer<std::int16_t>;
    case DType::i32: return &store_integer<std::int32_t>;
    case DType::i64: return &store_integer<std::int64_t>;
    case DType::f16: return &store_f16;
    case DType::bf16: return &store_bf16;
    case DType::f32: return &store_float<float>;
    case DType::f64: return &store_float<double>;
    case DType::bytes: break;
  }
  return nullptr;
}

tl::unexpected<Error> bad_leaf(TensorSpec const& spec, ListWalk const& lists, std::size_t index,
                               Reason reason) {
  std::string const position = lists.position(index);
  return fail(Code::invalid_argument, reason, "{}: {}{}expected {}, got {}{}", spec.name, position,
              position.empty() ? "" : ": ", spec.dtype == DType::bytes ? "a text" : to_string(spec.dtype),
              json::describe(*lists.leaves()[index]),
              reason == Reason::value_range ? ", which it cannot hold" : "");
}

Result<Tensor> convert_texts(TensorSpec const& spec, ListWalk const& lists) {
  std::vector<std::string_view> texts;
  for (std::size_t i = 0; i < lists.leaves().size(); ++i) {
    Json const& leaf = *lists.leaves()[i];
    if (!leaf.is_string()) return bad_leaf(spec, lists, i, Reason::dtype);
    texts.push_back(leaf.get_ref<std::string const&>());
  }
  return Tensor::copy_texts(texts).map([&](Tensor const& tensor) { return tensor.reshaped(lists.shape()); });
}

}  // namespace

Result<Tensor> convert_tensor(Json const& value, TensorSpec const& spec) {
  if (spec.dims.size() > Shape::max_rank)
    return fail(Code::invalid_argument, Reason::shape, "{}: expected at most {} dimensions, got {}",
                spec.name, Shape::max_rank, spec.dims.size());
  ListWalk lists(spec);
  if (auto walked = lists.walk(value); !walked) return tl::unexpected(std::move(walked.error()));
  if (spec.dtype == DType::bytes) return convert_texts(spec, lists);
  auto tensor = Tensor::allocate(spec.dtype, lists.shape());
  if (!tensor) return tensor;
  Buffer const buffer = tensor->buffer();
  Store const store = store_of(spec.dtype);
  std::size_t const size = element_size(spec.dtype);
  for (std::size_t i = 0; i < lists.leaves().size(); ++i)
    if (auto const reason = store(*lists.leaves()[i], buffer.data() + i * size))
      return bad_leaf(spec, lists, i, *reason);
  return tensor;
}

}  // namespace manifest

Result<Tensor> tensor_from_json(std::string_view text, TensorSpec const& spec) {
  return json::parse(text, spec.name, Reason::syntax).and_then([&](json::Json const& value) {
    return manifest::convert_tensor(value, spec);
  });
}

}  // namespace athanor::inline v1
