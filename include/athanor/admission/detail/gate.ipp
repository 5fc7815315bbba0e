#pragma once

#include <algorithm>
#include <limits>

namespace athanor::inline v1 {

template <Environment Env>
Result<Gate<Env>> Gate<Env>::create(GateOptions const& options) {
  if (auto valid = admission::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  return Gate(detail::Validated{}, options);
}

template <Environment Env>
Gate<Env>::Gate(detail::Validated, GateOptions const& options) noexcept
    : options_(options),
      share_{std::min(options.max_items / 16, most_items), std::min(options.max_bytes / 16, most_bytes)} {
  Lock const lock(mutex_);
  close_cells();
  open_cells();
}

template <Environment Env>
bool Gate<Env>::take_credit(Cell& cell, Amount amount) noexcept {
  std::uint64_t credit = cell.credit.load(std::memory_order_relaxed);
  do {
    Amount const left = unpacked(credit);
    // A closed cell has none.
    if (left.items < amount.items || left.bytes < amount.bytes) return false;
  } while (!cell.credit.compare_exchange_weak(credit, credit - packed(amount), std::memory_order_relaxed));
  return true;
}

template <Environment Env>
bool Gate<Env>::give_credit(Cell& cell, Amount amount) noexcept {
  std::uint64_t credit = cell.credit.load(std::memory_order_relaxed);
  do {
    Amount const there = unpacked(credit);
    if ((credit & closed) != 0 || amount.items > share_.items - there.items ||
        amount.bytes > share_.bytes - there.bytes)
      return false;
  } while (!cell.credit.compare_exchange_weak(credit, credit + packed(amount), std::memory_order_relaxed));
  return true;
}

template <Environment Env>
void Gate<Env>::close_cells() noexcept {
  for (Cell& cell : cells_) {
    Amount const back = unpacked(cell.credit.exchange(closed, std::memory_order_relaxed));
    held_.items -= back.items;
    held_.bytes -= back.bytes;
  }
  open_ = false;
  window_start_.reset();
}

template <Environment Env>
void Gate<Env>::open_cells() noexcept {
  if (share_.items == 0 || share_.bytes == 0) return;
  for (Cell& cell : cells_) cell.credit.store(0, std::memory_order_relaxed);
  open_ = true;
}

/// What `amount` would exceed.
template <Environment Env>
Reason Gate<Env>::excess(Amount amount) const noexcept {
  if (amount.items > options_.max_items - held_.items) return Reason::queue_full;
  return amount.bytes > options_.max_bytes - held_.bytes ? Reason::memory_full : Reason::none;
}

/// Replaces a cell's credit by as much as fills it once `taken` is given back, as long as no more than half
/// of the limits is held or handed out then.
template <Environment Env>
void Gate<Env>::refill(Cell& cell, Amount taken) noexcept {
  Amount const credit{share_.items - std::min(taken.items, share_.items),
                      share_.bytes - std::min(taken.bytes, share_.bytes)};
  Amount const there = unpacked(cell.credit.load(std::memory_order_relaxed));
  if (!open_ || credit.items - there.items > options_.max_items / 2 - held_.items ||
      credit.bytes - there.bytes > options_.max_bytes / 2 - held_.bytes)
    return;
  Amount const before = unpacked(cell.credit.exchange(packed(credit), std::memory_order_relaxed));
  held_.items += credit.items - before.items;
  held_.bytes += credit.bytes - before.bytes;
}

template <Environment Env>
auto Gate<Env>::take_shared(Cell& cell, Amount const& amount, std::optional<TimePoint> const& now) noexcept
    -> Refusal {
  Lock const lock(mutex_);
  if (excess(amount) != Reason::none && open_) close_cells();
  Reason const reason = excess(amount);
  if (reason == Reason::none) {
    held_.items += amount.items;
    held_.bytes += amount.bytes;
    refill(cell, amount);
    return {};
  }
  if (now) watch_drain(*now);
  return reason == Reason::queue_full ? Refusal{reason, held_.items, items_per_second_}
                                      : Refusal{reason, held_.bytes, bytes_per_second_};
}

/// From the cell of this thread, which the slot notes. False if that does not cover it.
template <Environment Env>
inline bool Gate<Env>::take_from_cell(admission::Slot& slot, std::int64_t items,
                                      std::int64_t bytes) noexcept {
  slot.cell = static_cast<std::uint32_t>(Env::thread_number() % cell_count);
  if (!take_credit(cells_[slot.cell], {items, bytes})) return false;
  note_admitted(slot, items, bytes);
  return true;
}

template <Environment Env>
inline void Gate<Env>::note_admitted(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept {
  slot.held_items = items;
  slot.held_bytes = bytes;
  counts_.add(admitted);
}

template <Environment Env>
Result<void> Gate<Env>::admit_caller(admission::Slot& slot, std::int64_t items, std::int64_t bytes,
                                     TimePoint now) {
  if (items > options_.max_items) return refuse_large(options_.max_items, "items", items);
  if (bytes > options_.max_bytes) return refuse_large(options_.max_bytes, "bytes", bytes);
  if (items < 0 || bytes < 0)
    return fail(Code::invalid_argument, Reason::value_range,
                "admission: expected 0 or more items and bytes, got {} items and {} bytes", items, bytes);
  if (take_from_cell(slot, items, bytes)) return {};
  Amount const amount{items, bytes};
  if (Refusal const refusal = take_shared(cells_[slot.cell], amount, now); refusal.reason != Reason::none)
    return refuse_full(refusal, amount);
  note_admitted(slot, items, bytes);
  return {};
}

template <Environment Env>
Result<void> Gate<Env>::admit_more(admission::Slot& slot, std::int64_t bytes, TimePoint now) {
  if (bytes > options_.max_bytes - slot.held_bytes)
    return refuse_large(
        options_.max_bytes, "bytes",
        bytes > std::numeric_limits<std::int64_t>::max() - slot.held_bytes ? bytes : slot.held_bytes + bytes);
  Cell& cell = cells_[Env::thread_number() % cell_count];
  Amount const amount{0, bytes};
  if (!take_credit(cell, amount)) {
    if (Refusal const refusal = take_shared(cell, amount, now); refusal.reason != Reason::none)
      return refuse_full(refusal, amount);
  }
  slot.held_bytes += bytes;
  return {};
}

template <Environment Env>
bool Gate<Env>::try_admit(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept {
  if (take_from_cell(slot, items, bytes)) return true;
  if (take_shared(cells_[slot.cell], {items, bytes}, std::nullopt).reason != Reason::none) return false;
  note_admitted(slot, items, bytes);
  return true;
}

template <Environment Env>
void Gate<Env>::release_quota(admission::Slot& slot) noexcept {
  if (slot.held_items == 0 && slot.held_bytes == 0) return;
  Amount const amount{slot.held_items, slot.held_bytes};
  Cell& cell = cells_[slot.cell];
  slot = {};
  if (give_credit(cell, amount)) return;
  Lock const lock(mutex_);
  held_.items -= amount.items;
  held_.bytes -= amount.bytes;
  given_back_.items += amount.items;
  given_back_.bytes += amount.bytes;
  if (!open_ && held_.items <= options_.max_items / 4 && held_.bytes <= options_.max_bytes / 4) open_cells();
}

/// Measures between refusals, in windows: shorter ones say little, and in longer ones the gate was not full
/// all the time.
template <Environment Env>
void Gate<Env>::watch_drain(TimePoint now) noexcept {
  constexpr Duration shortest_window = std::chrono::milliseconds(20);
  constexpr Duration longest_window = std::chrono::seconds(1);
  Duration const length = window_start_ ? now - *window_start_ : Duration::max();
  if (length < shortest_window) return;
  if (length <= longest_window) {
    double const seconds = std::chrono::duration<double>(length).count();
    auto const follow = [seconds](double& per_second, std::int64_t given) {
      double const rate = static_cast<double>(given) / seconds;
      // Half of the past: follows a change of load within a few windows.
      per_second = per_second == 0.0 ? rate : (per_second + rate) / 2;
    };
    follow(items_per_second_, given_back_.items);
    follow(bytes_per_second_, given_back_.bytes);
  }
  window_start_ = now;
  given_back_ = {};
}

template <Environment Env>
tl::unexpected<Error> Gate<Env>::refuse_large(std::int64_t limit, char const* unit, std::int64_t got) {
  counts_.add(too_large);
  return fail(Code::resource_exhausted, Reason::too_large,
              "admission: expected at most {} {} in one request (max_{}), got {}", limit, unit, unit, got);
}

template <Environment Env>
tl::unexpected<Error> Gate<Env>::refuse_full(Refusal const& refusal, Amount wanted) {
  bool const of_items = refusal.reason == Reason::queue_full;
  counts_.add(of_items ? queue_full : memory_full);
  std::int64_t const limit = of_items ? options_.max_items : options_.max_bytes;
  std::int64_t const more = of_items ? wanted.items : wanted.bytes;
  auto error =
      fail(Code::resource_exhausted, refusal.reason, "admission: {} of {} {} are held, {} more do not fit",
           refusal.held, limit, of_items ? "items" : "bytes", more);
  error.value().retry_after =
      admission::retry_estimate(refusal.held + more - limit, refusal.drained_per_second, Env::random());
  return error;
}

template <Environment Env>
GateStatistics Gate<Env>::statistics() const noexcept {
  GateStatistics statistics;
  {
    Lock const lock(mutex_);
    statistics.held_items = held_.items;
    statistics.held_bytes = held_.bytes;
    for (Cell const& cell : cells_) {
      Amount const credit = unpacked(cell.credit.load(std::memory_order_relaxed));
      statistics.held_items -= credit.items;
      statistics.held_bytes -= credit.bytes;
    }
  }
  statistics.admitted = counts_.value(admitted);
  statistics.refused_queue_full = counts_.value(queue_full);
  statistics.refused_memory_full = counts_.value(memory_full);
  statistics.refused_too_large = counts_.value(too_large);
  return statistics;
}

}  // namespace athanor::inline v1
