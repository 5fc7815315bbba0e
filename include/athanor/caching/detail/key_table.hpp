/// A chained hash table of nodes that it does not own, by 128-bit key.
#pragma once

#include <bit>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include <athanor/core/hash.hpp>

namespace athanor::inline v1::caching {

/// `Node` has `Hash128 key` and `Node* chain`; keys are unique and well mixed. Lookup never allocates; insert
/// may grow the table, and only lengthens its chains when there is no memory for that. Not thread-safe.
template <class Node>
class KeyTable {
 public:
  Node* find(Hash128 key) const noexcept {
    if (count_ == 0) return nullptr;
    for (Node* node = buckets_[place(key)]; node != nullptr; node = node->chain)
      if (node->key == key) return node;
    return nullptr;
  }

  /// False when there was no memory for the very first buckets.
  bool insert(Node& node) noexcept {
    if (count_ >= size_ && !grow() && size_ == 0) return false;
    Node*& head = buckets_[place(node.key)];
    node.chain = head;
    head = &node;
    ++count_;
    return true;
  }

  /// The node must be in the table.
  void remove(Node& node) noexcept {
    Node** link = &buckets_[place(node.key)];
    while (*link != &node) link = &(*link)->chain;
    *link = node.chain;
    node.chain = nullptr;
    --count_;
  }

  /// Removes every node that `chosen(node)` picks; returns them, linked by `chain`.
  template <class Chosen>
  Node* remove_if(Chosen chosen) noexcept {
    Node* removed = nullptr;
    for (std::size_t i = 0; i < size_; ++i) {
      for (Node** link = &buckets_[i]; *link != nullptr;) {
        Node& node = **link;
        if (!chosen(node)) {
          link = &node.chain;
          continue;
        }
        *link = node.chain;
        node.chain = std::exchange(removed, &node);
        --count_;
      }
    }
    return removed;
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (std::size_t i = 0; i < size_; ++i)
      for (Node* node = buckets_[i]; node != nullptr; node = node->chain) visit(*node);
  }

  std::size_t size() const noexcept { return count_; }

 private:
  std::size_t place(Hash128 key) const noexcept { return static_cast<std::size_t>(key.low) & (size_ - 1); }

  bool grow() noexcept {
    std::size_t const old_size = size_;
    std::size_t const size = old_size == 0 ? 16 : 2 * old_size;
    std::unique_ptr<Node*[]> buckets(new (std::nothrow) Node* [size] {});
    if (buckets == nullptr) return false;
    buckets.swap(buckets_);
    size_ = size;
    for (std::size_t i = 0; i < old_size; ++i) {
      for (Node* node = buckets[i]; node != nullptr;) {
        Node* const next = node->chain;
        Node*& head = buckets_[place(node->key)];
        node->chain = head;
        head = node;
        node = next;
      }
    }
    return true;
  }

  std::unique_ptr<Node*[]> buckets_;
  std::size_t size_ = 0;
  std::size_t count_ = 0;
};

}  // namespace athanor::inline v1::caching
