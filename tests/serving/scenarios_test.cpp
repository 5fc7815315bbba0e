// The scenarios of docs/scenarios.md that the engine as a whole must hold, in simulated time.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

constexpr char const* two_outputs = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}, {"name": "twice", "dtype": "f32", "shape": ["items", 2]}],)";

Result<void> fail_on_poison(ath_batch const& batch) {
  auto const* x = static_cast<float const*>(batch.inputs[0].data);
  for (std::int64_t i = 0; i < 2 * batch.items; ++i)
    if (x[i] == 666) return fail(Code::internal, Reason::backend_failure, "the model met 666");
  return {};
}

}  // namespace

// mutant: a model that failed has answered
TEST_CASE("S0-1 a prediction that cannot be computed is a typed error and never a number") {
  SimulatedEngine engine;
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "no weights"));
  };
  auto ticket = engine.submit(row(1));
  engine.world.run_until_idle();
  REQUIRE(ticket->done());
  CHECK_FALSE(ticket->has_value());
  CHECK(ticket->error().code == Code::internal);
  CHECK(ticket->error().reason == Reason::backend_failure);
  CHECK(ticket->error().message.find("no weights") != std::string::npos);
}

// mutant: a failed batch is not run again in pieces
TEST_CASE(
    "S0-3 bad items at the ends and in the middle spoil nobody else, and every result stays in its place") {
  SimulatedEngine engine(R"("batching": {"max_items": 16},)");
  engine.control.on_run = fail_on_poison;
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (int i = 0; i < 9; ++i)
    tickets.push_back(engine.submit(
        row(i == 0 || i == 4 || i == 8 ? 666 : static_cast<float>(i), static_cast<float>(10 * i))));
  engine.world.run_until_idle();
  for (int i = 0; i < 9; ++i) {
    auto const& ticket = *tickets[static_cast<std::size_t>(i)];
    REQUIRE(ticket.done());
    bool const bad = i % 4 == 0;
    CHECK(ticket.has_value() == !bad);
    if (!bad) CHECK(ticket.y() == static_cast<float>(i) + 1);
    if (!bad) CHECK(ticket.y(1) == static_cast<float>(10 * i) + 1);
  }
}

// mutant: outputs come in the order of the signature
TEST_CASE("S0-4 the order in which outputs are asked for changes no value, cached or not") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder("", "two", "1.0.0", two_outputs);
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  std::array<std::string_view, 2> const forward{"y", "twice"};
  std::array<std::string_view, 2> const backward{"twice", "y"};
  for (CacheMode const mode : {CacheMode::skip, CacheMode::use, CacheMode::use}) {
    auto const a = model.infer(row(3), {.cache = mode, .outputs = forward}).value();
    auto const b = model.infer(row(3), {.cache = mode, .outputs = backward}).value();
    CHECK(a.outputs[0].as<float>()[0] == 4);
    CHECK(a.outputs[1].as<float>()[0] == 6);
    CHECK(b.outputs[0].as<float>()[0] == 6);
    CHECK(b.outputs[1].as<float>()[0] == 4);
    CHECK(a.outputs["twice"].as<float>()[0] == b.outputs["twice"].as<float>()[0]);
  }
}

// mutant: unknown outputs are left out of the answer
TEST_CASE("S0-5 asking a model of one output for four is an error that names the missing three") {
  SimulatedEngine engine;
  std::array<std::string_view, 4> const wanted{"y", "melting", "density", "modulus"};
  auto const answer = engine.infer(row(1), {.outputs = wanted});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::output_missing);
  CHECK(answer.error().message.find("melting, density, modulus") != std::string::npos);
  CHECK(engine.state->routes() == 0);
}

// mutant: a copy of a tensor shares its memory
TEST_CASE("S0-13 what one caller does with a cached answer is not seen by the next") {
  SimulatedEngine engine;
  auto first = engine.infer(row(5)).value();
  auto copy = first.outputs["y"].clone().value();
  copy.mutable_data()[0] = std::byte{0xff};
  auto const second = engine.infer(row(5)).value();
  CHECK(second.report.cache == CacheState::hit);
  CHECK(second.outputs["y"].as<float>()[0] == 6);
  static_assert(std::is_same_v<decltype(second.outputs["y"]), Tensor const&>);
}

