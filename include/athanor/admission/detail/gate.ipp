#pragma once

#include <algorithm>

namespace athanor::inline v1 {

template <Environment Env>
Result<Gate<Env>> Gate<Env>::create(GateOptions const& options) {
  if (auto valid = admission::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  return Gate(detail::Validated{}, options);
}

template <Environment Env>
bool Gate<Env>::take(Level& level, std::int64_t amount, std::int64_t limit) noexcept {
  std::int64_t held = level.load(std::memory_order_relaxed);
  do {
    if (amount > limit - held) return false;
  } while (!level.compare_exchange_weak(held, held + amount, std::memory_order_relaxed));
  return true;
}

template <Environment Env>
Result<void> Gate<Env>::admit_caller(admission::Slot& slot, std::int64_t items, std::int64_t bytes,
                                     TimePoint now) {
  if (items > options_.max_items || bytes > options_.max_bytes) {
    too_large_.add();
    return items > options_.max_items ? fail(Code::resource_exhausted, Reason::too_large,
                                             "admission: expected at most {} items in one request, got {}",
                                             options_.max_items, items)
                                      : fail(Code::resource_exhausted, Reason::too_large,
                                             "admission: expected at most {} bytes in one request, got {}",
                                             options_.max_bytes, bytes);
  }
  if (items < 0 || bytes < 0)
    return fail(Code::invalid_argument, Reason::value_range,
                "admission: expected no negative size of a request, got {} items and {} bytes", items, bytes);
  watch_drain(now);
  if (!take(items_, items, options_.max_items))
    return refuse_full(Reason::queue_full, items_.load(std::memory_order_relaxed), items);
  if (!take(bytes_, bytes, options_.max_bytes)) {
    items_.fetch_sub(items, std::memory_order_relaxed);
    return refuse_full(Reason::memory_full, bytes_.load(std::memory_order_relaxed), bytes);
  }
  slot.held_items = items;
  slot.held_bytes = bytes;
  admitted_.add();
  return {};
}

template <Environment Env>
bool Gate<Env>::try_admit(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept {
  if (!take(items_, items, options_.max_items)) return false;
  if (!take(bytes_, bytes, options_.max_bytes)) {
    items_.fetch_sub(items, std::memory_order_relaxed);
    return false;
  }
  slot.held_items = items;
  slot.held_bytes = bytes;
  admitted_.add();
  return true;
}

template <Environment Env>
void Gate<Env>::release_quota(admission::Slot& slot) noexcept {
  if (slot.held_items == 0 && slot.held_bytes == 0) return;
  item_drain_.given_back.fetch_add(slot.held_items, std::memory_order_relaxed);
  byte_drain_.given_back.fetch_add(slot.held_bytes, std::memory_order_relaxed);
  bytes_.fetch_sub(slot.held_bytes, std::memory_order_relaxed);
  items_.fetch_sub(slot.held_items, std::memory_order_relaxed);
  slot = {};
}

template <Environment Env>
void Gate<Env>::Drain::close_window(double seconds) noexcept {
  std::int64_t const given = given_back.load(std::memory_order_relaxed);
  double const rate = static_cast<double>(given - at_window_start.load(std::memory_order_relaxed)) / seconds;
  double const before = per_second.load(std::memory_order_relaxed);
  // Half of the past: follows a change of load within a few windows.
  per_second.store(before == 0.0 ? rate : (before + rate) / 2, std::memory_order_relaxed);
  at_window_start.store(given, std::memory_order_relaxed);
}

template <Environment Env>
void Gate<Env>::watch_drain(TimePoint now) noexcept {
  constexpr std::int64_t window = 20'000'000;
  std::int64_t const at = now.time_since_epoch().count();
  std::int64_t start = window_start_.load(std::memory_order_relaxed);
  if (start != 0 && at - start < window) return;
  // Only the caller that moves the start closes the window; the others go on.
  if (!window_start_.compare_exchange_strong(start, at, std::memory_order_relaxed) || start == 0) return;
  double const seconds = static_cast<double>(at - start) * 1e-9;
  item_drain_.close_window(seconds);
  byte_drain_.close_window(seconds);
}

template <Environment Env>
tl::unexpected<Error> Gate<Env>::refuse_full(Reason reason, std::int64_t held, std::int64_t wanted) {
  bool const of_items = reason == Reason::queue_full;
  (of_items ? queue_full_ : memory_full_).add();
  std::int64_t const limit = of_items ? options_.max_items : options_.max_bytes;
  auto refusal = fail(Code::resource_exhausted, reason, "admission: {} of {} {} are held, {} more do not fit",
                      held, limit, of_items ? "items" : "input bytes", wanted);
  double const rate = (of_items ? item_drain_ : byte_drain_).per_second.load(std::memory_order_relaxed);
  refusal.value().retry_after =
      admission::retry_estimate(std::max<std::int64_t>(held + wanted - limit, 1), rate, Env::random());
  return refusal;
}

template <Environment Env>
GateStatistics Gate<Env>::statistics() const noexcept {
  return {items_.load(std::memory_order_relaxed),
          bytes_.load(std::memory_order_relaxed),
          admitted_.value(),
          queue_full_.value(),
          memory_full_.value(),
          too_large_.value()};
}

}  // namespace athanor::inline v1
