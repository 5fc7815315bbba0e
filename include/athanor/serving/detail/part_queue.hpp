/// The parts of one stream on their way from the engine to the reader.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/lock.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <athanor/serving/answer.hpp>

namespace athanor::inline v1::serving {

template <class T>
struct Call;

/// Called once, on a thread of the engine.
struct StreamWaiter {
  void (*function)(void* context) noexcept = nullptr;
  void* context = nullptr;
};

/// What the reader finds: a part, or how the stream ended, or nothing yet.
template <class T>
struct TakenPart {
  std::optional<Outputs> part{};
  bool raw = false;           ///< the part: as the model gave it
  Call<T>* parked = nullptr;  ///< to be resumed: there is room for another part, or none is left
  std::optional<Result<Report>> outcome{};
  std::optional<Error> cut_off{};  ///< cancelled, and the end is about to come: no need to wait for it
};

/// One thread at a time writes, for the call of the stream, and one reads: the reader steps a call that was
/// left to it, parks, or leaves a waiter. Ends exactly once: what comes after the end is dropped. Shared by
/// the call, the reader and a task that is on its way to the waiter.
template <class T>
class PartQueue : public std::enable_shared_from_this<PartQueue<T>> {
 public:
  using Env = typename T::Env;
  /// So many parts wait for the reader at most.
  static constexpr std::size_t most_waiting = 4;

  explicit PartQueue(EngineState<T>& engine) noexcept : engine_(engine) { wake_.run = &PartQueue::on_wake; }

  /// The call was answered: the last part, or an error. Parts that wait are dropped if the call was
  /// `given_up`; otherwise they can be read before the error. Returns the call if it waited for room: the
  /// caller of this function must then end it. The waiter is still to be called, with `call_waiter`.
  Call<T>* end(Result<Answer> answer, bool given_up) noexcept {
    Call<T>* waiting = nullptr;
    {
      detail::Lock const lock(mutex_);
      if (ended_) return nullptr;
      ended_ = true;
      waiting = std::exchange(parked_, nullptr);
      if (cut_off_) answer = tl::unexpected(std::move(*cut_off_));
      if (answer) {
        append(std::move(answer->outputs), false);
        outcome_ = answer->report;
      } else {
        given_up_ = given_up;
        if (given_up) drop();
        outcome_ = tl::unexpected(std::move(answer.error()));
      }
    }
    announce();
    return waiting;
  }

  /// How a part other than the last one was received. `parked`: there is no room for another one, or the
  /// reader blocks and is to make the next step itself, as `to_reader` proposes; the call belongs to the
  /// queue. `ended`: the stream has ended, and the part is dropped.
  enum class Put : std::uint8_t { taken, parked, ended };
  Put put(Outputs&& part, Call<T>& call, bool to_reader) noexcept {
    bool parks = false;
    {
      detail::Lock const lock(mutex_);
      if (ended_ || cut_off_) return Put::ended;
      append(std::move(part), true);
      parks = count_ == most_waiting || (to_reader && reader_blocks_);
      if (parks) parked_ = &call;
      left_to_reader_ = to_reader;
    }
    announce();
    send_for_waiter();
    return parks ? Put::parked : Put::taken;
  }

