// Registers the backend of scale_backend.hpp, and runs a model of it.
#include <athanor/athanor.hpp>

#include <cstdio>

#include "scale_backend.hpp"

namespace {

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  ScaleBackend backend;
  ath_backend_table const table = athanor::make_table(backend);
  auto engine = athanor::Engine<>::create({.backends = {&table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/backend/model");
  if (!model) return failed(model.error());

  float const x[] = {1, 2, 3};
  auto answer = model->infer({{"x", athanor::Tensor::view<float>(x, athanor::Shape{1, 3})}});
  if (!answer) return failed(answer.error());
  for (float const y : answer->outputs["y"].as<float>()) std::printf("%g ", static_cast<double>(y));
  std::printf("\n");
}
