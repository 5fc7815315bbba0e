// A lack of memory in the middle of a call is an error of that call, and nothing stays behind.
#include <support/thread_memory.hpp>

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include <athanor/serving/jobs.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;

// mutant: an exception of a batch ends the program
// mutant: a lack of memory for an answer to be shared ends the program
TEST_CASE("each allocation of a call may fail: the call ends with that error and gives everything back") {
  int errors = 0;
  for (std::size_t allocation = 1;; ++allocation) {
    SimulatedEngine engine(R"("batching": {"max_items": 4},)");
    REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
    std::vector<Request> requests;
    for (float value = 0; value < 6; ++value) requests.push_back(row(value));
    Model<SimulatedServing> const model(engine.state, *engine.served);
    auto& memory = thread_memory();
    memory.failed = false;
    memory.fails_at = allocation;
    try {
      for (Request const& request : requests) {
        auto const answer = model.infer(request);
        if (answer) continue;
        ++errors;
        bool const of_backend = answer.error().reason == Reason::backend_failure;
        CHECK((of_backend || answer.error().reason == Reason::out_of_memory));
      }
      for (auto const& answer : model.infer_many(requests, {.cache = CacheMode::skip}))
        errors += answer ? 0 : 1;
    } catch (std::bad_alloc const&) {
      ++errors;
    }
    memory.fails_at = 0;
    CHECK(engine.state->routes() == 0);
    CHECK(engine.state->gate().statistics().held_items == 0);
    for (Request const& request : requests) CHECK(model.infer(request));
    if (!memory.failed) break;
  }
  CHECK(errors > 0);
}

TEST_CASE("each allocation of a job's submit may fail: no job is left that never ends") {
  auto& memory = thread_memory();
  int kept = 0;
  for (std::size_t allocation = 1;; ++allocation) {
    SimulatedEngine engine("", {.threads = 2, .caller_runs = CallerRuns::never});
    Model<SimulatedServing> const model(engine.state, *engine.served);
    auto jobs = Jobs<SimulatedServing>::create().value();
    Request request = row(1);
    memory.failed = false;
    memory.fails_at = allocation;
    try {
      static_cast<void>(jobs.submit("a", model, std::move(request)));
    } catch (std::bad_alloc const&) {
      CHECK(jobs.size() == 0);
    }
    memory.fails_at = 0;
    engine.world.run_until_idle();
    auto const status = jobs.status("a");
    kept += status ? 1 : 0;
    CHECK((!status || status->state != JobState::pending));
    CHECK(engine.state->routes() == 0);
    if (!memory.failed) break;
  }
  CHECK(kept > 0);
}

// mutant: a call that finds no memory at the loader ends the program
TEST_CASE("each allocation of a call that is refused, or of a load, may fail: an error says so") {
  auto& memory = thread_memory();
  int errors = 0;
  bool failed = true;
  for (std::size_t allocation = 1; failed; ++allocation) {
    SimulatedEngine engine;
    Model<SimulatedServing> const model(engine.state, *engine.served);
    Request const request = row(1);
    auto const ended = [&](auto const& result) { errors += result ? 0 : 1; };
    auto const try_it = [&](auto const& call) {
      memory.failed = false;
      memory.fails_at = allocation;
      try {
        ended(call());
      } catch (std::bad_alloc const&) {
        ++errors;
      }
      memory.fails_at = 0;
      failed = failed || memory.failed;
    };
    failed = false;
    try_it([&] { return model.infer(request, {.cache = CacheMode::only_if_cached}); });
    try_it([&] { return model.infer(request, {.deadline = Duration{0}}); });
    try_it([&] { return model.load(); });
    CHECK(engine.state->routes() == 0);
    engine.world.advance(std::chrono::minutes(2));  // a load that failed is tried again
    CHECK(model.infer(request));
  }
  CHECK(errors > 4);
}

// mutant: a load that finds no memory for what it evicts ends the program
TEST_CASE("each allocation of a load that evicts another model may fail: an error says so") {
  auto& memory = thread_memory();
  int errors = 0;
  bool failed = true;
  for (std::size_t allocation = 1; failed; ++allocation) {
    SimulatedEngine engine("", {.model_bytes = 1500});
    ModelFolder const folder("", "other");
    auto const other = engine.state->add(folder.path()).value();
    REQUIRE(engine.infer(row(1)));
    failed = false;
    // The first is known to need the other's memory once it has been loaded, the second from the start.
    for (auto* const evicting : {other.get(), engine.served}) {
      Model<SimulatedServing> const model(engine.state, *evicting);
      memory.failed = false;
      memory.fails_at = allocation;
      try {
        errors += model.load() ? 0 : 1;
      } catch (std::bad_alloc const&) {
        ++errors;
      }
      memory.fails_at = 0;
      failed = failed || memory.failed;
      engine.world.advance(std::chrono::minutes(2));  // a load that failed is tried again
      CHECK(model.infer(row(2)));
    }
  }
  CHECK(errors > 10);
}

