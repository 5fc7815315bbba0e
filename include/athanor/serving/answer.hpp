/// The answer of a call: its outputs by name, and its report.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/signature.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1 {

namespace serving {

template <class T>
class EngineState;

/// An answer as the response cache keeps it: immutable and shared.
struct StoredAnswer {
  std::vector<Tensor> outputs;  ///< in the signature's order
  std::uint32_t members = 0;    ///< of the ensemble, that answered
};

/// The part of a pooled call that its answer needs; the same for all engines.
struct AnswerHolder {
  std::atomic<std::uint32_t> owners{0};
  void (*recycle)(AnswerHolder& self) noexcept = nullptr;
  std::vector<TensorSpec> const* specs = nullptr;  ///< of the model's outputs
  std::array<std::uint8_t, max_tensors> chosen{};  ///< answer output i is specs[chosen[i]]
  std::size_t chosen_count = 0;
  std::vector<Tensor> computed;  ///< by spec; buffers are kept and reused from call to call
  std::shared_ptr<StoredAnswer const>
      stored{};  ///< set when the answer came from the cache or from another's flight
  Report report{};

  /// Takes one more reference, unless the call is back in the pool.
  bool try_ref() noexcept {
    auto held = owners.load(std::memory_order_acquire);
    while (held != 0 && !owners.compare_exchange_weak(held, held + 1, std::memory_order_acq_rel)) {
    }
    return held != 0;
  }
  void unref() noexcept {
    if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1) recycle(*this);
  }
};

}  // namespace serving

/// The outputs of one call, in the order that was asked for. Movable; the memory goes back to the engine's
/// pool when it is destroyed, so tensors taken from it must be cloned to live longer. May outlive the engine.
class Outputs {
 public:
  /// No outputs.
  Outputs() = default;
  Outputs(Outputs&& other) noexcept : holder_(std::exchange(other.holder_, nullptr)) {}
  Outputs& operator=(Outputs&& other) noexcept {
    std::swap(holder_, other.holder_);
    return *this;
  }
  ~Outputs() {
    if (holder_ != nullptr) holder_->unref();
  }

  /// How many outputs there are.
  std::size_t size() const noexcept { return holder_ != nullptr ? holder_->chosen_count : 0; }
  /// The name, type and shape of an output. `index` must be below size().
  TensorSpec const& spec(std::size_t index) const noexcept {
    return (*holder_->specs)[holder_->chosen[index]];
  }
  /// An output by position. `index` must be below size().
  Tensor const& operator[](std::size_t index) const noexcept {
    auto const position = holder_->chosen[index];
    return holder_->stored != nullptr ? holder_->stored->outputs[position] : holder_->computed[position];
  }
  /// The output of that name, or null.
  Tensor const* find(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < size(); ++i)
      if (spec(i).name == name) return &(*this)[i];
    return nullptr;
  }
  /// The output of that name, which must exist (checked by assert).
  Tensor const& operator[](std::string_view name) const noexcept {
    auto const* tensor = find(name);
    assert(tensor != nullptr);
    return *tensor;
  }

 private:
  template <class T>
  friend class serving::EngineState;
  /// Takes over one reference to `holder`.
  explicit Outputs(serving::AnswerHolder& holder) noexcept : holder_(&holder) {}

  serving::AnswerHolder* holder_ = nullptr;
};

/// What a call that succeeded gives.
struct Answer {
  /// In the order that was asked for.
  Outputs outputs;
  /// How the call was served.
  Report report;
};

/// The callback of an asynchronous call: called exactly once, on a thread of the engine or on one that is
/// inside `cancel`, `unload` or `stop`, never inside `submit` or `infer`. It may submit and cancel; it must
/// not block for long, and must not destroy the engine.
struct Completion {
  /// Gets the answer or the error.
  void (*function)(void* context, Result<Answer> answer) noexcept = nullptr;
  /// Passed on to `function`.
  void* context = nullptr;
};

/// A Completion that calls `(object->*method)(Result<Answer>)`.
template <auto method, class T>
Completion callback(T* object) noexcept {
  return {[](void* context, Result<Answer> answer) noexcept {
            (static_cast<T*>(context)->*method)(std::move(answer));
          },
          object};
}

}  // namespace athanor::inline v1