// mutant: an engine whose model failed to load is ready
TEST_CASE("S0-11 without a usable model an engine is not ready, and says why") {
  SimulatedEngine engine;
  engine.control.on_load = [](std::string_view) {
    return Result<void>(fail(Code::internal, Reason::model_load, "truncated"));
  };
  CHECK_FALSE(engine.infer(row(1)));
  auto const health = engine.state->health();
  CHECK(health.live);
  CHECK_FALSE(health.ready);
  CHECK(health.reason.find("truncated") != std::string::npos);
  CHECK(to_json(health).find("truncated") != std::string::npos);
}

// mutant: a hit is counted twice
// mutant: a failed call is counted as answered
TEST_CASE("S0-12 the metrics are what the callers have counted themselves") {
  SimulatedEngine engine;
  engine.control.on_run = fail_on_poison;
  int ok = 0;
  int hits = 0;
  int failed = 0;
  for (int i = 0; i < 40; ++i) {
    auto const answer = engine.infer(row(i % 10 == 7 ? 666 : static_cast<float>(i % 5)));
    ok += answer ? 1 : 0;
    failed += answer ? 0 : 1;
    hits += answer && answer->report.cache == CacheState::hit ? 1 : 0;
  }
  CHECK_FALSE(engine.infer(Request{}));
  auto const text = engine.state->metrics_text();
  auto const says = [&](std::string const& line) { return text.find(line + "\n") != std::string::npos; };
  std::string const labels = R"({model="puppet",version="1.0.0")";
  CHECK(says(fmt::format("athanor_requests_total{},outcome=\"ok\"}} {}", labels, ok)));
  CHECK(says(fmt::format("athanor_requests_total{},outcome=\"internal\"}} {}", labels, failed)));
  CHECK(says(fmt::format("athanor_requests_total{},outcome=\"invalid_argument\"}} 1", labels)));
  CHECK(says(fmt::format("athanor_cache_hits_total{}}} {}", labels, hits)));
  CHECK(hits == 31);
}

// mutant: there are no metrics while a call is in flight
TEST_CASE("S0-14 metrics and health are read while a model runs, and take none of its time") {
  SimulatedEngine engine;
  std::string read;
  engine.control.on_run = [&](ath_batch const&) {
    TimePoint const before = engine.world.now();
    read = engine.state->metrics_text() + to_json(engine.state->health());
    CHECK(engine.world.now() == before);
    return Result<void>();
  };
  auto const answer = engine.infer(row(1));
  REQUIRE(answer);
  CHECK(answer->report.compute == 0ns);
  CHECK(read.find("athanor_requests_total") != std::string::npos);
}

// mutant: submit runs an idle model before it returns
TEST_CASE("S4-1 a prediction blocks nothing else: calls are accepted, and health is read, while it runs") {
  SimulatedEngine engine("", {.threads = 2});
  std::unique_ptr<SimulatedEngine::Ticket> second;
  engine.control.on_run = [&](ath_batch const&) {
    if (second != nullptr) return Result<void>{};
    second = engine.submit(row(2));
    CHECK_FALSE(second->done());
    CHECK(engine.state->health().live);
    CHECK(engine.state->metrics_text().find("athanor_busy_instances{model=\"puppet\",version=\"1.0.0\"} 1") !=
          std::string::npos);
    return Result<void>{};
  };
  auto const first = engine.submit(row(1));
  engine.world.run_until_idle();
  CHECK(first->y() == 2);
  CHECK(second->y() == 3);
}

// mutant: every output is the first that the model gives
TEST_CASE("S1-5 all outputs of an answer come from one run, and one that the model does not give is absent") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder("", "two", "1.0.0", two_outputs);
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto const answer = engine.load(folder.path()).value().infer(row(3)).value();
  CHECK(puppet.control.runs.load() == 1);
  CHECK(answer.outputs["y"].as<float>()[0] == 4);
  CHECK(answer.outputs["twice"].as<float>()[0] == 6);
  CHECK(answer.outputs.find("confidence") == nullptr);
}

