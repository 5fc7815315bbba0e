#pragma once

#include <algorithm>
#include <thread>

#include <athanor/core/detail/inside.hpp>
#include <athanor/serving/detail/engine_options.hpp>
#include <athanor/serving/detail/engine_state.hpp>

namespace athanor::inline v1::serving {

/// How long a stop waits for threads that have nothing to do any more: what is abandoned after it is inside a
/// backend.
inline constexpr Duration settling_time = std::chrono::milliseconds(10);

template <class T>
EngineState<T>::EngineState(EngineOptions options, Tables tables)
    : options_(std::move(options)),
      tables_(std::move(tables)),
      spins_before_parking_(
          Env::simulated || std::thread::hardware_concurrency() < 2 ? 0 : detail::spins_before_parking),
      secret_(random_secret<Env>()),
      gate_(detail::Validated{},
            GateOptions{.max_items = options_.max_items, .max_bytes = options_.max_bytes}),
      cache_(ResponseCacheOptions{
          .capacity_bytes = options_.cache_bytes,
          .ttl = options_.cache_ttl,
          .max_waiters = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.max_items, 1U << 31U))}),
      executor_(thread_count(options_)),
      loader_(detail::Validated{}, loader_options(options_), load_functions(), executor_,
              loading::choose_by(typename T::Loading{})) {}

template <class T>
EngineState<T>::~EngineState() {
  stop(Duration{0});
}

template <class T>
ModelLoaderOptions EngineState<T>::loader_options(EngineOptions const& options) {
  ModelLoaderOptions result;
  result.budget_bytes = options.model_bytes;
  result.load_deadline = options.load_deadline;
  result.load_threads = options.load_threads;
  return result;
}

/// Gives back the engine's reference, and others that are this thread's.
template <class T>
void EngineState<T>::end_of_route(CallType& call, std::uint32_t references) noexcept {
  call.unref(references);
  if (!stopping() || any_route()) return;
  drained_.store(1);
  drained_.wake_all();
  if (executor_.disarm(close_timer_)) executor_.arm(close_timer_, Env::now());
  return end_left_close();
}

template <class T>
std::size_t EngineState<T>::routes() const noexcept {
  detail::Lock const lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(calls_, [](auto const& call) { return call->in_flight(); }));
}

/// Whether a call is in flight. Looks first at the one that was found last: the calls that end while the
/// engine stops cost one walk over all of them together.
template <class T>
bool EngineState<T>::any_route() noexcept {
  detail::Lock const lock(mutex_);
  for (std::size_t looked = 0; looked < calls_.size(); ++looked, ++route_seen_at_) {
    if (route_seen_at_ >= calls_.size()) route_seen_at_ = 0;
    if (calls_[route_seen_at_]->in_flight()) return true;
  }
  return false;
}

/// Waits until no call is in flight, or until the deadline.
template <class T>
void EngineState<T>::drain(TimePoint deadline) noexcept {
  while (any_route() && Env::now() < deadline) {
    drained_.store(0);
    if (any_route()) drained_.wait_until(0, deadline);
  }
}

/// Whether this thread is inside a completion, a backend or a processor: a stop would wait for its own call.
template <class T>
bool EngineState<T>::is_inside() const noexcept {
  return Inside<EngineState, Env>::holds(this) ||
         Inside<ModelType, Env>::any(
             [this](ModelType const& model) noexcept { return &model.engine() == this; });
}

template <class T>
std::size_t EngineState<T>::stop(Duration grace) noexcept {
  if (in_child()) return 0;
  if (is_inside()) {
    close(grace, {});
    return 0;
  }
  if (!begin_stop()) return wait_for_stop();
  TimePoint const deadline = after(Env::now(), grace);
  drain(deadline);
  return finish_stop(deadline);
}

template <class T>
void EngineState<T>::close(Duration grace, Closed closed) noexcept {
  if (in_child()) {
    if (closed.function != nullptr) closed.function(closed.context);
    // What other threads held when the process forked is held for ever, so nothing of the engine is
    // destroyed.
    closing_self_ = this->shared_from_this();
    return;
  }
  {
    detail::Lock const lock(mutex_);
    if (stop_over_.load() == 0) closed_ = std::exchange(closed, {});
  }
  if (closed.function != nullptr) return closed.function(closed.context);
  if (!is_inside()) {
    stop(grace);
    return;
  }
  if (!begin_stop()) return;
  closing_self_ = this->shared_from_this();
  close_timer_.engine = this;
  close_timer_.fire = &EngineState::on_close_timer;
  if (!executor_.arm(close_timer_, after(Env::now(), grace))) return on_close_timer(close_timer_);
  if (!any_route() && executor_.disarm(close_timer_)) executor_.arm(close_timer_, Env::now());
}

