// Prints the metrics of an engine that has seen an answer, a hit, a refused request and a failure.
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

#include <fmt/format.h>

using namespace athanor;
using namespace athanor_tests;

int main() {
  Puppet puppet;
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  ModelFolder const folder;
  auto model = engine.load(folder.path()).value();

  bool const answered = model.infer(row(1)) && model.infer(row(1));
  bool const refused = !model.infer(Request{});
  puppet.control.on_run = [](ath_batch const&) {
    return Result<void>(tl::unexpected(Error{Code::internal, Reason::backend_failure, "told to fail", {}}));
  };
  bool const failed = !model.infer(row(2));
  fmt::print("{}", engine.metrics_text());
  return answered && refused && failed ? 0 : 1;
}
