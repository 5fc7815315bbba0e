/// An item of a request for tests that call a processor without an engine.
#pragma once

#include <array>

#include <athanor/core/backend.hpp>

namespace athanor::tests {

/// One item whose inputs borrow the memory of `inputs`.
template <std::size_t Count>
class ItemOf {
 public:
  template <class... Tensors>
  explicit ItemOf(Tensors const&... inputs) : views_{to_view(inputs)...} {
    raw_.struct_size = sizeof(raw_);
    raw_.inputs = views_.data();
    raw_.input_count = views_.size();
  }
  ItemOf(ItemOf const&) = delete;
  ItemOf& operator=(ItemOf const&) = delete;

  ath_item const* raw() const noexcept { return &raw_; }
  operator Item() const noexcept {
    return Item(raw_);
  }  // NOLINT(google-explicit-constructor): that is its use

 private:
  std::array<TensorView, Count> views_;
  ath_item raw_{};
};
template <class... Tensors>
ItemOf(Tensors const&...) -> ItemOf<sizeof...(Tensors)>;

}  // namespace athanor::tests
