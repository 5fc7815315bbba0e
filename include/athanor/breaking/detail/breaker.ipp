#pragma once

#include <athanor/breaking/breaker.hpp>

namespace athanor::inline v1 {

template <Environment Env>
void CircuitBreaker<Env>::mirror() const noexcept {
  word_.store(std::uint64_t{machine_.generation()} << 2U | static_cast<std::uint64_t>(machine_.state()),
              std::memory_order_release);
}

template <Environment Env>
auto CircuitBreaker<Env>::acquire(TimePoint now) -> Result<Lease> {
  if (auto const word = word_.load(std::memory_order_acquire); closed(word)) {
    return Lease{static_cast<std::uint32_t>(word >> 2U), 0, -1, true};
  }
  breaking::Decision decision;
  {
    Lock const lock(mutex_);
    decision = machine_.acquire(now, Env::random());
    mirror();
  }
  if (!decision.admitted) return tl::unexpected<Error>(breaking::refusal_error(decision));
  return decision.lease;
}

template <Environment Env>
Result<void> CircuitBreaker<Env>::peek(TimePoint now) const {
  if (closed(word_.load(std::memory_order_acquire))) return {};
  breaking::Decision decision;
  {
    Lock const lock(mutex_);
    decision = machine_.peek(now, Env::random());
    mirror();
  }
  if (!decision.admitted) return tl::unexpected<Error>(breaking::refusal_error(decision));
  return {};
}

template <Environment Env>
void CircuitBreaker<Env>::record(Lease const& lease, Outcome outcome, TimePoint now) noexcept {
  if (!lease.taken) return;
  std::uint64_t const random = Env::random();
  Lock const lock(mutex_);
  machine_.settle(lease, outcome, now, random);
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::abandon(Lease const& lease, TimePoint now) noexcept {
  if (!lease.taken || lease.probe < 0) return;
  std::uint64_t const random = Env::random();
  Lock const lock(mutex_);
  machine_.abandon(lease, now, random);
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
  machine_.force_open();
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::force_closed() noexcept {
  Lock const lock(mutex_);
  machine_.force_closed();
  mirror();
}

template <Environment Env>
void CircuitBreaker<Env>::reset() noexcept {
  Lock const lock(mutex_);
  machine_.reset();
  mirror();
}

template <Environment Env>
breaking::BreakerStatistics CircuitBreaker<Env>::statistics() const noexcept {
  Lock const lock(mutex_);
  return machine_.statistics();
}

extern template class CircuitBreaker<SystemEnv>;

}  // namespace athanor::inline v1
