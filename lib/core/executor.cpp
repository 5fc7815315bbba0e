#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <athanor/core/detail/thread_start.hpp>
#include <athanor/core/env.hpp>

#include "backlog.hpp"
#include "timer_shards.hpp"

namespace athanor::inline v1 {

namespace {

thread_local void const* keeps_time_of = nullptr;  // the state of the executor whose timers this thread fires

/// How long the deferred tasks of a worker wait for it before others take them over.
constexpr Duration patience = std::chrono::microseconds(500);

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
///
/// Wake-ups: `coming` counts the threads on their way to look at the queue. While there is one, a post wakes
/// no thread; a worker that takes a task and leaves others behind calls the next one. So a burst costs one
/// wake-up at its beginning, and no task waits for a worker that is inside another task while one is idle.
/// What the thread that keeps time posts is `unannounced` until it is enough for all workers that are free,
/// or no further timer is due: many deadlines that pass together cost few wake-ups of workers that exist;
/// what must begin at once (`post_if_idle`) starts the one that it needs.
///
/// What a task defers is in the backlog of its worker, and wakes no thread. As long as tasks wait there
/// behind one that runs, the worker's timer is armed; if it fires, they go to the head of the queue.
///
/// What must begin at once is `promised`, and comes before the queue: it was counted on a worker that is
/// free.
///
/// Room is what `queued` tasks leave of the workers that are not inside a task, and of those that may be
/// started. Once the system has refused a thread the latter count as none, until it gives one again.
struct SystemExecutor::State : std::enable_shared_from_this<State> {
  /// What belongs to one worker at a time; the timer is for its backlog.
  struct alignas(64) Worker : Timer {
    explicit Worker(State& of) : state(of) { fire = &State::on_held_up; }
    State& state;
    Backlog<SystemEnv> backlog;
    Worker* next_unused = nullptr;
  };
  static inline thread_local Worker* worker_here = nullptr;

  State(std::size_t threads_, Duration linger_) : limit(threads_), linger(linger_) {}

  std::size_t const limit;  // of workers
  Duration const linger;    // of an idle worker, before it ends
  std::uint64_t const forks = SystemEnv::forks();
  TimerShards<SystemEnv> timers;
  std::atomic<bool> keeps_time{false};  // the thread that fires timers has been started
  std::atomic<bool> stopping{false};    // written under the mutex

  SystemMutex mutex;
  Condition work;      // a task, or stopping
  Condition finished;  // a thread ended
  Task* head ATH_GUARDED_BY(mutex) = nullptr;
  Task* tail ATH_GUARDED_BY(mutex) = nullptr;
  Task* promised ATH_GUARDED_BY(mutex) = nullptr;  // in any order: there is a worker for each
  std::size_t queued ATH_GUARDED_BY(mutex) = 0;
  std::size_t workers ATH_GUARDED_BY(mutex) = 0;
  bool starts_fail ATH_GUARDED_BY(mutex) = false;  // the last worker could not be started
  std::size_t idle ATH_GUARDED_BY(mutex) = 0;
  std::size_t coming ATH_GUARDED_BY(mutex) =
      0;  // woken or started workers that have not looked at the queue yet
  bool unannounced ATH_GUARDED_BY(mutex) = false;  // tasks of timers are queued that called no worker
  std::size_t busy ATH_GUARDED_BY(mutex) = 0;      // workers inside a task
  bool firing ATH_GUARDED_BY(mutex) = false;       // the thread that keeps time is inside a timer
  std::size_t live ATH_GUARDED_BY(mutex) = 0;      // threads
  bool abandoned ATH_GUARDED_BY(mutex) = false;
  std::weak_ptr<void> owner ATH_GUARDED_BY(mutex);
  std::vector<std::thread> threads ATH_GUARDED_BY(mutex);
  std::vector<std::unique_ptr<Worker>> all_workers ATH_GUARDED_BY(mutex);  // as many as ever worked at once
  Worker* unused_worker ATH_GUARDED_BY(mutex) = nullptr;
  std::thread lingered_out ATH_GUARDED_BY(mutex);  // the last worker that ended, not joined yet
  std::shared_ptr<State> kept{};                   // itself, for ever: in a child

