#include <athanor/breaking/machine.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <athanor/core/detail/reason_table.hpp>
#include <athanor/core/detail/split_mix.hpp>

namespace athanor::inline v1::breaking {

namespace {

tl::unexpected<Error> impossible(char const* option, std::string_view rule, double got) {
  return athanor::fail(Code::invalid_argument, Reason::option, "circuit breaker: {}: expected {}, got {}",
                       option, rule, got);
}

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

constexpr std::uint32_t most_probes = 1024;

/// Spans of time above this, 285 years, do not come back whole from floating point.
constexpr double longest_open = 9e18;

}  // namespace

Result<void> validate(CircuitBreakerOptions const& options) {
  if (!(options.failure_rate > 0.0 && options.failure_rate <= 1.0))
    return impossible("failure_rate", "above 0 and at most 1", options.failure_rate);
  if (options.window == 0 || options.window > longest_window)
    return impossible("window", athanor::detail::format("between 1 and {}", longest_window), options.window);
  if (options.min_calls == 0 || options.min_calls > options.window)
    return impossible("min_calls", "at least 1 and at most window", options.min_calls);
  if (options.open_for <= Duration::zero())
    return impossible("open_for", "above 0 seconds", seconds(options.open_for));
  if (options.open_cap < options.open_for)
    return impossible("open_cap", "at least open_for", seconds(options.open_cap));
  if (!(options.jitter >= 0.0 && options.jitter <= 1.0))
    return impossible("jitter", "between 0 and 1", options.jitter);
  if (options.probes == 0 || options.probes > most_probes)
    return impossible("probes", athanor::detail::format("between 1 and {}", most_probes), options.probes);
  if (options.successes_to_close == 0) return impossible("successes_to_close", "at least 1", 0);
  if (options.probe_lease <= Duration::zero())
    return impossible("probe_lease", "above 0 seconds", seconds(options.probe_lease));
  return {};
}

std::string_view to_string(State state) noexcept {
  switch (state) {
    case State::closed: return "closed";
    case State::open: return "open";
    case State::half_open: return "half_open";
  }
  return "unknown";
}

Outcome outcome_of(Error const& error) noexcept {
  return detail::fault_of(error.code, error.reason) == detail::Fault::model ? Outcome::failure
                                                                            : Outcome::ignored;
}

BreakerMachine::BreakerMachine(CircuitBreakerOptions const& options, std::uint64_t seed)
    : options_(options), probes_(options_.probes), failed_(options_.window), random_(seed) {}

Decision BreakerMachine::reserve(TimePoint now) noexcept {
  advance(now);
  if (state_ == State::closed) return {true, {generation_, 0, -1, true}, state_, {}};
  if (state_ == State::half_open) {
    for (std::size_t place = 0; place < probes_.size(); ++place) {
      if (probes_[place].taken) continue;
      probes_[place] = {true, ++tickets_, no_deadline};
      return {true, {generation_, tickets_, static_cast<std::int16_t>(place), true}, state_, {}};
    }
  }
  return refuse(now);
}

Decision BreakerMachine::begin(Lease const& reserved, TimePoint now) noexcept {
  advance(now);
  Probe* const probe = reserved.generation == generation_ ? probe_of(reserved) : nullptr;
  if (probe == nullptr) return acquire(now);
  probe->expires = after(now, options_.probe_lease);
  return {true, reserved, state_, {}};
}

Decision BreakerMachine::acquire(TimePoint now) noexcept {
  Decision decision = reserve(now);
  if (decision.lease.probe >= 0) probe_of(decision.lease)->expires = after(now, options_.probe_lease);
  return decision;
}

Decision BreakerMachine::refuse(TimePoint now) noexcept {
  ++counts_.refused;
  TimePoint until = open_until_;
  if (state_ == State::half_open) {
    // Some probe will be settled soon, or expire.
    until = after(now, options_.open_for);
    for (Probe const& probe : probes_) until = std::min(until, probe.expires);
  } else if (forced_) {
    until = after(now, options_.open_cap);
  }
  return {false, {}, state_, std::max(until - now, Duration{1})};
}

/// What the passing of time alone brings about: an open time that is over, a probe that is lost.
void BreakerMachine::advance(TimePoint now) noexcept {
  if (state_ == State::open && now >= open_until_) {
    enter(State::half_open);
    return;
  }
  if (state_ != State::half_open) return;
  for (Probe const& probe : probes_) {
    if (!probe.taken || now < probe.expires) continue;
    ++counts_.expired_probes;
    ++counts_.failures;
    ++reopened_;
    open(now);
    return;
  }
}

auto BreakerMachine::probe_of(Lease const& lease) noexcept -> Probe* {
  if (lease.probe < 0 || static_cast<std::size_t>(lease.probe) >= probes_.size()) return nullptr;
  Probe& probe = probes_[static_cast<std::size_t>(lease.probe)];
  return probe.taken && probe.ticket == lease.ticket ? &probe : nullptr;
}

void BreakerMachine::settle(Lease const& lease, Outcome outcome, TimePoint now) noexcept {
  if (!lease.taken || !options_.enabled) return;
  advance(now);
  Probe* const probe = probe_of(lease);
  bool const late_probe = state_ == State::half_open && probe == nullptr;
  if (lease.generation != generation_ || state_ == State::open || late_probe) {
    ++counts_.stale;
    return;
  }
  if (state_ == State::closed && outcome == Outcome::success) return settle_successes(1);
  switch (outcome) {
    case Outcome::success: ++counts_.successes; break;
    case Outcome::failure: ++counts_.failures; break;
    case Outcome::ignored: ++counts_.ignored; break;
  }
  if (state_ == State::closed) {
    if (outcome == Outcome::failure && !forced_) record_failure(now);
    return;
  }
  *probe = {};
  if (outcome == Outcome::failure) {
    ++reopened_;
    open(now);
  } else if (outcome == Outcome::success && ++probe_successes_ >= options_.successes_to_close) {
    enter(State::closed);
  }
}

void BreakerMachine::settle_successes(std::uint64_t count) noexcept {
  if (!options_.enabled) return;
  if (state_ != State::closed) {
    counts_.stale += count;
    return;
  }
  counts_.successes += count;
  if (!forced_) record_successes(count);
}

void BreakerMachine::abandon(Lease const& lease, TimePoint now) noexcept {
  if (!lease.taken) return;
  advance(now);
  if (lease.generation != generation_ || state_ != State::half_open) return;
  if (Probe* probe = probe_of(lease)) *probe = {};
}

/// An outcome in the window, in the place of the oldest when it is full.
void BreakerMachine::push(bool failed) noexcept {
  if (calls_ == options_.window) {
    if (failed_[next_]) --failures_;
  } else {
    ++calls_;
  }
  failed_[next_] = failed;
  next_ = next_ + 1 == options_.window ? 0 : next_ + 1;
  failures_ += failed ? 1 : 0;
}

void BreakerMachine::record_successes(std::uint64_t count) noexcept {
  if (count == 0) return;
  in_a_row_ = 0;
  for (std::uint64_t i = std::min<std::uint64_t>(count, options_.window); i > 0; --i) push(false);
  note_healthy(count);
}

void BreakerMachine::record_failure(TimePoint now) noexcept {
  push(true);
  ++in_a_row_;
  bool const too_many = calls_ >= options_.min_calls &&
                        static_cast<double>(failures_) >= options_.failure_rate * static_cast<double>(calls_);
  bool const too_many_in_a_row = options_.consecutive != 0 && in_a_row_ >= options_.consecutive;
  if (too_many || too_many_in_a_row) {
    open(now);
  } else {
    note_healthy(1);
  }
}

/// Executions that did not open it: the exponent of the open time falls with every full window of them.
void BreakerMachine::note_healthy(std::uint64_t executions) noexcept {
  since_healthy_ += executions;
  std::uint64_t const windows = since_healthy_ / options_.window;
  since_healthy_ %= options_.window;
  reopened_ -= static_cast<std::uint32_t>(std::min<std::uint64_t>(reopened_, windows));
}

void BreakerMachine::open(TimePoint now) noexcept {
  enter(State::open);
  ++counts_.opened;
  open_until_ = after(now, open_time());
}

Duration BreakerMachine::open_time() noexcept {
  double time = static_cast<double>(options_.open_for.count());
  double const cap = std::min(static_cast<double>(options_.open_cap.count()), longest_open);
  for (std::uint32_t i = 0; i < reopened_ && time < cap; ++i) time *= 2;
  // A generator of its own, seeded once: drawing from the environment may cost a thread 20 us.
  std::uint64_t const random = detail::split_mix(random_ += detail::split_mix_step);
  double const share = static_cast<double>(random >> 11U) * 0x1p-53;
  return Duration(static_cast<Duration::rep>(std::min(time, cap) * (1.0 - options_.jitter * (1.0 - share))));
}

/// Every change of state is a new generation with nothing counted and no probe out.
void BreakerMachine::enter(State state) noexcept {
  state_ = state;
  ++generation_;
  open_until_ = no_deadline;
  std::fill(probes_.begin(), probes_.end(), Probe{});
  probe_successes_ = 0;
  next_ = calls_ = failures_ = in_a_row_ = 0;
  since_healthy_ = 0;
}

void BreakerMachine::force_open() noexcept {
  enter(State::open);
  forced_ = true;
}

void BreakerMachine::force_closed() noexcept {
  enter(State::closed);
  forced_ = true;
}

void BreakerMachine::reset() noexcept {
  enter(State::closed);
  forced_ = false;
  reopened_ = 0;
}

BreakerStatistics BreakerMachine::statistics() const noexcept {
  BreakerStatistics statistics = counts_;
  statistics.state = state_;
  statistics.generation = generation_;
  statistics.probes_out = static_cast<std::uint32_t>(
      std::count_if(probes_.begin(), probes_.end(), [](Probe const& probe) { return probe.taken; }));
  statistics.window_calls = calls_;
  statistics.window_failures = failures_;
  return statistics;
}

}  // namespace athanor::inline v1::breaking
