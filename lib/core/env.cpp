#include <athanor/core/env.hpp>

#include <algorithm>
#include <climits>
#include <random>
#include <system_error>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <ctime>
#endif

namespace athanor::inline v1 {

#if defined(__linux__)

bool SystemWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  timespec absolute{};
  timespec* limit = nullptr;
  if (deadline != no_deadline) {
    auto const since = std::max<std::int64_t>(deadline.time_since_epoch().count(), 0);
    absolute.tv_sec = since / 1'000'000'000;
    absolute.tv_nsec = since % 1'000'000'000;
    limit = &absolute;
  }
  long const rc = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&value_), FUTEX_WAIT_BITSET_PRIVATE,
                            expected, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  return !(rc == -1 && errno == ETIMEDOUT);
}

void SystemWord::wake_all() noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&value_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
}

#else

bool SystemWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  std::unique_lock lock(mutex_);
  auto const changed = [&] { return load() != expected; };
  if (deadline == no_deadline) {
    changed_.wait(lock, changed);
    return true;
  }
  return changed_.wait_until(lock, deadline, changed);
}

void SystemWord::wake_all() noexcept {
  std::lock_guard const lock(mutex_);
  changed_.notify_all();
}

#endif

std::uint64_t SystemEnv::random() noexcept {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) ^ device();
  }());
  return generator();
}

/// Everything the threads touch; shared so that an abandoned one keeps it.
struct SystemExecutor::State {
  std::mutex mutex;
  std::condition_variable work;      // a task, or stopping
  std::condition_variable time;      // an earlier timer, or stopping
  std::condition_variable finished;  // a thread ended, or came out of a task or timer
  Task* head = nullptr;
  Task* tail = nullptr;
  std::vector<Timer*> timers;  // binary heap, earliest first; Timer::place is the index
  std::size_t limit = 1;       // of workers
  std::size_t workers = 0;
  std::size_t idle = 0;
  std::size_t signalled = 0;  // idle workers already asked to wake
  bool keeps_time = false;    // the thread that fires timers has been started
  std::size_t inside = 0;     // threads inside a task or a timer
  std::size_t ended = 0;      // threads
  bool stopping = false;
  bool abandoned = false;
  std::weak_ptr<void> owner;
  std::vector<std::thread> threads;

  bool earlier(std::size_t a, std::size_t b) const { return timers[a]->at < timers[b]->at; }
  void exchange(std::size_t a, std::size_t b) {
    std::swap(timers[a], timers[b]);
    timers[a]->place = a;
    timers[b]->place = b;
  }
  void rise(std::size_t i) {
    for (; i > 0 && earlier(i, (i - 1) / 2); i = (i - 1) / 2) exchange(i, (i - 1) / 2);
  }
  void sink(std::size_t i) {
    for (;;) {
      std::size_t least = i;
      for (std::size_t child : {2 * i + 1, 2 * i + 2})
        if (child < timers.size() && earlier(child, least)) least = child;
      if (least == i) return;
      exchange(i, least);
      i = least;
    }
  }
  void remove_timer(std::size_t i) {
    timers[i]->place = Timer::unarmed;
    std::size_t const last = timers.size() - 1;
    if (i != last) {
      timers[i] = timers[last];
      timers[i]->place = i;
    }
    timers.pop_back();
    if (i < timers.size()) {
      rise(i);
      sink(i);
    }
  }

  /// One more thread; false when the system has none to give: then the next need for it tries again.
  bool start(std::shared_ptr<State> const& self,
             void (State::*serve)(std::unique_lock<std::mutex>& lock)) noexcept {
    try {
      threads.emplace_back([self, serve, keep = owner.lock()] {
        std::unique_lock lock(self->mutex);
        ((*self).*serve)(lock);
        ++self->ended;
        self->finished.notify_all();
      });
      return true;
    } catch (std::system_error const&) {
      return false;
    }
  }

  /// Makes sure that a worker attends to a new task. Called with the mutex held.
  void summon(std::shared_ptr<State> const& self) {
    if (idle > signalled) {
      ++signalled;
      work.notify_one();
    } else if (workers < limit && start(self, &State::run_tasks)) {
      ++workers;
    }
  }