  /// In a child no thread but the one that forked exists, and any mutex may be held by one that does not.
  bool is_in_child() const noexcept { return SystemEnv::forks() != forks; }

  /// One more thread; false when the system has none to give: then the next need for it tries again.
  bool start(void (State::*serve)()) noexcept ATH_REQUIRES(mutex) {
    if (detail::refuse_threads.load(std::memory_order_relaxed)) return false;
    try {
      threads.emplace_back([self = shared_from_this(), serve, keep = owner.lock()] { self->run(serve); });
    } catch (...) {
      return false;
    }
    ++live;
    return true;
  }

  void run(void (State::*serve)()) noexcept {
    std::thread previous;
    {
      detail::Lock const lock(mutex);
      (this->*serve)();
      --live;
      if (!stopping) previous = std::exchange(lingered_out, take_own_handle());
      finished.notify_all();
    }
    if (previous.joinable()) previous.join();
  }

  std::thread take_own_handle() noexcept ATH_REQUIRES(mutex) {
    for (std::thread& thread : threads) {
      if (thread.get_id() != std::this_thread::get_id()) continue;
      std::thread own = std::move(thread);
      thread = std::move(threads.back());
      threads.pop_back();
      return own;
    }
    return {};
  }

  bool start_worker() noexcept ATH_REQUIRES(mutex) {
    try {
      if (all_workers.size() == workers) {
        all_workers.push_back(std::make_unique<Worker>(*this));
        all_workers.back()->next_unused = std::exchange(unused_worker, all_workers.back().get());
      }
    } catch (std::bad_alloc const&) {
      return false;
    }
    return start(&State::run_tasks);
  }

  /// False when there are as many as there may be, or the system gives no thread.
  bool add_worker() noexcept ATH_REQUIRES(mutex) {
    if (workers == limit) return false;
    starts_fail = !start_worker();
    if (starts_fail) return false;
    ++workers;
    ++coming;
    return true;
  }

  /// Makes sure that a worker will look at the queue. True when an idle one is to be notified.
  bool call_worker() noexcept ATH_REQUIRES(mutex) {
    if (coming > 0) return false;
    if (idle > 0) {
      ++coming;
      return true;
    }
    add_worker();
    return false;
  }

  /// False when no thread is there to run it, nor can be started: the task was not taken.
  bool enqueue(Task& task, bool may_wait, bool& notify) noexcept ATH_REQUIRES(mutex) {
    if (may_wait) {
      task.next = nullptr;
      put_at_tail(task);
    } else {
      task.next = std::exchange(promised, &task);
      ++queued;
    }
    if (keeps_time_of == this && workers != 0 && has_room()) {
      unannounced = true;
      return true;
    }
    notify = call_worker();
    if (workers != 0) return true;
    dequeue();  // without a worker nothing else was queued
    return false;
  }

  /// See SystemExecutor::idle.
  bool has_room() const noexcept ATH_REQUIRES(mutex) {
    return busy + queued < (starts_fail ? workers : limit);
  }

  /// As has_room, of workers that exist: one more is started if need be.
  bool make_room() noexcept ATH_REQUIRES(mutex) { return busy + queued < workers || add_worker(); }

  /// See SystemExecutor::post and post_if_idle.
  bool post(Task& task, bool may_wait) noexcept {
    if (is_in_child()) return false;
    std::shared_ptr<State> awaited;  // once the lock is free, the task may run and end the executor
    bool taken = false;
    {
      detail::Lock const lock(mutex);
      bool notify = false;
      taken = !stopping && (may_wait || make_room()) && enqueue(task, may_wait, notify);
      // The thread that keeps time may run a refused task itself, which must not delay those that it has
      // posted.
      if (!taken) notify = announce();
      if (notify) awaited = shared_from_this();
    }
    if (awaited != nullptr) awaited->work.notify_one();
    return taken;
  }