// mutant: an empty output without memory is refused
TEST_CASE("S2-13 an answer without elements is a success, unlike a model that did not answer") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder("", "found", "1.0.0",
                           R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)");
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto const model = engine.load(folder.path()).value();
  Request const nothing{{"x", Tensor::allocate(DType::f32, {1, 0}).value()}};
  auto const answer = model.infer(nothing).value();
  CHECK(answer.outputs["y"].shape() == Shape{1, 0});
  CHECK(model.infer(nothing)->report.cache == CacheState::hit);
  puppet.control.on_run = [](ath_batch const&) {
    return fail(Code::internal, Reason::backend_failure, "it broke");
  };
  CHECK(model.infer(nothing, {.cache = CacheMode::skip}).error().reason == Reason::backend_failure);
}

// mutant: a failed model is tried again before its time
TEST_CASE(
    "S0-16 fifty callers of a model that cannot be loaded cause one load, and the failure is remembered") {
  SimulatedEngine engine;
  engine.control.on_load = [](std::string_view) {
    return Result<void>(fail(Code::internal, Reason::model_load, "truncated"));
  };
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (int i = 0; i < 50; ++i) tickets.push_back(engine.submit(row(static_cast<float>(i))));
  engine.world.run_until_idle();
  for (auto const& ticket : tickets) {
    REQUIRE(ticket->done());
    CHECK(ticket->error().reason == Reason::model_load);
  }
  CHECK(engine.control.loads.load() == 1);
  auto const soon = engine.infer(row(99));
  REQUIRE_FALSE(soon);
  CHECK(soon.error().retry_after > 0ns);
  CHECK(engine.control.loads.load() == 1);
  engine.world.advance(5min);
  engine.control.on_load = [](std::string_view) { return Result<void>(); };
  CHECK(engine.infer(row(99)).has_value());
  CHECK(engine.control.loads.load() == 2);
}

// mutant: a lane has one instance more than its model
TEST_CASE("S1-4 a model of one instance is never entered twice at once, one of three is entered threefold") {
  for (int const instances : {1, 3}) {
    SimulatedEngine engine(fmt::format(R"("batching": {{"max_items": 1, "instances": {}}},)", instances),
                           {.threads = 8});
    REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
    int depth = 0;
    engine.control.on_run = [&](ath_batch const&) {
      // Others act while this batch runs.
      if (++depth < 6) engine.world.step_now();
      --depth;
      return Result<void>();
    };
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (int i = 0; i < 12; ++i) tickets.push_back(engine.submit(row(static_cast<float>(i))));
    engine.world.run_until_idle();
    for (auto const& ticket : tickets) CHECK(ticket->has_value());
    CHECK(engine.control.most_inside.load() == instances);
  }
}

// mutant: the rows of an output are not counted
TEST_CASE("S1-10 a model that returns fewer rows than items is an error, not a shorter answer") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(9)));  // the load tries the model, too
  engine.control.rows_too_many = -1;
  auto tensor = Tensor::allocate(DType::f32, Shape{3, 2}).value();
  std::memset(tensor.mutable_data(), 0, tensor.size_bytes());
  auto const answer = engine.infer(Request{{"x", std::move(tensor)}});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::backend_contract);
  CHECK(answer.error().message.find("expected 3 rows, the backend returned 2") != std::string::npos);
}

// mutant: a hold begins anew with every look
TEST_CASE("S3-1 a request alone on a model that holds batches is answered after the hold and its run") {
  SimulatedEngine engine(R"("batching": {"max_items": 8, "policy": "size_or_delay", "max_delay_us": 500},)");
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  TimePoint const start = engine.world.now();
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(2ms);
    return Result<void>();
  };
  auto const answer = engine.infer(row(1)).value();
  CHECK(engine.world.now() - start == 2500us);
  CHECK(answer.report.queue == 500us);
  CHECK(answer.report.compute == 2ms);
}

