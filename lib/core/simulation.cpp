#include <athanor/core/simulation.hpp>

#include <algorithm>
#include <utility>

namespace athanor::inline v1 {

namespace {
thread_local Simulation* current_simulation = nullptr;
}

Simulation::Simulation(std::uint64_t seed)
    : state_(seed ^ 0x9e3779b97f4a7c15ULL), outer_(std::exchange(current_simulation, this)) {}

Simulation::~Simulation() {
  assert(executors_.empty() && "an executor outlived its simulation");
  current_simulation = outer_;
}

Simulation& Simulation::current() noexcept {
  assert(current_simulation != nullptr && "SimulatedEnv is used without a Simulation");
  return *current_simulation;
}

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
std::uint64_t Simulation::random() noexcept {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

bool Simulation::step_now() noexcept {
  std::size_t choices = 0;
  for (auto* executor : executors_) {
    choices += executor->has_room() ? 1U : 0U;
    if (executor->stopping_) continue;
    for (auto* timer : executor->timers_) choices += timer->at <= now_ ? 1U : 0U;
  }
  if (choices == 0) return false;
  ++steps_;
  std::uint64_t pick = below(choices);
  for (auto* executor : executors_) {
    if (executor->has_room() && pick-- == 0) {
      executor->run_one();
      return true;
    }
    if (executor->stopping_) continue;
    for (auto* timer : executor->timers_) {
      if (timer->at > now_ || pick-- != 0) continue;
      executor->disarm(*timer);
      timer->fire(*timer);
      return true;
    }
  }
  return false;
}

bool Simulation::step() noexcept {
  if (step_now()) return true;
  TimePoint next = no_deadline;
  for (auto* executor : executors_)
    if (!executor->stopping_)
      for (auto* timer : executor->timers_) next = std::min(next, timer->at);
  if (next == no_deadline) return false;
  now_ = std::max(now_, next);
  return step_now();
}

SimulatedExecutor::SimulatedExecutor(std::size_t threads) : threads_(threads) {
  Simulation::current().executors_.push_back(this);
}

SimulatedExecutor::~SimulatedExecutor() {
  stop(no_deadline);
  std::erase(Simulation::current().executors_, this);
}

bool SimulatedExecutor::post(Task& task) noexcept {
  if (stopping_) return false;
  task.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &task;
  tail_ = &task;
  return true;
}

void SimulatedExecutor::run_one() noexcept {
  Task* task = head_;
  head_ = task->next;
  if (head_ == nullptr) tail_ = nullptr;
  ++running_;
  task->run(*task);
  --running_;
}

void SimulatedExecutor::arm(Timer& timer, TimePoint at) noexcept {
  disarm(timer);
  timer.at = at;
  timer.place = 0;
  timers_.push_back(&timer);
}

bool SimulatedExecutor::disarm(Timer& timer) noexcept {
  timer.place = Timer::unarmed;
  return std::erase(timers_, &timer) != 0;
}

std::size_t SimulatedExecutor::stop(TimePoint) noexcept {
  stopping_ = true;
  while (head_ != nullptr) run_one();
  return running_;
}

bool SimulatedWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  auto& world = Simulation::current();
  while (value_ == expected) {
    if (world.now() >= deadline) return false;
    if (world.step()) continue;
    if (deadline == no_deadline) return true;
    world.advance(deadline - world.now());
  }
  return true;
}

}  // namespace athanor::inline v1
