/// Everything that needs neither LibTorch nor RDKit: the engine and the four templates it is made of.
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
