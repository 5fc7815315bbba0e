#include <simulation/stream_world.hpp>

#include <algorithm>
#include <new>
#include <span>

namespace athanor_tests {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t most_callers = 6;
constexpr std::uint64_t most_turns = 300'000;

// What is drawn beforehand, apart from the turns.
std::uint64_t draw_below(std::uint64_t& state, std::uint64_t bound) {
  state ^= state << 13U;
  state ^= state >> 7U;
  state ^= state << 17U;
  return state % bound;
}

Turns draw_turns(std::uint64_t& state) {
  if (draw_below(state, 3) == 0) return {.order = Turns::Order::priorities, .changes = 3, .length = 1500};
  return {.order = Turns::Order::random, .switch_one_in = draw_below(state, 2) == 0 ? 3U : 0U};
}

}  // namespace

StreamWorld::StreamWorld(std::uint64_t seed, StepFolders const& folders)
    : drawn_(seed * 0x9e3779b97f4a7c15ULL + 1), world_(seed, draw_turns(drawn_)), folders_(folders) {
  world_.give_each_actor(thread_memory().fails_at);
  EngineOptions options;
  options.threads = 1 + draw_below(drawn_, 3);
  options.default_deadline = usual_deadline;
  options.breaker = breaks_ = draw_below(drawn_, 4) == 0;
  fails_one_in_ = draw_below(drawn_, 2) == 0 ? 0 : 4 + draw_below(drawn_, 20);
  slow_one_in_ = draw_below(drawn_, 2) == 0 ? 0 : 2 + draw_below(drawn_, 6);
  memory_fails_ = draw_below(drawn_, 4) == 0;
  state_ = std::make_shared<State>(options);
  state_->executor().keep_alive_with(state_);
  if (!state_->add_backend(backend_table_) || !state_->add_processor(processor_table_))
    wrong("a table was refused");
  add({static_cast<StepKind>(draw_below(drawn_, step_kinds)), draw_below(drawn_, 3) == 0, 0});
  jobs_.emplace(Jobs<SimulatedServing>::create().value());
}

std::string StreamWorld::play(StreamTotals& totals) {
  std::uint64_t const callers = 2 + draw_below(drawn_, most_callers - 1);
  for (std::uint64_t i = 0; i < callers; ++i) world_.spawn([this] { call_some(); });
  if (draw_below(drawn_, 3) == 0) world_.spawn([this] { unload_some(); });
  if (draw_below(drawn_, 3) == 0) world_.spawn([this] { replace_some(); });
  if (draw_below(drawn_, 4) == 0) world_.spawn([this] { stop(); });
  if (draw_below(drawn_, 6) == 0) world_.spawn([this] { leap_some(); });
  if (draw_below(drawn_, 8) == 0) world_.spawn([this] { fork_some(); });
  if (draw_below(drawn_, 16) == 0) world_.spawn([this] { refuse_threads_some(); });
  do {
    while (wrong_.empty() && world_.step_now())
      if (world_.steps() > most_turns) wrong("the run does not end");
    if (inside_ == 0) quiet_since_ = tick();
  } while (wrong_.empty() && world_.step());
  if (stuck()) wrong("an actor waits for what never comes");
  if (!wrong_.empty()) return wrong_;
  finish();
  for (Call const& call : calls_) {
    totals.parts += static_cast<std::uint64_t>(call.read);
    totals.whole += call.read == call.wish.steps() ? 1U : 0U;
  }
  totals.calls += calls_.size();
  totals.shared += shared_;
  totals.replacements += added_.size() - 1;
  return wrong_;
}

void StreamWorld::finish() {
  for (Call const& call : calls_) require(call.until != 0, "every call ends", call);
  if (state_->routes() != 0) wrong("calls are still on their way");
  for (Added const& added : added_)
    if (added.served != nullptr) compare(added);
  world_.spawn([this] { static_cast<void>(state_->stop(0ms)); });
  world_.run_until_idle();
  jobs_.reset();
  for (Added& added : added_) added.served.reset();
  state_.reset();
  world_.run_until_idle();
  if (loads_ != 0) wrong("models were loaded and not freed");
}