// mutant: a stop needs memory for its error
// mutant: a lane that refuses needs memory for a copy of the error
TEST_CASE("a stop needs no memory: every call is answered, of removed models too") {
  for (bool const loaded : {false, true})
    for (bool const removed : {false, true}) {
      CAPTURE(loaded);
      CAPTURE(removed);
      SimulatedEngine engine(R"("batching": {"max_items": 1},)");
      auto const handle = engine.state->handle_of(*engine.served);
      if (loaded) REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
      std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
      for (float i = 0; i < 5; ++i) tickets.push_back(engine.submit(row(i)));
      if (removed) REQUIRE(engine.state->remove(handle->description().id));
      thread_memory().exhausted = true;
      std::size_t const abandoned = engine.state->stop(Duration{0});
      thread_memory().exhausted = false;
      CHECK(abandoned == 0);
      for (auto const& ticket : tickets) {
        REQUIRE(ticket->done());
        CHECK_FALSE(ticket->has_value());
        CHECK(ticket->error().reason == Reason::stopping);
      }
      CHECK(engine.state->routes() == 0);
    }
}

// mutant: a removal makes a handle before it asks for memory
TEST_CASE("each allocation of a removal may fail: the model stays registered") {
  auto& memory = thread_memory();
  int failures = 0;
  for (std::size_t allocation = 1;; ++allocation) {
    SimulatedEngine engine;
    memory.failed = false;
    memory.fails_at = allocation;
    bool removed = false;
    try {
      removed = engine.state->remove(engine.served->description().id).has_value();
    } catch (std::bad_alloc const&) {
      ++failures;
    }
    memory.fails_at = 0;
    CHECK(engine.state->find("puppet").has_value() == !removed);
    engine.world.run_until_idle();
    if (!memory.failed) break;
  }
  CHECK(failures > 2);
}

// mutant: a lane that refuses needs memory for a copy of the error
TEST_CASE("each allocation of a stop may fail: every call is answered") {
  auto& memory = thread_memory();
  memory.failed = true;
  for (std::size_t allocation = 1; memory.failed; ++allocation) {
    SimulatedEngine engine(R"("batching": {"max_items": 1},)");
    REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (float i = 0; i < 3; ++i) tickets.push_back(engine.submit(row(i)));
    memory.failed = false;
    memory.fails_at = allocation;
    std::size_t const abandoned = engine.state->stop(Duration{0});
    memory.fails_at = 0;
    CHECK(abandoned == 0);
    for (auto const& ticket : tickets) {
      REQUIRE(ticket->done());
      CHECK(ticket->error().reason == Reason::stopping);
    }
  }
}

// mutant: without memory for a copy, work goes on with the inputs of a caller that left
TEST_CASE("without memory for a copy of its inputs, the work of a caller that leaves is given up") {
  using namespace std::chrono_literals;
  SimulatedEngine engine(R"("batching": {"policy": "size_or_delay", "max_delay_us": 50000},)");
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  std::vector<float> values{1, 2};
  auto const borrowed = [&] { return Request{{"x", Tensor::view<float>(values, Shape{1, 2})}}; };
  auto const owner = engine.submit(borrowed());
  auto const waiter = engine.submit(borrowed());
  thread_memory().exhausted = true;
  engine.cancel(*owner);
  thread_memory().exhausted = false;
  engine.world.run_until_idle();
  REQUIRE(owner->done());
  CHECK(owner->error().code == Code::cancelled);
  REQUIRE(waiter->done());
  CHECK_FALSE(waiter->has_value());
  CHECK(engine.state->routes() == 0);
}

namespace {

// Gives the model its numbers, and the answer a text that no small string holds.
struct LabelProcessor {
  static constexpr char const* name = "label";
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"x", DType::f32}, {"label", DType::bytes}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      constexpr std::array<std::string_view, 1> label{"a text that is longer than a small string"};
      return Preprocessed{{item.input(0).clone().value(), Tensor::copy_texts(label).value()}, 1, {}};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};

}  // namespace

// mutant: a lack of memory for the texts of a processor ends the program
TEST_CASE("each allocation of a call with texts of its processor may fail: the call ends with that error") {
  auto& memory = thread_memory();
  LabelProcessor labels;
  ath_processor_table const table = make_table(labels);
  ModelFolder const folder("", "labels", "1.0.0", R"("processor": {"name": "label"},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
                {"name": "label", "dtype": "bytes", "shape": ["items"], "from": "processor:label"}],)");
  int errors = 0;
  memory.failed = true;
  for (std::size_t allocation = 1; memory.failed; ++allocation) {
    SimulatedEngine engine;
    REQUIRE(engine.state->add_processor(table));
    engine.served = engine.state->add(folder.path()).value().get();
    REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
    Request const request = row(1);
    memory.failed = false;
    memory.fails_at = allocation;
    try {
      errors += engine.infer(request, {.cache = CacheMode::skip}) ? 0 : 1;
    } catch (std::bad_alloc const&) {
      ++errors;
    }
    memory.fails_at = 0;
    CHECK(engine.state->routes() == 0);
    CHECK(engine.infer(request));
  }
  CHECK(errors > 4);
}

#endif