template <class T>
void EngineState<T>::on_close_timer(Timer& timer) noexcept {
  EngineState& engine = *static_cast<CloseTimer&>(timer).engine;
  engine.close_task_.engine = &engine;
  engine.close_task_.run = &EngineState::on_close;
  if (engine.executor_.post(engine.close_task_)) return;
  if (!engine.is_inside()) return on_close(engine.close_task_);
  engine.close_left_.store(true);
}

/// Ends a close that found no thread to do it, once what it was called in has returned.
template <class T>
void EngineState<T>::end_left_close() noexcept {
  if (is_inside() || !close_left_.exchange(false)) return;
  on_close(close_task_);
}

/// On a thread of the engine, which is not abandoned but ends as soon as it returns from here; on any, if
/// there is none.
template <class T>
void EngineState<T>::on_close(Task& task) noexcept {
  EngineState& engine = *static_cast<CloseTask&>(task).engine;
  auto const self = std::move(engine.closing_self_);
  engine.finish_stop(Env::now());
}

/// False when another stop was first.
template <class T>
bool EngineState<T>::begin_stop() noexcept {
  if (stopping_.exchange(true)) return false;
  emit(options_.sink, Event{EventKind::engine_stopping, {}, {}, {}});
  room_line_.wake_all();
  return true;
}

template <class T>
std::size_t EngineState<T>::wait_for_stop() noexcept {
  while (stop_over_.load() == 0) stop_over_.wait_until(0, no_deadline);
  return abandoned_;
}

/// Answers what waits for a batch. Completions are for workers: one may wait for another call, and not all
/// are answered.
template <class T>
void EngineState<T>::refuse_queued() noexcept {
  CallerScope<Env> const scope;
  visit_models([](ModelType& model) { model.lane().refuse_all(stop_error()); });
}

/// Answers every accepted call that is left, and returns when no completion runs any more. Allocates nothing,
/// as all of a stop: when memory is short, stopping is what helps.
template <class T>
void EngineState<T>::answer_all() noexcept {
  CallType* unanswered = nullptr;
  {
    detail::Lock const lock(mutex_);
    for (auto const& call : calls_)
      if (call->try_ref()) call->next_stopped = std::exchange(unanswered, call.get());
  }
  CallType* undelivered = nullptr;
  while (unanswered != nullptr) {
    CallType& call = *std::exchange(unanswered, unanswered->next_stopped);
    CallerScope<Env> const scope;  // as in refuse_queued
    bool const of_its_caller = (call.word.fetch_or(call_bits::stopped) & call_bits::starting) != 0;
    if (!of_its_caller) abandon(call, stop_error());
    if (of_its_caller || !call.asynchronous()) {
      call.unref();
    } else {
      call.next_stopped = std::exchange(undelivered, &call);
    }
  }
  // Those that no worker has taken yet, all before one is waited for: a worker may be inside a completion
  // that waits for another call's.
  for (CallType* call = undelivered; call != nullptr; call = call->next_stopped) {
    wait_for(*call, call_bits::answered);  // the thread that claimed it is about to answer
    if (auto const references = complete(*call); references != 0) call->unref(references);
  }
  while (undelivered != nullptr) {
    CallType& call = *std::exchange(undelivered, undelivered->next_stopped);
    wait_for(call, call_bits::completed);
    if (call.stream != nullptr) call.stream->call_waiter();
    call.unref();
  }
}

/// A reader that a stream has called is over.
template <class T>
void EngineState<T>::end_reading() noexcept {
  bool const last = reading_.fetch_sub(1) == 1;
  if (!stopping()) return;
  if (last) {
    drained_.store(1);
    drained_.wake_all();
  }
  end_left_close();
}

/// Readers that streams call, but for one that stops on this thread. All streams have ended.
template <class T>
void EngineState<T>::wait_for_readers() noexcept {
  if (Inside<EngineState, Env>::holds(this)) return;
  while (reading_.load() != 0) {
    drained_.store(0);
    if (reading_.load() != 0) drained_.wait_until(0, no_deadline);
  }
}

template <class T>
std::size_t EngineState<T>::finish_stop(TimePoint deadline) noexcept {
  refuse_queued();
  answer_all();
  wait_for_readers();
  loader_.stop();
  TimePoint const over = std::max(deadline, after(Env::now(), settling_time));
  abandoned_ = executor_.stop(over) + loader_.join(over);
  wait_for_readers();  // of streams that were opened meanwhile: no task begins any more
  visit_models([this](ModelType& model) { abandoned_ += model.callers_inside(); });
  if (abandoned_ != 0)
    emit(options_.sink, Event{EventKind::work_abandoned,
                              {},
                              {},
                              detail::format("threads still inside a backend: {}", abandoned_)});
  Closed closed;
  {
    detail::Lock const lock(mutex_);
    stop_over_.store(1);
    closed = closed_;
  }
  stop_over_.wake_all();
  if (closed.function != nullptr) closed.function(closed.context);
  return abandoned_;
}

}  // namespace athanor::inline v1::serving
