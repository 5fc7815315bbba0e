// Models whose operators are in a library of the host's.
#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "modules.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

/// A backend with these libraries.
struct Host {
  libtorch::TorchBackend backend;
  ath_backend_table const table = make_table(backend);
};

Description twice_with(std::string format) {
  Description description;
  description.path = ATHANOR_PT2_FOLDER "/twice.pt";
  description.format = std::move(format);
  return description;
}

}  // namespace

// mutant: operators without a library are passed over
TEST_CASE(
    "a model whose operators are in another library needs its name in the manifest and its file from the "
    "host") {
  Host none{libtorch::TorchBackend()};
  auto const unnamed = Model::load(none.table, twice_with("torchscript"));
  REQUIRE(!unnamed);
  CHECK(unnamed.error().code == Code::failed_precondition);
  CHECK_MESSAGE(
      contains(unnamed.error().message,
               "operator athanor_tests::twice is in no library that is loaded: expected the manifest to "
               "name one that has it, as in \"operators\": [\"athanor_tests\"]"),
      unnamed.error().message);

  std::string const named = "torchscript?operators=athanor_tests";
  auto const unknown = Model::load(none.table, twice_with(named));
  REQUIRE(!unknown);
  CHECK(unknown.error().reason == Reason::option);
  CHECK_MESSAGE(
      contains(
          unknown.error().message,
          "operators 'athanor_tests': expected the library that has them in TorchOptions::operators, or in "
          "ATHANOR_TORCH_OPERATORS as athanor_tests=FILE; got none"),
      unknown.error().message);

  Host wrong{libtorch::TorchBackend({.operators = {{"athanor_tests", "/nowhere/operators.so"}}})};
  auto const absent = Model::load(wrong.table, twice_with(named));
  REQUIRE(!absent);
  CHECK(absent.error().reason == Reason::option);
  CHECK_MESSAGE(
      contains(absent.error().message,
               "the library of the operators 'athanor_tests' could not be loaded: /nowhere/operators.so"),
      absent.error().message);

  // Registered a second time, it would throw.
  for (int host = 0; host < 2; ++host) {
    Host right{libtorch::TorchBackend({.operators = {{"athanor_tests", ATHANOR_OPERATORS}}})};
    auto const model = Model::load(right.table, twice_with(named));
    REQUIRE_MESSAGE(model, model.error().message);
    std::vector<float> const x{1, 2};
    Instance instance(*model);
    auto const outputs = instance.run({floats(x, {2})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    CHECK((*outputs)[0].as<float>()[1] == 4.0F);
  }
}

// mutant: a library of operators is named up to the last sign of equality
TEST_CASE("the environment names libraries of operators for hosts that cannot make a backend") {
  auto const read = [](char const* text) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread reads it
    ::setenv("ATHANOR_TORCH_OPERATORS", text, 1);
    auto const options = libtorch::options_of_environment();
    // NOLINTNEXTLINE(concurrency-mt-unsafe): as above
    ::unsetenv("ATHANOR_TORCH_OPERATORS");
    return options.operators;
  };
  using Files = decltype(libtorch::TorchOptions::operators);
  CHECK(read("") == Files{});
  CHECK(read("torchvision=/opt/a.so") == Files{{"torchvision", "/opt/a.so"}});
  CHECK(read("nonsense:a=/x/b=c.so::d=e.so") == Files{{"a", "/x/b=c.so"}, {"d", "e.so"}});
}
