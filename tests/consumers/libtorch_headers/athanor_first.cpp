#include <athanor/athanor.hpp>
#include <athanor/torch/backend.hpp>

#include <torch/script.h>

#include "units.hpp"

bool athanor_first() {
  auto engine = athanor::Engine<>::create({.backends = {&athanor::libtorch::backend()}});
  if (!engine) return false;
  auto const model = engine->load("no-such-folder");
  return at::ones({2}).numel() == 2 && !model && model.error().code == athanor::Code::not_found &&
         !to_string(athanor::Report{}).empty();
}