  /// For a reader that blocks until there is something. The outcome is given once, after the last part.
  TakenPart<T> take() noexcept {
    TakenPart<T> taken;
    detail::Lock const lock(mutex_);
    reader_blocks_ = count_ == 0;
    if (count_ != 0) {
      taken.part.emplace(std::move(parts_[first_].outputs));
      taken.raw = parts_[first_].raw;
      if (!left_to_reader_) taken.parked = std::exchange(parked_, nullptr);
      first_ = (first_ + 1) % most_waiting;
      --count_;
    } else if (ended_) {
      taken.outcome.emplace(std::move(outcome_));
    } else if (cut_off_) {
      taken.cut_off = detail::copy_of(*cut_off_);
    } else {
      taken.parked = std::exchange(parked_, nullptr);
      word_.store(nothing);
    }
    return taken;
  }
  /// The call that was left to the reader, who will not block for it: to be resumed.
  Call<T>* take_left() noexcept {
    detail::Lock const lock(mutex_);
    return count_ == 0 ? std::exchange(parked_, nullptr) : nullptr;
  }
  /// Parks until there may be something to take. Precondition: there was nothing.
  void wait(int spins) noexcept {
    for (; spins > 0; --spins) {
      if (word_.load() == news) return;
      Env::relax();
    }
    std::uint32_t seen = nothing;
    if (!word_.compare_exchange(seen, parked)) return;
    while (word_.load() == parked) word_.wait_until(parked, no_deadline);
  }
  /// The waiter is called once there is something to take. False, and it is not called, if there is now; with
  /// `always` it is called then, too.
  bool call_when_ready(StreamWaiter waiter, bool always) noexcept {
    bool ready = false;
    {
      detail::Lock const lock(mutex_);
      ready = count_ != 0 || ended_;
      if (ready && !always) return false;
      waiter_ = waiter;
    }
    if (ready) send_for_waiter();
    return true;
  }
  bool ready() noexcept {
    detail::Lock const lock(mutex_);
    return count_ != 0 || ended_;
  }
  /// Calls the waiter on this thread, if there is one and something to take.
  void call_waiter() noexcept {
    StreamWaiter waiter;
    {
      detail::Lock const lock(mutex_);
      if (waiter_.function == nullptr || (count_ == 0 && !ended_)) return;
      waiter = std::exchange(waiter_, {});
      engine_.begin_reading();
    }
    {
      Inside<EngineState<T>, Env> const here(&engine_);
      waiter.function(waiter.context);
    }
    engine_.end_reading();
  }
  /// The stream was cancelled, though its call has been answered or is about to be: parts that wait are
  /// dropped. Changes nothing if only the end is left to read. A parked reader ends the call itself, whoever
  /// else is busy.
  void cut_off(Error error) noexcept {
    {
      detail::Lock const lock(mutex_);
      if (ended_ && count_ == 0) return;
      drop();
      if (ended_) {
        outcome_ = tl::unexpected(std::move(error));
        given_up_ = true;
      } else {
        cut_off_.emplace(std::move(error));
      }
    }
    announce();
  }
  /// Whether the stream ended, or is about to, so that parts that wait are dropped.
  bool is_cut_off() noexcept {
    detail::Lock const lock(mutex_);
    return cut_off_ || given_up_;
  }
  /// Nobody reads any more: parts are dropped, and no waiter is called.
  void leave() noexcept {
    detail::Lock const lock(mutex_);
    waiter_ = {};
    left_ = true;
    drop();
  }

 private:
  struct Part {
    Outputs outputs{};
    bool raw = false;
  };
  struct Wake : Task {
    std::shared_ptr<PartQueue> queue{};
  };
  // Values of the word.
  static constexpr std::uint32_t nothing = 0;
  static constexpr std::uint32_t news = 1;
  static constexpr std::uint32_t parked = 2;

  void append(Outputs&& part, bool raw) noexcept ATH_REQUIRES(mutex_) {
    if (left_) return;
    parts_[(first_ + count_) % most_waiting] = {std::move(part), raw};
    ++count_;
  }
  void drop() noexcept ATH_REQUIRES(mutex_) {
    for (Part& part : parts_) part = {};
    count_ = 0;
  }
  void announce() noexcept {
    if (word_.exchange(news) == parked) word_.wake_all();
  }
  void send_for_waiter() noexcept {
    {
      detail::Lock const lock(mutex_);
      if (waiter_.function == nullptr || std::exchange(sent_, true)) return;
    }
    wake_.queue = this->shared_from_this();
    if (!engine_.executor().post(wake_)) on_wake(wake_);
  }
  static void on_wake(Task& task) noexcept {
    auto const self = std::move(static_cast<Wake&>(task).queue);
    {
      detail::Lock const lock(self->mutex_);
      self->sent_ = false;
    }
    self->call_waiter();
  }

  EngineState<T>& engine_;
  typename Env::Word word_{};
  Wake wake_{};
  typename Env::Mutex mutex_;
  std::array<Part, most_waiting> parts_ ATH_GUARDED_BY(mutex_){};
  std::size_t first_ ATH_GUARDED_BY(mutex_) = 0;
  std::size_t count_ ATH_GUARDED_BY(mutex_) = 0;
  Call<T>* parked_ ATH_GUARDED_BY(mutex_) = nullptr;
  bool reader_blocks_ ATH_GUARDED_BY(mutex_) = false;   // or steps the call itself
  bool left_to_reader_ ATH_GUARDED_BY(mutex_) = false;  // what is parked, until no part waits
  bool ended_ ATH_GUARDED_BY(mutex_) = false;
  bool given_up_ ATH_GUARDED_BY(mutex_) = false;  // it ended so, or with what waited being dropped
  bool left_ ATH_GUARDED_BY(mutex_) = false;
  std::optional<Error> cut_off_
      ATH_GUARDED_BY(mutex_){};               // what the reader is told in place of the end that is to come
  bool sent_ ATH_GUARDED_BY(mutex_) = false;  // the task is on its way, or about to be
  StreamWaiter waiter_ ATH_GUARDED_BY(mutex_){};
  Result<Report> outcome_ ATH_GUARDED_BY(mutex_){Report{}};
};

}  // namespace athanor::inline v1::serving
