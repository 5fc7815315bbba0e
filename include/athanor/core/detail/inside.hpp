/// What a thread is inside of, so that it is not made to wait for itself.
#pragma once

#include <utility>

#include <athanor/core/detail/local.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// While one lives, its thread is inside `what`. Lives on that thread's stack; may be nested.
template <class T, class Env>
class Inside {
 public:
  explicit Inside(T const* what) noexcept : what_(what), outer_(std::exchange(innermost(), this)) {}
  ~Inside() { innermost() = outer_; }
  Inside(Inside const&) = delete;
  Inside& operator=(Inside const&) = delete;

  /// True on a thread that is inside `what`.
  static bool holds(T const* what) noexcept {
    return any([what](T const& inside) noexcept { return &inside == what; });
  }
  /// True on a thread that is inside something that matches.
  template <class Match>
  static bool any(Match match) noexcept {
    for (auto const* at = innermost(); at != nullptr; at = at->outer_)
      if (match(*at->what_)) return true;
    return false;
  }

 private:
  /// What holds() looks through on this thread.
  struct Innermost {
    using Value = Inside const*;
  };
  static Inside const*& innermost() noexcept { return detail::local<Env, Innermost>(); }

  T const* what_;
  Inside const* outer_;
};

}  // namespace athanor::inline v1
