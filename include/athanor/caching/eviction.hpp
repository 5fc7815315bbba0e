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
/// | `p.admit(node, facts)` | a new entry, in no order yet |
/// | `p.touch(node)` | the entry was served |
/// | `p.erase(node)` | the entry is going, for whatever reason; forget it |
/// | `p.victim()` | the entry to go next, still in the order; null when there is none |
///
/// Each shard has a policy of its own and calls it under its lock; all calls take amortised constant or
/// logarithmic time, allocate nothing and throw nothing.
template <class P>
concept EvictionPolicy = std::default_initializable<P> && std::default_initializable<typename P::Node> &&
                         requires(P policy, typename P::Node& node, EntryFacts const& facts) {
                           { policy.admit(node, facts) } noexcept;
                           { policy.touch(node) } noexcept;
                           { policy.erase(node) } noexcept;
                           { policy.victim() } noexcept -> std::same_as<typename P::Node*>;
                         };

/// The least recently used entry goes first.
class Lru {
 public:
  struct Node {
    Node* newer = nullptr;
    Node* older = nullptr;
  };

  /// A new entry, and one that was used: each is now the newest.
  void admit(Node& node, EntryFacts const&) noexcept { push_newest(node); }
  void touch(Node& node) noexcept {
    if (newest_ == &node) return;
    erase(node);
    push_newest(node);
  }
  /// Forgets the entry.
  void erase(Node& node) noexcept {
    (node.newer != nullptr ? node.newer->older : newest_) = node.older;
    (node.older != nullptr ? node.older->newer : oldest_) = node.newer;
    node.newer = node.older = nullptr;
  }
  /// The entry to evict next, or nullptr.
  Node* victim() noexcept { return oldest_; }

 private:
  void push_newest(Node& node) noexcept {
    node.older = newest_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &node;
    newest_ = &node;
  }
  Node* newest_ = nullptr;
  Node* oldest_ = nullptr;
};

static_assert(EvictionPolicy<Lru>);

}  // namespace athanor::inline v1::caching
