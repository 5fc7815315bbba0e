// The second half of a processor: what the model made of an item becomes its answer.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <serving/simulated_engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Counts those that live.
struct Kept {
  std::atomic<int>& alive;
  float first;
  Kept(std::atomic<int>& counter, float value) : alive(counter), first(value) { alive.fetch_add(1); }
  Kept(Kept const&) = delete;
  Kept& operator=(Kept const&) = delete;
  ~Kept() { alive.fetch_sub(1); }
};

Tensor number(float value) {
  auto tensor = Tensor::allocate(DType::f32, Shape{1}).value();
  tensor.mutable_as<float>()[0] = value;
  return tensor;
}

// The model reads twice `x`; `sum` is what it made of both numbers, plus the
// first of `x`, which preprocess keeps, plus the parameter, if there is one.
struct SumProcessor {
  static constexpr char const* name = "sum";
  std::atomic<int> alive{0};
  std::atomic<int> posts{0};
  std::atomic<std::thread::id> thread{};
  std::function<Result<void>()> before = [] { return Result<void>(); };
  std::function<std::vector<Tensor>(float)> make = [](float sum) { return std::vector{number(sum)}; };

  struct Opened {
    static constexpr std::array<Port, 1> made_ports{{{"x", DType::f32}}};
    static constexpr std::array<Port, 1> output_ports{{{"sum", DType::f32}}};
    SumProcessor& processor;
    std::span<Port const> made() const { return made_ports; }
    std::span<Port const> outputs() const { return output_ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      auto const x = item.input(0).as<float>();
      float const twice[2] = {2 * x[0], 2 * x[1]};
      Preprocessed made{{Tensor::view<float>(twice, Shape{1, 2}).clone().value()}, 1, {}};
      made.kept = std::make_shared<Kept>(processor.alive, x[0]);
      return made;
    }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                            std::span<Tensor const> rows) const {
      processor.posts.fetch_add(1);
      processor.thread = std::this_thread::get_id();
      if (auto told = processor.before(); !told) return tl::unexpected(told.error());
      auto const y = rows[0].as<float>();
      double const bias = item.parameter_count() == 0 ? 0 : item.parameter<double>(0).value();
      if (rows[0].shape() != Shape{1, 2} ||
          static_cast<Kept const*>(kept)->first != item.input(0).as<float>()[0])
        return fail(Code::internal, Reason::none, "another item's rows");
      return processor.make(y[0] + y[1] + static_cast<Kept const*>(kept)->first + static_cast<float>(bias));
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{*this});
  }
};
static_assert(Processor<SumProcessor>);

// Has no first half: the model reads the request's `x`.
struct LastProcessor {
  static constexpr char const* name = "last";
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"difference", DType::f32}, {"rows", DType::i64}}};
    std::span<Port const> outputs() const { return ports; }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                            std::span<Tensor const> rows) const {
      if (kept != nullptr) return fail(Code::internal, Reason::none, "somebody else's state");
      auto count = Tensor::allocate(DType::i64, Shape{1}).value();
      count.mutable_as<std::int64_t>()[0] = static_cast<std::int64_t>(rows.size());
      return std::vector{number(rows[0].as<float>()[0] - item.input(0).as<float>()[0]), std::move(count)};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<LastProcessor>);

// Keeps a tensor of 100 bytes that it made and no model input reads; `shade` is a byte of it.
struct ImageProcessor {
  static constexpr char const* name = "image";
  struct Opened {
    static constexpr std::array<Port, 2> made_ports{{{"x", DType::f32}, {"pixels", DType::u8}}};
    static constexpr std::array<Port, 1> output_ports{{{"shade", DType::u8}}};
    std::span<Port const> made() const { return made_ports; }
    std::span<Port const> outputs() const { return output_ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      auto pixels = Tensor::allocate(DType::u8, Shape{1, 100}).value();
      pixels.mutable_as<std::uint8_t>()[99] = static_cast<std::uint8_t>(item.input(0).as<float>()[0]);
      return Preprocessed{{item.input(0).clone().value(), pixels}, 1, std::make_shared<Tensor const>(pixels)};
    }
    Result<std::vector<Tensor>> postprocess(Item const&, void const* kept, std::span<Tensor const>) const {
      auto shade = Tensor::allocate(DType::u8, Shape{1}).value();
      shade.mutable_as<std::uint8_t>()[0] = static_cast<Tensor const*>(kept)->as<std::uint8_t>()[99];
      return std::vector{std::move(shade)};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<ImageProcessor>);

constexpr std::string_view summed = R"("processor": {"name": "sum"},
  "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "sum", "dtype": "f32", "shape": ["items"], "from": "processor:sum"}],)";

// x + 1 of twice both numbers, and the first.
float sum_of(float first, float second) { return 2 * first + 1 + 2 * second + 1 + first; }

struct Rig : Puppet {
  SumProcessor sum;
  LastProcessor last;
  ath_processor_table sum_table = make_table(sum);
  ath_processor_table last_table = make_table(last);
  ModelFolder folder;
  std::optional<Engine<>> engine;