// What the engine counted is what happened.
void StreamWorld::compare(Added const& added) {
  auto const counted = state_->statistics(*added.served).value();
  auto const differs = [&](char const* what, std::uint64_t engine, std::uint64_t happened) {
    wrong(id_of(added.model) + ": " + what + ": the engine counts " + std::to_string(engine) +
          ", and there were " + std::to_string(happened));
  };
  std::uint64_t calls = 0;
  for (auto const of_code : counted.requests) calls += of_code;
  std::uint64_t const answered = counted.requests_with(Code::ok);
  if (calls > added.calls || calls + added.maybe < added.calls) differs("calls", calls, added.calls);
  if (answered < added.answered || answered > added.answered + added.unseen)
    differs("answers", answered, added.answered);
  if (counted.sequences != 0) differs("places that are taken", counted.sequences, 0);
  if (counted.queued_items != 0) differs("queued items", counted.queued_items, 0);
  if (counted.busy_instances != 0) differs("busy instances", counted.busy_instances, 0);
  if (counted.positions != added.positions) differs("positions", counted.positions, added.positions);
  if (counted.padding != added.padding) differs("padding", counted.padding, added.padding);
}

StreamWorld::Added& StreamWorld::add(StepModel const& model) {
  Added& added = added_.emplace_back(Added{.model = model, .served = {}});
  auto served = state_->add(folders_.folder(model));
  if (served) {
    added.served = std::move(*served);
  } else if (served.error().reason != Reason::stopping || !stopping_) {
    wrong("a model was refused: " + to_string(served.error()));
  }
  return added;
}

// The newest model mostly, but also one that was removed and whose handle somebody has kept.
StreamWorld::Added& StreamWorld::choose() {
  if (world_.below(4) == 0)
    if (Added& old = added_[world_.below(added_.size())]; old.served != nullptr) return old;
  return *std::ranges::find_if(added_.rbegin(), added_.rend(),
                               [](Added const& added) { return added.served != nullptr; });
}

// The backend.

Wish const* StreamWorld::wish(StepModel const& model, std::uint32_t mark) {
  if (mark == 0 || mark > calls_.size()) return nullptr;
  Call const& call = call_of(mark);
  return call.added.model == model ? &call.wish : nullptr;
}

StepEnd StreamWorld::run(StepModel const& model, std::vector<std::uint32_t> const& marks,
                         std::vector<StepState> const& found) {
  notice_memory();
  if (marks.size() > static_cast<std::size_t>(most_stepped)) wrong("a batch above its limit");
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (wish(model, marks[i]) == nullptr)
      return {.result = fail(Code::internal, Reason::backend_failure, "not a row")};
    Call& call = call_of(marks[i]);
    ++call.runs;
    // What a step left is not kept where memory lacked for the rest of its batch's work.
    bool const undone = !model.held && memory_failed_ > call.stepped && found[i] == call.before;
    require(found[i] == call.state || undone,
            "a step begins with the state that the one before left, of its own call", call);
    call.state = call.before = found[i];
    require(call.state.steps < call.wish.steps(), "no step comes after the last", call);
    require(call.until == 0 || call.abandoned, "no step comes after the end", call);
    // A reader that has taken a part may not have noted it yet.
    require(!call.streamed || call.until != 0 || call.state.steps - call.read <= 4 + 1,
            "at most four parts wait for the reader", call);
    require(&call.added == &call_of(marks[0]).added, "a batch is of one model", call);
    if (model.kind != StepKind::padded) continue;
    call.added.positions += static_cast<std::uint64_t>(call.wish.length);
    call.added.padding += static_cast<std::uint64_t>((call.wish.length <= 3 ? 3 : 6) - call.wish.length);
  }
  Added& added = call_of(marks[0]).added;
  ++added.runs;
  shared_ += marks.size() > 1 ? 1U : 0U;
  ++inside_;
  if (slow_one_in_ != 0 && world_.below(slow_one_in_) == 0)
    world_.sleep(std::chrono::milliseconds(1 + world_.below(10)));
  --inside_;
  StepEnd end{.memory = next_failure()};
  if (fails_one_in_ == 0 || world_.below(fails_one_in_) != 0) return end;
  ++added.failed_runs;
  for (std::uint32_t const mark : marks) ++call_of(mark).faults;
  end.one_row_more = world_.below(4) == 0;
  if (!end.one_row_more) end.result = fail(Code::internal, Reason::backend_failure, "a fault");
  return end;
}

