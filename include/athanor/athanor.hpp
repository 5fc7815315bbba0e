/// The engine, and the five templates that can be used alone: Batcher, ResponseCache, CircuitBreaker,
/// ModelLoader and Gate. Streams (`serving/stream.hpp`), jobs (`serving/jobs.hpp`) and the simulator
/// (`core/simulation.hpp`) are included separately.
#pragma once

#include <athanor/admission/gate.hpp>
#include <athanor/batching/batcher.hpp>
#include <athanor/breaking/breaker.hpp>
#include <athanor/caching/response_cache.hpp>
#include <athanor/core/cancellation.hpp>
#include <athanor/core/version.hpp>
#include <athanor/loading/model_loader.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/serving/format.hpp>