  explicit Rig(std::string_view more = "", std::string_view tensors = summed, EngineOptions options = {})
      : folder(more, "posted", "1.0.0", tensors) {
    options.backends = {&table};
    options.processors = {&sum_table, &last_table};
    engine = Engine<>::create(std::move(options)).value();
  }
  Model<> model() { return engine->load(folder.path()).value(); }
};

float value(Result<Answer> const& answer, std::size_t item = 0) {
  REQUIRE(answer);
  return answer->outputs[0].as<float>()[item];
}

// The same over the simulated engine.
struct SimulatedRig : SimulatedEngine {
  SumProcessor sum;
  ath_processor_table sum_table = make_table(sum);
  ModelFolder posted;

  explicit SimulatedRig(std::string_view more = "", EngineOptions options = {})
      : SimulatedEngine("", options), posted(more, "posted", "1.0.0", summed) {
    REQUIRE(state->add_processor(sum_table));
    served = state->add(posted.path()).value().get();
    REQUIRE(infer(row(0), {.cache = CacheMode::skip}));
    sum.posts = 0;
  }
  ~SimulatedRig() { state->stop(Duration{0}); }
};

}  // namespace

// mutant: postprocess is given no state
TEST_CASE("a processor's second half makes answers of what the model made and the first half kept") {
  Rig rig;
  auto const model = rig.model();
  auto const answer = model.infer(row(3, 4));
  CHECK(value(answer) == sum_of(3, 4));
  CHECK(answer->outputs.size() == 1);
  CHECK(answer->outputs.spec(0).name == "sum");
  CHECK(rig.sum.alive.load() == 0);
  CHECK(rig.sum.posts.load() == 1);
}

// mutant: what a processor made is not charged
// mutant: what a processor made lives as long as its call
// mutant: many requests give up one for which what was made of the others left no room
TEST_CASE(
    "what a processor made of a request counts against the engine's bytes until the request is answered") {
  SimulatedRig rig("", {.max_bytes = 40});
  auto const held = [&] { return rig.state->gate().statistics(); };
  std::int64_t held_in_run = 0;
  rig.control.on_run = [&](ath_batch const&) {
    held_in_run = held().held_bytes;
    return Result<void>();
  };
  CallOptions const options{.cache = CacheMode::skip};
  REQUIRE(rig.infer(row(1), options));
  CHECK(held_in_run == 16);
  // Each fits, but not what the processor makes of all of them at once. Each is counted once.
  Model<SimulatedServing> const model(rig.state, *rig.served);
  auto const requests = model.statistics()->requests_with(Code::ok);
  for (auto const& answer : model.infer_many(std::vector<Request>{row(1), row(2), row(3), row(4)}, options))
    CHECK(answer);
  CHECK(model.statistics()->requests_with(Code::ok) == requests + 4);
  CHECK(model.statistics()->requests_with(Code::resource_exhausted) == 0);
  auto const runs = rig.control.runs.load();

  std::array<float, 6> const numbers{};
  auto const too_large = rig.submit({{"x", Tensor::view<float>(numbers, Shape{3, 2})}}, options);
  rig.world.run_until_idle();
  REQUIRE(too_large->done());
  CHECK(too_large->error().code == Code::resource_exhausted);
  CHECK(too_large->error().reason == Reason::too_large);
  CHECK(too_large->error().message ==
        "posted@1.0.0: admission: expected at most 40 bytes in one request (max_bytes), got 48");
  CHECK(too_large->error().retry_after == Duration{0});
  CHECK(rig.sum.alive.load() == 0);  // though the ticket keeps the call

  admission::Slot other;
  REQUIRE(rig.state->gate().admit_caller(other, 1, 25, rig.world.now()));
  auto const ticket = rig.submit(row(2), options);
  rig.world.run_until_idle();
  REQUIRE(ticket->done());
  CHECK(ticket->error().reason == Reason::memory_full);
  CHECK(ticket->error().message == "posted@1.0.0: admission: 33 of 40 bytes are held, 8 more do not fit");
  CHECK(ticket->error().retry_after > Duration{0});
  CHECK(rig.sum.alive.load() == 0);
  CHECK(held().held_bytes == 25);
  rig.state->gate().release_quota(other);

  CHECK(rig.control.runs.load() == runs);
  auto const again = rig.submit(row(2), options);
  rig.world.run_until_idle();
  CHECK(again->has_value());
  CHECK(rig.sum.alive.load() == 0);
  CHECK(held().held_bytes == 0);
  CHECK(held().held_items == 0);
}

// mutant: what a processor makes for itself is not charged
TEST_CASE(
    "a tensor that a processor keeps, and that no model input reads, counts against the engine's bytes") {
  SimulatedEngine rig;
  ImageProcessor image;
  ath_processor_table const image_table = make_table(image);
  ModelFolder const folder("", "image", "1.0.0", R"("processor": {"name": "image"},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "shade", "dtype": "u8", "shape": ["items"], "from": "processor:shade"}],)");
  REQUIRE(rig.state->add_processor(image_table));
  rig.served = rig.state->add(folder.path()).value().get();
  std::int64_t held = 0;
  rig.control.on_run = [&](ath_batch const&) {
    held = rig.state->gate().statistics().held_bytes;
    return Result<void>();
  };
  auto const answer = rig.infer(row(7));
  REQUIRE(answer);
  CHECK(answer->outputs["shade"].as<std::uint8_t>()[0] == 7);
  CHECK(held == 8 + 8 + 100);
  rig.state->stop(Duration{0});
}

// mutant: every item of a request is given the rows of the first
TEST_CASE("S2-2 each item of a request in parts is postprocessed with its own rows, state and parameters") {
  Rig rig(
      R"("batching": {"max_items": 2}, "parameters": [{"name": "bias", "type": "f64", "default": 100}],)");
  auto const model = rig.model();
  std::vector<float> numbers;
  for (int i = 0; i < 10; ++i) numbers.push_back(static_cast<float>(i * i));
  auto const answer = model.infer({{"x", Tensor::view<float>(numbers, Shape{5, 2})}});
  REQUIRE(answer);
  CHECK(answer->outputs["sum"].shape() == Shape{5});
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(value(answer, i) == sum_of(numbers[2 * i], numbers[2 * i + 1]) + 100);
  CHECK(rig.sum.alive.load() == 0);

  std::vector<Request> requests;
  for (int i = 0; i < 30; ++i) requests.push_back(row(static_cast<float>(i), 1).set("bias", i * 1.0));
  auto const answers = model.infer_many(requests);
  for (int i = 0; i < 30; ++i)
    CHECK(value(answers[static_cast<std::size_t>(i)]) ==
          sum_of(static_cast<float>(i), 1) + static_cast<float>(i));
  CHECK(rig.sum.alive.load() == 0);
}

TEST_CASE("a processor without a first half leaves the model the inputs of the request") {
  constexpr std::string_view tensors = R"("processor": {"name": "last"},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
                      {"name": "z", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "difference", "dtype": "f32", "shape": ["items"], "from": "processor:difference"},
                {"name": "z", "dtype": "f32", "shape": ["items", 2]},
                {"name": "count", "dtype": "i64", "shape": ["items"], "from": "processor:rows"}],)";
  Rig rig("", tensors);
  auto const answer = rig.model().infer(row(3, 4));
  CHECK(value(answer) == 1);
  CHECK(answer->outputs["z"].as<float>()[1] == 8);
  CHECK(answer->outputs["count"].as<std::int64_t>()[0] == 2);
}

