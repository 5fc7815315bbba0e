#pragma once

#include <algorithm>
#include <thread>

#include <athanor/serving/detail/engine_options.hpp>
#include <athanor/serving/detail/engine_state.hpp>

namespace athanor::inline v1::serving {

/// Spins of a blocking caller before it parks, on a machine with several cores.
inline constexpr int spins_before_parking = 200;

template <class T>
EngineState<T>::EngineState(EngineOptions options, Tables tables)
    : options_(std::move(options)),
      tables_(std::move(tables)),
      spins_before_parking_(Env::simulated || std::thread::hardware_concurrency() < 2 ? 0
                                                                                      : spins_before_parking),
      secret_(random_secret<Env>()),
      gate_(detail::Validated{},
            GateOptions{.max_items = options_.max_items, .max_bytes = options_.max_bytes}),
      cache_(ResponseCacheOptions{
          .capacity_bytes = options_.cache_bytes,
          .ttl = options_.cache_ttl,
          .max_waiters = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.max_items, 1U << 31U))}),
      executor_(thread_count(options_)),
      loader_(detail::Validated{}, loader_options(options_), load_functions(), executor_) {}

template <class T>
EngineState<T>::~EngineState() {
  stop(Duration{0});
}

template <class T>
ModelLoaderOptions EngineState<T>::loader_options(EngineOptions const& options) {
  ModelLoaderOptions result;
  result.budget_bytes = options.model_bytes;
  result.load_deadline = options.load_deadline;
  return result;
}

template <class T>
void EngineState<T>::end_of_route() noexcept {
  if (routes_.fetch_sub(1) != 1 || !stopping()) return;
  drained_.store(1);
  drained_.wake_all();
}

/// Waits until no call is in flight, or until the deadline.
template <class T>
void EngineState<T>::drain(TimePoint deadline) noexcept {
  while (routes_.load() != 0 && Env::now() < deadline) {
    drained_.store(0);
    if (routes_.load() != 0) drained_.wait_until(0, deadline);
  }
}

template <class T>
std::size_t EngineState<T>::stop(Duration grace) noexcept {
  if (stopping_.exchange(true)) return 0;
  emit(options_.sink, Event{EventKind::engine_stopping, {}, {}, {}});
  room_line_.wake_all();
  TimePoint const deadline = after(Env::now(), grace);
  Error const stopping{Code::unavailable, Reason::stopping, "the engine is stopping", {}};
  for (auto* model : models()) model->lane().refuse_all(stopping);
  loader_.stop();
  drain(deadline);
  std::vector<CallType*> calls;
  {
    detail::Lock const lock(mutex_);
    for (auto const& call : calls_)
      if (call->try_ref()) calls.push_back(call.get());
  }
  for (auto* call : calls) {
    abandon(*call, stopping);
    call->unref();
  }
  std::size_t const abandoned = executor_.stop(deadline) + callers_in_backends_.load();
  if (abandoned != 0)
    emit(options_.sink, Event{EventKind::work_abandoned,
                              {},
                              {},
                              detail::format("{} threads are still inside a backend", abandoned)});
  return abandoned;
}

}  // namespace athanor::inline v1::serving
