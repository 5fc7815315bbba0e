/// Objects of the border that are kept for reuse.
#pragma once

#include <cstddef>

#include <athanor/serving/detail/pool.hpp>

namespace athanor::capi {

/// Empty objects, kept for calls of all engines to come. `T::home` is the thread that took an object, for
/// which it is kept again.
template <class T>
class Kept {
 public:
  /// Throws std::bad_alloc.
  static T* take() {
    T* object = place.pool.take();
    if (object == nullptr) object = new T;
    object->home = SystemEnv::thread_number();
    return object;
  }
  static void give_back(T* object) noexcept {
    if (!place.pool.keep(*object, object->home)) delete object;
  }

 private:
  /// Never destroyed: while the process ends, threads of the host may still use it.
  union Place {
    constexpr Place() noexcept : pool() {}
    ~Place() {}  // NOLINT(modernize-use-equals-default): that of a union would be deleted
    serving::Pool<T, SystemEnv, serving::PoolEnd::with_its_users> pool;
  };
  static constinit inline Place place{};
};

}  // namespace athanor::capi
