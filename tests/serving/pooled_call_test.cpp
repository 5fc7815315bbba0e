// A call is used again and again: nothing of one use is seen
// by the next. And what is told of calls is what they did.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <athanor/serving/detail/contract.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// A call that declares a name of one of its slots again hides the slot's, and the two would
// part unnoticed. Then `&Call::name` is no member of the slot, and this does not compile.
template <class Slot, class... Fields>
constexpr bool is_kept(Fields Slot::*...) {
  return true;
}
using Call = SimulatedEngine::CallType;
using CacheSlot = caching::Slot<SimulatedServing::Env, serving::StoredAnswerPointer>;
static_assert(is_kept<admission::Slot>(&Call::held_items, &Call::held_bytes, &Call::cell));
static_assert(is_kept<CacheSlot>(&Call::tag, &Call::flight_key, &Call::flight_value, &Call::refusal,
                                 &Call::cache_role, &Call::flight, &Call::next_waiter, &Call::previous_waiter,
                                 &Call::epoch, &Call::may_store));
static_assert(is_kept<breaking::Slot>(&Call::lease));
static_assert(is_kept<loading::Slot<serving::LoadedModel>>(&Call::payload, &Call::wanted, &Call::parked,
                                                           &Call::client, &Call::resume));
static_assert(is_kept<batching::Slot>(&Call::batch_key, &Call::batch_items, &Call::batch_cost,
                                      &Call::batch_deadline, &Call::alone, &Call::entered,
                                      &Call::last_instance, &Call::state, &Call::batch_failed, &Call::batched,
                                      &Call::completed, &Call::sequence, &Call::by_deadline, &Call::in_groups,
                                      &Call::group, &Call::batch_error));
static_assert(is_kept<Timer>(&Call::fire, &Call::due, &Call::filed, &Call::place));
static_assert(is_kept<CancelHook>(&Call::cancelled, &Call::linked));
// Several slots have links of these names: of a call they mean nothing.
template <class C>
concept NamesALink = requires { &C::next; } || requires { &C::previous; };
static_assert(!NamesALink<Call>);

Request rows(std::int64_t items, float first) {
  auto tensor = Tensor::allocate(DType::f32, Shape{items, 2}).value();
  auto const values = tensor.mutable_as<float>();
  std::iota(values.begin(), values.end(), first);
  return Request{{"x", std::move(tensor)}};
}

Result<void> broken(ath_batch const&) { return fail(Code::internal, Reason::backend_failure, "broken"); }

// What the sink of an engine was told: made before the engine, and told to its end.
struct Lines {
  std::vector<std::string> lines;
};

struct Told : Lines, SimulatedEngine {
  explicit Told(std::string_view manifest = "", EngineOptions options = {})
      : SimulatedEngine(manifest, with_sink(std::move(options), *this)) {}
  std::size_t count(std::string_view text) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](auto const& line) { return line.find(text) != std::string::npos; }));
  }
  ModelStatistics statistics() { return state->statistics(*served).value(); }

 private:
  static EngineOptions with_sink(EngineOptions options, Told& told) {
    options.sink = {[](void* context, Level, std::string_view message) noexcept {
                      static_cast<Told*>(context)->lines.emplace_back(message);
                    },
                    &told};
    return options;
  }
};

EngineOptions only_workers() {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  return options;
}

// Makes of a text as many numbers as it has letters.
struct LengthProcessor {
  static constexpr char const* name = "length";
  static constexpr char const* tensors =
      R"("inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],
      "processor": {"name": "length"}, "cache": false,
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)";
  std::int64_t cost = 1;
  struct Opened {
    LengthProcessor& processor;
    static constexpr std::array<Port, 1> ports{{{"x", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      auto const length = static_cast<std::int64_t>(item.input(0).text_at(0).size());
      auto tensor = Tensor::allocate(DType::f32, Shape{1, length}).value();
      std::ranges::fill(tensor.mutable_as<float>(), static_cast<float>(length));
      Preprocessed made;
      made.tensors.push_back(std::move(tensor));
      made.cost = processor.cost;
      return made;
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{*this});
  }
};

}  // namespace

