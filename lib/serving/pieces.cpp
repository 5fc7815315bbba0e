#include <athanor/serving/detail/pieces.hpp>

#include <array>

#include <fmt/format.h>

namespace athanor::inline v1::serving {

namespace {

/// Row `index` as a tensor of one row, borrowed. A row of one text or of opaque bytes needs no offsets.
Tensor row_of(Tensor const& tensor, std::int64_t index) {
  bool const one_element = tensor.dtype() == DType::bytes && tensor.shape().rank() == 1;
  return one_element ? Tensor::text(tensor.text_at(index)) : tensor.rows(index, 1);
}

}  // namespace

bool is_row_of(TensorSpec const& spec, TensorView const& row) noexcept {
  if (row.ndim < 1 || static_cast<std::size_t>(row.ndim) != spec.dims.size() || row.shape[0] != 1)
    return false;
  for (std::size_t axis = 1; axis < spec.dims.size(); ++axis)
    if (spec.dims[axis].kind == Dim::Kind::fixed && spec.dims[axis].length != row.shape[axis]) return false;
  return true;
}

Result<MadeItem> preprocess_item(OpenProcessor const& processor, std::span<Tensor const> inputs,
                                 std::int64_t index) {
  std::array<Tensor, max_tensors> rows;
  std::array<TensorView, max_tensors> views;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    rows[i] = row_of(inputs[i], index);
    views[i] = to_view(rows[i]);
  }
  auto made = processor.preprocess({views.data(), inputs.size()});
  if (!made && inputs[0].shape()[0] > 1)
    made.error().message = fmt::format("item {}: {}", index, made.error().message);
  return made;
}

Result<void> make_output(Tensor& tensor, DType dtype, Shape const& shape) {
  bool const reusable = tensor.buffer().unique();
  if (reusable && tensor.dtype() == dtype && tensor.shape() == shape) return {};
  auto const bytes = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  if (reusable && tensor.buffer().capacity() >= bytes) {
    Buffer buffer = tensor.buffer();
    tensor = Tensor::over(dtype, shape, std::move(buffer));
    return {};
  }
  auto made = Tensor::allocate(dtype, shape);
  if (!made) return tl::unexpected(std::move(made.error()));
  tensor = std::move(*made);
  return {};
}

void fill_piece(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count,
                std::span<TensorView> tensors) noexcept {
  auto const& inputs = description.plan.inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (is_made(inputs[i])) continue;
    if (description.processor) {
      tensors[i] = made[first].tensor(description.made_of_input[i]);
      continue;
    }
    Tensor const& tensor = request.inputs()[checked.index[description.request_index[i]]].value;
    bool const whole = inputs[i].assemble != Assemble::stack || count == checked.items;
    tensors[i] = whole ? to_view(tensor) : to_view(tensor.rows(first, count));
  }
}

void append_pieces(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                   std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count, Pieces& pieces) {
  std::uint32_t const step = description.processor ? 1 : count;
  for (std::uint32_t item = first; item < first + count; item += step)
    fill_piece(description, request, checked, made, item, step, pieces.add(step));
}

}  // namespace athanor::inline v1::serving
