/// Thread-local variables of code that is a template over an Environment.
#pragma once

#include <type_traits>

namespace athanor::inline v1::detail {

/// A thread-local variable is named by a type. Its value is zero on a new thread.
template <class V>
concept LocalVariable =
    std::is_trivially_copyable_v<typename V::Value> && sizeof(typename V::Value) <= sizeof(void*);

template <LocalVariable Variable>
inline constinit thread_local typename Variable::Value thread_value{};

/// The calling thread's value. An environment whose threads are not system threads keeps it itself, by
/// `template <class Variable> static typename Variable::Value& local() noexcept`.
template <class Env, LocalVariable Variable>
typename Variable::Value& local() noexcept {
  if constexpr (requires { Env::template local<Variable>(); }) {
    return Env::template local<Variable>();
  } else {
    return thread_value<Variable>;
  }
}

}  // namespace athanor::inline v1::detail
