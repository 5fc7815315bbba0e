#pragma once

#include <athanor/serving/detail/core.hpp>
#include <athanor/serving/detail/observe.hpp>
#include <athanor/serving/detail/status_json.hpp>

namespace athanor::inline v1::serving {

template <class T>
std::vector<Entry<T>*> Core<T>::entries() {
  std::lock_guard const lock(mutex_);
  std::vector<EntryType*> result;
  for (auto const& [id, entry] : entries_) result.push_back(entry.get());
  return result;
}

template <class T>
ModelFacts Core<T>::facts_of(EntryType& entry) {
  return {.manifest = entry.description().manifest,
          .metrics = entry.metrics(),
          .lane = entry.lane().snapshot(),
          .load = loader_.status(entry.load_entry()),
          .breaker = entry.breaker().statistics()};
}

template <class T>
EngineFacts Core<T>::facts() {
  EngineFacts facts{
      .stopping = stopping(), .models = {}, .gate = gate_.statistics(), .cache = cache_.statistics()};
  for (auto* entry : entries()) facts.models.push_back(facts_of(*entry));
  return facts;
}

template <class T>
ModelStatistics Core<T>::statistics(EntryType& entry) {
  return statistics_of(facts_of(entry));
}

template <class T>
Health Core<T>::health() {
  return health_of(facts());
}

template <class T>
std::string Core<T>::metrics_text() {
  return serving::metrics_text(facts());
}

template <class T>
std::string Core<T>::describe(std::span<JsonMember const> more) {
  return serving::describe(options_now(), health(), more);
}

}  // namespace athanor::inline v1::serving
