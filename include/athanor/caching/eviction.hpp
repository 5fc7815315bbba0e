/// Eviction policies: which entry goes when the budget is used up. A policy orders entries; it has no lock,
/// clock or budget.
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
/// | `p.erase(node)` | the entry is going, for whatever reason; forget it |
/// | `p.victim(take_mark)` | the entry to go next, not yet erased; null when there is none |
///
/// Serving an entry does not call the policy, so that a hit changes nothing that hits of other entries read:
/// it sets a mark in the entry. `take_mark(node)`, a `bool` and noexcept, says whether the entry was served
/// since it was asked last, and clears the mark. How often, and in what order several entries were served is
/// not recorded.
///
/// Each shard has a policy of its own and calls it under its lock; all calls take amortised constant or
/// logarithmic time, where one `take_mark` that returns true is paid for by the hit that set the mark. They
/// allocate nothing and throw nothing.
template <class P>
concept EvictionPolicy = std::default_initializable<P> && std::default_initializable<typename P::Node> &&
                         requires(P policy, typename P::Node& node, EntryFacts const& facts,
                                  bool (*take_mark)(typename P::Node&) noexcept) {
                           { policy.admit(node, facts) } noexcept;
                           { policy.erase(node) } noexcept;
                           { policy.victim(take_mark) } noexcept -> std::same_as<typename P::Node*>;
                         };

/// Evicts in the order of arrival, but an entry that was served since its last turn has a second chance: it
/// goes to the end of the line instead. Comes close to evicting the least recently used entry, and a run of
/// entries that nobody asks for again does not displace those in use.
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