// mutant: a policy dispatches more than a batch holds
TEST_CASE("S3-2 batches never exceed their limit counted in items, whatever the requests carry") {
  SimulatedEngine engine(R"("batching": {"max_items": 4},)", {.cache_bytes = 0});
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (std::int64_t items = 1; items <= 11; ++items) {
    auto tensor = Tensor::allocate(DType::f32, Shape{items, 2}).value();
    auto const values = tensor.mutable_as<float>();
    std::iota(values.begin(), values.end(), static_cast<float>(100 * items));
    tickets.push_back(engine.submit(Request{{"x", std::move(tensor)}}));
  }
  engine.world.run_until_idle();
  CHECK(engine.control.largest_batch.load() == 4);
  for (std::int64_t items = 1; items <= 11; ++items) {
    auto const& ticket = *tickets[static_cast<std::size_t>(items - 1)];
    REQUIRE(ticket.has_value());
    for (std::int64_t i = 0; i < 2 * items; ++i)
      REQUIRE(ticket.y(static_cast<std::size_t>(i)) == static_cast<float>(100 * items + i + 1));
  }
}

// mutant: all requests have one batch key
TEST_CASE("S3-3 requests that differ in more than their rows are not executed as one") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder("", "wide", "1.0.0",
                           R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
                              "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)");
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  std::vector<Request> requests;
  for (std::int64_t width : {1, 2, 3, 2, 1}) {
    auto tensor = Tensor::allocate(DType::f32, Shape{1, width}).value();
    auto const values = tensor.mutable_as<float>();
    std::iota(values.begin(), values.end(), static_cast<float>(width * 10));
    requests.push_back(Request{{"x", std::move(tensor)}});
  }
  auto const answers = model.infer_many(requests, {.cache = CacheMode::skip});
  REQUIRE(answers.size() == 5);
  std::size_t place = 0;
  for (std::int64_t width : {1, 2, 3, 2, 1}) {
    REQUIRE(answers[place]);
    CHECK(answers[place]->outputs["y"].shape() == Shape{1, width});
    CHECK(answers[place]->outputs["y"].as<float>()[0] == static_cast<float>(width * 10 + 1));
    CHECK(answers[place]->report.attempts == 1);  // nothing had to be taken apart
    ++place;
  }
}

// mutant: the rows of an output are not counted
TEST_CASE("S3-4 a backend that returns more or fewer results than items fails every caller of the batch") {
  for (std::int64_t const off : {-1, 1}) {
    SimulatedEngine engine(R"("batching": {"max_items": 8},)");
    REQUIRE(engine.infer(row(9)));  // the load tries the model, too
    engine.control.rows_too_many = off;
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (int i = 0; i < 5; ++i) tickets.push_back(engine.submit(row(static_cast<float>(i))));
    engine.world.run_until_idle();
    for (auto const& ticket : tickets) {
      REQUIRE(ticket->done());
      CHECK(ticket->error().reason == Reason::backend_contract);
      CHECK(ticket->error().message.find("rows, the backend returned") != std::string::npos);
    }
  }
}

// mutant: a failed batch is not run again in pieces
TEST_CASE("S3-5 of thirty-two requests with one poison thirty-one succeed and one fails") {
  SimulatedEngine engine(R"("batching": {"max_items": 32},)");
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  engine.control.on_run = fail_on_poison;
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (int i = 0; i < 32; ++i) tickets.push_back(engine.submit(row(i == 19 ? 666 : static_cast<float>(i))));
  engine.world.run_until_idle();
  auto const good = std::ranges::count_if(tickets, [](auto const& ticket) { return ticket->has_value(); });
  CHECK(good == 31);
  CHECK_FALSE(tickets[19]->has_value());
  CHECK(engine.served->breaker().state() == breaking::State::closed);
}

// mutant: a waiter goes on as if the work were its own
TEST_CASE(
    "S3-7 ten equal misses compute once, and when that fails each of them gets the error and nothing is "
    "stored") {
  SimulatedEngine engine;
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (int i = 0; i < 10; ++i) tickets.push_back(engine.submit(row(7)));
  engine.world.run_until_idle();
  CHECK(engine.control.runs.load() == 1);
  for (auto const& ticket : tickets) CHECK(ticket->y() == 8);
  CHECK(std::ranges::count_if(tickets, [](auto const& ticket) {
          return ticket->answer->value().report.cache == CacheState::joined;
        }) == 9);

  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "no"));
  };
  tickets.clear();
  for (int i = 0; i < 10; ++i) tickets.push_back(engine.submit(row(8)));
  engine.world.run_until_idle();
  for (auto const& ticket : tickets) CHECK(ticket->error().reason == Reason::backend_failure);
  CHECK(engine.state->cache().statistics().entries == 1);
}

