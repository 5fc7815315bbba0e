/// A value with one writer at a time, which any thread may read concurrently.
#pragma once

#include <atomic>

namespace athanor::inline v1::batching {

/// Relaxed loads and stores; a copy is a load. What is made of several of them is read field by field.
template <class Value>
class Relaxed {
 public:
  constexpr Relaxed(Value value = Value{}) noexcept : value_(value) {}
  Relaxed(Relaxed const& other) noexcept : value_(other.load()) {}
  Relaxed& operator=(Relaxed const& other) noexcept { return *this = other.load(); }
  Relaxed& operator=(Value value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  operator Value() const noexcept { return load(); }
  Value load() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<Value> value_;
};

}  // namespace athanor::inline v1::batching
