#include <athanor/serving/detail/sequences.hpp>

#include <algorithm>
#include <utility>

namespace athanor::inline v1::serving {

namespace {

Error busy() noexcept {
  return make_error(Code::failed_precondition, Reason::sequence_busy,
                    "the sequence has a call in flight: expected one call at a time");
}

}  // namespace

Error SequencePlaces::lost(Loss loss) const noexcept {
  constexpr auto code = Code::aborted;
  constexpr auto reason = Reason::sequence_lost;
  switch (loss) {
    case Loss::unloaded:
      return make_error(code, reason,
                        "the state of the sequence is lost: the model was unloaded; reset the sequence");
    case Loss::failed:
      return make_error(code, reason, "the state of the sequence is lost: a call failed; reset the sequence");
    case Loss::abandoned:
      return make_error(
          code, reason,
          "the state of the sequence is lost: a call was given up while it ran; reset the sequence");
    default:
      return make_error(code, reason, "the sequence has no state: it was closed, or had no call for {} ms",
                        static_cast<std::int64_t>(idle_ / std::chrono::milliseconds(1)));
  }
}

SequencePlaces::Place* SequencePlaces::find(SequenceId id) noexcept {
  Place& place = places_[id.slot];
  return id.number != 0 && place.sequence == id.number ? &place : nullptr;
}

SequencePlaces::Place* SequencePlaces::find(SequenceTicket const& ticket) noexcept {
  Place& place = places_[ticket.slot];
  return place.call == ticket.number ? &place : nullptr;
}

Result<SequenceId> SequencePlaces::open(TimePoint now) noexcept {
  auto const free = [](Place const& place) { return place.sequence == 0 && place.call == 0; };
  auto chosen = std::ranges::find_if(places_, free);
  if (chosen == places_.end()) {
    chosen = std::ranges::min_element(
        places_, {}, [](Place const& place) { return place.call == 0 ? place.used : TimePoint::max(); });
    if (!is_idle(*chosen, now)) {
      Error full = make_error(Code::resource_exhausted, Reason::sequences_full,
                              "expected at most {} sequences, got another one", places_.size());
      full.retry_after = chosen->call == 0 ? after(chosen->used, idle_) - now : idle_;
      return tl::unexpected(std::move(full));
    }
  }
  Place& place = *chosen;
  place = {.sequence = ++last_number_, .used = now, .row = place.row};
  return SequenceId{place.sequence, static_cast<std::uint32_t>(chosen - places_.begin())};
}

Result<void> SequencePlaces::reset(SequenceId id, TimePoint now) noexcept {
  Place* const place = find(id);
  if (place == nullptr) return tl::unexpected(lost(Loss::idle));
  if (place->call != 0) return tl::unexpected(busy());
  place->load = 0;
  place->loss = Loss::none;
  place->used = now;
  return {};
}

Result<void> SequencePlaces::close(SequenceId id) noexcept {
  Place* const place = find(id);
  if (place == nullptr)
    return fail(Code::failed_precondition, Reason::sequence_lost, "the sequence is closed already");
  place->sequence = 0;
  return {};
}

Result<SequenceTicket> SequencePlaces::begin(SequenceId id, TimePoint now) noexcept {
  Place* const place = find(id);
  if (place == nullptr) return tl::unexpected(lost(Loss::idle));
  if (place->call != 0) return tl::unexpected(busy());
  if (place->loss == Loss::none && is_idle(*place, now)) place->loss = Loss::idle;
  if (place->loss != Loss::none) {
    // Whoever learns of the loss has time to reset the sequence.
    place->used = now;
    return tl::unexpected(lost(place->loss));
  }
  place->call = ++last_number_;
  return SequenceTicket{place->call, id.slot};
}

Result<void> SequencePlaces::enter(SequenceTicket& ticket, std::uint64_t load) noexcept {
  Place* const place = find(ticket);
  if (place == nullptr)
    return fail(Code::cancelled, Reason::cancelled, "the call was given up before it was computed");
  if (place->load != 0 && place->load != load) {
    place->loss = Loss::unloaded;
    return tl::unexpected(lost(place->loss));
  }
  place->entered = load;
  ticket.row = place->row;
  ticket.fresh = place->load == 0;
  return {};
}

bool SequencePlaces::take(SequenceTicket const& ticket) noexcept {
  Place* const place = find(ticket);
  if (place != nullptr) place->running = true;
  return place != nullptr;
}

bool SequencePlaces::end_work(SequenceTicket const& ticket, bool failed) noexcept {
  Place* const place = find(ticket);
  if (place == nullptr || !failed || !place->running) return false;
  place->running = false;
  if (held_) place->loss = Loss::failed;
  return held_;
}

void SequencePlaces::settle(SequenceTicket const& ticket, bool answered, TimePoint now) noexcept {
  Place* const place = find(ticket);
  if (place == nullptr) return;
  if (answered) {
    place->row = 1 - place->row;
    place->load = place->entered;
  } else if (place->running) {
    place->loss = Loss::abandoned;
  }
  place->running = false;
  place->call = 0;
  place->used = now;
}

Result<SequenceTicket> SequencePlaces::begin_steps(TimePoint now) noexcept {
  return open(now).and_then([&](SequenceId const& id) { return begin(id, now); });
}

bool SequencePlaces::step(SequenceTicket& ticket) noexcept {
  Place* const place = find(ticket);
  if (place == nullptr) return false;
  place->row = 1 - place->row;
  place->running = false;
  ticket.row = place->row;
  ticket.fresh = false;
  return true;
}

void SequencePlaces::end_steps(SequenceTicket const& ticket) noexcept {
  Place* const place = find(ticket);
  if (place == nullptr) return;
  place->running = false;
  place->call = 0;
  place->sequence = 0;
}

std::size_t SequencePlaces::open_count() const noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(places_, [](Place const& place) { return place.sequence != 0; }));
}

}  // namespace athanor::inline v1::serving