TEST_CASE("the rows that postprocess is given are those that the manifest names, in its order") {
  constexpr std::string_view tensors =
      R"("processor": {"name": "last", "rows": ["model:z", "model:y", "members"]},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
                      {"name": "z", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "difference", "dtype": "f32", "shape": ["items"], "from": "processor:difference"},
                {"name": "count", "dtype": "i64", "shape": ["items"], "from": "processor:rows"}],)";
  Rig rig("", tensors);
  auto const answer = rig.model().infer(row(3, 4));
  CHECK(value(answer) == 3);  // twice x, less x
  CHECK(answer->outputs["count"].as<std::int64_t>()[0] == 3);
}

// mutant: the cache keeps the rows that postprocess read
TEST_CASE("a cached answer holds what postprocess made, and is not postprocessed again") {
  Rig rig;
  auto const model = rig.model();
  auto const first = model.infer(row(1, 2));
  CHECK(first->report.cache == CacheState::miss);
  for (int i = 0; i < 3; ++i) {
    auto const again = model.infer(row(1, 2));
    CHECK(value(again) == sum_of(1, 2));
    CHECK(again->outputs.size() == 1);
    CHECK(again->report.cache == CacheState::hit);
    CHECK(again->report.postprocess == Duration{0});
  }
  CHECK(rig.sum.posts.load() == 1);
}

