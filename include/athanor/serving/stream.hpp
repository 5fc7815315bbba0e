/// Streams: answers that come in parts, each as soon as the model has made it.
///
///     auto stream = model.stream({{"prompt", "Once"}}, {.deadline = 10s}).value();
///     for (athanor::Outputs const& part : stream) show(part["token"]);
///     if (auto outcome = stream.outcome(); !outcome) return failed(outcome.error());
#pragma once

#include <coroutine>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include <athanor/serving/detail/part_queue.hpp>
#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

namespace serving {
template <class T>
struct StreamPump;
}  // namespace serving

/// The parts of one answer. Made by `Model::stream`. A model that answers in one piece has a stream of one
/// part.
///
/// A stream ends exactly once: after its last part, or with an error. Cancellation and the deadline apply to
/// every part: afterwards none is given, not even one that waited. An error of the model comes after the
/// parts that were made before it. Destroying a stream that has not ended cancels it. Nothing is cached, nor
/// shared with equal requests.
///
/// One thread at a time reads; `cancel` may be called by any. Keeps the model alive. Borrowed tensors of the
/// request, and the Cancellation, must stay valid until `next` has returned nothing (or
/// `StreamCallbacks::end` is called), or until the stream is destroyed; the destructor waits for a thread
/// that is copying a tensor. A stream that was moved from may only be assigned to or destroyed.
template <ServingTraits T = DefaultServing>
class Stream {
 public:
  class Iterator;
  class Awaiter;

  /// For `Model::stream`.
  Stream(std::shared_ptr<serving::ServedModel<T>> model, serving::Call<T>& call,
         std::shared_ptr<serving::PartQueue<T>> queue) noexcept
      : model_(std::move(model)), call_(&call), queue_(std::move(queue)) {}
  /// Leaves `other` without a stream.
  Stream(Stream&& other) noexcept
      : model_(std::move(other.model_)),
        call_(std::exchange(other.call_, nullptr)),
        queue_(std::move(other.queue_)),
        outcome_(std::move(other.outcome_)) {}
  /// Ends the stream that this object held, as the destructor does.
  Stream& operator=(Stream&& other) noexcept {
    Stream old(std::move(other));
    std::swap(model_, old.model_);
    std::swap(call_, old.call_);
    std::swap(queue_, old.queue_);
    std::swap(outcome_, old.outcome_);
    return *this;
  }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  /// Cancels it, unless it has ended. Must not be called while another thread reads.
  ~Stream();

  /// Blocks until the next part is ready; returns no value once the stream has ended, and `outcome` then says
  /// how. This thread runs the next step itself if that takes less time than waking another one, and no other
  /// call would share the step. Inside a backend of the engine a stream that would wait for itself ends with
  /// failed_precondition / reentrant.
  std::optional<Outputs> next() noexcept;
  /// Whether `next` would return at once.
  bool ready() const noexcept;
  /// How it ended: the report of the whole, or the error. failed_precondition before `next` has returned
  /// nothing.
  Result<Report> outcome() const noexcept;
  /// Ends the stream with `cancelled`, unless it has ended. Thread-safe.
  void cancel() const noexcept;

  /// For a loop over the parts, each of which lives until the next one: `for (Outputs const& part : stream)`.
  Iterator begin() noexcept;
  static std::default_sentinel_t end() noexcept { return {}; }

  /// For a coroutine: `while (auto part = co_await stream.next_async())`. The coroutine continues at once if
  /// a part is ready, otherwise on a thread of the engine. The stream must outlive the wait.
  Awaiter next_async() noexcept { return Awaiter(*this); }

 private:
  friend class Model<T>;
  friend struct serving::StreamPump<T>;
  /// As PartQueue::call_when_ready. The waiter may destroy the stream before this returns.
  bool call_when_ready(serving::StreamWaiter waiter, bool always) const noexcept;
  void resume_left() const noexcept;
  void leave(Error error) const noexcept;
  void end_with(Error error) noexcept;

  std::shared_ptr<serving::ServedModel<T>> model_;
  serving::Call<T>* call_;  // one reference
  std::shared_ptr<serving::PartQueue<T>> queue_;
  std::optional<Result<Report>> outcome_{};
};

/// An input iterator over the parts.
template <ServingTraits T>
class Stream<T>::Iterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = Outputs;
  explicit Iterator(Stream& stream) noexcept : stream_(&stream), part_(stream.next()) {}

  /// The part, until the iterator moves on.
  Outputs& operator*() const noexcept { return *part_; }
  /// As `operator*`.
  Outputs* operator->() const noexcept { return &*part_; }
  /// Blocks until the next part is ready, or the stream has ended.
  Iterator& operator++() noexcept {
    part_ = stream_->next();
    return *this;
  }
  void operator++(int) noexcept { ++*this; }
  bool operator==(std::default_sentinel_t) const noexcept { return !part_; }

 private:
  Stream* stream_;
  mutable std::optional<Outputs> part_;
};

/// What `next_async` returns.
template <ServingTraits T>
class Stream<T>::Awaiter {
 public:
  explicit Awaiter(Stream& stream) noexcept : stream_(stream) {}

  /// Whether the coroutine need not be suspended.
  bool await_ready() const noexcept { return stream_.ready(); }
  /// False if a part has become ready meanwhile: the coroutine is then not suspended.
  bool await_suspend(std::coroutine_handle<> reader) noexcept {
    auto const resume = [](void* address) noexcept {
      std::coroutine_handle<>::from_address(address).resume();
    };
    return stream_.call_when_ready({resume, reader.address()}, false);
  }
  /// As `Stream::next`.
  std::optional<Outputs> await_resume() noexcept { return stream_.next(); }

 private:
  Stream& stream_;
};

template <ServingTraits T>
typename Stream<T>::Iterator Stream<T>::begin() noexcept {
  return Iterator(*this);
}

/// The callbacks of a stream. They are called one at a time, in order, on threads of the engine (on the
/// thread inside `stop` or `stream` if a stop leaves no worker), under the rules of a Completion. `end` is
/// called exactly once, after the last part, and is the last call.
struct StreamCallbacks {
  void (*part)(void* context, Outputs part) noexcept = nullptr;           ///< receives the next part
  void (*end)(void* context, Result<Report> outcome) noexcept = nullptr;  ///< receives how the stream ended
  void* context = nullptr;                                                ///< passed on to both
};

/// StreamCallbacks that call `(object->*on_part)(Outputs)` and `(object->*on_end)(Result<Report>)`.
template <auto on_part, auto on_end, class T>
StreamCallbacks stream_callbacks(T* object) noexcept {
  return {[](void* context, Outputs part) noexcept { (static_cast<T*>(context)->*on_part)(std::move(part)); },
          [](void* context, Result<Report> outcome) noexcept {
            (static_cast<T*>(context)->*on_end)(std::move(outcome));
          },
          object};
}

}  // namespace athanor::inline v1

#include <athanor/serving/detail/streams.ipp>

namespace athanor::inline v1 {

extern template class Stream<DefaultServing>;

}  // namespace athanor::inline v1