// mutant: a call from the pool has no inputs, because it had none
TEST_CASE("a call whose inputs were taken back is used again for one that has its own") {
  SimulatedEngine engine("", only_workers());
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  std::array<float, 2> const values{1, 2};
  Request const lent{{"x", Tensor::view<float>(values, Shape{1, 2})}};
  auto* const call = engine.state->make_call(*engine.served, lent, {}, engine.world.now()).value();
  engine.control.on_run = [&](ath_batch const&) {
    engine.state->abandon(*call, SimulatedEngine::State::taken_back(*call));
    engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
    return Result<void>();
  };
  engine.state->start(*call);
  engine.state->wait(*call);
  CHECK(engine.state->collect(*call).error().code == Code::cancelled);
  engine.world.run_until_idle();
  for (float value = 5; value < 8; ++value)
    CHECK(engine.infer(row(value)).value().outputs["y"].as<float>()[0] == value + 1);
}

// mutant: a call from the pool has made its outputs, because it had
TEST_CASE("a request of several batches after another one gets outputs of its own size") {
  SimulatedEngine engine(R"("batching": {"max_items": 2},)");
  for (std::int64_t const items : {5, 7, 4, 9}) {
    auto const answer =
        engine.infer(rows(items, static_cast<float>(100 * items)), {.cache = CacheMode::skip});
    REQUIRE(answer);
    auto const y = answer->outputs["y"].as<float>();
    REQUIRE(y.size() == static_cast<std::size_t>(2 * items));
    for (std::size_t i = 0; i < y.size(); ++i)
      REQUIRE(y[i] == static_cast<float>(100 * items) + static_cast<float>(i) + 1);
  }
}

// mutant: a call from the pool has begun, because it had
TEST_CASE("a call that never ran says so, whatever the one before it did") {
  SimulatedEngine engine(R"("batching": {"max_items": 1},)", only_workers());
  {
    auto const one = engine.submit(row(0));
    auto const other = engine.submit(row(1));  // both calls of the pool have run
    engine.world.run_until_idle();
    REQUIRE(one->has_value());
    REQUIRE(other->has_value());
  }
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(20ms);
    engine.world.step_now();
    return Result<void>();
  };
  auto const first = engine.submit(row(2));
  auto const second = engine.submit(row(3), {.deadline = 10ms});
  engine.world.run_until_idle();
  REQUIRE_FALSE(second->has_value());
  CHECK(second->error().reason == Reason::deadline_waiting);
  CHECK(second->error().message.find("had not begun") != std::string::npos);
}

// mutant: a call from the pool owns a flight, because it did
TEST_CASE("a call past the cache stores nothing, although the one before it did") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(1)));
  REQUIRE(engine.infer(row(2), {.cache = CacheMode::skip}));
  CHECK(engine.infer(row(2), {.cache = CacheMode::only_if_cached}).error().reason == Reason::not_cached);
  CHECK(engine.infer(row(1), {.cache = CacheMode::only_if_cached}));
  CHECK(engine.state->cache().statistics().not_stored == 0);  // it did not even try
}

// mutant: a call from the pool has lost a part, because it had
// mutant: a part that is gone is not remembered
TEST_CASE("the answer of a call that left between two attempts of its batch is not kept") {
  SimulatedEngine engine(R"("batching": {"max_items": 4},)", only_workers());
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  std::array<std::array<float, 2>, 4> values{};
  std::vector<Request> lent;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = {static_cast<float>(10 * i), 1};
    lent.push_back({{"x", Tensor::view<float>(values[i], Shape{1, 2})}});
  }
  std::vector<SimulatedEngine::CallType*> calls;
  bool whole = false;
  engine.control.on_run = [&](ath_batch const& batch) -> Result<void> {
    if (batch.items < 4) return {};
    whole = true;
    engine.state->abandon(*calls[0], SimulatedEngine::State::taken_back(*calls[0]));
    return broken(batch);
  };
  for (Request const& request : lent) {
    calls.push_back(engine.state->make_call(*engine.served, request, {}, engine.world.now()).value());
    engine.state->start(*calls.back());
  }
  for (auto* const call : calls) {
    engine.state->wait(*call);
    CHECK(engine.state->collect(*call).has_value() == (call != calls[0]));
  }
  engine.world.run_until_idle();
  CHECK(whole);
  CHECK(engine.infer(lent[0], {.cache = CacheMode::only_if_cached}).error().reason == Reason::not_cached);
  // The calls of the pool are used again, together.
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float value = 50; value < 53; ++value) tickets.push_back(engine.submit(row(value)));
  tickets.push_back(engine.submit(row(0)));
  engine.world.run_until_idle();
  for (auto const& ticket : tickets) CHECK(ticket->has_value());
}

