// Opens, resets and closes the sequences of the simulated world.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <simulation/judge.hpp>

namespace athanor_tests {

template <class T>
class SequenceDesk {
 public:
  // What a call is made of; without a handle there is none now.
  struct Taken {
    std::shared_ptr<Sequence<T>> handle{};
    SequenceFacts* facts = nullptr;
  };

  SequenceDesk(Simulation& simulation, Judge& judge, std::function<Model<T>(ModelKind)> model)
      : simulation_(simulation), judge_(judge), model_(std::move(model)) {}

  // The sequence that the event names.
  Taken take(SimulatedEvent const& event) {
    if (!keeps_state(event.model)) return {};
    Place& place = place_of(event);
    if (place.changes) return {};
    if (place.taken.handle != nullptr) return place.taken;
    auto const before = std::pair(taken(event.model), closes_);
    place.changes = true;
    TimePoint const began = simulation_.now();
    auto opened = model_(event.model).open_sequence();
    place.changes = false;
    if (!opened) {
      // Others may have opened one and closed it meanwhile.
      bool const full = before.first >= most_sequences || taken(event.model) >= most_sequences;
      bool const stopping = opened.error().reason == Reason::stopping;
      if (!full && !stopping && before.second == closes_) judge_.wrong("there is a place for a sequence");
      judge_.sequence_refused(nullptr, opened.error(), simulation_.now());
      return {};
    }
    place.taken.handle = std::make_shared<Sequence<T>>(std::move(*opened));
    begin(place, event.model, began);
    return place.taken;
  }

  void reset(SimulatedEvent const& event) {
    Place& place = place_of(event);
    if (place.changes || place.taken.handle == nullptr || place.taken.facts->calls > 0) return;
    place.changes = true;
    TimePoint const began = simulation_.now();
    auto const reset = place.taken.handle->reset();
    place.changes = false;
    place.taken.facts->over = true;
    if (reset) return begin(place, event.model, began);
    judge_.sequence_refused(place.taken.facts, reset.error(), simulation_.now());
    place.taken.handle = nullptr;
  }

  // Also while a call of it is in flight.
  void close(SimulatedEvent const& event) {
    Place& place = place_of(event);
    if (place.changes || place.taken.handle == nullptr) return;
    auto const handle = std::exchange(place.taken.handle, nullptr);
    SequenceFacts& facts = *place.taken.facts;
    facts.closed = true;
    if (auto const closed = handle->close(); !closed)
      judge_.sequence_refused(&facts, closed.error(), simulation_.now());
    if (handle->close()) judge_.wrong("a sequence was closed twice");
    facts.over = true;
    ++closes_;
  }

  // When no more calls come.
  void close_all() {
    places_.clear();
    for (SequenceFacts const& facts : facts_)
      if (auto const why = facts.judge_whole(); !why.empty()) judge_.wrong(why);
  }

 private:
  struct Place {
    Taken taken{};
    bool changes = false;  // an actor opens or resets it
  };
  // Places that are, or are about to be, a sequence's, or that of its last call.
  std::size_t taken(ModelKind kind) const {
    auto const holds = [&](SequenceFacts const& facts) {
      return facts.model == kind && (!facts.over || facts.calls > 0);
    };
    auto const opens = [&](auto const& place) {
      return place.first.first == kind && place.second.changes && place.second.taken.handle == nullptr;
    };
    return static_cast<std::size_t>(std::ranges::count_if(facts_, holds) +
                                    std::ranges::count_if(places_, opens));
  }
  Place& place_of(SimulatedEvent const& event) { return places_[{event.model, event.target}]; }
  void begin(Place& place, ModelKind kind, TimePoint now) {
    place.taken.facts = &facts_.emplace_back();
    judge_.sequence_begins(*place.taken.facts, kind, now);
  }

  Simulation& simulation_;
  Judge& judge_;
  std::function<Model<T>(ModelKind)> model_;
  std::map<std::pair<ModelKind, std::uint32_t>, Place> places_;
  std::deque<SequenceFacts> facts_;
  std::uint64_t closes_ = 0;
};

}  // namespace athanor_tests
