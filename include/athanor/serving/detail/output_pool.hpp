/// The memory of answers, pooled by model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <athanor/serving/answer.hpp>
#include <athanor/serving/detail/pool.hpp>

namespace athanor::inline v1::serving {

/// Makes and keeps the output sets of one model. Lives until its model has closed it and its last set is
/// gone: answers may outlive their model and their engine. Thread-safe.
template <Environment Env>
class OutputPool : public OutputOwner {
 public:
  struct Close {
    void operator()(OutputPool* pool) const noexcept {
      pool->kept_.close([](OutputSet& set) { destroy(set); });
      pool->let_go();
    }
  };

  OutputPool(std::string id, std::vector<TensorSpec> outputs)
      : OutputOwner{std::move(id), std::move(outputs), &OutputPool::recycle} {}

  /// A set that stores no answer; its outputs hold anything. Throws std::bad_alloc.
  OutputSetPointer take() {
    std::size_t const home = Env::thread_number();
    OutputSet* const set = kept_.take();
    if (set == nullptr) return make(home);
    if (set->home != home) set->home = home;
    if (set->charged != 0) kept_bytes_.fetch_sub(std::exchange(set->charged, 0), std::memory_order_relaxed);
    return OutputSetPointer(set);
  }

 private:
  /// Sets above the first size are charged to the bytes that one model may keep.
  static constexpr std::size_t small_bytes = std::size_t{16} << 10;
  static constexpr std::int64_t most_kept_bytes = std::int64_t{64} << 20;

  OutputSetPointer make(std::size_t home) {
    void* const memory = ::operator new(sizeof(OutputSet) + specs.size() * sizeof(Tensor));
    auto& set = *new (memory) OutputSet{.owner = *this, .home = home};
    for (std::size_t i = 0; i < specs.size(); ++i) new (set.computed().data() + i) Tensor;
    owners_.fetch_add(1, std::memory_order_relaxed);
    return OutputSetPointer(&set);
  }
  static void destroy(OutputSet& set) noexcept {
    auto& pool = static_cast<OutputPool&>(set.owner);
    for (Tensor& output : set.computed()) output.~Tensor();
    set.~OutputSet();
    ::operator delete(&set);
    pool.let_go();
  }
  void let_go() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  static void recycle(OutputSet& set) noexcept {
    set.stored.reset();
    if (!static_cast<OutputPool&>(set.owner).keep(set)) destroy(set);
  }
  bool keep(OutputSet& set) noexcept {
    std::size_t bytes = 0;
    for (Tensor const& output : set.computed()) bytes += output.buffer().capacity();
    if (bytes <= small_bytes) return kept_.keep(set, set.home);
    auto const charge = static_cast<std::int64_t>(bytes);
    set.charged = charge;
    bool const fits = kept_bytes_.fetch_add(charge, std::memory_order_relaxed) + charge <= most_kept_bytes;
    if (fits && kept_.keep(set, set.home)) return true;
    kept_bytes_.fetch_sub(charge, std::memory_order_relaxed);
    return false;
  }

  Pool<OutputSet, Env, PoolEnd::before_its_users> kept_;
  typename Env::template Atomic<std::uint64_t> owners_{1};  // the model, and every set
  typename Env::template Atomic<std::int64_t> kept_bytes_{0};
};

}  // namespace athanor::inline v1::serving