// mutant: an owner who leaves takes the work from those who wait
TEST_CASE("S3-6 the caller whose request carries the work leaves, and the others still get their answer") {
  SimulatedEngine engine;
  auto owner = engine.submit(row(7));
  auto waiter = engine.submit(row(7));
  auto other = engine.submit(row(7));
  engine.cancel(*owner);
  REQUIRE(owner->done());
  CHECK(owner->error().code == Code::cancelled);
  engine.cancel(*other);
  engine.world.run_until_idle();
  REQUIRE(waiter->has_value());
  CHECK(waiter->y() == 8);
  CHECK(engine.control.runs.load() == 1);
}

// mutant: every batch is a success to the breaker
TEST_CASE("S3-11 outcomes of calls from before the breaker opened do not close it") {
  SimulatedEngine engine("", {.cache_bytes = 0});
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "down"));
  };
  for (int i = 0; i < 5; ++i) CHECK_FALSE(engine.infer(row(static_cast<float>(i))));
  CHECK(engine.served->breaker().state() == breaking::State::open);
  auto const refused = engine.infer(row(1));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::breaker_open);
  CHECK(refused.error().retry_after > 0ns);
  auto const stale = breaking::Lease{0, 0, -1, true};
  for (int i = 0; i < 100; ++i)
    engine.served->breaker().record(stale, breaking::Outcome::success, engine.world.now());
  CHECK(engine.served->breaker().state() == breaking::State::open);
  engine.world.advance(10s);
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  for (int i = 0; i < 10; ++i) CHECK(engine.infer(row(static_cast<float>(i))));
  CHECK(engine.served->breaker().state() == breaking::State::closed);
}

namespace {

/// Opens the model's breaker by failures, mends the model, and lets the open time pass.
void make_half_open(SimulatedEngine& engine) {
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "down"));
  };
  for (int i = 0; i < 5; ++i) CHECK_FALSE(engine.infer(row(static_cast<float>(i))));
  REQUIRE(engine.served->breaker().state() == breaking::State::open);
  engine.control.on_run = [](ath_batch const&) { return Result<void>(); };
  engine.world.advance(1s);
}

}  // namespace

// mutant: the lease of a probe runs while its model loads
TEST_CASE("S3-10 a probe that waits 40 s for its model is answered, and the breaker does not open again") {
  SimulatedEngine engine("", {.cache_bytes = 0});
  make_half_open(engine);
  engine.state->loader().unload(engine.served->load_record());
  engine.control.on_load = [&](std::string_view) {
    engine.world.advance(40s);
    return Result<void>();
  };
  auto const probe = engine.submit(row(1), {.deadline = 100s});
  auto const other = engine.submit(row(2), {.deadline = 100s});
  engine.world.run_until_idle();
  REQUIRE(probe->has_value());
  REQUIRE(other->has_value());
  auto const statistics = engine.served->breaker().statistics();
  CHECK(statistics.opened == 1);
  CHECK(statistics.expired_probes == 0);
  CHECK(statistics.stale == 0);
  CHECK(statistics.successes == 2);
  CHECK(statistics.probes_out == 0);
}

// mutant: a probe that never ran keeps its place
TEST_CASE("S3-10 probes that are cancelled before they run leave their places to others") {
  SimulatedEngine engine("", {.cache_bytes = 0});
  make_half_open(engine);
  for (int round = 0; round < 5; ++round) {
    auto const probe = engine.submit(row(1));
    CHECK(engine.served->breaker().statistics().probes_out == 1);
    engine.cancel(*probe);
    engine.world.run_until_idle();
    CHECK(probe->error().code == Code::cancelled);
    CHECK(engine.served->breaker().statistics().probes_out == 0);
  }
  auto const late = engine.submit(row(1));
  engine.world.run_until_idle();
  CHECK(late->has_value());
}