  /// For what the thread that keeps time has posted. True when an idle worker is to be notified.
  bool announce() noexcept ATH_REQUIRES(mutex) {
    return queued != 0 && std::exchange(unannounced, false) && call_worker();
  }

  Task* dequeue() noexcept ATH_REQUIRES(mutex) {
    Task*& first = promised != nullptr ? promised : head;
    Task* const task = first;
    if (task == nullptr) return nullptr;
    first = task->next;
    if (head == nullptr) tail = nullptr;
    --queued;
    return task;
  }

  void run_tasks() ATH_REQUIRES(mutex) {
    if (coming > 0) --coming;
    Worker& worker = *std::exchange(unused_worker, unused_worker->next_unused);
    worker_here = &worker;
    serve_queue(worker);
    worker_here = nullptr;
    worker.next_unused = std::exchange(unused_worker, &worker);
  }

  void serve_queue(Worker& worker) ATH_REQUIRES(mutex) {
    while (!abandoned) {
      if (Task* const task = dequeue(); task != nullptr) {
        bool const notify = queued != 0 && call_worker();
        ++busy;
        mutex.unlock();
        if (notify) work.notify_one();
        task->run(*task);
        run_deferred(worker);
        mutex.lock();
        --busy;
      } else if (stopping) {
        return;
      } else if (!wait_for_work()) {
        --workers;
        return;
      }
    }
  }

  void run_deferred(Worker& worker) noexcept {
    while (Task* const task = worker.backlog.next()) {
      bool const more = worker.backlog.has_open();
      bool const watched = worker.due.load(std::memory_order_relaxed) > Timer::suspended;
      if (more && !watched) {
        arm(worker, after(SystemEnv::now(), patience));
      } else if (!more && watched) {
        timers.suspend(worker);
      }
      task->run(*task);
    }
  }

  /// The worker has been inside a task for a while, or has just come out and takes the next one.
  static void on_held_up(Timer& timer) noexcept {
    auto& worker = static_cast<Worker&>(timer);
    State& state = worker.state;
    if (Task* const first = worker.backlog.take_over()) {
      bool notify = false;
      {
        detail::Lock const lock(state.mutex);
        state.put_at_head(*first);
        notify = state.call_worker();
      }
      if (notify) state.work.notify_one();
    } else if (worker.backlog.has_open()) {
      state.arm(worker, after(SystemEnv::now(), patience));
    }
  }

  void put_at_head(Task& first) noexcept ATH_REQUIRES(mutex) {
    Task& last = count(first);
    last.next = std::exchange(head, &first);
    if (tail == nullptr) tail = &last;
  }

  void put_at_tail(Task& first) noexcept ATH_REQUIRES(mutex) {
    (tail != nullptr ? tail->next : head) = &first;
    tail = &count(first);
  }

  /// Counts linked tasks as queued. Returns the last of them.
  Task& count(Task& first) noexcept ATH_REQUIRES(mutex) {
    Task* last = &first;
    for (++queued; last->next != nullptr; ++queued) last = last->next;
    return *last;
  }

  /// The worker whose thread this is; null on other threads.
  Worker* own_worker() const noexcept {
    return worker_here != nullptr && &worker_here->state == this ? worker_here : nullptr;
  }

  /// The next task of the queue, or of a backlog; null when there is none.
  Task* take_left() noexcept ATH_REQUIRES(mutex) {
    if (Task* const task = dequeue()) return task;
    for (auto const& worker : all_workers) {
      if (Task* const first = worker->backlog.take_over()) {
        put_at_head(*first);
        return dequeue();
      }
    }
    return nullptr;
  }

  /// What abandoned threads would have run, or `here`, which stops the executor: callers wait for it.
  void run_left(Worker* here) noexcept ATH_REQUIRES(mutex) {
    for (;;) {
      Task* task = take_left();
      if (task == nullptr && here != nullptr) task = here->backlog.next();
      if (task == nullptr) return;
      mutex.unlock();
      task->run(*task);
      mutex.lock();
    }
  }

