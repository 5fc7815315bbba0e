/// The slot face of a ModelLoader: for callers that park instead of blocking.
#pragma once

#include <cstdint>

#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::loading {

/// How a request for a pin ended.
enum class PinResult : std::uint8_t {
  ready,   ///< the slot holds a pin: `unpin` it
  parked,  ///< the slot will be resumed, or can be withdrawn
};

template <class P, Environment Env>
struct ModelRecord;

/// What a caller keeps while it waits for a model or holds it: a base of the call, or a plain local. Not to
/// be moved or destroyed while parked or pinned.
template <class P>
struct Slot {
  P* payload = nullptr;    ///< the model, while the slot holds a pin
  void* wanted = nullptr;  ///< the record asked for, while parked or pinned
  Slot* next = nullptr;
  Slot* previous = nullptr;
  bool parked = false;  ///< guarded by the loader's lock
  void* client = nullptr;
  void (*resume)(void* client, Slot& slot, Error const* error) noexcept = nullptr;
};

/// Takes parked slots back. `resume` is called exactly once for every slot that was parked and not
/// withdrawn, without a lock: `error == nullptr` means that the slot holds a pin. It runs on the thread that
/// loaded; for a failure also on that of a passed load deadline, of `unload` or of `stop`; and inside
/// `pin` only when no load thread can be started. It may pin and unpin.
template <class H, class P>
concept LoaderClient = requires(H& client, Slot<P>& slot, Error const* error) {
  { client.resume(slot, error) } noexcept;
};

}  // namespace athanor::inline v1::loading
