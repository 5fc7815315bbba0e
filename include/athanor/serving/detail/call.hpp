/// One call on its way through the engine: pooled, counted twice (by its caller and by the engine), and a
/// slot of every room it passes.
#pragma once

#include <athanor/admission/gate.hpp>
#include <athanor/batching/detail/lane.hpp>
#include <athanor/breaking/breaker.hpp>
#include <athanor/caching/detail/store.hpp>
#include <athanor/core/cancellation.hpp>
#include <athanor/core/env.hpp>
#include <athanor/loading/model_loader.hpp>
#include <athanor/serving/answer.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/pieces.hpp>

namespace athanor::inline v1::serving {

template <class T>
class Core;
template <class T>
class Entry;

using StoredAnswerPointer = std::shared_ptr<StoredAnswer const>;

/// Where a call is on its route. Each room is entered at most once.
enum class At : std::uint8_t { join, admit_work, guard, prepare, acquire, push, settle };

/// Whose thread advances a call: a blocking caller's own, that of an `infer_many` which brings several calls
/// together, that of a `submit` which has not returned, or a worker's.
enum class Origin : std::uint8_t { caller, group, submitter, worker };

/// Whether a call's deadline and cancellation are watched. An asynchronous call's timer holds one ownership
/// of it.
enum class Watch : std::uint8_t { off, on, ended };

/// Bits of a call's word. The first to set `claimed` decides the answer; everybody else's outcome is dropped.
namespace word {
inline constexpr std::uint32_t claimed = 1;    ///< somebody is writing, or has written, the caller's answer
inline constexpr std::uint32_t answered = 2;   ///< the answer may be read
inline constexpr std::uint32_t inputs = 4;     ///< a lock: the inputs are being read, moved or taken away
inline constexpr std::uint32_t parked = 8;     ///< a thread sleeps on the word
inline constexpr std::uint32_t revoked = 16;   ///< a blocking caller is asked to take its call back
inline constexpr std::uint32_t gathered = 32;  ///< of a leader: every call of its group is answered
}  // namespace word

/// The two tasks of a call: its route goes on on a worker, and its completion runs there.
struct Continuation : Task {};
struct Delivery : Task {};

template <class T>
struct Call : AnswerHolder,
              admission::Slot,
              caching::Slot<StoredAnswerPointer>,
              breaking::Slot,
              loading::Slot<LoadedModel>,
              batching::Slot,
              Continuation,
              Delivery,
              Timer,
              CancelHook {
  using Env = typename T::Env;

  // The caller's face.
  typename Env::Word word{};
  Completion completion{};  ///< set for an asynchronous call
  TimePoint began{};
  TimePoint deadline = no_deadline;
  typename Env::template Atomic<Watch> watch{Watch::off};
  bool own_deadline = false;  ///< given by the caller
  CacheMode cache_mode = CacheMode::use;
  Cancellation* cancellation = nullptr;
  Error answer_error{};
  bool answer_failed = false;
  Call* leader = nullptr;  ///< of a group of blocking calls, whose caller parks on the leader's word
  typename Env::template Atomic<std::size_t> unanswered{0};  ///< of a leader: calls of its group
  batching::SlotList held{};  ///< of a leader: calls of its group that will enter the lane together

  // The route.
  std::shared_ptr<Core<T>> core{};  ///< keeps the engine's core while the call lives
  Entry<T>* entry = nullptr;
  Request const* request = nullptr;
  Request owned_request{};
  CheckedRequest checked{};
  std::vector<MadeItem> made{};  ///< by item, when the model has a processor
  At at = At::join;
  typename Env::template Atomic<caching::Join> role{caching::Join::bypass};  ///< in the cache
  typename Env::template Atomic<bool> running{
      false};                ///< some of its items are, or were, in a batch that runs
  bool borrowed = false;     ///< inputs lie in memory that the caller takes back once it is answered
  bool inputs_gone = false;  ///< it has; guarded by word::inputs
  bool refused = false;      ///< it ended inside submit
  bool failed = false;
  Error error{};                                                  ///< how the route ended, when it failed
  typename Env::template Atomic<std::uint32_t> outputs_state{0};  ///< of parts: 0 none, 1 being made, 2 made

  void lock_inputs() noexcept {
    while ((word.fetch_or(word::inputs) & word::inputs) != 0) Env::relax();
  }
  void unlock_inputs() noexcept { word.fetch_and(~word::inputs); }
  Tensor const& input(std::size_t index) const noexcept {
    return request->inputs()[checked.place[index]].value;
  }
  bool asynchronous() const noexcept { return completion.function != nullptr; }
};

}  // namespace athanor::inline v1::serving
