/// Blocking callers that wait for room at an engine's gate.
#pragma once

#include <algorithm>
#include <cstdint>

#include <athanor/admission/gate.hpp>
#include <athanor/core/detail/lock.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1::serving {

template <Environment Env>
class RoomLine;

/// One caller's place in the line while it lives, on its stack. It parks on `word`, which is not 0 once the
/// caller has something to look at: it is served, or was woken. What it holds is guarded by the line's mutex.
template <Environment Env>
struct RoomPlace : admission::Slot {
  RoomPlace(RoomLine<Env>& of, std::int64_t wanted_items, std::int64_t wanted_bytes) noexcept
      : line(of), items(wanted_items), bytes(wanted_bytes) {
    line.join(*this);
  }
  /// What it still holds goes to the next in line.
  ~RoomPlace() { line.leave(*this); }
  RoomPlace(RoomPlace const&) = delete;
  RoomPlace& operator=(RoomPlace const&) = delete;

  void wake() noexcept {
    word.store(1);
    word.wake_all();
  }
  bool served() const noexcept { return held_items == items && held_bytes == bytes; }

  RoomLine<Env>& line;
  std::int64_t const items;
  std::int64_t const bytes;
  typename Env::Word word{};
  RoomPlace* next = nullptr;
};

/// Serves its places in the order of arrival: what calls give back goes to the first place until that has
/// what it wants, so newcomers cannot overtake it for ever. Without a place in line, giving back takes no
/// lock. Thread-safe.
template <Environment Env>
class RoomLine {
 public:
  using Place = RoomPlace<Env>;

  explicit RoomLine(Gate<Env>& gate) noexcept : gate_(gate) {}
  RoomLine(RoomLine const&) = delete;
  RoomLine& operator=(RoomLine const&) = delete;

  /// Takes what the gate has free if `place` is the next to be served. True when it has what it wants. To be
  /// asked at first and now and then while it waits: on weakly ordered machines a call that gives back may
  /// not have seen a place that has just joined.
  bool look(Place& place) noexcept {
    Lock const lock(mutex_);
    if (&place == next_to_serve()) {
      admission::Slot rest;
      if (gate_.try_admit(rest, place.items - place.held_items, place.bytes - place.held_bytes))
        Gate<Env>::move(rest, place, rest.held_items, rest.held_bytes);
    }
    return place.served();
  }
  /// Releases what a slot holds.
  void give_back(admission::Slot& slot) noexcept {
    if (waiting_.load(std::memory_order_acquire) != 0) serve_from(slot);
    gate_.release_quota(slot);
  }
  void wake_all() noexcept {
    Lock const lock(mutex_);
    for (Place* place = first_; place != nullptr; place = place->next) place->wake();
  }

 private:
  friend Place;
  using Lock = detail::Lock<typename Env::Mutex>;

  void join(Place& place) noexcept {
    Lock const lock(mutex_);
    Place** end = &first_;
    while (*end != nullptr) end = &(*end)->next;
    *end = &place;
    waiting_.fetch_add(1);
  }
  void leave(Place& place) noexcept {
    {
      Lock const lock(mutex_);
      Place** at = &first_;
      while (*at != &place) at = &(*at)->next;
      *at = place.next;
      waiting_.fetch_sub(1);
    }
    give_back(place);
  }
  Place* next_to_serve() noexcept ATH_REQUIRES(mutex_) {
    Place* place = first_;
    while (place != nullptr && place->served()) place = place->next;
    return place;
  }
  void serve_from(admission::Slot& slot) noexcept {
    Lock const lock(mutex_);
    while (slot.held_items != 0 || slot.held_bytes != 0) {
      Place* const place = next_to_serve();
      if (place == nullptr) return;
      Gate<Env>::move(slot, *place, std::min(slot.held_items, place->items - place->held_items),
                      std::min(slot.held_bytes, place->bytes - place->held_bytes));
      if (!place->served()) return;
      place->wake();
    }
  }

  Gate<Env>& gate_;
  typename Env::Mutex mutex_;
  Place* first_ ATH_GUARDED_BY(mutex_) = nullptr;
  typename Env::template Atomic<std::uint32_t> waiting_{0};  // places in line
};

}  // namespace athanor::inline v1::serving
