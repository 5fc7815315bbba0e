/// Batching policies: they decide when queued items become a batch. A manifest chooses and configures one.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <athanor/batching/cost_model.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::batching {

/// What a policy sees: the queued items of one batch key, and the lane around them. Valid during `decide`.
struct QueueSnapshot {
  TimePoint now{};
  TimePoint oldest_entered{};                 ///< of the oldest request of this key
  TimePoint earliest_deadline = no_deadline;  ///< of the requests of this key
  std::uint64_t queued_items = 0;             ///< of this key, not in a batch yet; at least 1
  std::uint32_t queued_requests = 0;          ///< requests that the queued items belong to
  std::int64_t queued_cost = 0;               ///< of the queued items, in the unit of `max_cost`
  std::uint32_t max_items = 1;                ///< the lane's limit on one batch
  std::uint32_t idle_instances = 0;           ///< a lower bound
  std::uint32_t instances = 1;
  CostModel const* cost = nullptr;  ///< what batches took so far; null when nothing is known
  /// What `cost` counts for one of the queued items: 1, or where batches are as long as they cost (padded
  /// items: their positions), the cost of one.
  std::uint32_t item_size = 1;

  /// The time to reserve for a batch of so many of the queued items that must end before a deadline; zero
  /// when nothing is known.
  Duration time_to_allow(std::uint64_t items) const noexcept {
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    if (cost == nullptr) return {};
    return cost->time_to_allow(static_cast<std::uint32_t>(std::min(items * item_size, most)));
  }
};

/// The decision of a policy.
struct BatchDecision {
  enum class Kind : std::uint8_t { dispatch, wait, idle };
  Kind kind = Kind::idle;
  std::uint64_t items = 0;  ///< of `dispatch`: the most items to take; the lane's limits apply too
  TimePoint until{};        ///< of `wait`

  /// Run a batch of `items` now, ask again at `until`, or wait for the next event.
  static constexpr BatchDecision dispatch(std::uint64_t items) noexcept {
    return {Kind::dispatch, items, {}};
  }
  static constexpr BatchDecision wait_until(TimePoint until) noexcept { return {Kind::wait, 0, until}; }
  static constexpr BatchDecision idle() noexcept { return {}; }
  bool operator==(BatchDecision const&) const = default;
};

/// A batching policy is a value. Duties, beyond the syntax:
///
/// - stateless and idempotent: equal snapshots get equal decisions;
///   no clock, lock, thread, log or allocation;
/// - constant time: it is asked under the lane's mutex;
/// - it never starves: for a snapshot that stays as it is while time passes,
///   it answers `dispatch` after finitely many `wait_until`, each later than its `now`
///   (an earlier one counts as `dispatch`), and never `idle`, which says
///   that only a change of the queue can matter.
///
/// The lane calls `decide` whenever a request enters or leaves the key, at the time of the last `wait_until`,
/// and before a batch is formed, but not because an instance became idle. For a request that finds an empty
/// queue and an idle instance, the snapshot may hold that request only: `idle_instances` is then 1, however
/// many are idle.
template <class P>
concept BatchingPolicy = std::copyable<P> && requires(P const& policy, QueueSnapshot const& snapshot) {
  { policy.decide(snapshot) } noexcept -> std::same_as<BatchDecision>;
};

/// Returns true; does not compile, with one sentence for what is missing, unless P is a BatchingPolicy.
template <class P>
consteval bool check_batching_policy() {
  static_assert(std::copyable<P>, "a batching policy is a copyable value");
  static_assert(
      requires(P const& policy, QueueSnapshot const& snapshot) {
        { policy.decide(snapshot) } noexcept -> std::same_as<BatchDecision>;
      }, "a batching policy has `BatchDecision decide(QueueSnapshot const&) const noexcept`");
  return BatchingPolicy<P>;
}

/// A number that a manifest gives to its batching policy.
struct PolicyParameter {
  std::string name;
  std::int64_t value = 0;
};

/// What a manifest says about the batching policy. A policy must accept or reject every setting, so that
/// nothing in a manifest is ignored. Errors are invalid_argument / manifest.
struct PolicySettings {
  std::string policy{};                       ///< its name; empty: the manifest names none
  std::vector<PolicyParameter> parameters{};  ///< at most one of each name
  std::uint32_t max_items = 32;               ///< the lane's limit on one batch

  /// Rejects settings that name another policy than `name` (naming none is accepted), and parameters not in
  /// `known`.
  Result<void> check(std::string_view name, std::initializer_list<std::string_view> known) const;
  /// The value of that parameter, from `least` to `most`; `absent` if it is not set.
  Result<std::int64_t> parameter(std::string_view name, std::int64_t least, std::int64_t most,
                                 std::int64_t absent) const;
  /// The error for a policy that is none of `known`.
  Error unknown_policy(std::initializer_list<std::string_view> known) const;
};

