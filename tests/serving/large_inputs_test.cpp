// Large inputs are read once: NaN and infinities are looked for while the key is computed.
#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

constexpr std::int64_t width = 20'000;  // floats: five blocks of the hash

struct Rig : Puppet {
  ModelFolder folder;
  Engine<> engine;
  Model<> model;
  std::vector<float> values = std::vector<float>(static_cast<std::size_t>(width), 1.0F);

  explicit Rig(std::string const& more = "", std::string const& more_inputs = "")
      : folder(more, "large", "1.0.0",
               R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]})" + more_inputs + R"(],
                  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)"),
        engine(Engine<>::create({.backends = {&table}, .cache_bytes = 1 << 20}).value()),
        model(engine.load(folder.path()).value()) {}

  Request request() { return {{"x", Tensor::view<float>(values, Shape{1, width})}}; }
};

constexpr char refusal[] = "large@1.0.0: x: element 19999: expected a finite value, got NaN or infinity";

void check_refused(Result<Answer> const& answer) {
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::invalid_argument);
  CHECK(answer.error().reason == Reason::non_finite);
  CHECK(answer.error().message == refusal);
}

}  // namespace

// mutant: a large input is hashed without a look at its numbers
// mutant: a large input of a request that has no key is read by nobody
TEST_CASE("S4-2 a large input that is not finite is refused, whether its answer may be cached or not") {
  Rig rig;
  rig.values.back() = std::numeric_limits<float>::quiet_NaN();
  for (CacheMode const mode :
       {CacheMode::use, CacheMode::refresh, CacheMode::skip, CacheMode::only_if_cached}) {
    CAPTURE(static_cast<int>(mode));
    check_refused(rig.model.infer(rig.request(), {.cache = mode}));
    auto const submitted =
        rig.model.submit(rig.request(), {.cache = mode}, {[](void*, Result<Answer>) noexcept {}, nullptr});
    REQUIRE_FALSE(submitted);
    CHECK(submitted.error().message == refusal);
  }
  std::vector<float> const good(static_cast<std::size_t>(width), 2.0F);
  std::array<Request, 3> const requests{Request{{"x", Tensor::view<float>(good, Shape{1, width})}},
                                        rig.request(),
                                        Request{{"x", Tensor::view<float>(good, Shape{1, width})}}};
  auto const answers = rig.model.infer_many(requests);
  CHECK(answers[0]);
  check_refused(answers[1]);
  CHECK(answers[2]);
  rig.values.back() = 1;
  CHECK(rig.model.infer(rig.request())->report.cache == CacheState::miss);
  CHECK(rig.model.infer(rig.request())->report.cache == CacheState::hit);
}

// mutant: large inputs that may hold NaN are refused beside others
TEST_CASE("an input that may hold NaN and infinities is hashed beside one that may not") {
  Rig rig("", R"(, {"name": "w", "dtype": "f32", "shape": ["items", null], "non_finite": "allow"})");
  std::vector<float> weights(static_cast<std::size_t>(width), std::numeric_limits<float>::quiet_NaN());
  auto const request = [&] { return rig.request().set("w", Tensor::view<float>(weights, Shape{1, width})); };
  for (CacheState const expected : {CacheState::miss, CacheState::hit}) {
    auto const answer = rig.model.infer(request());
    REQUIRE(answer);
    CHECK(answer->report.cache == expected);
    CHECK(answer->outputs[0].as<float>()[1] == 2);
  }
  weights.back() = 0;
  CHECK(rig.model.infer(request())->report.cache == CacheState::miss);
}

// mutant: a large input of a request that has no key is read by nobody
TEST_CASE("a large input that is not finite is refused where the request leaves the seed out") {
  Rig rig(R"("parameters": [{"name": "seed", "type": "i64", "default": 5, "seed": true}],
             "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]},
                              {"name": "seed", "dtype": "i64", "shape": ["items"], "from": "parameter:seed"}],)");
  rig.values.back() = -std::numeric_limits<float>::infinity();
  check_refused(rig.model.infer(rig.request()));
  Request seeded = rig.request();
  seeded.set("seed", std::int64_t{7});
  check_refused(rig.model.infer(seeded));
}
