#pragma once

#include <utility>

#include <athanor/breaking/breaker.hpp>

namespace athanor::inline v1 {

template <Environment Env>
void CircuitBreaker<Env>::fold() const noexcept {
  std::uint64_t const successes = successes_.value();
  machine_.settle_successes(successes - folded_successes_);
  folded_successes_ = successes;
}

template <Environment Env>
void CircuitBreaker<Env>::mirror() noexcept {
  auto const word = std::uint64_t{machine_.generation()} << 2U | static_cast<std::uint64_t>(machine_.state());
  if (word_.load(std::memory_order_relaxed) != word) word_.store(word, std::memory_order_release);
}

template <Environment Env>
breaking::BreakerMachine CircuitBreaker<Env>::take_machine() noexcept {
  Lock const lock(mutex_);
  fold();
  return std::move(machine_);
}

template <Environment Env>
template <class Event>
auto CircuitBreaker<Env>::decide(Event event) -> Result<Lease> {
  if (auto const word = word_.load(std::memory_order_acquire); closed(word)) {
    return Lease{static_cast<std::uint32_t>(word >> 2U), 0, -1, true};
  }
  breaking::Decision decision;
  {
    Lock const lock(mutex_);
    fold();
    decision = event(machine_);
    mirror();
  }
  if (!decision.admitted) return tl::unexpected<Error>(breaking::refusal_error(decision));
  return decision.lease;
}

template <Environment Env>
auto CircuitBreaker<Env>::acquire(TimePoint now) -> Result<Lease> {
  return decide([&](breaking::BreakerMachine& machine) { return machine.acquire(now); });
}

template <Environment Env>
auto CircuitBreaker<Env>::reserve(TimePoint now) -> Result<Lease> {
  return decide([&](breaking::BreakerMachine& machine) { return machine.reserve(now); });
}

template <Environment Env>
auto CircuitBreaker<Env>::begin(Lease const& reserved, TimePoint now) -> Result<Lease> {
  return decide([&](breaking::BreakerMachine& machine) { return machine.begin(reserved, now); });
}

template <Environment Env>
void CircuitBreaker<Env>::record(Lease const& lease, Outcome outcome, TimePoint now) noexcept {
  if (!lease.taken) return;
  if (outcome == Outcome::success && lease.probe < 0) {
    auto const word = word_.load(std::memory_order_acquire);
    if (closed(word) && lease.generation == static_cast<std::uint32_t>(word >> 2U)) return successes_.add();
  }
  Lock const lock(mutex_);
  fold();
  machine_.settle(lease, outcome, now);
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::abandon(Lease const& lease, TimePoint now) noexcept {
  if (!lease.taken || lease.probe < 0) return;
  Lock const lock(mutex_);
  fold();
  machine_.abandon(lease, now);
  mirror();
}

template <Environment Env>
auto CircuitBreaker<Env>::acquire() -> Result<Permit> {
  auto lease = acquire(Env::now());
  if (!lease) return tl::unexpected<Error>(std::move(lease).error());
  return Permit(*this, *lease);
}

template <Environment Env>
void CircuitBreaker<Env>::force_open() noexcept {
  Lock const lock(mutex_);
  fold();
  machine_.force_open();
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::force_closed() noexcept {
  Lock const lock(mutex_);
  fold();
  machine_.force_closed();
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::reset() noexcept {
  Lock const lock(mutex_);
  fold();
  machine_.reset();
  mirror();
}

template <Environment Env>
breaking::BreakerStatistics CircuitBreaker<Env>::statistics() const noexcept {
  Lock const lock(mutex_);
  fold();
  return machine_.statistics();
}

}  // namespace athanor::inline v1