void StreamWorld::stepped(std::vector<std::uint32_t> const& marks) {
  for (std::uint32_t const mark : marks) {
    Call& call = call_of(mark);
    call.state = {call.state.steps + 1, call.state.sum + addend_of(call.added.model, call.wish)};
    call.stepped = tick();
  }
}

// Actors.

std::size_t StreamWorld::next_failure() {
  return memory_fails_ && world_.below(4) == 0 ? 1 + world_.below(16) : 0;
}

void StreamWorld::dawdle(std::uint64_t one_in) {
  if (world_.below(one_in) == 0) world_.sleep(std::chrono::milliseconds(world_.below(12)));
}

StreamWorld::Call& StreamWorld::new_call(Added& added, std::uint64_t group) {
  Wish wish;
  wish.mark = static_cast<std::uint32_t>(calls_.size() + 1);
  wish.until = static_cast<std::int64_t>(1 + world_.below(most_steps));
  if (world_.below(3) == 0) wish.most = static_cast<std::int64_t>(1 + world_.below(most_steps));
  wish.gain = static_cast<std::uint32_t>(1 + world_.below(3));
  wish.mode = static_cast<std::uint32_t>(world_.below(4) == 0 ? 1 + world_.below(2) : 0);
  wish.seed = static_cast<std::uint32_t>(world_.below(3));
  wish.length = static_cast<std::int64_t>(2 + world_.below(4));
  Call& call = calls_.emplace_back(Call{.world = *this,
                                        .added = added,
                                        .wish = wish,
                                        .group = group,
                                        .began = world_.now(),
                                        .deadline = {},
                                        .from = tick(),
                                        .quiet = quiet_since_});
  if (world_.below(3) == 0) call.deadline = std::chrono::milliseconds(1 + world_.below(30));
  ++added.calls;
  return call;
}

CallOptions StreamWorld::options_of(Call const& call) {
  CallOptions options;
  if (call.deadline) options.deadline = *call.deadline;
  return options;
}

void StreamWorld::call_some() {
  for (std::uint64_t calls = 1 + world_.below(3); calls > 0; --calls) {
    dawdle(3);
    Added& added = choose();
    switch (world_.below(9)) {
      case 0: infer(added); break;
      case 1: infer_many(added); break;
      case 2: submit(added); break;
      case 3: run_job(added); break;
      case 4: call_back(added); break;
      case 5: await(added); break;
      default: read(added); break;
    }
  }
}

template <class Body>
auto StreamWorld::call_engine(Call& call, Body body) -> std::optional<decltype(body())> {
  try {
    FailingMemory const failing(next_failure());
    return body();
  } catch (std::bad_alloc const&) {
    call_throws(call);
    return std::nullopt;
  }
}

void StreamWorld::infer(Added& added) {
  Handle const model(added.served);
  Call& call = new_call(added);
  Request const request = request_of(call);
  auto const answer = call_engine(call, [&] { return model.infer(request, options_of(call)); });
  if (answer) answer_comes(call, *answer);
}

