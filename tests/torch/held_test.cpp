// Modules that keep state in themselves: each slot has a copy of what they change.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/serving/engine.hpp>

#include "modules.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

// `total` is set anew by each call, `steps` written where it lies; both begin at other numbers than 0.
constexpr char const* counting = R"(
def forward(self, x: Tensor) -> Tensor:
  self.total = self.total + x
  self.steps.add_(1)
  return self.total * 100 + self.steps

def reset_states(self) -> None:
  self.total = torch.zeros([1])
  self.steps.zero_()

def reset_to(self, x: Tensor) -> None:
  self.total = x
)";
std::vector<Parameter> const counters{{"total", {1}}, {"steps", {1}}};

Description holding(std::uint64_t slots, std::string format = "torchscript?reset=reset_states") {
  Description description;
  description.format = std::move(format);
  description.slots = slots;
  return description;
}

float step(Instance& instance, std::uint64_t slot, float value) {
  std::vector<float> const x{value};
  auto const outputs = instance.run({floats(x, {1})}, &slot);
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  return (*outputs)[0].as<float>()[0];
}

}  // namespace

// mutant: a state that is held is never cleared
TEST_CASE(
    "each slot of a module that holds state has a state of its own, which begins as its reset leaves it") {
  Folder const folder;
  auto const model = load(folder, counting, holding(2), counters);
  Instance instance(model);
  CHECK(step(instance, 0, 1) == 101.0F);
  CHECK(step(instance, 0, 2) == 302.0F);
  CHECK(step(instance, 1, 5) == 501.0F);
  CHECK(step(instance, 0, 1) == 403.0F);
  instance.clear_slot(0);
  CHECK(step(instance, 0, 1) == 101.0F);
  CHECK(step(instance, 1, 1) == 602.0F);
  // Without a reset, it begins as the file has it: at -0.125 each.
  auto const saved = load(folder, counting, holding(2, "torchscript"), counters);
  Instance begun(saved);
  CHECK(step(begun, 1, 1) == doctest::Approx(87.5 + 0.875));
  auto const more = load(folder, counting, holding(5), counters);
  CHECK(more.footprint() - model.footprint() == 6 * sizeof(float));
}

// mutant: a module that holds state is thought to leave its inputs alone
TEST_CASE("state that is an input lives on when the caller's bytes have gone") {
  Folder const folder;
  auto const model = load(folder,
                          "def forward(self, x: Tensor) -> Tensor:\n"
                          "  y = self.last + x\n"
                          "  self.last = x\n"
                          "  return y\n",
                          holding(1, "torchscript"), {{"last", {1}}});
  Instance instance(model);
  std::uint64_t const slot = 0;
  std::vector<float> x{3};
  REQUIRE(instance.run({floats(x, {1})}, &slot));
  x[0] = 1000;
  CHECK(step(instance, 0, 4) == 7.0F);
}

TEST_CASE("a list that a module changes is a state of each slot") {
  Folder const folder;
  auto const model = load(folder,
                          "def forward(self, x: Tensor) -> Tensor:\n"
                          "  self.kept[0] = self.kept[0] + x\n"
                          "  return self.kept[0]\n",
                          holding(2, "torchscript"), {{"kept", {1}, true}});
  Instance instance(model);
  CHECK(step(instance, 0, 1) == 0.875F);
  CHECK(step(instance, 1, 10) == 9.875F);
  CHECK(step(instance, 0, 1) == 1.875F);
}

// mutant: nobody looks whether a program writes to a constant
// mutant: what a fork runs is not looked at
// mutant: an attribute that a fork sets is taken for a constant
TEST_CASE("state that all copies of a module would share is refused at load, also where slots hold state") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  std::string const forward = "def forward(self, x: Tensor) -> Tensor:\n";
  std::string const fork = forward + "  return torch.wait(fork(self.step, x))\n";
  std::string const step = "def step(self, x: Tensor) -> Tensor:\n";
  for (auto const& [source, listed] : std::vector<std::pair<std::string, bool>>{
           {forward + "  self.kept[0].add_(1)\n  return x + self.kept[0]\n", true},
           {forward + "  for each in self.kept:\n    each.view(-1).add_(1)\n  return x + self.kept[0]\n",
            true},
           {step + "  self.kept.add_(1)\n  return x + self.kept\n" + fork, false},
           {step + "  self.kept = self.kept + 1\n  return x + self.kept\n" + fork, false}}) {
    CAPTURE(source);
    write_script(description.path, source, {{"kept", {1}, listed}});
    for (std::uint64_t const slots : {0U, 2U}) {
      description.slots = slots;
      auto const error = load_error(description);
      CHECK(error.reason == Reason::model_load);
      CHECK_MESSAGE(contains(error.message, "forward changes its attribute 'kept' inside a list"),
                    error.message);
    }
  }
  // A constant of the file, as traces have them, is nobody's attribute.
  write_script(description.path, forward + "  self.kept[0].add_(1)\n  return x + self.kept[0]\n",
               {{"kept", {1}, true}}, true);
  CHECK(contains(load_error(description).message, "forward changes a constant of it inside"));
}

