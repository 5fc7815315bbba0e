/// A priority queue whose links live in its nodes: nothing here allocates. Not thread-safe.
#pragma once

#include <utility>

namespace athanor::inline v1::batching {

/// A node's place in one heap.
template <class Node>
struct HeapLinks {
  Node* child = nullptr;     // its first one
  Node* next = nullptr;      // the parent's next child
  Node* previous = nullptr;  // the parent's child before, or the parent
};

/// A pairing heap, given as its root: null is the empty one, the root is the node that comes before all
/// others. `add` takes constant time, `remove` of any node logarithmic time, amortized.
template <class Node, HeapLinks<Node> Node::*links, class Before>
struct PairingHeap {
  static void add(Node*& root, Node& node) noexcept {
    node.*links = {};
    root = root == nullptr ? &node : meld(root, &node);
  }

  static void remove(Node*& root, Node& node) noexcept {
    Node* const below = merge(std::exchange((node.*links).child, nullptr));
    if (root == &node) {
      root = below;
    } else {
      detach(node);
      if (below != nullptr) root = meld(root, below);
    }
  }

 private:
  /// Both are roots; what their `next` and `previous` hold does not matter, and the winner's stay.
  static Node* meld(Node* left, Node* right) noexcept {
    if (Before{}(*right, *left)) std::swap(left, right);
    auto& top = left->*links;
    right->*links = {(right->*links).child, top.child, left};
    if (top.child != nullptr) (top.child->*links).previous = right;
    top.child = right;
    return left;
  }

  static void detach(Node& node) noexcept {
    auto const& of = node.*links;
    auto& before = of.previous->*links;
    (before.child == &node ? before.child : before.next) = of.next;
    if (of.next != nullptr) (of.next->*links).previous = of.previous;
  }

  /// Children become one heap: in pairs from the first to the last, then the pairs from the last to the
  /// first.
  static Node* merge(Node* children) noexcept {
    Node* pairs = nullptr;
    while (children != nullptr) {
      Node* pair = children;
      Node* const second = (pair->*links).next;
      children = second != nullptr ? (second->*links).next : nullptr;
      if (second != nullptr) pair = meld(pair, second);
      (pair->*links).next = std::exchange(pairs, pair);
    }
    Node* merged = nullptr;
    while (pairs != nullptr) {
      Node* const pair = pairs;
      pairs = (pair->*links).next;
      merged = merged == nullptr ? pair : meld(merged, pair);
    }
    if (merged != nullptr) {
      (merged->*links).next = nullptr;
      (merged->*links).previous = nullptr;
    }
    return merged;
  }
};

}  // namespace athanor::inline v1::batching