  void run_tasks(std::unique_lock<std::mutex>& lock) {
    while (!abandoned) {
      if (Task* const task = head; task != nullptr) {
        head = task->next;
        if (head == nullptr) tail = nullptr;
        go_inside(lock, [task]() noexcept { task->run(*task); });
      } else if (stopping) {
        return;
      } else {
        ++idle;
        work.wait(lock);
        --idle;
        if (signalled > 0) --signalled;
      }
    }
  }

  void fire_timers(std::unique_lock<std::mutex>& lock) {
    while (!stopping) {
      TimePoint const at = timers.empty() ? no_deadline : timers.front()->at;
      if (at == no_deadline) {
        time.wait(lock);
      } else if (at > std::chrono::steady_clock::now()) {
        time.wait_until(lock, at);
      } else {
        Timer* const timer = timers.front();
        remove_timer(0);
        go_inside(lock, [timer]() noexcept { timer->fire(*timer); });
      }
    }
  }

  template <class Body>
  void go_inside(std::unique_lock<std::mutex>& lock, Body body) noexcept {
    ++inside;
    lock.unlock();
    body();
    lock.lock();
    --inside;
    if (stopping) finished.notify_all();
  }
};

SystemExecutor::SystemExecutor(std::size_t threads) : state_(std::make_shared<State>()) {
  state_->limit = std::max<std::size_t>(threads, 1);
  state_->threads.reserve(state_->limit + 1);
  state_->timers.reserve(64);
}

SystemExecutor::~SystemExecutor() { stop(no_deadline); }

void SystemExecutor::keep_alive_with(std::weak_ptr<void> owner) noexcept {
  std::lock_guard const lock(state_->mutex);
  state_->owner = std::move(owner);
}

bool SystemExecutor::post(Task& task) noexcept {
  std::lock_guard const lock(state_->mutex);
  if (state_->stopping) return false;
  task.next = nullptr;
  (state_->tail != nullptr ? state_->tail->next : state_->head) = &task;
  state_->tail = &task;
  state_->summon(state_);
  return true;
}

void SystemExecutor::arm(Timer& timer, TimePoint at) noexcept {
  std::lock_guard const lock(state_->mutex);
  if (timer.place != Timer::unarmed) state_->remove_timer(timer.place);
  timer.at = at;
  timer.place = state_->timers.size();
  state_->timers.push_back(&timer);
  state_->rise(timer.place);
  if (state_->stopping) return;
  if (!state_->keeps_time) {
    state_->keeps_time = state_->start(state_, &State::fire_timers);
  } else if (timer.place == 0) {
    state_->time.notify_one();
  }
}

bool SystemExecutor::disarm(Timer& timer) noexcept {
  std::lock_guard const lock(state_->mutex);
  if (timer.place == Timer::unarmed) return false;
  state_->remove_timer(timer.place);
  return true;
}

std::size_t SystemExecutor::stop(TimePoint deadline) noexcept {
  std::unique_lock lock(state_->mutex);
  if (state_->threads.empty() && state_->stopping) return 0;
  state_->stopping = true;
  state_->work.notify_all();
  state_->time.notify_all();
  std::size_t const started = state_->threads.size();
  auto const all_ended = [&] { return state_->ended == started; };
  if (deadline == no_deadline) {
    state_->finished.wait(lock, all_ended);
  } else {
    state_->finished.wait_until(lock, deadline, all_ended);
    // Who is not inside a task is on the way out.
    state_->finished.wait(lock, [&] { return state_->ended + state_->inside >= started; });
  }
  std::size_t const left = started - state_->ended;
  state_->abandoned = left != 0;
  // What the abandoned would have run: somebody waits for it.
  while (Task* const task = left != 0 ? state_->head : nullptr) {
    state_->head = task->next;
    lock.unlock();
    task->run(*task);
    lock.lock();
  }
  auto threads = std::move(state_->threads);
  state_->threads.clear();
  lock.unlock();
  for (auto& thread : threads) {
    if (left == 0) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  return left;
}

}  // namespace athanor::inline v1
