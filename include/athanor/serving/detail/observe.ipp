#pragma once

#include <athanor/serving/detail/core.hpp>
#include <athanor/serving/detail/description.hpp>

namespace athanor::inline v1::serving {

template <class T>
std::vector<Entry<T>*> Core<T>::entries() {
  std::lock_guard const lock(mutex_);
  std::vector<EntryType*> result;
  for (auto const& [id, entry] : entries_) result.push_back(entry.get());
  return result;
}

/// Not ready: stopping, no model known, or a model whose load failed, that exceeds the budget, or whose
/// breaker is open. A model that nobody has asked for yet is loaded by its first call and does not keep the
/// engine from being ready.
template <class T>
Health Core<T>::health() {
  Health health;
  for (auto* entry : entries()) {
    ModelStatus const status = loader_.status(entry->load_entry());
    ModelHealth model;
    model.id = entry->description().id;
    model.state = to_string(status.state);
    model.breaker = breaking::to_string(entry->breaker().state());
    model.bytes = status.bytes;
    model.queued_items = static_cast<std::int64_t>(entry->lane().snapshot().queued_items);
    bool const open = entry->breaker().state() == breaking::State::open;
    model.ready = status.state == loading::ModelState::ready && !open;
    if (status.failure) {
      model.reason = fmt::format("{}", *status.failure);
    } else if (open) {
      model.reason = "its circuit breaker is open";
    } else if (!model.ready) {
      model.reason = "it is " + model.state;
    }
    if (health.reason.empty() && (status.failure || open)) health.reason = model.id + ": " + model.reason;
    health.models.push_back(std::move(model));
  }
  if (stopping()) {
    health.reason = "the engine is stopping";
  } else if (health.models.empty()) {
    health.reason = "no model is known";
  }
  health.ready = health.reason.empty();
  return health;
}

template <class T>
void Core<T>::write_model_metrics(MetricsText& text, EntryType& entry) {
  Manifest const& manifest = entry.description().manifest;
  Label const model{"model", manifest.name};
  Label const version{"version", manifest.version};
  ModelMetrics const& metrics = entry.metrics();
  for (std::size_t code = 0; code < ModelMetrics::outcomes; ++code) {
    std::uint64_t const count = metrics.requests[code].value();
    if (count == 0 && code != 0) continue;
    text.counter("athanor_requests_total", "Calls that were answered or refused, by outcome.",
                 {model, version, {"outcome", to_string(static_cast<Code>(code))}}, count);
  }
  text.counter("athanor_cache_hits_total", "Calls answered from the response cache.", {model, version},
               metrics.cache_hits.value());
  text.counter("athanor_cache_joined_total", "Calls answered by an equal call in flight.", {model, version},
               metrics.cache_joined.value());
  text.counter("athanor_degraded_total", "Calls that fewer than all members of an ensemble answered.",
               {model, version}, metrics.degraded.value());
  text.counter("athanor_batches_total", "Batches executed.", {model, version}, metrics.batches.value());
  text.counter("athanor_batch_failures_total", "Batches of which no call succeeded.", {model, version},
               metrics.batch_failures.value());
  text.histogram("athanor_batch_items", "Items per batch.", {model, version}, metrics.batch_items,
                 HistogramUnit::count);
  text.histogram("athanor_request_seconds",
                 "From a call to its answer; calls refused on arrival are left out.", {model, version},
                 metrics.latency, HistogramUnit::nanoseconds);
  text.histogram("athanor_compute_seconds", "Run time of batches.", {model, version}, metrics.compute,
                 HistogramUnit::nanoseconds);
  auto const lane = entry.lane().snapshot();
  text.gauge("athanor_queued_items", "Items that wait for a batch.", {model, version},
             static_cast<double>(lane.queued_items));
  text.gauge("athanor_busy_instances", "Instances that run a batch.", {model, version},
             static_cast<double>(lane.busy_instances));
  ModelStatus const status = loader_.status(entry.load_entry());
  text.gauge("athanor_model_bytes", "Bytes that the model holds or reserves.", {model, version},
             static_cast<double>(status.bytes));
  text.gauge("athanor_model_ready", "1 when the model is loaded.", {model, version},
             status.state == loading::ModelState::ready ? 1.0 : 0.0);
  text.gauge("athanor_breaker_open", "1 when the circuit breaker refuses calls.", {model, version},
             entry.breaker().state() == breaking::State::open ? 1.0 : 0.0);
  auto const breaker = entry.breaker().statistics();
  text.counter("athanor_breaker_opened_total", "How often the circuit breaker opened.", {model, version},
               breaker.opened);
  text.counter("athanor_breaker_refused_total", "Calls and batches that the circuit breaker refused.",
               {model, version}, breaker.refused);
}

template <class T>
std::string Core<T>::metrics_text() {
  MetricsText text;
  for (auto* entry : entries()) write_model_metrics(text, *entry);
  auto const gate = gate_.statistics();
  char const* const refused = "Calls refused for the engine's limits on what it holds at once, by reason.";
  text.counter("athanor_refused_total", refused, {{"reason", "queue_full"}}, gate.refused_queue_full);
  text.counter("athanor_refused_total", refused, {{"reason", "memory_full"}}, gate.refused_memory_full);
  text.counter("athanor_refused_total", refused, {{"reason", "too_large"}}, gate.refused_too_large);
  text.gauge("athanor_held_items", "Items of all calls on their way.", {},
             static_cast<double>(gate.held_items));
  auto const cache = cache_.statistics();
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "hit"}}, cache.hits);
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "miss"}},
               cache.misses);
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "bypass"}},
               cache.bypasses);
  text.counter("athanor_cache_evictions_total", "Entries removed to make room.", {}, cache.evictions);
  text.counter_of("athanor_cache_saved_seconds_total", "Compute time that hits did not need.", {},
                  static_cast<double>(cache.saved.count()) / 1e9);
  text.gauge("athanor_cache_bytes", "Bytes charged to the cache's budget.", {},
             static_cast<double>(cache.bytes));
  text.gauge("athanor_cache_entries", "Entries in the cache.", {}, static_cast<double>(cache.entries));
  return text.text();
}

template <class T>
std::string Core<T>::describe() {
  return serving::describe(options_now(), health());
}

}  // namespace athanor::inline v1::serving