// mutant: a call from the pool is still the probe that it was
TEST_CASE("a call that was a probe shares its batch when it is used again") {
  SimulatedEngine engine(R"("batching": {"max_items": 4},)", only_workers());
  engine.control.on_run = broken;
  for (float i = 10; engine.served->breaker().state() == breaking::State::closed; ++i)
    REQUIRE_FALSE(engine.infer(row(i)));
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  engine.world.advance(10s);
  for (float i = 30; engine.served->breaker().state() != breaking::State::closed; ++i)
    REQUIRE(engine.infer(row(i)));
  auto const before = engine.control.runs.load();
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float i = 50; i < 54; ++i) tickets.push_back(engine.submit(row(i)));
  engine.world.run_until_idle();
  for (auto const& ticket : tickets) CHECK(ticket->has_value());
  CHECK(engine.control.runs.load() == before + 1);
}

// mutant: a refusal before the call is made is not counted
// mutant: a call that fails with an exception keeps what it held
TEST_CASE("refused calls are counted and hold nothing") {
  Told engine("", {.max_items = 4});
  Cancellation cancellation;
  cancellation.cancel();
  for (int i = 0; i < 10; ++i)
    CHECK(engine.infer(rows(3, 1), {.cancellation = &cancellation}).error().code == Code::cancelled);
  CHECK(engine.infer(rows(5, 1)).error().reason == Reason::too_large);
  {
    admission::Slot other;
    REQUIRE(engine.state->gate().admit_caller(other, 4, 1, engine.world.now()));
    CHECK(engine.infer(row(1)).error().reason == Reason::queue_full);
    engine.state->gate().release_quota(other);
  }
  CHECK(engine.state->gate().statistics().held_items == 0);
  CHECK(engine.infer(rows(4, 1)));
  engine.state->stop(Duration{0});
  CHECK(engine.infer(row(1)).error().reason == Reason::stopping);
  auto const seen = engine.statistics();
  CHECK(seen.requests_with(Code::cancelled) == 10);
  CHECK(seen.requests_with(Code::resource_exhausted) == 2);
  CHECK(seen.requests_with(Code::unavailable) == 1);
  CHECK(seen.requests_with(Code::ok) == 1);
}

// mutant: a call from inside its own model is not counted
TEST_CASE("a call from inside its own model is counted as refused") {
  Told engine;
  Model<SimulatedServing> const model(engine.state, *engine.served);
  REQUIRE(model.load());
  engine.control.on_run = [&](ath_batch const&) {
    CHECK(model.infer(row(2)).error().reason == Reason::reentrant);
    return Result<void>();
  };
  REQUIRE(model.infer(row(1)));
  CHECK(model.statistics()->requests_with(Code::failed_precondition) == 1);
}

// mutant: a model with an open breaker is ready
// mutant: an engine with an open breaker is ready
TEST_CASE("a model whose breaker is open is not ready, and neither is its engine") {
  Told engine;
  REQUIRE(engine.infer(row(1)));
  CHECK(engine.state->health().ready);
  engine.control.on_run = broken;
  for (float i = 10; engine.served->breaker().state() == breaking::State::closed; ++i)
    REQUIRE_FALSE(engine.infer(row(i)));
  auto const health = engine.state->health();
  CHECK_FALSE(health.ready);
  CHECK(health.reason == "puppet@1.0.0: circuit breaker open");
  REQUIRE(health.models.size() == 1);
  CHECK_FALSE(health.models[0].ready);
  CHECK(health.models[0].breaker == "open");
  CHECK(health.models[0].state == "ready");
}

// mutant: an event for every batch tells of the breaker
TEST_CASE("the sink is told once of each change of a model and its breaker") {
  Told engine;
  REQUIRE(engine.infer(row(1)));
  CHECK(engine.count("model_loaded model=puppet version=1.0.0") == 1);
  CHECK(engine.count("breaker") == 0);
  engine.control.on_run = broken;
  for (float i = 10; i < 30; ++i) CHECK_FALSE(engine.infer(row(i)));
  CHECK(engine.count("breaker_opened model=puppet version=1.0.0") == 1);
  CHECK(engine.count("breaker_closed") == 0);
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  engine.world.advance(10s);
  for (float i = 30; i < 50; ++i) CHECK(engine.infer(row(i)));
  CHECK(engine.count("breaker_opened") == 1);
  CHECK(engine.count("breaker_closed model=puppet version=1.0.0") == 1);
  engine.state->loader().unload(engine.served->load_record());
  engine.world.run_until_idle();
  CHECK(engine.count("model_unloaded model=puppet version=1.0.0") == 1);
  engine.state->stop(Duration{0});
  CHECK(engine.count("engine_stopping") == 1);
}

