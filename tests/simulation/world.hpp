// One seeded schedule over the real engine and a puppet: callers come, wait, leave; the puppet is slow,
// fails, lies; the engine stops at any step. Everything that must hold is checked by the actors themselves.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

namespace athanor_tests {

struct SimulatedServing : DefaultServing {
  using Env = SimulatedEnv;
};

using SimulatedEngineState = serving::EngineState<SimulatedServing>;
using SimulatedCall = serving::Call<SimulatedServing>;

// What one schedule saw, for the test to add up.
struct Tally {
  std::uint64_t calls = 0;
  std::uint64_t values = 0;
  std::uint64_t refusals = 0;
  std::uint64_t errors = 0;
  std::uint64_t trace = 0;  // hash over the order of events: equal for equal seeds
};

class World {
 public:
  World(std::uint64_t seed, std::string const& folder) : simulation_(seed) {
    control_.on_run = [this](ath_batch const& batch) { return behave(batch); };
    EngineOptions options;
    options.threads = 1 + simulation_.below(3);
    options.max_items = 4 + static_cast<std::int64_t>(simulation_.below(40));
    options.cache_bytes = simulation_.below(2) == 0 ? 0 : 4096;
    options.breaker = simulation_.below(2) == 0;
    options.caller_runs = simulation_.below(3) == 0 ? CallerRuns::never : CallerRuns::when_idle;
    faults_ = simulation_.below(4);
    state_ = std::make_shared<SimulatedEngineState>(options);
    [[maybe_unused]] bool const added = state_->add_backend(table_).has_value();
    model_ = state_->add(folder).value();
  }
  World(World const&) = delete;
  World& operator=(World const&) = delete;

  // Runs the schedule to its end. The text says what did not hold; empty when all did.
  std::string run(std::size_t actions) {
    for (std::size_t i = 0; i < actions && wrong_.empty(); ++i) act();
    if (simulation_.below(3) == 0) state_->stop(Duration(simulation_.below(3'000'000)));
    for (int rounds = 0; rounds < 10'000 && (simulation_.step() || !blocking_.empty() || !groups_.empty());
         ++rounds) {
      visit_callers();
      if (rounds % 16 == 15) simulation_.advance(std::chrono::milliseconds(1));
    }
    state_->stop(std::chrono::milliseconds(5));
    visit_callers();
    check_end();
    return wrong_;
  }
  Tally const& tally() const { return tally_; }

 private:
  struct Pending {
    World* world;
    float value;
    std::uint32_t items;
    TimePoint deadline;
    int answers = 0;
    bool accepted = false;
    SimulatedCall* call = nullptr;  // of an asynchronous call whose submitter kept its handle
  };
  static constexpr float poison = 666;

  void note(std::uint64_t what) { tally_.trace = (tally_.trace ^ what) * 0x100000001b3ULL; }
  void wrong(std::string text) {
    if (wrong_.empty()) wrong_ = std::move(text);
  }