TEST_CASE("what cannot hold state is refused at load, and what it cannot step when it is run") {
  Folder const folder;
  Description description = holding(2);
  description.path = (folder / "model.pt").string();
  write_script(description.path, counting, counters);
  auto const refused = [&](char const* format) {
    description.format = format;
    auto const error = load_error(description);
    CHECK(error.code == Code::failed_precondition);
    return error.message;
  };
  CHECK(contains(refused("torchscript?reset=forget"),
                 "expected a method forget without arguments that clears the state, got none"));
  CHECK(
      contains(refused("torchscript?reset=reset_to"),
               "expected a method reset_to without arguments that clears the state, got one with arguments"));
  description.slots = 0;
  CHECK(contains(refused("torchscript"), "changes its attribute 'total', which all callers would share"));
  description.slots = 2;
  description.format = "torchscript?reset=reset_states";
  auto const model = tests::Model::load(table(), description);
  REQUIRE_MESSAGE(model, model.error().message);
  Instance instance(*model);
  std::vector<float> const x{1, 2};
  std::array<std::uint64_t, 2> const slots{0, 1};
  auto outputs = instance.run({floats(x, {2})}, slots.data());
  REQUIRE(!outputs);
  CHECK(contains(
      outputs.error().message,
      "expected one item in each run of a module that holds state (\"batching\": {\"max_items\": 1} in its "
      "manifest), got 2"));
  std::uint64_t const beyond = 2;
  outputs = instance.run({floats(x, {1})}, &beyond);
  REQUIRE(!outputs);
  CHECK(contains(outputs.error().message, "expected a slot below 2, got 2"));
}

namespace {

constexpr std::size_t width = 3;

// A recurrent network, h' = tanh(w x + u h), once with its state inside and once with it as an argument.
constexpr char const* recurrent = R"(
def step(self, x: Tensor, h: Tensor) -> Tensor:
  return torch.tanh(x @ self.w + h @ self.u)

def held(self, x: Tensor, gain: int) -> Tensor:
  self.h = self.step(x * gain, self.h)
  return self.h

def reset_states(self) -> None:
  self.h = torch.zeros([1, 3])

def carried(self, x: Tensor, h: Tensor):
  h = self.step(x * 2, h)
  return h, h
)";

using Row = std::array<float, width>;

Row next(Row const& h, float x) {
  Row answer{};
  for (std::size_t i = 0; i < width; ++i) {
    float sum = 2 * x * parameter_value(static_cast<std::int64_t>(i));
    for (std::size_t k = 0; k < width; ++k)
      sum += h[k] * parameter_value(static_cast<std::int64_t>(k * width + i));
    answer[i] = std::tanh(sum);
  }
  return answer;
}

void write_recurrent(Folder const& folder, std::string const& rest) {
  write_model(folder, recurrent,
              R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]}],
                 "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 3]}], )" +
                  rest,
              {{"w", {1, 3}}, {"u", {3, 3}}, {"h", {1, 3}}});
}

// Three sequences in turn, against the recurrence itself.
void check_sequences(athanor::Model<> const& model) {
  std::array sequences{model.open_sequence().value(), model.open_sequence().value(),
                       model.open_sequence().value()};
  std::array<Row, 3> expected{};
  for (int turn = 0; turn < 5; ++turn)
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      float const x = 0.1F * static_cast<float>(turn + 1) * (i == 1 ? -1.0F : 1.0F) + static_cast<float>(i);
      auto const answer = sequences[i].infer({{"x", Tensor::view<float>({&x, 1}, {1, 1})}});
      REQUIRE_MESSAGE(answer, answer.error().message);
      expected[i] = next(expected[i], x);
      for (std::size_t k = 0; k < width; ++k)
        CHECK(answer->outputs["y"].as<float>()[k] == doctest::Approx(expected[i][k]).epsilon(1e-5));
    }
}

constexpr char const* held_rest = R"("method": "held",
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]},
                     {"name": "gain", "dtype": "i64", "shape": [], "constant": 2}],
    "sequences": {"max": 3, "held": true, "reset": "reset_states"})";

}  // namespace

TEST_CASE(
    "a recurrent module gives each sequence its own answers, whether it holds its state or hands it on") {
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  SUBCASE("held") {
    Folder const folder;
    write_recurrent(folder, std::string(held_rest) + R"(, "batching": {"max_items": 1})");
    auto const model = engine.load((folder / "").string());
    REQUIRE_MESSAGE(model, model.error().message);
    check_sequences(*model);
  }
  SUBCASE("carried") {
    Folder const folder;
    write_recurrent(folder, R"("method": "carried", "sequences": {"max": 3},
        "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]},
                         {"name": "h", "dtype": "f32", "shape": ["items", 3], "from": "state:next"}],
        "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 3]},
                          {"name": "next", "dtype": "f32", "shape": ["items", 3]}])");
    auto const model = engine.load((folder / "").string());
    REQUIRE_MESSAGE(model, model.error().message);
    check_sequences(*model);
  }
}

TEST_CASE("a manifest that lets a module with state have batches is refused when it is loaded") {
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  Folder const folder;
  write_recurrent(folder, held_rest);
  auto const model = engine.load((folder / "").string());
  REQUIRE(!model);
  CHECK_MESSAGE(contains(model.error().message, "\"max_items\": 1"), model.error().message);
}