// More of them than there are places.
void StreamWorld::infer_many(Added& added) {
  Handle const model(added.served);
  std::uint64_t const group = ++groups_;
  std::vector<Call*> calls;
  std::vector<Request> requests;
  for (std::uint64_t i = 2 + world_.below(5); i > 0; --i) {
    calls.push_back(&new_call(added, group));
    calls.back()->deadline = calls.front()->deadline;
    requests.push_back(request_of(*calls.back()));
  }
  auto const answers =
      call_engine(*calls.front(), [&] { return model.infer_many(requests, options_of(*calls.front())); });
  if (!answers)
    return std::for_each(calls.begin() + 1, calls.end(), [this](Call* call) { call_throws(*call); }), void();
  if (answers->size() != calls.size()) return wrong("infer_many gave another number of results");
  for (std::size_t i = 0; i < calls.size(); ++i) answer_comes(*calls[i], (*answers)[i]);
}

void StreamWorld::submit(Added& added) {
  Handle const model(added.served);
  Call& call = new_call(added);
  auto submission = call_engine(call, [&, request = request_of(call)]() mutable {
    return model.submit(std::move(request), options_of(call), callback<&Call::on_answer>(&call));
  });
  if (!submission) return;
  if (!*submission) return refused(call, submission->error());
  if (world_.below(4) != 0) return;
  dawdle(2);
  call.cancel_asked = true;
  (*submission)->cancel();
}

void StreamWorld::run_job(Added& added) {
  Handle const model(added.served);
  Call& call = new_call(added);
  std::string const key = "job " + std::to_string(call.wish.mark);
  auto const begun = call_engine(call, [&, request = request_of(call)]() mutable {
    return jobs_->submit(key, model, std::move(request), options_of(call));
  });
  if (!begun) return;
  if (!*begun) return refused(call, begun->error());
  require(**begun, "there is one job of a key", call);
  auto const status = jobs_->wait(key, 1h);
  require(status && status->outcome != nullptr, "who waits for a job is given its outcome", call);
  if (status && status->outcome != nullptr) answer_comes(call, *status->outcome);
}

std::shared_ptr<StreamWorld::Parts> StreamWorld::open(Added& added, Call& call) {
  call.streamed = true;
  auto opened = call_engine(call, [&, request = request_of(call)]() mutable {
    return Handle(added.served).stream(std::move(request), options_of(call));
  });
  if (!opened) return nullptr;
  if (*opened) return std::make_shared<Parts>(std::move(**opened));
  refused(call, opened->error());
  return nullptr;
}

void StreamWorld::cancel_later(Call& call, std::shared_ptr<Parts> const& stream) {
  if (world_.below(5) != 0) return;
  world_.spawn([this, stream, &call] {
    dawdle(2);
    call.cancel_asked = true;
    stream->cancel();
  });
}

void StreamWorld::read(Added& added) {
  Call& call = new_call(added);
  auto const stream = open(added, call);
  if (stream == nullptr) return;
  std::int64_t const leaves_after =
      world_.below(4) == 0 ? static_cast<std::int64_t>(world_.below(5)) : most_steps + 1;
  cancel_later(call, stream);
  while (call.read < leaves_after) {
    auto const part = call_engine(call, [&] { return stream->next(); });
    if (!*part) break;
    part_comes(call, **part);
    dawdle(3);
  }
  if (call.read >= leaves_after) {
    leaves(call);
    return stream->cancel();
  }
  require(!stream->next(), "a stream that has ended gives nothing", call);
  stream_ends(call, stream->outcome());
}

void StreamWorld::call_back(Added& added) {
  Call& call = new_call(added);
  call.streamed = true;
  call.due = after(call.began, call.deadline.value_or(usual_deadline));
  auto submission = call_engine(call, [&, request = request_of(call)]() mutable {
    return Handle(added.served)
        .stream(std::move(request), options_of(call), stream_callbacks<&Call::part, &Call::end>(&call));
  });
  if (!submission) return;
  if (!*submission) return refused(call, submission->error());
  if (world_.below(3) != 0) return;
  dawdle(3);
  call.cancel_asked = true;
  call.due = std::min(call.due, world_.now());
  (*submission)->cancel();
}

