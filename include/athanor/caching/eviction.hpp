/// Eviction policies: which entry is evicted when the budget is used up. A policy orders entries; it has no
/// lock, clock or budget.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <athanor/core/time.hpp>

namespace athanor::inline v1::caching {

/// What a policy may weigh when an entry arrives.
struct EntryFacts {
  std::size_t bytes = 0;  ///< charged to the budget
  Duration cost{0};       ///< what the value took to compute
  std::uint64_t tag = 0;  ///< the model it belongs to
};

/// | expression | duty |
/// |---|---|
/// | `P::Node` | links and marks of one entry; every entry derives from it |
/// | `p.admit(node, facts)` | a new entry |
/// | `p.erase(node)` | the entry is removed, for whatever reason; remove it from the order |
/// | `p.victim(take_mark)` | the entry to evict next, not yet erased; null when there is none |
///
/// Serving an entry does not call the policy but sets a mark in the entry, so that hits of different entries
/// share no written memory. `take_mark(node)`, a `bool` and noexcept, returns whether the entry was served
/// since the last `take_mark`, and clears the mark. The number of hits, and the order in which entries were
/// served, are not recorded.
///
/// Each shard has a policy of its own and calls it under the shard's lock. All calls must take amortised
/// constant or logarithmic time (the cost of a `take_mark` that returns true is charged to the hit that set
/// the mark), and must not allocate or throw.
template <class P>
concept EvictionPolicy = std::default_initializable<P> && std::default_initializable<typename P::Node> &&
                         requires(P policy, typename P::Node& node, EntryFacts const& facts,
                                  bool (*take_mark)(typename P::Node&) noexcept) {
                           { policy.admit(node, facts) } noexcept;
                           { policy.erase(node) } noexcept;
                           { policy.victim(take_mark) } noexcept -> std::same_as<typename P::Node*>;
                         };

/// Evicts in the order of insertion, except that an entry served since its last turn moves to the end of the
/// queue instead. Approximates least-recently-used order, and a run of entries that are never requested again
/// does not displace those in use.
class SecondChance {
 public:
  struct Node {
    Node* newer = nullptr;
    Node* older = nullptr;
  };

  /// The functions of an EvictionPolicy.
  void admit(Node& node, EntryFacts const&) noexcept { push_newest(node); }
  void erase(Node& node) noexcept {
    (node.newer != nullptr ? node.newer->older : newest_) = node.older;
    (node.older != nullptr ? node.older->newer : oldest_) = node.newer;
    node.newer = node.older = nullptr;
  }
  template <std::predicate<Node&> TakeMark>
  Node* victim(TakeMark take_mark) noexcept {
    // At most one turn: hits may set marks all the while.
    Node const* const last = newest_;
    while (oldest_ != nullptr && take_mark(*oldest_)) {
      Node& served = *oldest_;
      erase(served);
      push_newest(served);
      if (&served == last) break;
    }
    return oldest_;
  }

 private:
  void push_newest(Node& node) noexcept {
    node.older = newest_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &node;
    newest_ = &node;
  }
  Node* newest_ = nullptr;
  Node* oldest_ = nullptr;
};

static_assert(EvictionPolicy<SecondChance>);

}  // namespace athanor::inline v1::caching