// mutant: postprocess runs on a worker whoever ran the model
TEST_CASE("postprocess runs on the thread of a lone caller, and on a worker for an asynchronous call") {
  Rig rig;
  auto const model = rig.model();
  REQUIRE(model.infer(row(1)));
  CHECK(rig.sum.thread.load() == std::this_thread::get_id());
  bool right = false;
  auto const accepted = model.submit(row(2, 3), {},
                                     {[](void* context, Result<Answer> answer) noexcept {
                                        *static_cast<bool*>(context) =
                                            answer && answer->outputs[0].as<float>()[0] == sum_of(2, 3);
                                      },
                                      &right});
  REQUIRE(accepted);
  rig.engine->stop(std::chrono::seconds(10));  // until no completion is inside what it was given
  CHECK(right);
  CHECK(rig.sum.thread.load() != std::this_thread::get_id());
}

// mutant: postprocess runs where the batch ended
TEST_CASE("the next batch does not wait until the answers of the one before are postprocessed") {
  SimulatedRig engine(R"("cache": false, "batching": {"max_items": 1},)",
                      {.threads = 2, .caller_runs = CallerRuns::never});
  auto const earlier = engine.control.runs.load();
  std::vector<std::uint64_t> runs_seen;
  engine.sum.before = [&] {
    while (engine.control.runs.load() < earlier + 2 && engine.world.step()) {
    }
    runs_seen.push_back(engine.control.runs.load() - earlier);
    return Result<void>();
  };
  auto const first = engine.submit(row(1));
  auto const second = engine.submit(row(2));
  engine.world.run_until_idle();
  CHECK(runs_seen == std::vector<std::uint64_t>{2, 2});
  CHECK(first->has_value());
  CHECK(second->has_value());
}

TEST_CASE("a postprocess that fails is an error of its request, and nothing that the breaker counts") {
  Rig rig(R"("cache": false,)");
  auto const model = rig.model();
  rig.sum.before = [] { return Result<void>(fail(Code::internal, Reason::backend_failure, "no sum today")); };
  for (int i = 0; i < 50; ++i) {
    auto const answer = model.infer(row(1));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().message.find("no sum today") != std::string::npos);
  }
  rig.sum.before = []() -> Result<void> { throw std::runtime_error("thrown"); };
  auto const thrown = model.infer(row(1));
  REQUIRE_FALSE(thrown);
  CHECK(thrown.error().reason == Reason::backend_failure);
  rig.sum.before = [] { return Result<void>(); };
  CHECK(value(model.infer(row(1, 2))) == sum_of(1, 2));
  CHECK(model.statistics()->batch_failures == 0);
  CHECK(rig.sum.alive.load() == 0);
}

