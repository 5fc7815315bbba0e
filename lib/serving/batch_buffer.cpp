#include <athanor/serving/detail/batch_buffer.hpp>

#include <algorithm>
#include <utility>

namespace athanor::inline v1::serving {

namespace {

constexpr std::size_t least = 64;

/// With room to grow.
std::size_t roomy(std::size_t bytes) noexcept { return std::max(bytes + bytes / 2, least); }

}  // namespace

std::byte* BatchBuffer::make(std::size_t bytes) noexcept {
  if (memory_.capacity() > always_kept) shrink(bytes);
  if (!memory_ || memory_.capacity() < bytes) {
    memory_ = Buffer();
    memory_ = Buffer::allocate(roomy(bytes));
    if (!memory_) memory_ = Buffer::allocate(std::max(bytes, least));
  }
  return memory_.data();
}

void BatchBuffer::shrink(std::size_t bytes) noexcept {
  if (bytes >= memory_.capacity() / 4) {
    small_uses_ = 0;
    needed_ = 0;
    return;
  }
  needed_ = std::max(needed_, bytes);
  if (++small_uses_ < uses_to_shrink) return;
  small_uses_ = 0;
  if (Buffer smaller = Buffer::allocate(roomy(std::exchange(needed_, 0)))) memory_ = std::move(smaller);
}

}  // namespace athanor::inline v1::serving