// mutant: of those who wait for a load only the first goes on
TEST_CASE("S3-14 twenty concurrent first calls load the model once, and a failed load reaches all twenty") {
  for (bool const fails : {false, true}) {
    SimulatedEngine engine;
    engine.control.on_load = [&](std::string_view) {
      return fails ? Result<void>(fail(Code::data_loss, Reason::model_load, "short file")) : Result<void>();
    };
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (int i = 0; i < 20; ++i) tickets.push_back(engine.submit(row(static_cast<float>(i))));
    engine.world.run_until_idle();
    CHECK(engine.control.loads.load() == 1);
    for (auto const& ticket : tickets) {
      REQUIRE(ticket->done());
      CHECK(ticket->has_value() == !fails);
    }
  }
}

// mutant: an asynchronous call has no timer
// mutant: a call whose deadline has passed is let in
TEST_CASE(
    "S3-17 a queued call is answered at its deadline without another dequeue, and a deadline of zero or "
    "less has passed") {
  SimulatedEngine engine("", {.cache_bytes = 0});
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  for (Duration const passed : {Duration{0}, Duration{-1}, Duration::min()}) {
    auto const now = engine.infer(row(1), {.deadline = passed});
    REQUIRE_FALSE(now);
    CHECK(now.error().code == Code::deadline_exceeded);
  }

  std::unique_ptr<SimulatedEngine::Ticket> late;
  TimePoint answered_at{};
  engine.control.on_run = [&](ath_batch const&) {
    if (late != nullptr) return Result<void>();
    late = engine.submit(row(2), {.deadline = 3ms});
    while (!late->done() && engine.world.step()) {
    }
    answered_at = engine.world.now();
    engine.world.advance(2s);
    return Result<void>();
  };
  TimePoint const start = engine.world.now();
  auto const slow = engine.submit(row(1));
  engine.world.run_until_idle();
  CHECK(slow->has_value());
  REQUIRE(late->done());
  CHECK(late->error().code == Code::deadline_exceeded);
  CHECK(answered_at - start == 3ms);
  CHECK(engine.control.runs.load() == 1);
}

// mutant: a call from the pool keeps the report of the one before
TEST_CASE("S4-4 a cached answer says that it is cached and reports its own time") {
  SimulatedEngine engine;
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(40ms);
    return Result<void>();
  };
  CHECK(engine.infer(row(1)).value().report.total >= 40ms);  // and its call is in the pool again
  auto const cached = engine.infer(row(1)).value();
  CHECK(cached.report.cache == CacheState::hit);
  CHECK(cached.report.total < 1ms);
  CHECK(cached.report.compute == 0ns);
}

// mutant: the shape of a tensor is not hashed
TEST_CASE(
    "S4-5 equal bytes under another shape or model version are another key; borrowed or owned is the same "
    "one") {
  SimulatedEngine engine("", {}, 1, {},
                         R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
                            "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)");
  std::array<float, 4> const values{1, 2, 3, 4};
  auto const tall = engine.infer(Request{{"x", Tensor::view<float>(values, Shape{2, 2})}}).value();
  CHECK(tall.report.cache == CacheState::miss);
  auto const owned = Tensor::view<float>(values, Shape{2, 2}).clone().value();
  CHECK(engine.infer(Request{{"x", owned}}).value().report.cache == CacheState::hit);
  auto const flat = engine.infer(Request{{"x", Tensor::view<float>(values, Shape{1, 4})}}).value();
  CHECK(flat.report.cache == CacheState::miss);
  CHECK(flat.outputs["y"].shape() == Shape{1, 4});

  ModelFolder const next("", "puppet", "1.0.1");
  auto* newer = engine.state->add(next.path()).value().get();
  CHECK(newer->description().content != engine.served->description().content);
}

// mutant: the digest of a model file is not compared
TEST_CASE(
    "S4-9 a model file that is not what its manifest promises is refused, and another version keeps "
    "serving") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(1)));
  ModelFolder const next("", "puppet", "2.0.0");
  next.write("model.bin", "weight");
  auto* newer = engine.state->add(next.path()).value().get();
  auto const loaded = engine.state->loader().load(newer->load_record(), 1s);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Code::data_loss);
  CHECK(loaded.error().reason == Reason::digest);
  CHECK(engine.infer(row(2)).value().outputs["y"].as<float>()[0] == 3);
}
