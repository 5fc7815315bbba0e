#include <athanor/serving/detail/padding.hpp>

#include <cstring>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/model_description.hpp>
#include <athanor/serving/detail/pieces.hpp>

namespace athanor::inline v1::serving {

PaddedDims padded_dims_of(std::span<PaddedAxis const> axes, TensorSpec const& spec) {
  PaddedDims dims;
  bool any = false;
  for (Dim const& dim : spec.dims) {
    auto const axis = padded_axis_of(axes, dim);
    dims.push_back(axis.value_or(not_padded));
    any = any || axis.has_value();
  }
  if (!any) dims.clear();
  return dims;
}

Padding::Padding(std::span<PaddedAxis const> axes, std::span<ModelInput const> inputs)
    : axes_(axes.begin(), axes.end()) {
  if (axes_.empty()) return;
  for (ModelInput const& input : inputs) {
    dims_.push_back(input.assemble == Assemble::length
                        ? PaddedDims{padded_axis_of(axes_, Dim::named(input.axis)).value_or(not_padded)}
                        : padded_dims_of(axes_, input.spec));
    names_.push_back(input.assemble == Assemble::stack ? input.spec.name : std::string());
  }
}

Result<PaddedLengths> Padding::lengths_of(std::span<TensorView const> tensors) const {
  PaddedLengths lengths{};
  for (std::size_t input = 0; input < dims_.size(); ++input) {
    if (names_[input].empty()) continue;
    for (std::size_t dim = 0; dim < dims_[input].size(); ++dim) {
      std::size_t const axis = dims_[input][dim];
      if (axis == not_padded) continue;
      TensorView const& tensor = tensors[input];
      std::int64_t const length = static_cast<std::int32_t>(dim) < tensor.ndim ? tensor.shape[dim] : 0;
      std::int64_t const longest = axes_[axis].buckets.back();
      if (length < 1 || length > longest)
        return fail(Code::invalid_argument, length < 1 ? Reason::shape : Reason::too_large,
                    "{}: axis '{}': expected a length of 1 to {}, got {}", names_[input], axes_[axis].name,
                    longest, length);
      if (lengths[axis] != 0 && lengths[axis] != length)
        return fail(Code::invalid_argument, Reason::shape, "{}: axis '{}': expected length {}, got {}",
                    names_[input], axes_[axis].name, lengths[axis], length);
      lengths[axis] = length;
    }
  }
  return lengths;
}

PaddedLengths Padding::buckets_of(PaddedLengths const& lengths) const noexcept {
  PaddedLengths buckets{};
  for (std::size_t axis = 0; axis < axes_.size(); ++axis)
    buckets[axis] = *std::ranges::lower_bound(axes_[axis].buckets, lengths[axis]);
  return buckets;
}

void Padding::widen(std::span<TensorView> tensors, PaddedLengths const& widths) const noexcept {
  for (std::size_t input = 0; input < dims_.size(); ++input)
    for (std::size_t dim = 0; dim < dims_[input].size() && !names_[input].empty(); ++dim)
      if (dims_[input][dim] != not_padded) tensors[input].shape[dim] = widths[dims_[input][dim]];
}

std::int64_t Padding::positions_of(PaddedLengths const& lengths) const noexcept {
  std::int64_t positions = 1;
  for (std::size_t axis = 0; axis < axes_.size(); ++axis) positions *= lengths[axis];
  return positions;
}

std::int64_t Padding::most_positions() const noexcept {
  std::int64_t positions = 1;
  for (PaddedAxis const& axis : axes_) positions *= axis.buckets.back();
  return positions;
}

Shape with_lengths(Shape shape, PaddedDims const& dims, PaddedLengths const& lengths) noexcept {
  for (std::size_t dim = 0; dim < dims.size() && dim < shape.rank(); ++dim)
    if (dims[dim] != not_padded) shape[dim] = lengths[dims[dim]];
  return shape;
}

std::byte* fill_elements(std::byte* to, std::size_t count, std::size_t width,
                         std::byte const* element) noexcept {
  bool const alike =
      std::all_of(element, element + width, [&](std::byte each) { return each == element[0]; });
  if (alike) {
    std::memset(to, std::to_integer<int>(element[0]), count * width);
    return to + count * width;
  }
  for (std::size_t i = 0; i < count; ++i, to += width) std::memcpy(to, element, width);
  return to;
}

std::byte* copy_block(Block const& block, std::byte const* from, std::byte* to, std::size_t width,
                      std::byte const* fill) noexcept {
  walk_block(
      block,
      [&](std::int64_t first, std::int64_t count) {
        std::size_t const bytes = static_cast<std::size_t>(count) * width;
        if (bytes != 0) std::memcpy(to, from + static_cast<std::size_t>(first) * width, bytes);
        to += bytes;
      },
      [&](std::int64_t count) { to = fill_elements(to, static_cast<std::size_t>(count), width, fill); });
  return to;
}

Tensor const& given_input(ModelDescription const& description, Request const& request,
                          CheckedRequest const& checked, std::size_t input) noexcept {
  std::size_t const index = description.request_index[input];
  std::uint8_t const at = checked.index[index];
  return at == CheckedRequest::left_out ? *description.signature.defaults[index] : request.inputs()[at].value;
}

Result<PaddedLengths> made_lengths(ModelDescription const& description, MadeItem const& made) {
  std::array<TensorView, max_tensors> tensors{};
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i)
    if (!is_made(description.plan.inputs[i])) tensors[i] = made.tensor(description.made_of_input[i]);
  return description.plan.padding.lengths_of(tensors);
}

void measure_request(ModelDescription const& description, Request const& request,
                     Result<CheckedRequest>& checked, PaddedLengths& lengths) {
  std::array<TensorView, max_tensors> tensors{};
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i)
    if (!is_made(description.plan.inputs[i]))
      tensors[i] = to_view(given_input(description, request, *checked, i));
  auto measured = description.plan.padding.lengths_of(tensors);
  if (measured) {
    lengths = *measured;
  } else {
    checked = tl::unexpected(std::move(measured.error()));
  }
}

}  // namespace athanor::inline v1::serving