/// A batching policy that a manifest can configure, as those of an Engine are. `P::configure` makes one from
/// the settings, or an error that names the rejected setting.
template <class P>
concept ConfigurablePolicy = BatchingPolicy<P> && requires(PolicySettings const& settings) {
  { P::configure(settings) } -> std::same_as<Result<P>>;
};

/// Returns true; does not compile, with one sentence for what is missing, unless P is a ConfigurablePolicy.
template <class P>
consteval bool check_configurable_policy() {
  static_assert(
      requires(PolicySettings const& settings) {
        { P::configure(settings) } -> std::same_as<Result<P>>;
      }, "an engine's batching policy P has `static Result<P> configure(PolicySettings const&)`");
  return check_batching_policy<P>() && ConfigurablePolicy<P>;
}

/// Never waits: an idle instance takes whatever is queued. Batches form while instances are busy. Lowest
/// latency when callers are independent; the default choice.
struct Immediate {
  static constexpr std::string_view name = "immediate";

  /// Takes no parameters.
  static Result<Immediate> configure(PolicySettings const& settings) {
    return settings.check(name, {}).transform([] { return Immediate{}; });
  }
  constexpr BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    return queue.queued_items == 0 ? BatchDecision::idle() : BatchDecision::dispatch(queue.max_items);
  }
};

/// Holds a batch until it has `max_items`, or until `max_delay` after its oldest request entered. For steady
/// open traffic on a model whose batches cost little more than single items. A lone caller waits the full
/// delay, or until its deadline is as near as a batch takes. While that is not known, a deadline earlier than
/// the delay expires unserved.
struct SizeOrDelay {
  static constexpr std::string_view name = "size_or_delay";

  std::uint32_t max_items = 32;  ///< a batch is full at this size; 0 means 1; the lane's limit applies too
  Duration max_delay = std::chrono::milliseconds(1);  ///< zero behaves like Immediate

  /// Takes `max_delay_us`: microseconds, 1000 unless given, at most 60 s.
  static Result<SizeOrDelay> configure(PolicySettings const& settings) {
    return settings.check(name, {"max_delay_us"})
        .and_then([&] { return settings.parameter("max_delay_us", 0, 60'000'000, 1000); })
        .transform([&](std::int64_t delay) {
          return SizeOrDelay{settings.max_items, std::chrono::microseconds(delay)};
        });
  }

  /// Dispatches a full batch at once, a smaller one when its oldest item has waited `max_delay`, or when it
  /// would otherwise not end before the earliest of its deadlines.
  constexpr BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    if (queue.queued_items == 0) return BatchDecision::idle();
    auto const full = max_items < queue.max_items ? max_items : queue.max_items;
    TimePoint due = after(queue.oldest_entered, max_delay);
    if (queue.earliest_deadline < due) {
      Duration const needed = queue.time_to_allow(queue.queued_items < full ? queue.queued_items : full);
      if (needed != Duration{}) due = queue.earliest_deadline - needed;
    }
    if (queue.queued_items >= full || queue.now >= due) return BatchDecision::dispatch(full);
    return BatchDecision::wait_until(due);
  }
};

/// One of several policies, chosen by its `name` in a manifest; the first when a manifest names none.
template <ConfigurablePolicy... P>
class PolicyChoice {
 public:
  /// The first policy as it is by default, or the one given.
  constexpr PolicyChoice() = default;
  template <class Chosen>
    requires(std::same_as<Chosen, P> || ...)
  constexpr PolicyChoice(Chosen policy) noexcept : policy_(policy) {}

  /// Lets the policy of that name configure itself. An unknown name is rejected with an error that lists the
  /// known ones.
  static Result<PolicyChoice> configure(PolicySettings const& settings) {
    struct Row {
      std::string_view name;
      Result<PolicyChoice> (*configure)(PolicySettings const&);
    };
    static constexpr Row table[] = {{P::name, &configure_as<P>}...};
    for (Row const& row : table)
      if (settings.policy.empty() || settings.policy == row.name) return row.configure(settings);
    return tl::unexpected(settings.unknown_policy({P::name...}));
  }

  /// What the chosen policy decides.
  constexpr BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    return std::visit([&](auto const& policy) noexcept { return policy.decide(queue); }, policy_);
  }

 private:
  template <class Chosen>
  static Result<PolicyChoice> configure_as(PolicySettings const& settings) {
    return Chosen::configure(settings).transform([](Chosen const& policy) { return PolicyChoice(policy); });
  }

  std::variant<P...> policy_;
};

/// The policies that every manifest may name.
using ShippedPolicy = PolicyChoice<Immediate, SizeOrDelay>;

static_assert(ConfigurablePolicy<Immediate> && ConfigurablePolicy<SizeOrDelay> &&
              ConfigurablePolicy<ShippedPolicy>);

}  // namespace athanor::inline v1::batching
