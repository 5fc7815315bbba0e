/// The answer of a call: its outputs by name, and its report.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/detail/require.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1 {

namespace serving {

template <class T>
class EngineState;

/// An answer as the response cache keeps it: immutable and shared.
struct StoredAnswer {
  std::vector<Tensor> outputs;  ///< in the signature's order
  std::uint32_t members = 0;    ///< members of the ensemble that answered
};

struct OutputSet;

/// What the answers of one model share.
struct OutputOwner {
  std::string const model;              ///< `name@version`
  std::vector<TensorSpec> const specs;  ///< of the model's outputs
  void (*const recycle)(OutputSet& set) noexcept;
};

/// What an answer holds. The tensors lie behind it, one for each spec.
struct OutputSet {
  OutputOwner& owner;
  /// Set when the answer came from the cache or from another call's flight.
  std::shared_ptr<StoredAnswer const> stored{};
  std::array<std::uint8_t, max_tensors> chosen{};  ///< answer output i is specs[chosen[i]]
  std::size_t chosen_count = 0;
  std::int64_t charged = 0;  ///< by the pool, while it keeps the set
  std::size_t home = 0;      ///< the thread that took it from the pool, to whose cell it goes back

  /// By spec; buffers are kept and reused from call to call.
  std::span<Tensor> computed() noexcept { return {reinterpret_cast<Tensor*>(this + 1), owner.specs.size()}; }
  /// An output of the answer, by spec.
  Tensor const& tensor(std::size_t position) noexcept {
    return stored != nullptr ? stored->outputs[position] : computed()[position];
  }
};
static_assert(sizeof(OutputSet) % alignof(Tensor) == 0);

struct RecycleOutputs {
  /// Gives the set back to the pool that it came from.
  void operator()(OutputSet* set) const noexcept { set->owner.recycle(*set); }
};
using OutputSetPointer = std::unique_ptr<OutputSet, RecycleOutputs>;

}  // namespace serving

/// The outputs of one call, in the requested order. Movable. The destructor returns the memory to the model's
/// pool: clone a tensor that must live longer. May outlive the model and the engine.
class Outputs {
 public:
  /// No outputs.
  Outputs() = default;

  /// How many outputs there are.
  std::size_t size() const noexcept { return set_ != nullptr ? set_->chosen_count : 0; }
  /// The name, type and shape of an output. `index` must be below size() (checked).
  TensorSpec const& spec(std::size_t index) const noexcept { return set_->owner.specs[place(index)]; }
  /// An output by position. `index` must be below size() (checked).
  Tensor const& operator[](std::size_t index) const noexcept { return set_->tensor(place(index)); }
  /// The output of that name, or null.
  Tensor const* find(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < size(); ++i)
      if (spec(i).name == name) return &(*this)[i];
    return nullptr;
  }
  /// The output of that name. It must exist (checked); the message lists the names that do.
  Tensor const& operator[](std::string_view name) const noexcept {
    auto const* tensor = find(name);
    if (tensor == nullptr) [[unlikely]]
      no_output(name);
    return *tensor;
  }

 private:
  template <class T>
  friend class serving::EngineState;
  explicit Outputs(serving::OutputSetPointer set) noexcept : set_(std::move(set)) {}

  std::size_t place(std::size_t index) const noexcept {
    detail::require(index < size(),
                    "Outputs: expected an index below the number of outputs, got a larger one");
    return set_->chosen[index];
  }
  [[noreturn]] void no_output(std::string_view name) const noexcept;

  serving::OutputSetPointer set_;
};

/// The result of a successful call.
struct Answer {
  /// In the requested order.
  Outputs outputs;
  /// How the call was served.
  Report report;
};

/// The callback of an asynchronous call: called exactly once, on a thread of the engine or on a thread inside
/// `cancel`, `unload`, `stop`, `close` or the engine's destructor, never inside `submit` or `infer`. It may
/// submit, cancel, and destroy the engine, which then stops later. It should not block for long, because a
/// stop waits for it.
struct Completion {
  /// Receives the answer or the error.
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
