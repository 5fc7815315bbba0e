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

namespace {

/// A condition variable that is waited on with a SystemMutex held.
class Condition {
 public:
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }
  void wait(SystemMutex& mutex) ATH_REQUIRES(mutex) {
    std::unique_lock lock(mutex.native(), std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  /// False when `deadline` has passed.
  bool wait_until(SystemMutex& mutex, TimePoint deadline) ATH_REQUIRES(mutex) {
    std::unique_lock lock(mutex.native(), std::adopt_lock);
    auto const status = condition_.wait_until(lock, deadline);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable condition_;
};

}  // namespace

/// Everything the threads touch; shared so that an abandoned one keeps it.
struct SystemExecutor::State {
  SystemMutex mutex;
  Condition work;      // a task, or stopping
  Condition time;      // an earlier timer, or stopping
  Condition finished;  // a thread ended, or came out of a task or timer
  Task* head ATH_GUARDED_BY(mutex) = nullptr;
  Task* tail ATH_GUARDED_BY(mutex) = nullptr;
  // A binary heap, earliest first; Timer::place is the index.
  std::vector<Timer*> timers ATH_GUARDED_BY(mutex);
  std::size_t limit ATH_GUARDED_BY(mutex) = 1;  // of workers
  std::size_t workers ATH_GUARDED_BY(mutex) = 0;
  std::size_t idle ATH_GUARDED_BY(mutex) = 0;
  std::size_t signalled ATH_GUARDED_BY(mutex) = 0;  // idle workers already asked to wake
  bool keeps_time ATH_GUARDED_BY(mutex) = false;    // the thread that fires timers has been started
  std::size_t inside ATH_GUARDED_BY(mutex) = 0;     // threads inside a task or a timer
  std::size_t ended ATH_GUARDED_BY(mutex) = 0;      // threads
  bool stopping ATH_GUARDED_BY(mutex) = false;
  bool abandoned ATH_GUARDED_BY(mutex) = false;
  std::weak_ptr<void> owner ATH_GUARDED_BY(mutex);
  std::vector<std::thread> threads ATH_GUARDED_BY(mutex);

  bool earlier(std::size_t a, std::size_t b) const ATH_REQUIRES(mutex) {
    return timers[a]->at < timers[b]->at;
  }
  void exchange(std::size_t a, std::size_t b) ATH_REQUIRES(mutex) {
    std::swap(timers[a], timers[b]);
    timers[a]->place = a;
    timers[b]->place = b;
  }
  void rise(std::size_t i) ATH_REQUIRES(mutex) {
    for (; i > 0 && earlier(i, (i - 1) / 2); i = (i - 1) / 2) exchange(i, (i - 1) / 2);
  }
  void sink(std::size_t i) ATH_REQUIRES(mutex) {
    for (;;) {
      std::size_t least = i;
      for (std::size_t child : {2 * i + 1, 2 * i + 2})
        if (child < timers.size() && earlier(child, least)) least = child;
      if (least == i) return;
      exchange(i, least);
      i = least;
    }
  }
  void remove_timer(std::size_t i) ATH_REQUIRES(mutex) {
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
  bool start(std::shared_ptr<State> const& self, void (State::*serve)()) noexcept ATH_REQUIRES(mutex) {
    try {
      threads.emplace_back([self, serve, keep = owner.lock()] {
        detail::Lock const lock(self->mutex);
        ((*self).*serve)();
        ++self->ended;
        self->finished.notify_all();
      });
      return true;
    } catch (std::system_error const&) {
      return false;
    }
  }

  /// Makes sure that a worker takes the new task.
  void call_worker(std::shared_ptr<State> const& self) ATH_REQUIRES(mutex) {
    if (idle > signalled) {
      ++signalled;
      work.notify_one();
    } else if (workers < limit && start(self, &State::run_tasks)) {
      ++workers;
    }
  }

  void run_tasks() ATH_REQUIRES(mutex) {
    while (!abandoned) {
      if (Task* const task = head; task != nullptr) {
        head = task->next;
        if (head == nullptr) tail = nullptr;
        go_inside([task]() noexcept { task->run(*task); });
      } else if (stopping) {
        return;
      } else {
        ++idle;
        work.wait(mutex);
        --idle;
        if (signalled > 0) --signalled;
      }
    }
  }

  void fire_timers() ATH_REQUIRES(mutex) {
    while (!stopping) {
      TimePoint const at = timers.empty() ? no_deadline : timers.front()->at;
      if (at == no_deadline) {
        time.wait(mutex);
      } else if (at > std::chrono::steady_clock::now()) {
        time.wait_until(mutex, at);
      } else {
        Timer* const timer = timers.front();
        remove_timer(0);
        go_inside([timer]() noexcept { timer->fire(*timer); });
      }
    }
  }

  /// Runs `body` without the mutex.
  template <class Body>
  void go_inside(Body body) noexcept ATH_REQUIRES(mutex) {
    ++inside;
    mutex.unlock();
    body();
    mutex.lock();
    --inside;
    if (stopping) finished.notify_all();
  }
};

SystemExecutor::SystemExecutor(std::size_t threads) : state_(std::make_shared<State>()) {
  detail::Lock const lock(state_->mutex);
  state_->limit = std::max<std::size_t>(threads, 1);
  state_->threads.reserve(state_->limit + 1);
  state_->timers.reserve(64);
}

SystemExecutor::~SystemExecutor() { stop(no_deadline); }

void SystemExecutor::keep_alive_with(std::weak_ptr<void> owner) noexcept {
  detail::Lock const lock(state_->mutex);
  state_->owner = std::move(owner);
}

bool SystemExecutor::post(Task& task) noexcept {
  detail::Lock const lock(state_->mutex);
  if (state_->stopping) return false;
  task.next = nullptr;
  (state_->tail != nullptr ? state_->tail->next : state_->head) = &task;
  state_->tail = &task;
  state_->call_worker(state_);
  return true;
}

void SystemExecutor::arm(Timer& timer, TimePoint at) noexcept {
  detail::Lock const lock(state_->mutex);
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
  detail::Lock const lock(state_->mutex);
  if (timer.place == Timer::unarmed) return false;
  state_->remove_timer(timer.place);
  return true;
}

std::size_t SystemExecutor::stop(TimePoint deadline) noexcept {
  detail::Lock lock(state_->mutex);
  if (state_->threads.empty() && state_->stopping) return 0;
  state_->stopping = true;
  state_->work.notify_all();
  state_->time.notify_all();
  std::size_t const started = state_->threads.size();
  if (deadline == no_deadline) {
    while (state_->ended != started) state_->finished.wait(state_->mutex);
  } else {
    while (state_->ended != started && state_->finished.wait_until(state_->mutex, deadline)) {
    }
    // A thread that is not inside a task is about to end.
    while (state_->ended + state_->inside < started) state_->finished.wait(state_->mutex);
  }
  std::size_t const left = started - state_->ended;
  state_->abandoned = left != 0;
  // Tasks that the abandoned threads would have run: callers wait for them.
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