// mutant: what postprocess makes is taken as it is
TEST_CASE("what postprocess makes is checked like what preprocess makes") {
  Rig rig(R"("cache": false,)");
  auto const model = rig.model();
  auto const of_shape = [](DType dtype, Shape const& shape) {
    auto tensor = Tensor::allocate(dtype, shape).value();
    std::fill_n(tensor.mutable_data(), tensor.size_bytes(), std::byte{0});
    return tensor;
  };
  std::vector<std::vector<Tensor>> const breaches{{},
                                                  {number(1), number(2)},
                                                  {of_shape(DType::f64, Shape{1})},
                                                  {of_shape(DType::f32, Shape{2})},
                                                  {of_shape(DType::f32, Shape{0})},
                                                  {of_shape(DType::f32, Shape{})},
                                                  {of_shape(DType::f32, Shape{1, 1})}};
  for (auto const& breach : breaches) {
    rig.sum.make = [&](float) { return breach; };
    auto const answer = model.infer(row(1));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().reason == Reason::backend_contract);
  }
  rig.sum.make = [](float) { return std::vector{number(std::numeric_limits<float>::quiet_NaN())}; };
  auto const none = model.infer(row(1));
  REQUIRE_FALSE(none);
  CHECK(none.error().reason == Reason::non_finite);
  rig.sum.make = [](float sum) { return std::vector{number(sum)}; };
  CHECK(value(model.infer(row(1, 2))) == sum_of(1, 2));
  CHECK(rig.sum.alive.load() == 0);
}

// mutant: a stop inside a processor waits for its own call
TEST_CASE("a stop inside a processor only begins, and the engine stops once no call is left") {
  SimulatedRig rig("", {.caller_runs = CallerRuns::never});
  rig.sum.before = [&] {
    CHECK(rig.state->stop(std::chrono::hours(1)) == 0);
    return Result<void>();
  };
  TimePoint const before = rig.world.now();
  auto const ticket = rig.submit(row(1));
  rig.world.run_until_idle();
  CHECK(ticket->has_value());
  CHECK(rig.state->stop(Duration{0}) == 0);  // the first one's count
  CHECK(rig.world.now() - before < std::chrono::seconds(1));
}

// mutant: items whose caller has gone are postprocessed
TEST_CASE("a call that is cancelled while its first item is postprocessed leaves the others") {
  SimulatedRig engine(R"("cache": false,)", {.caller_runs = CallerRuns::never});
  std::unique_ptr<SimulatedRig::Ticket> ticket;
  engine.sum.before = [&] {
    engine.cancel(*ticket);
    return Result<void>();
  };
  std::array<float, 6> const three{1, 1, 2, 2, 3, 3};
  ticket = engine.submit({{"x", Tensor::view<float>(three, Shape{3, 2})}});
  engine.world.run_until_idle();
  REQUIRE(ticket->done());
  CHECK(ticket->error().code == Code::cancelled);
  CHECK(engine.sum.posts.load() == 1);
}

TEST_CASE("rows that no caller waits for are not postprocessed, and what was kept of them is released") {
  SimulatedRig engine(R"("cache": false,)", {.caller_runs = CallerRuns::never});
  std::unique_ptr<SimulatedRig::Ticket> ticket;
  engine.control.on_run = [&](ath_batch const&) {
    engine.cancel(*ticket);
    return Result<void>();
  };
  ticket = engine.submit(row(1));
  engine.world.run_until_idle();
  REQUIRE(ticket->done());
  CHECK(ticket->error().code == Code::cancelled);
  CHECK(engine.sum.posts.load() == 0);
  ticket.reset();
  CHECK(engine.sum.alive.load() == 0);
  CHECK(engine.state->routes() == 0);
}

TEST_CASE("what was kept is released after a batch that fails, a deadline that passes and a stop") {
  SimulatedRig engine(R"("cache": false,)", {.caller_runs = CallerRuns::never});
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "no"));
  };
  CHECK_FALSE(engine.infer(row(1)));
  CHECK(engine.sum.alive.load() == 0);
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(std::chrono::milliseconds(20));
    return Result<void>();
  };
  auto const late = engine.infer(row(1), {.deadline = std::chrono::milliseconds(5)});
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::deadline_exceeded);
  engine.world.run_until_idle();
  CHECK(engine.sum.posts.load() == 0);
  CHECK(engine.sum.alive.load() == 0);
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  auto ticket = engine.submit(row(2));
  engine.state->stop(Duration{0});
  engine.world.run_until_idle();
  CHECK(ticket->done());
  ticket.reset();
  CHECK(engine.sum.alive.load() == 0);
}

