#include <athanor/core/simulation.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include <athanor/core/detail/split_mix.hpp>

#include "fiber.hpp"

namespace athanor::inline v1 {

namespace {

/// Priorities of actors lie above it; those that fell behind below.
constexpr std::uint64_t middle_priority = std::uint64_t{1} << 32U;
/// One in so many turns wakes an actor spuriously.
constexpr std::uint64_t turns_per_false_wake = 512;
/// Few, so that some actors share one.
constexpr std::size_t thread_numbers = 4;
/// A step with no more choices allocates nothing: a test that lets allocations fail means those of its own
/// code.
constexpr std::size_t usual_choices = 64;

}  // namespace

struct Simulation::Actor {
  detail::Fiber* fiber = nullptr;
  std::function<void()> body;
  SimulatedExecutor* executor = nullptr;  // whose task or timer this is, while that lives
  bool timer = false;
  bool parked = false;
  Condition condition{};
  TimePoint until = no_deadline;
  SimulatedWord const* word = nullptr;
  bool woken = false;
  std::uint64_t priority = 0;
  std::size_t thread_number = 0;
  std::vector<std::uint64_t> locals;
  Variables variables{};

  bool can_go_on(TimePoint now) const { return !parked || now >= until || condition.holds(condition.of); }
};

Simulation::Simulation(std::uint64_t seed, Turns const& turns)
    : state_(seed ^ detail::split_mix_step),
      outer_(std::exchange(current_, this)),
      turns_(turns),
      lowest_(middle_priority) {
  choices_.reserve(usual_choices);
  if (turns_.order != Turns::Order::priorities) return;
  for (std::uint32_t i = 0; i < turns_.changes; ++i)
    change_at_.push_back(below(std::max<std::uint32_t>(turns_.length, 1)));
  std::ranges::sort(change_at_, std::greater<>());
}

Simulation::~Simulation() {
  assert(executors_.empty() && "an executor outlived its simulation");
  assert(actors_.empty() && "an actor outlived its simulation");
  current_ = outer_;
}

Simulation& Simulation::current() noexcept {
  assert(current_ != nullptr && "SimulatedEnv is used without a Simulation");
  return *current_;
}

std::uint64_t Simulation::random() noexcept { return detail::split_mix(state_ += detail::split_mix_step); }

// Actors.

void Simulation::spawn(std::function<void()> body) {
  assert(turns_.order != Turns::Order::steps && "actors need turns");
  begin(std::move(body), nullptr, false, middle_priority + below(middle_priority));
  news_ = true;
}

void Simulation::begin(std::function<void()> body, SimulatedExecutor* executor, bool timer,
                       std::uint64_t priority) {
  auto actor = std::make_unique<Actor>();
  actor->body = std::move(body);
  actor->executor = executor;
  actor->timer = timer;
  actor->priority = priority;
  actor->thread_number = below(thread_numbers);
  actor->locals.resize(locals_.size());
  actor->fiber =
      &detail::Fiber::take([](void* context) { static_cast<Actor*>(context)->body(); }, actor.get());
  actors_.push_back(std::move(actor));
}

void Simulation::exchange_locals(Actor& actor) noexcept {
  for (std::size_t i = 0; i < locals_.size(); ++i) {
    std::uint64_t value = 0;
    std::memcpy(&value, locals_[i].where, locals_[i].size);
    std::memcpy(locals_[i].where, &actor.locals[i], locals_[i].size);
    actor.locals[i] = value;
  }
}

void* Simulation::Variables::find(void const* name) noexcept {
  auto const at = std::ranges::find_if(
      places, [name](Place const& place) { return place.name == name || place.name == nullptr; });
  if (at == places.end()) std::abort();
  at->name = name;
  return at->value.data();
}

void* Simulation::variable(void const* name) noexcept {
  return (running_ != nullptr ? running_->variables : outside_).find(name);
}

void Simulation::resume(Actor& actor) noexcept {
  news_ = false;
  running_ = &actor;
  exchange_locals(actor);
  actor.fiber->resume();
  exchange_locals(actor);
  running_ = nullptr;
  if (!actor.fiber->finished()) return;
  if (actor.executor != nullptr) {
    if (actor.timer) {
      actor.executor->firing_ = false;
    } else {
      --actor.executor->running_;
    }
  }
  actor.fiber->give_back();
  auto const at = std::ranges::find(actors_, &actor, &std::unique_ptr<Actor>::get);
  auto const ended = std::move(*at);  // dies last: it may hold what ends other things
  actors_.erase(at);
}

void Simulation::leave() noexcept { detail::Fiber::leave(); }

bool Simulation::park(Condition condition, TimePoint until) noexcept {
  Actor& actor = *running_;
  actor.condition = condition;
  actor.until = until;
  actor.parked = true;
  leave();
  actor.parked = false;
  return now_ < until || condition.holds(condition.of);
}

std::size_t Simulation::thread_number() const noexcept {
  return running_ != nullptr ? running_->thread_number : 0;
}

void Simulation::sleep(Duration time) noexcept {
  park({[](void const*) { return false; }, nullptr}, after(now_, time));
}

void Simulation::fall_behind() noexcept { running_->priority = --lowest_; }

void Simulation::pass() noexcept {
  std::uint64_t const operation = operations_++;
  if (turns_.order == Turns::Order::random) {
    if (turns_.switch_one_in != 0 && below(turns_.switch_one_in) == 0) leave();
    return;
  }
  if (!change_at_.empty() && operation >= change_at_.back()) {
    change_at_.pop_back();
    fall_behind();
    leave();
  } else if (news_) {
    leave();
  }
}

void Simulation::relax() noexcept {
  if (turns_.order == Turns::Order::steps) return;
  if (running_ == nullptr) {
    step_now();
    return;
  }
  if (turns_.order == Turns::Order::priorities) fall_behind();
  leave();
}

// Steps.

void Simulation::collect_choices() {
  choices_.clear();
  for (auto const& actor : actors_)
    if ((alone_ == nullptr || alone_ == actor.get()) && actor->can_go_on(now_))
      choices_.push_back({actor.get(), nullptr, nullptr, actor->priority});
  for (auto* executor : executors_) {
    if (executor->has_room()) choices_.push_back({nullptr, executor, nullptr, executor->priority_});
    if (!executor->keeps_time() || executor->firing_) continue;
    for (auto* timer : executor->timers_)
      if (timer->due.load() <= now_) choices_.push_back({nullptr, executor, timer, executor->priority_});
  }
}

bool Simulation::step_actors() noexcept {
  assert(running_ == nullptr && "an actor parks, it does not step");
  collect_choices();
  if (choices_.empty()) return false;
  ++steps_;
  Choice choice = choices_[below(choices_.size())];
  if (turns_.order == Turns::Order::priorities) {
    choice = *std::ranges::max_element(choices_, {}, &Choice::priority);
  } else if (below(turns_per_false_wake) == 0) {
    Actor* const sleeper = actors_.empty() ? nullptr : actors_[below(actors_.size())].get();
    if (sleeper != nullptr && sleeper->parked && sleeper->word != nullptr) sleeper->woken = true;
  }
  if (choice.actor == nullptr) {
    SimulatedExecutor& executor = *choice.executor;
    executor.priority_ = middle_priority + below(middle_priority);
    // A thread of an executor keeps its owner alive.
    auto owner = executor.owner_.lock();
    if (choice.timer != nullptr) {
      Timer& timer = *choice.timer;
      executor.disarm(timer);
      executor.firing_ = true;
      begin([&timer, owner = std::move(owner)] { timer.fire(timer); }, &executor, true, choice.priority);
    } else {
      Task& task = executor.take_task();
      begin([&task, owner = std::move(owner)] { task.run(task); }, &executor, false, choice.priority);
    }
    choice.actor = actors_.back().get();
  }
  resume(*choice.actor);
  return true;
}

bool Simulation::step_now() noexcept {
  if (turns_.order != Turns::Order::steps) return step_actors();
  collect_choices();
  if (choices_.empty()) return false;
  ++steps_;
  Choice const choice = choices_[below(choices_.size())];
  SimulatedExecutor& executor = *choice.executor;
  if (Timer* const timer = choice.timer; timer != nullptr) {
    executor.disarm(*timer);
    bool const outer = std::exchange(fires_timer_, true);
    auto* const outer_task = std::exchange(runs_task_of_, nullptr);
    timer->fire(*timer);
    fires_timer_ = outer;
    runs_task_of_ = outer_task;
  } else {
    Task& task = executor.take_task();
    bool const outer = std::exchange(fires_timer_, false);
    auto* const outer_task = std::exchange(runs_task_of_, &executor);
    task.run(task);
    fires_timer_ = outer;
    runs_task_of_ = outer_task;
    --executor.running_;
  }
  return true;
}

TimePoint Simulation::next_time() const noexcept {
  TimePoint next = no_deadline;
  auto const look = [&](TimePoint at) {
    if (at > now_) next = std::min(next, at);
  };
  for (auto* executor : executors_)
    if (executor->keeps_time())
      for (auto* timer : executor->timers_) look(timer->due.load());
  for (auto const& actor : actors_)
    if (actor->parked) look(actor->until);
  return next;
}

bool Simulation::step() noexcept {
  if (step_now()) return true;
  TimePoint const next = next_time();
  if (next == no_deadline) return false;
  now_ = next;
  return step_now();
}

// Executors.

SimulatedExecutor::SimulatedExecutor(std::size_t threads, Duration)
    : threads_(threads), forks_(Simulation::current().forks()), priority_(middle_priority) {
  auto& world = Simulation::current();
  if (world.turns_.order == Turns::Order::priorities) priority_ += world.below(middle_priority);
  world.executors_.push_back(this);
}

SimulatedExecutor::~SimulatedExecutor() {
  stop(no_deadline);
  auto& world = Simulation::current();
  std::erase(world.executors_, this);
  for (auto const& actor : world.actors_)
    if (actor->executor == this) actor->executor = nullptr;
}

bool SimulatedExecutor::is_in_child() const noexcept { return Simulation::current().forks() != forks_; }

bool SimulatedExecutor::idle() const noexcept {
  return !is_in_child() && running_ + queued_ < (starts_fail_ ? workers_ : threads_);
}

bool SimulatedExecutor::on_timer_thread() noexcept {
  auto const& world = Simulation::current();
  return world.in_actor() ? world.running_->timer : world.fires_timer_;
}

bool SimulatedExecutor::post(Task& task) noexcept {
  Simulation::point();
  return take(task);
}

bool SimulatedExecutor::post_if_idle(Task& task) noexcept {
  Simulation::point();
  return !is_in_child() && make_room() && take(task);
}

/// Starts a worker if those that exist are taken. False when there are as many as there may be, or no thread
/// is to be had.
bool SimulatedExecutor::make_room() noexcept {
  if (running_ + queued_ < workers_) return true;
  if (workers_ == threads_) return false;
  starts_fail_ = Simulation::current().refuses_threads_;
  if (!starts_fail_) ++workers_;
  return !starts_fail_;
}

bool SimulatedExecutor::take(Task& task) noexcept {
  if (stopping_ || is_in_child()) return false;
  make_room();
  if (workers_ == 0) return false;
  ++queued_;
  posted_.append(task);
  Simulation::current().news_ = true;
  return true;
}

/// Any worker may run the task at once, as if it had taken over; but one is kept for what is deferred, so
/// that it never waits for what is posted.
bool SimulatedExecutor::defer(Task& task) noexcept {
  Simulation::point();
  auto& world = Simulation::current();
  auto const* here = world.runs_task_of_;
  if (world.in_actor()) here = world.running_->timer ? nullptr : world.running_->executor;
  if (here != this) return false;
  make_room();
  ++queued_;
  deferred_.append(task);
  world.news_ = true;
  return true;
}

void SimulatedExecutor::Tasks::append(Task& task) noexcept {
  task.next = nullptr;
  (tail != nullptr ? tail->next : head) = &task;
  tail = &task;
}

Task& SimulatedExecutor::Tasks::take() noexcept {
  Task& task = *head;
  head = task.next;
  if (head == nullptr) tail = nullptr;
  return task;
}

Task& SimulatedExecutor::take_task() noexcept {
  auto& world = Simulation::current();
  bool deferred = deferred_.head != nullptr;
  if (deferred && posted_.head != nullptr && running_ + 1 < workers_ &&
      world.turns_.order != Turns::Order::steps)
    deferred = world.below(2) == 0;
  --queued_;
  ++running_;
  return deferred ? deferred_.take() : posted_.take();
}

bool SimulatedExecutor::arm(Timer& timer, TimePoint at) noexcept {
  Simulation::point();
  timer.place = Timer::unarmed;
  std::erase(timers_, &timer);
  if (stopping_ || is_in_child()) return false;
  has_timekeeper_ = has_timekeeper_ || !Simulation::current().refuses_threads_;
  if (!has_timekeeper_) return false;
  try {
    timers_.push_back(&timer);
  } catch (...) {
    return false;
  }
  timer.due.store(at);
  timer.place = 0;
  Simulation::current().news_ = true;
  return true;
}

bool SimulatedExecutor::disarm(Timer& timer) noexcept {
  Simulation::point();
  timer.place = Timer::unarmed;
  return std::erase(timers_, &timer) != 0;
}

std::size_t SimulatedExecutor::stop(TimePoint deadline) noexcept {
  Simulation::point();
  if (is_in_child()) return 0;
  stopping_ = true;
  auto const& world = Simulation::current();
  if (world.turns_.order != Turns::Order::steps) return stop_actors(deadline);
  run_left();
  return running_ - (world.runs_task_of_ == this ? 1 : 0);
}

/// The caller may be inside one of this executor's own tasks or timers: it does not wait for itself.
std::size_t SimulatedExecutor::stop_actors(TimePoint deadline) noexcept {
  auto& world = Simulation::current();
  bool const inside = world.in_actor() && world.running_->executor == this;
  struct Left {
    SimulatedExecutor const& executor;
    std::size_t own;
    std::size_t inside() const { return executor.running_ + (executor.firing_ ? 1 : 0) - own; }
    bool none() const { return !executor.has_tasks() && inside() == 0; }
  } const left{*this, inside ? 1U : 0U};
  if (inside && !world.running_->timer) run_left();
  if (world.in_actor()) {
    if (!left.none())
      world.park({[](void const* of) { return static_cast<Left const*>(of)->none(); }, &left}, deadline);
  } else {
    while (!left.none() && world.now() < deadline && world.step()) {
    }
  }
  std::size_t const abandoned = left.inside();
  run_left();
  return abandoned;
}

/// What abandoned threads would have run, or the worker that stops the executor: callers wait for it.
void SimulatedExecutor::run_left() noexcept {
  while (has_tasks()) {
    Task& task = take_task();
    --running_;  // this thread runs it
    task.run(task);
  }
}

// What actors wait on.

void SimulatedMutex::lock() noexcept {
  Simulation::point();
  if (locked_) {
    auto& world = Simulation::current();
    if (world.turns_.order == Turns::Order::steps) std::abort();
    while (locked_) {
      if (world.in_actor()) {
        world.park({[](void const* of) { return !static_cast<SimulatedMutex const*>(of)->locked_; }, this},
                   no_deadline);
      } else if (!world.step_now()) {
        std::abort();
      }
    }
  }
  locked_ = true;
}

void SimulatedMutex::unlock() noexcept {
  locked_ = false;
  if (Simulation::current_ == nullptr) return;
  Simulation::current().news_ = true;
  Simulation::point();
}

bool SimulatedWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  auto& world = Simulation::current();
  if (!world.in_actor()) {
    while (load() == expected) {
      if (world.now() >= deadline) return false;
      if (world.step()) continue;
      if (deadline == no_deadline) return true;
      world.advance(deadline - world.now());
    }
    return true;
  }
  if (load() != expected) return true;
  if (world.now() >= deadline) return false;
  auto& actor = *world.running_;
  actor.word = this;
  actor.woken = false;
  bool const woken =
      world.park({[](void const* of) { return *static_cast<bool const*>(of); }, &actor.woken}, deadline);
  actor.word = nullptr;
  return woken;
}

void SimulatedWord::wake_all() noexcept {
  Simulation::point();
  if (Simulation::current_ == nullptr) return;
  auto& world = Simulation::current();
  world.news_ = true;
  for (auto const& actor : world.actors_)
    if (actor->word == this) actor->woken = true;
}

}  // namespace athanor::inline v1