void StreamWorld::await(Added& added) {
  Call& call = new_call(added);
  auto const stream = open(added, call);
  if (stream == nullptr) return;
  cancel_later(call, stream);
  follow(stream, call);
}

Detached StreamWorld::follow(std::shared_ptr<Parts> stream, Call& call) {
  while (auto const part = co_await stream->next_async()) {
    part_comes(call, *part);
    dawdle(4);
  }
  stream_ends(call, stream->outcome());
}

void StreamWorld::unload_some() {
  for (int i = 0; i < 3; ++i) {
    world_.sleep(std::chrono::milliseconds(world_.below(20)));
    Added& added = choose();
    Handle const model(added.served);
    ++added.unloading;
    if (auto const unloaded = model.unload(); !unloaded)
      wrong("a model cannot be unloaded: " + to_string(unloaded.error()));
    --added.unloading;
    added.unloaded = tick();
  }
}

// By the other edition. Whoever streams from the old one goes on with it.
void StreamWorld::replace_some() {
  for (std::uint64_t i = 1 + world_.below(3); i > 0 && !stopping_; --i) {
    world_.sleep(std::chrono::milliseconds(world_.below(15)));
    Added& old = added_.back();
    StepModel next = old.model;
    next.edition = 1 - next.edition;
    add(next);
    if (auto const removed = state_->remove(id_of(old.model)); !removed)
      return wrong("a model cannot be removed: " + to_string(removed.error()));
    if (added_.back().served == nullptr) return;
    if (world_.below(2) == 0) old.served.reset();
  }
}

// What is without a thread then is refused, or left to its reader.
void StreamWorld::refuse_threads_some() {
  dawdle(2);
  threads_refused_ = true;
  world_.refuse_threads(true);
  dawdle(2);
  if (world_.below(2) == 0) world_.refuse_threads(false);
}

void StreamWorld::leap_some() {
  for (int i = 0; i < 3; ++i) {
    world_.sleep(std::chrono::milliseconds(world_.below(20)));
    leaped_ = tick();
    world_.advance(std::chrono::milliseconds(world_.below(world_.below(4) == 0 ? 2000 : 30)));
  }
}

void StreamWorld::fork_some() {
  for (int i = 0; i < 2; ++i) {
    world_.sleep(std::chrono::milliseconds(world_.below(20)));
    fork(choose());
  }
}

/// A child has this thread alone, and what the others held at that moment is held for ever.
/// It gets nothing of a stream that its parent opened, and its parent may cancel that.
void StreamWorld::fork(Added& added) {
  Handle const model(added.served);
  Call& call = new_call(added);
  auto const stream = open(added, call);
  dawdle(2);
  Request const request = request_of(call);
  {
    Simulation::Child const child(world_);
    auto const refused = [&](auto const& result) {
      if (result || result.error().code != Code::failed_precondition)
        wrong("not refused in the child of a fork");
    };
    refused(model.infer(request));
    refused(model.infer_many(std::span(&request, 1)).front());
    refused(model.submit(request, {}, callback<&StreamWorld::answer_in_child>(this)));
    refused(model.stream(request));
    refused(model.stream(request, {},
                         stream_callbacks<&StreamWorld::part_in_child, &StreamWorld::end_in_child>(this)));
    added.calls += 5;
    refused(jobs_->submit("child", model, request));
    if (stream != nullptr) {
      stream->cancel();
      if (!stream->ready() || stream->next()) wrong("a stream goes on in the child of a fork");
      refused(stream->outcome());
    }
  }
  if (stream == nullptr) return;
  leaves(call);
  stream->cancel();
}

void StreamWorld::stop() {
  world_.sleep(std::chrono::milliseconds(world_.below(40)));
  stopping_ = true;
  static_cast<void>(state_->stop(std::chrono::milliseconds(world_.below(30))));
}

}  // namespace athanor_tests