  /// See SystemExecutor::arm.
  bool arm(Timer& timer, TimePoint at) noexcept {
    if (is_in_child() || stopping) return false;
    if (!keeps_time) {
      detail::Lock const lock(mutex);
      if (!keeps_time && !start(&State::fire_timers)) return false;
      keeps_time = true;
    }
    return timers.arm(timer, at);
  }

  /// False when nothing came for as long as a worker lingers.
  bool wait_for_work() ATH_REQUIRES(mutex) {
    ++idle;
    bool woken = true;
    if (linger == Duration::max()) {
      work.wait(mutex);
    } else {
      woken = work.wait_until(mutex, after(SystemEnv::now(), linger));
    }
    --idle;
    if (coming > 0) --coming;
    return woken || queued != 0 || stopping;
  }

  void fire_timers() ATH_REQUIRES(mutex) {
    keeps_time_of = this;
    while (!stopping) {
      Timer* const timer = timers.take_due(SystemEnv::now());
      firing = timer != nullptr;
      bool const notify = !firing && announce();
      mutex.unlock();
      if (notify) work.notify_one();
      if (timer != nullptr) {
        timer->fire(*timer);
      } else {
        timers.wait();
      }
      mutex.lock();
      firing = false;
    }
  }
};

SystemExecutor::SystemExecutor(std::size_t threads, Duration linger)
    : state_(std::make_shared<State>(threads, linger)) {}

SystemExecutor::~SystemExecutor() {
  stop(no_deadline);
  // In a child the state still holds handles of threads that are not there.
  State& state = *state_;
  if (state.is_in_child()) state.kept = std::move(state_);
}

void SystemExecutor::keep_alive_with(std::weak_ptr<void> owner) noexcept {
  detail::Lock const lock(state_->mutex);
  state_->owner = std::move(owner);
}

bool SystemExecutor::post(Task& task) noexcept { return state_->post(task, true); }

bool SystemExecutor::post_if_idle(Task& task) noexcept { return state_->post(task, false); }

bool SystemExecutor::defer(Task& task) noexcept {
  State::Worker* const worker = state_->own_worker();
  if (worker == nullptr) return false;
  worker->backlog.add(task);
  return true;
}

bool SystemExecutor::idle() const noexcept {
  if (state_->is_in_child()) return false;
  detail::Lock const lock(state_->mutex);
  return state_->has_room();
}

bool SystemExecutor::on_timer_thread() noexcept { return keeps_time_of != nullptr; }

bool SystemExecutor::arm(Timer& timer, TimePoint at) noexcept { return state_->arm(timer, at); }

bool SystemExecutor::disarm(Timer& timer) noexcept {
  return !state_->is_in_child() && state_->timers.disarm(timer);
}

bool SystemExecutor::suspend(Timer& timer) noexcept {
  return !state_->is_in_child() && state_->timers.suspend(timer);
}

std::size_t SystemExecutor::stop(TimePoint deadline) noexcept {
  State& state = *state_;
  if (state.is_in_child()) return 0;
  State::Worker* const worker = state.own_worker();
  std::size_t const own = worker != nullptr || keeps_time_of == &state ? 1 : 0;
  detail::Lock lock(state.mutex);
  if (state.stopping && state.threads.empty()) return 0;
  state.stopping = true;
  state.work.notify_all();
  state.timers.wake();
  if (worker != nullptr) state.run_left(worker);
  if (deadline == no_deadline) {
    while (state.live > own) state.finished.wait(state.mutex);
  } else {
    while (state.live > own && state.finished.wait_until(state.mutex, deadline)) {
    }
    // A thread that is not inside a task or timer is about to end.
    while (state.live > state.busy + (state.firing ? 1U : 0U)) state.finished.wait(state.mutex);
  }
  std::size_t const left = state.live - own;
  state.abandoned = left != 0;
  if (left != 0) state.run_left(worker);
  auto threads = std::move(state.threads);
  state.threads.clear();
  std::thread lingered_out = std::move(state.lingered_out);
  lock.unlock();
  if (lingered_out.joinable()) lingered_out.join();
  for (auto& thread : threads) {
    if (left == 0 && thread.get_id() != std::this_thread::get_id()) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  return left;
}

}  // namespace athanor::inline v1
