#pragma once

#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/observe.hpp>
#include <athanor/serving/detail/status_json.hpp>

namespace athanor::inline v1::serving {

/// The registered ones, by id.
template <class T>
std::vector<std::shared_ptr<ServedModel<T>>> EngineState<T>::models() {
  std::vector<ModelPointer> result;  // dropped after the lock
  detail::Lock const lock(mutex_);
  for (auto const& [id, model] : models_) result.push_back(handle_locked(*model));
  return result;
}

template <class T>
ModelFacts EngineState<T>::facts_of(ModelType& model) {
  return {.manifest = model.description().manifest,
          .metrics = model.metrics(),
          .lane = model.lane().snapshot(),
          .load = loader_.status(model.load_record()),
          .load_note = model.load_note(),
          .breaker = model.breaker().statistics(),
          .sequences = model.open_sequences(),
          .keeps_model = {}};
}

template <class T>
EngineFacts EngineState<T>::facts() {
  EngineFacts facts{
      .stopping = stopping(), .models = {}, .gate = gate_.statistics(), .cache = cache_.statistics()};
  for (auto const& model : models()) {
    facts.models.push_back(facts_of(*model));
    facts.models.back().keeps_model = model;
  }
  return facts;
}

template <class T>
Result<ModelStatistics> EngineState<T>::statistics(ModelType& model) {
  if (in_child()) return tl::unexpected(child_error());
  return statistics_of(facts_of(model));
}

template <class T>
Health EngineState<T>::health() {
  if (in_child()) return {.live = false, .ready = false, .reason = child_error().message, .models = {}};
  return health_of(facts());
}

template <class T>
std::string EngineState<T>::metrics_text() {
  if (in_child()) return {};
  return serving::metrics_text(facts());
}

template <class T>
std::string EngineState<T>::describe(std::span<JsonMember const> more) {
  if (in_child()) return serving::describe(options_, {}, health(), {}, more);
  EngineFacts const known = facts();
  return serving::describe(options_, tables_now(), health_of(known), known.models, more);
}

}  // namespace athanor::inline v1::serving