// mutant: the cache keeps the rows that postprocess read
TEST_CASE(
    "a caller that joins gets the postprocessed answer, also when the one it joined leaves during "
    "postprocess") {
  SimulatedRig engine("", {.caller_runs = CallerRuns::never});
  auto const owner = engine.submit(row(1, 2));
  auto const waiter = engine.submit(row(1, 2));
  engine.sum.before = [&] {
    engine.cancel(*owner);
    return Result<void>();
  };
  engine.world.run_until_idle();
  REQUIRE(owner->done());
  CHECK(owner->error().code == Code::cancelled);
  REQUIRE(waiter->has_value());
  CHECK((*waiter->answer)->outputs["sum"].as<float>()[0] == sum_of(1, 2));
  CHECK(engine.sum.posts.load() == 1);
  CHECK(engine.sum.alive.load() == 0);
}

// mutant: the report does not say how long postprocess took
TEST_CASE("the report says how long postprocess took, apart from the batch") {
  SimulatedRig engine(R"("cache": false,)");
  engine.sum.before = [&] {
    engine.world.advance(std::chrono::milliseconds(3));
    return Result<void>();
  };
  auto const answer = engine.infer(row(1, 2));
  CHECK(value(answer) == sum_of(1, 2));
  CHECK(answer->report.postprocess == std::chrono::milliseconds(3));
  CHECK(answer->report.compute == Duration{0});
  auto const late = engine.infer(row(1, 2), {.deadline = std::chrono::milliseconds(2)});
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::deadline_exceeded);
  CHECK(engine.sum.alive.load() == 0);
}

// mutant: a self-test does not postprocess
TEST_CASE("a self-test compares what postprocess makes") {
  auto const tested = [](float expected) {
    return R"("self_test": [{"inputs": {"x": [[1, 2], [3, 4]]}, "outputs": {"sum": [)" +
           std::to_string(expected) + ", " + std::to_string(sum_of(3, 4)) +
           R"(]}}], "warm_up": {"batches": [1, 3]},)";
  };
  Rig right(tested(sum_of(1, 2)));
  CHECK(right.engine->load(right.folder.path()));
  Rig wrong(tested(sum_of(1, 2) + 1));
  auto const refused = wrong.engine->load(wrong.folder.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::model_load);
  CHECK(refused.error().message.find("self_test[0]: output sum: element 0: expected 10") !=
        std::string::npos);
  CHECK(wrong.sum.alive.load() == 0);
}

TEST_CASE("a manifest that gives a processor rows which it does not take, or none, is refused") {
  auto const refusal = [](std::string const& tensors) {
    Rig rig("", tensors);
    auto const model = rig.engine->add(rig.folder.path());
    REQUIRE_FALSE(model);
    CHECK(model.error().reason == Reason::manifest);
    return model.error().message;
  };
  std::string const inputs = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],)";
  std::string const outputs =
      R"("outputs": [{"name": "sum", "dtype": "f32", "shape": ["items"], "from": "processor:sum"}],)";
  CHECK(refusal(R"("processor": {"name": "sum"},)" + inputs + outputs) ==
        "posted@1.0.0: processor.rows: expected the model outputs that 'sum' reads, or model_outputs, got "
        "none");
  std::string const given = R"("model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";
  CHECK(refusal(R"("processor": {"name": "sum", "rows": ["model:z"]},)" + inputs + given + outputs)
            .find("processor.rows[0].from: expected one of the model outputs (y), got 'z'") !=
        std::string::npos);
  CHECK(refusal(R"("processor": {"name": "sum", "rows": ["processor:sum"]},)" + inputs + given + outputs)
            .find("processor.rows[0]: expected model:NAME, mean:NAME, median:NAME, std:NAME, unknown or "
                  "members; got 'processor:sum'") != std::string::npos);
  CHECK(refusal(R"("processor": {"name": "last"},)" + inputs + given +
                R"("model_inputs": [{"name": "z", "dtype": "f32", "shape": ["items", 2]}],)" + outputs)
            .find("model_inputs[0].name: expected one of the inputs (x), got 'z'") != std::string::npos);
}
