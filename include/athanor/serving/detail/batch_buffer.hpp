/// Memory of one instance for what is made of a batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::serving {

/// Kept from batch to batch, and replaced by more for one that needs more. Of more than `always_kept` bytes,
/// what is too much is given back once `uses_to_shrink` uses in a row have needed less than a quarter. Not
/// thread-safe.
class BatchBuffer {
 public:
  static constexpr std::size_t always_kept = std::size_t{1} << 20;
  static constexpr std::uint32_t uses_to_shrink = 16;

  /// Memory for `bytes`, with undefined contents, until the next call; null if there is none.
  std::byte* make(std::size_t bytes) noexcept;
  /// The same for numbers. Throws std::bad_alloc.
  template <class T>
  std::span<T> make_numbers(std::size_t count) {
    std::byte* const data = make(count * sizeof(T));
    if (data == nullptr) throw std::bad_alloc();
    return {reinterpret_cast<T*>(data), count};
  }

 private:
  void shrink(std::size_t bytes) noexcept;

  Buffer memory_;
  std::uint32_t small_uses_ = 0;  // in a row: of less than a quarter
  std::size_t needed_ = 0;        // by the largest of these
};

}  // namespace athanor::inline v1::serving