  // The backend: other actors go on while it runs, time passes, and it fails in every way that backends do.
  Result<void> behave(ath_batch const& batch) {
    if (control_.most_inside.load() > 2) wrong("more batches at once than instances");
    if (batch.items > 4) wrong("a batch above its limit");
    for (std::uint64_t steps = simulation_.below(4); steps > 0; --steps) {
      simulation_.advance(Duration(simulation_.below(400'000)));
      if (depth_ < 3) {
        ++depth_;
        simulation_.below(2) == 0 ? static_cast<void>(simulation_.step_now()) : act();
        --depth_;
      }
    }
    control_.rows_too_many.store(faults_ == 3 && simulation_.below(12) == 0 ? -1 : 0);
    auto const* x = static_cast<float const*>(batch.inputs[0].data);
    for (std::int64_t i = 0; i < 2 * batch.items; ++i)
      if (x[i] == poison) return fail(Code::internal, Reason::backend_failure, "poison");
    if (faults_ == 0) return {};
    if (simulation_.below(12) == 0) return fail(Code::internal, Reason::backend_failure, "a passing failure");
    if (simulation_.below(24) == 0) return fail(Code::resource_exhausted, Reason::out_of_memory, "no memory");
    if (simulation_.below(24) == 0) throw std::runtime_error("thrown");
    return {};
  }

  Request make_request(float value, std::uint32_t items) const {
    auto tensor = Tensor::allocate(DType::f32, Shape{items, 2}).value();
    auto* values = reinterpret_cast<float*>(tensor.mutable_data());
    for (std::uint32_t i = 0; i < 2 * items; ++i) values[i] = value + static_cast<float>(i);
    return Request{{"x", std::move(tensor)}};
  }

  void act() {
    switch (simulation_.below(13)) {
      case 0:
      case 1:
      case 2: begin_blocking(); break;
      case 3:
      case 4:
      case 5: begin_asynchronous(); break;
      case 6: cancel_some(); break;
      case 7: simulation_.advance(Duration(simulation_.below(2'000'000))); break;
      case 8:
        if (simulation_.below(8) == 0) state_->loader().unload(model_->load_record());
        break;
      case 9: visit_callers(); break;
      case 10: begin_group(); break;
      default: simulation_.step_now(); break;
    }
  }

  void choose(float& value, std::uint32_t& items, CallOptions& options) {
    bool const poisoned = simulation_.below(24) == 0;
    value = poisoned ? poison : static_cast<float>(simulation_.below(6) * 100);
    items = 1 + static_cast<std::uint32_t>(simulation_.below(4) == 0 ? simulation_.below(9) : 0);
    if (simulation_.below(3) != 0) options.deadline = Duration(simulation_.below(3'000'000));
    if (simulation_.below(4) == 0) options.cache = static_cast<CacheMode>(simulation_.below(4));
    ++tally_.calls;
  }

  void begin_blocking() {
    float value = 0;
    std::uint32_t items = 0;
    CallOptions options;
    choose(value, items, options);
    requests_.push_back(std::make_unique<Request>(make_request(value, items)));
    auto call = state_->make_call(*model_, *requests_.back(), options, simulation_.now());
    if (!call) {
      ++tally_.refusals;
      return;
    }
    state_->start(**call);
    blocking_.push_back({*call, value, items});
  }

  // What infer_many does until it parks.
  void begin_group() {
    Group group;
    TimePoint const now = simulation_.now();
    CallOptions options;
    if (simulation_.below(3) != 0) options.deadline = Duration(simulation_.below(3'000'000));
    for (std::uint64_t left = 1 + simulation_.below(6); left > 0; --left) {
      float value = 0;
      std::uint32_t items = 0;
      CallOptions of_this;
      choose(value, items, of_this);
      of_this.deadline = options.deadline;
      requests_.push_back(std::make_unique<Request>(make_request(value, items)));
      auto call = state_->make_call(*model_, *requests_.back(), of_this, now);
      if (call) {
        group.calls.push_back(*call);
        group.expected.push_back({*call, value, items});
      } else {
        ++tally_.refusals;
      }
    }
    if (group.calls.empty()) return;
    state_->start_group(group.calls);
    groups_.push_back(std::move(group));
  }

  void begin_asynchronous() {
    float value = 0;
    std::uint32_t items = 0;
    CallOptions options;
    choose(value, items, options);
    pending_.push_back(std::make_unique<Pending>(
        Pending{this, value, items, after(simulation_.now(), options.deadline.value_or(Duration{0}))}));
    Pending& pending = *pending_.back();
    inside_submit_ = true;
    auto call = state_->submit(*model_, make_request(value, items), options, {&on_answer, &pending});
    inside_submit_ = false;
    if (!call) {
      ++tally_.refusals;
      if (pending.answers != 0) wrong("a refused call was answered as well");
      return;
    }
    pending.accepted = true;
    if (simulation_.below(2) == 0) {
      pending.call = *call;
    } else {
      (*call)->unref();
    }
  }

  static void on_answer(void* context, Result<Answer> answer) noexcept {
    auto& pending = *static_cast<Pending*>(context);
    if (pending.world->inside_submit_) pending.world->wrong("completed inside submit");
    if (++pending.answers > 1) pending.world->wrong("answered twice");
    pending.world->judge(answer, pending.value, pending.items, pending.deadline);
  }

  void judge(Result<Answer> const& answer, float value, std::uint32_t items, TimePoint deadline) {
    if (!answer) {
      if (answer.error().code == Code::deadline_exceeded && simulation_.now() < deadline)
        wrong("a deadline that had not passed");
      ++tally_.errors;
      note(static_cast<std::uint64_t>(answer.error().reason));
      if (answer.error().message.empty()) wrong("an error without a sentence");
      return;
    }
    ++tally_.values;
    note(1000 + items);
    auto const& y = answer->outputs["y"];
    if (y.shape() != Shape{items, 2}) return wrong("an answer of another shape");
    for (std::uint32_t i = 0; i < 2 * items; ++i)
      if (y.as<float>()[i] != value + static_cast<float>(i) + 1) return wrong("somebody else's answer");
    if (value == poison) wrong("a value for the poison");
  }

  void cancel_some() {
    if (pending_.empty()) return;
    Pending& pending = *pending_[simulation_.below(pending_.size())];
    if (pending.call == nullptr) return;
    auto* call = std::exchange(pending.call, nullptr);
    state_->abandon(*call, SimulatedEngineState::taken_back(*call));
    // Its completion has run, or a worker has it.
    if ((call->word.load() & serving::call_bits::claimed) == 0)
      wrong("a call that was taken back has no answer");
    call->unref();
  }

  // What a parked thread does when it wakes.
  void visit_callers() {
    for (std::size_t i = 0; i < blocking_.size();) {
      auto [call, value, items] = blocking_[i];
      if ((call->word.load() & serving::call_bits::answered) == 0 && simulation_.now() >= call->deadline)
        state_->abandon(*call, SimulatedEngineState::late(*call));
      if ((call->word.load() & serving::call_bits::answered) == 0) {
        ++i;
        continue;
      }
      blocking_.erase(blocking_.begin() + static_cast<std::ptrdiff_t>(i));
      TimePoint const deadline = call->deadline;
      judge(state_->collect(*call), value, items, deadline);
    }
    for (std::size_t i = 0; i < groups_.size();) {
      SimulatedCall& leader = *groups_[i].calls.front();
      if (simulation_.now() >= leader.deadline)
        for (auto* call : groups_[i].calls) state_->abandon(*call, SimulatedEngineState::late(*call));
      if ((leader.word.load() & serving::call_bits::gathered) == 0) {
        ++i;
        continue;
      }
      Group const group = std::move(groups_[i]);
      groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
      for (auto const& [call, value, items] : group.expected) {
        TimePoint const deadline = call->deadline;
        judge(state_->collect(*call), value, items, deadline);
      }
    }
  }

  void check_end() {
    if (!blocking_.empty() || !groups_.empty()) wrong("a blocking caller without an answer");
    for (auto const& pending : pending_) {
      if (pending->accepted && pending->answers != 1) wrong("an accepted call without an answer");
      if (pending->call != nullptr) pending->call->unref();
    }
    if (state_->routes() != 0) wrong("calls are still on their way");
    if (state_->gate().statistics().held_items != 0 || state_->gate().statistics().held_bytes != 0)
      wrong("the gate still holds something");
    state_->cache().clear();
    auto const cache = state_->cache().statistics();
    if (cache.flights != 0 || cache.waiters != 0) wrong("the cache still has flights");
    if (cache.bytes != 0 || cache.entries != 0) wrong("the cache's budget does not add up");
    auto const lane = model_->lane().snapshot();
    if (lane.queued_items != 0 || lane.busy_instances != 0) wrong("the lane still holds something");
    if (state_->loader().status(model_->load_record()).pins != 0) wrong("the model is still pinned");
    if (control_.inside.load() != 0) wrong("the backend was left inside");
  }

  struct Blocking {
    SimulatedCall* call;
    float value;
    std::uint32_t items;
  };
  struct Group {
    std::vector<SimulatedCall*> calls;
    std::vector<Blocking> expected;
  };

  Simulation simulation_;
  PuppetControl control_;
  PuppetBackend backend_{control_};
  ath_backend_table table_ = make_table(backend_);
  std::uint64_t faults_ = 0;
  int depth_ = 0;
  bool inside_submit_ = false;
  std::string wrong_;
  Tally tally_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<std::unique_ptr<Pending>> pending_;
  std::vector<Blocking> blocking_;
  std::vector<Group> groups_;
  std::shared_ptr<SimulatedEngineState> state_;
  serving::ServedModel<SimulatedServing>* model_ = nullptr;
};

}  // namespace athanor_tests
