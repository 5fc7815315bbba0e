/// The slot interface of a ModelLoader, for callers that park instead of blocking.
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

/// The state of a caller that waits for a model or holds it; used as a base class of the call, or as a local
/// variable. Must not be moved or destroyed while parked or pinned.
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

/// Resumes parked slots. `resume` is called exactly once for every slot that was parked and not withdrawn,
/// without a lock: `error == nullptr` means that the slot holds a pin. It runs on the thread that loaded; a
/// failure may also run it on the thread that handles the load deadline, or inside `unload` or `stop`; it
/// runs inside `pin` only when no load thread can be started. It may pin and unpin.
template <class H, class P>
concept LoaderClient = requires(H& client, Slot<P>& slot, Error const* error) {
  { client.resume(slot, error) } noexcept;
};

}  // namespace athanor::inline v1::loading
