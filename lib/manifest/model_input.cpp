#include <athanor/manifest/model_input.hpp>

#include <algorithm>

namespace athanor::inline v1 {

std::size_t batch_axis_of(TensorSpec const& spec) noexcept {
  auto const axis = std::ranges::find_if(
      spec.dims, [](Dim const& dim) { return dim.kind == Dim::Kind::named && dim.name == items_axis; });
  return axis == spec.dims.end() ? no_batch_axis : static_cast<std::size_t>(axis - spec.dims.begin());
}

TensorSpec with_items_first(TensorSpec spec) {
  std::size_t const axis = batch_axis_of(spec);
  auto const first = spec.dims.begin();
  if (axis == no_batch_axis) {
    spec.dims.insert(first, Dim::named(std::string(items_axis)));
  } else {
    std::rotate(first, first + static_cast<std::ptrdiff_t>(axis),
                first + static_cast<std::ptrdiff_t>(axis) + 1);
  }
  return spec;
}

}  // namespace athanor::inline v1
