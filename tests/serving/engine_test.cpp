#include <doctest/doctest.h>

#include <array>
#include <thread>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// An engine over one puppet.
struct Stage {
  PuppetControl control;
  PuppetBackend backend{control};
  ath_backend_table table = make_table(backend);
  Engine<> engine;

  explicit Stage(EngineOptions options = {}) : engine(make(std::move(options))) {}
  Engine<> make(EngineOptions options) {
    options.backends = {&table};
    return Engine<>::create(std::move(options)).value();
  }
};

Request two(float a, float b) {
  std::array<float, 2> const values{a, b};
  auto tensor = Tensor::allocate(DType::f32, Shape{1, 2}).value();
  std::memcpy(tensor.mutable_data(), values.data(), sizeof(values));
  return Request{{"x", std::move(tensor)}};
}

}  // namespace

TEST_CASE("a lone call runs on its caller's thread and reports what happened") {
  ModelFolder const folder;
  Stage stage;
  auto model = stage.engine.load(folder.path()).value();
  auto answer = model.infer(two(1, 2));
  REQUIRE(answer);
  CHECK(answer->outputs["y"].as<float>()[0] == 2);
  CHECK(answer->outputs["y"].as<float>()[1] == 3);
  CHECK(answer->report.on_caller == true);
  CHECK(answer->report.cache == CacheState::miss);
  CHECK(answer->report.batch_items == 1);
  auto again = model.infer(two(1, 2));
  REQUIRE(again);
  CHECK(again->report.cache == CacheState::hit);
  CHECK(again->outputs["y"].as<float>()[1] == 3);
  CHECK(stage.control.runs.load() == 1);
}