// mutant: a batch with a culprit counts as one that failed
// mutant: joined calls are not counted
TEST_CASE("joined calls are counted, and batches that fail wholly, but not those with a culprit") {
  Told engine(R"("batching": {"max_items": 4},)", only_workers());
  engine.control.on_run = [](ath_batch const& batch) -> Result<void> {
    auto const* const x = static_cast<float const*>(batch.inputs[0].data);
    for (std::int64_t i = 0; i < 2 * batch.items; ++i)
      if (x[i] == 666) return broken(batch);
    return {};
  };
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float const value : {1.0F, 1.0F, 666.0F, 2.0F}) tickets.push_back(engine.submit(row(value)));
  engine.world.run_until_idle();
  CHECK_FALSE(tickets[2]->has_value());
  auto seen = engine.statistics();
  CHECK(seen.requests_with(Code::ok) == 3);
  CHECK(seen.cache_joined == 1);
  CHECK(seen.batch_failures == 0);
  auto const alone = engine.submit(row(666));
  engine.world.run_until_idle();
  seen = engine.statistics();
  CHECK(seen.batch_failures == 1);
  CHECK(engine.state->metrics_text().find(
            "athanor_cache_joined_total{model=\"puppet\",version=\"1.0.0\"} 1\n") != std::string::npos);
}

// mutant: a bare name means the lowest version
// mutant: a stopped engine takes models
TEST_CASE("a bare name means the newest version, and a stopped engine takes no further one") {
  SimulatedEngine engine;
  std::vector<std::string> const versions{"1.10.0", "1.9.0", "1.10.0-rc.1"};
  for (auto const& version : versions) {
    ModelFolder const folder("", "puppet", version);
    REQUIRE(engine.state->add(folder.path()));
  }
  CHECK(engine.state->find("puppet").value()->description().id == "puppet@1.10.0");
  CHECK(engine.state->find("puppet@1.9.0").value()->description().id == "puppet@1.9.0");
  engine.state->stop(Duration{0});
  ModelFolder const late("", "puppet", "2.0.0");
  auto const refused = engine.state->add(late.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::stopping);
}

// mutant: items of unlike shapes go into one batch
TEST_CASE(
    "items of a processor whose shapes cannot share a batch are rejected by name, and no other call fails") {
  LengthProcessor processor;
  ath_processor_table const table = make_table(processor);
  SimulatedEngine engine("", only_workers());
  REQUIRE(engine.state->add_processor(table));
  ModelFolder const folder("", "lengths", "1.0.0", LengthProcessor::tensors);
  engine.served = engine.state->add(folder.path()).value().get();
  auto const texts = [](std::vector<std::string_view> const& given) {
    return Request{{"text", Tensor::copy_texts(given).value()}};
  };
  auto const first = engine.submit(texts({"a"}));
  engine.world.run_until_idle();
  REQUIRE(first->has_value());
  auto const before = engine.control.runs.load();
  auto const mixed = engine.submit(texts({"abc", "abc", "ab"}));
  auto const alike = engine.submit(texts({"abc", "xyz"}));
  auto const other = engine.submit(texts({"ab"}));
  engine.world.run_until_idle();
  REQUIRE_FALSE(mixed->has_value());
  CHECK(mixed->error().code == Code::invalid_argument);
  CHECK(mixed->error().reason == Reason::shape);
  CHECK(
      mixed->error().message ==
      "lengths@1.0.0: item 2: expected the shapes of item 0 beyond axis 0; send it as a request of its own");
  REQUIRE(alike->has_value());
  CHECK(alike->y(5) == 4);
  REQUIRE(other->has_value());
  CHECK(other->y(1) == 3);
  CHECK(engine.control.runs.load() == before + 2);
}

// mutant: the costs of many dear items wrap
TEST_CASE("an item costs at most what still adds up when the engine is full of such items") {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t many = std::numeric_limits<std::int32_t>::max();
  for (std::int64_t const max_items : {std::int64_t{1024}, many}) {
    LengthProcessor processor{.cost = serving::most_cost};
    ath_processor_table const table = make_table(processor);
    auto options = only_workers();
    options.max_items = max_items;
    SimulatedEngine engine("", options);
    REQUIRE(engine.state->add_processor(table));
    ModelFolder const folder("", "lengths", "1.0.0", LengthProcessor::tensors);
    engine.served = engine.state->add(folder.path()).value().get();
    auto const dear =
        engine.submit({{"text", Tensor::copy_texts(std::array<std::string_view, 2>{"a", "b"}).value()}});
    engine.world.run_until_idle();
    CHECK(dear->has_value());
    CHECK(dear->call->batch_cost == 2 * std::min(serving::most_cost, most / max_items));
  }
}
