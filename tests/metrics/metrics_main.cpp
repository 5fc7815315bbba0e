// Prints the metrics of an engine that has seen an answer, a hit, a refused request and a failure.
#include <cstring>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

Request row(float value) {
  auto tensor = Tensor::allocate(DType::f32, Shape{1, 2}).value();
  float const values[2] = {value, value};
  std::memcpy(tensor.mutable_data(), values, sizeof(values));
  return Request{{"x", std::move(tensor)}};
}

}  // namespace

int main() {
  PuppetControl control;
  PuppetBackend backend{control};
  auto const table = make_table(backend);
  auto engine = Engine<>::create({.backends = {&table}}).value();
  ModelFolder const folder;
  auto model = engine.load(folder.path()).value();

  bool const answered = model.infer(row(1)) && model.infer(row(1));
  bool const refused = !model.infer(Request{});
  control.on_run = [](ath_batch const&) {
    return Result<void>(tl::unexpected(Error{Code::internal, Reason::backend_failure, "told to fail", {}}));
  };
  bool const failed = !model.infer(row(2));
  fmt::print("{}", engine.metrics_text());
  return answered && refused && failed ? 0 : 1;
}
