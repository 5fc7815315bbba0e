#include <athanor/serving/detail/observe.hpp>

namespace athanor::inline v1::serving {

namespace {

ValueSummary summary_of(Histogram const& histogram) {
  ValueSummary summary;
  summary.count = histogram.count();
  if (summary.count == 0) return summary;
  summary.sum = histogram.sum();
  summary.mean = static_cast<double>(summary.sum) / static_cast<double>(summary.count);
  summary.p50 = histogram.quantile(0.5);
  summary.p99 = histogram.quantile(0.99);
  return summary;
}

ModelHealth health_of(ModelFacts const& facts) {
  ModelHealth model;
  model.id = facts.manifest.id();
  model.state = to_string(facts.load.state);
  model.breaker = breaking::to_string(facts.breaker.state);
  model.note = facts.load_note;
  model.bytes = facts.load.bytes;
  model.queued_items = static_cast<std::int64_t>(facts.lane.queued_items);
  bool const open = facts.breaker.state == breaking::State::open;
  model.ready = facts.load.state == ModelState::ready && !open;
  if (facts.load.failure) {
    model.reason = to_string(*facts.load.failure);
  } else if (open) {
    model.reason = "circuit breaker open";
  } else if (!model.ready) {
    model.reason = "model " + model.state;
  }
  return model;
}

void write_calls(MetricsText& text, ModelFacts const& facts) {
  Label const model{"model", facts.manifest.name};
  Label const version{"version", facts.manifest.version};
  ModelMetrics const& metrics = facts.metrics;
  for (std::size_t code = 0; code < ModelMetrics::outcomes; ++code) {
    std::uint64_t const count = metrics.counts.value(code);
    if (count == 0 && code != 0) continue;
    text.counter("athanor_requests_total", "Calls answered or refused, by outcome.",
                 {model, version, {"outcome", to_string(static_cast<Code>(code))}}, count);
  }
  text.counter("athanor_cache_hits_total", "Calls answered from the response cache.", {model, version},
               metrics.counts.value(ModelMetrics::cache_hits));
  text.counter("athanor_cache_joined_total", "Calls answered by an equal call in flight.", {model, version},
               metrics.counts.value(ModelMetrics::cache_joined));
  text.counter("athanor_degraded_total", "Calls answered by fewer than all members of an ensemble.",
               {model, version}, metrics.counts.value(ModelMetrics::degraded));
  text.counter("athanor_batches_total", "Batches executed.", {model, version}, metrics.batch_items.count());
  text.counter("athanor_batch_failures_total", "Batches in which no call succeeded.", {model, version},
               metrics.counts.value(ModelMetrics::batch_failures));
  if (facts.manifest.pads()) {
    char const* const positions =
        "Positions in batches, along padded axes if there are any: of items, and of padding.";
    text.counter("athanor_positions_total", positions, {model, version, {"kind", "item"}},
                 metrics.counts.value(ModelMetrics::positions));
    text.counter("athanor_positions_total", positions, {model, version, {"kind", "padding"}},
                 metrics.counts.value(ModelMetrics::padding));
  }
  text.histogram("athanor_batch_items", "Items per batch.", {model, version}, metrics.batch_items,
                 HistogramUnit::count);
  text.histogram("athanor_request_seconds",
                 "From a call to its answer; calls refused before anything was done for them are left out.",
                 {model, version}, metrics.latency, HistogramUnit::nanoseconds);
  text.histogram("athanor_queue_seconds",
                 "From entering the queue to the start of the batch; calls that ran at once are left out.",
                 {model, version}, metrics.queue, HistogramUnit::nanoseconds);
  text.histogram("athanor_compute_seconds", "Run time of batches.", {model, version}, metrics.compute,
                 HistogramUnit::nanoseconds);
}

void write_state(MetricsText& text, ModelFacts const& facts) {
  Label const model{"model", facts.manifest.name};
  Label const version{"version", facts.manifest.version};
  text.gauge("athanor_queued_items", "Items waiting for a batch.", {model, version},
             static_cast<double>(facts.lane.queued_items));
  text.gauge("athanor_busy_instances", "Instances running a batch.", {model, version},
             static_cast<double>(facts.lane.busy_instances));
  text.gauge("athanor_model_bytes", "Bytes that the model holds or reserves.", {model, version},
             static_cast<double>(facts.load.bytes));
  text.gauge("athanor_model_ready", "1 when the model is loaded.", {model, version},
             facts.load.state == ModelState::ready ? 1.0 : 0.0);
  text.gauge("athanor_breaker_open", "1 when the circuit breaker refuses calls.", {model, version},
             facts.breaker.state == breaking::State::open ? 1.0 : 0.0);
  text.counter("athanor_breaker_opened_total", "How often the circuit breaker opened.", {model, version},
               facts.breaker.opened);
  text.counter("athanor_breaker_refused_total", "Calls and batches that the circuit breaker refused.",
               {model, version}, facts.breaker.refused);
  if (facts.manifest.sequences)
    text.gauge("athanor_sequences", "Sequences that are open.", {model, version},
               static_cast<double>(facts.sequences));
}

}  // namespace

ModelStatistics statistics_of(ModelFacts const& facts) {
  ModelMetrics const& metrics = facts.metrics;
  ModelStatistics statistics;
  for (std::size_t code = 0; code < ModelMetrics::outcomes; ++code)
    statistics.requests[code] = metrics.counts.value(code);
  statistics.cache_hits = metrics.counts.value(ModelMetrics::cache_hits);
  statistics.cache_joined = metrics.counts.value(ModelMetrics::cache_joined);
  statistics.degraded = metrics.counts.value(ModelMetrics::degraded);
  statistics.batches = metrics.batch_items.count();
  statistics.batch_failures = metrics.counts.value(ModelMetrics::batch_failures);
  statistics.positions = metrics.counts.value(ModelMetrics::positions);
  statistics.padding = metrics.counts.value(ModelMetrics::padding);
  statistics.batch_items = summary_of(metrics.batch_items);
  statistics.latency = summary_of(metrics.latency);
  statistics.queue = summary_of(metrics.queue);
  statistics.compute = summary_of(metrics.compute);
  statistics.queued_items = facts.lane.queued_items;
  statistics.busy_instances = facts.lane.busy_instances;
  statistics.bytes = facts.load.bytes;
  statistics.breaker_opened = facts.breaker.opened;
  statistics.breaker_refused = facts.breaker.refused;
  statistics.sequences = facts.sequences;
  return statistics;
}

Health health_of(EngineFacts const& facts) {
  Health health;
  for (ModelFacts const& model : facts.models) {
    health.models.push_back(health_of(model));
    bool const broken = model.load.failure || model.breaker.state == breaking::State::open;
    if (health.reason.empty() && broken)
      health.reason = health.models.back().id + ": " + health.models.back().reason;
  }
  if (facts.stopping) {
    health.reason = "the engine is stopping";
  } else if (health.models.empty()) {
    health.reason = "no model is registered";
  }
  health.ready = health.reason.empty();
  return health;
}

std::string metrics_text(EngineFacts const& facts) {
  MetricsText text;
  for (ModelFacts const& model : facts.models) {
    write_calls(text, model);
    write_state(text, model);
  }
  auto const& gate = facts.gate;
  char const* const refused = "Calls refused because of the engine's limits on calls in flight, by reason.";
  text.counter("athanor_refused_total", refused, {{"reason", "queue_full"}}, gate.refused_queue_full);
  text.counter("athanor_refused_total", refused, {{"reason", "memory_full"}}, gate.refused_memory_full);
  text.counter("athanor_refused_total", refused, {{"reason", "too_large"}}, gate.refused_too_large);
  text.gauge("athanor_held_items", "Items of all calls in flight.", {}, static_cast<double>(gate.held_items));
  auto const& cache = facts.cache;
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "hit"}}, cache.hits);
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "miss"}},
               cache.misses);
  text.counter("athanor_cache_lookups_total", "Cache look-ups, by result.", {{"result", "bypass"}},
               cache.bypasses);
  text.counter("athanor_cache_evictions_total", "Entries evicted to free memory.", {}, cache.evictions);
  text.counter_of("athanor_cache_saved_seconds_total", "Compute time saved by cache hits.", {},
                  static_cast<double>(cache.saved.count()) / 1e9);
  text.gauge("athanor_cache_bytes", "Bytes charged to the cache's budget.", {},
             static_cast<double>(cache.bytes));
  text.gauge("athanor_cache_entries", "Entries in the cache.", {}, static_cast<double>(cache.entries));
  return text.text();
}

}  // namespace athanor::inline v1::serving
