#pragma once

#include <algorithm>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

#include <athanor/core/detail/lock.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/detail/park.hpp>
#include <athanor/serving/jobs.hpp>

namespace athanor::inline v1 {

namespace serving {

/// One job. Its fields are guarded by the table's mutex; `outcome` is immutable once the job is finished.
template <ServingTraits T>
struct Job {
  /// The accepted call, and the model, which keeps the engine alive.
  struct Running {
    Model<T> model;
    Submission<T> submission;
  };

  std::string const key;
  TimePoint const submitted;
  JobState state = JobState::pending;
  TimePoint finished{};
  std::optional<Running> running{};
  std::optional<Result<Answer>> outcome{};
  typename T::Env::Word done{};  ///< 1 once the job is finished

  Job(std::string key_, TimePoint submitted_) : key(std::move(key_)), submitted(submitted_) {}
};

template <ServingTraits T>
class JobTable : public std::enable_shared_from_this<JobTable<T>> {
 public:
  using Env = typename T::Env;
  using JobPointer = std::shared_ptr<Job<T>>;

  explicit JobTable(JobOptions const& options) : options_(options) {}

  /// Fails in a child of a fork, where the mutex may be held by a thread that does not exist.
  Result<void> check_process() const {
    if (Env::forks() == forks_) return {};
    return fail(Code::failed_precondition, Reason::none,
                "jobs: expected the process that created the table, got a child of a fork");
  }

  Result<bool> submit(std::string key, Model<T> const& model, Request request, CallOptions const& options) {
    if (key.empty())
      return fail(Code::invalid_argument, Reason::value_range,
                  "job: expected a key of at least one byte, got none");
    if (options.cancellation != nullptr)
      return fail(Code::invalid_argument, Reason::option,
                  "job {}: cancellation: expected none, as a job is cancelled by its key", key);
    if (auto copied = copy_borrowed(model.signature(), request); !copied)
      return tl::unexpected(std::move(copied.error()));
    auto const job = std::make_shared<Job<T>>(std::move(key), Env::now());
    auto flight = std::make_unique<Flight>(this->shared_from_this(), job);
    if (auto added = add(job); !added || !*added) return added;

    auto submission = [&]() -> Result<Submission<T>> {
      try {
        return model.submit(std::move(request), options, {&answered, flight.get()});
      } catch (...) {
        return tl::unexpected(detail::caught(Code::resource_exhausted, Reason::out_of_memory, model.id()));
      }
    }();
    if (!submission) {
      finish(*job, JobState::failed, tl::unexpected(detail::copy_of(submission.error())));
      drop(*job);
      return tl::unexpected(std::move(submission.error()));
    }
    static_cast<void>(flight.release());
    keep(*job, {model, std::move(*submission)});
    return true;
  }

  Result<JobStatus> status(std::string_view key) {
    return find(key).map([&](JobPointer const& job) { return look(job); });
  }

  Result<JobStatus> wait(std::string_view key, Duration time) {
    return find(key).map([&](JobPointer const& job) {
      detail::park_until(
          job->done, [](std::uint32_t done) { return done != 0; }, after(Env::now(), time),
          [] { return true; });
      return look(job);
    });
  }

  Result<JobState> cancel(std::string_view key) {
    return find(key).map([&](JobPointer const& job) {
      cancel(*job);
      return look(job).state;
    });
  }

  Result<void> forget(std::string_view key) {
    List dropped;
    detail::Lock const lock(mutex_);
    take_expired(dropped, Env::now());
    auto const found = index_.find(key);
    if (found == index_.end()) return tl::unexpected(unknown(key));
    if ((*found->second)->state == JobState::pending)
      return fail(Code::failed_precondition, Reason::none,
                  "job {}: expected a finished job, got a pending one", key);
    take(dropped, found);
    return {};
  }

  std::size_t size() {
    List dropped;
    detail::Lock const lock(mutex_);
    take_expired(dropped, Env::now());
    return index_.size();
  }

  void cancel_all() noexcept {
    while (auto const job = first_pending()) cancel(*job);
  }

 private:
  using List = std::list<JobPointer>;
  using Index = std::unordered_map<std::string_view, typename List::iterator>;

  /// Owned by the call's completion.
  struct Flight {
    std::shared_ptr<JobTable> table;
    JobPointer job;
  };

  /// Copies nothing of a malformed request: the call then fails like any other, and is counted.
  static Result<void> copy_borrowed(Signature const& signature, Request& request) {
    auto const borrows = [](NamedTensor const& input) { return !input.value.owned(); };
    if (std::ranges::none_of(request.inputs(), borrows) || !check(signature, request)) return {};
    for (std::size_t i = 0; i < request.inputs().size(); ++i) {
      auto const& input = request.inputs()[i];
      if (!borrows(input)) continue;
      auto copy = input.value.clone();
      if (!copy) return tl::unexpected(std::move(copy.error()));
      request.set(std::string(input.name), std::move(*copy));
    }
    return {};
  }

  static Error unknown(std::string_view key) {
    return make_error(Code::not_found, Reason::none, "job {}: unknown key, or the job is no longer kept",
                      key);
  }

  static void answered(void* context, Result<Answer> answer) noexcept {
    std::unique_ptr<Flight> const flight(static_cast<Flight*>(context));
    auto const state = answer ? JobState::succeeded : JobState::failed;
    flight->table->finish(*flight->job, state, std::move(answer));
  }

  /// True if the job was added, false if there is one of its key.
  Result<bool> add(JobPointer const& job) {
    List dropped;
    List added{job};
    detail::Lock const lock(mutex_);
    take_expired(dropped, job->submitted);
    if (index_.contains(job->key)) return false;
    if (pending_.size() >= options_.max_jobs)
      return fail(Code::resource_exhausted, Reason::queue_full,
                  "job {}: expected fewer than {} pending jobs, got {}", job->key, options_.max_jobs,
                  pending_.size());
    index_.emplace(job->key, added.begin());
    pending_.splice(pending_.end(), added);
    return true;
  }

  /// Gives the accepted call to the job if that is still pending. Finished jobs make place only now, so that
  /// a refused call evicts none of them.
  void keep(Job<T>& job, typename Job<T>::Running running) noexcept {
    List dropped;
    {
      detail::Lock const lock(mutex_);
      while (index_.size() > options_.max_jobs && !finished_.empty()) take_oldest(dropped);
      if (job.state == JobState::pending) {
        job.running.emplace(std::move(running));
        return;
      }
      if (job.state != JobState::cancelled) return;
    }
    running.submission.cancel();
  }

  void cancel(Job<T>& job) noexcept {
    auto error = make_error(Code::cancelled, Reason::cancelled, "job {}: cancelled", job.key);
    auto running = finish(job, JobState::cancelled, tl::unexpected(std::move(error)));
    if (running) running->submission.cancel();
  }

  /// The only transition out of `pending`; returns the call, which the job no longer owns. No-op for a
  /// finished job.
  std::optional<typename Job<T>::Running> finish(Job<T>& job, JobState state,
                                                 Result<Answer> outcome) noexcept {
    detail::Lock const lock(mutex_);
    if (job.state != JobState::pending) return std::nullopt;
    job.state = state;
    job.finished = Env::now();
    job.outcome.emplace(std::move(outcome));
    finished_.splice(finished_.end(), pending_, index_.find(job.key)->second);
    job.done.store(1);
    job.done.wake_all();
    return std::exchange(job.running, std::nullopt);
  }

  JobPointer first_pending() {
    detail::Lock const lock(mutex_);
    return pending_.empty() ? nullptr : pending_.front();
  }

  Result<JobPointer> find(std::string_view key) {
    List dropped;
    detail::Lock const lock(mutex_);
    take_expired(dropped, Env::now());
    auto const found = index_.find(key);
    if (found == index_.end()) return tl::unexpected(unknown(key));
    return *found->second;
  }

  JobStatus look(JobPointer const& job) {
    detail::Lock const lock(mutex_);
    JobStatus status{job->state, job->submitted, job->finished};
    if (job->outcome) status.outcome = {job, &*job->outcome};
    return status;
  }

  void drop(Job<T> const& job) {
    List dropped;
    detail::Lock const lock(mutex_);
    auto const found = index_.find(job.key);
    if (found != index_.end() && found->second->get() == &job) take(dropped, found);
  }

  /// Moves a finished job out of the table. Its answer is destroyed with `dropped`, once the mutex is free.
  void take(List& dropped, typename Index::iterator place) ATH_REQUIRES(mutex_) {
    dropped.splice(dropped.end(), finished_, place->second);
    index_.erase(place);
  }

  void take_oldest(List& dropped) ATH_REQUIRES(mutex_) { take(dropped, index_.find(finished_.front()->key)); }

  void take_expired(List& dropped, TimePoint now) ATH_REQUIRES(mutex_) {
    while (!finished_.empty() && after(finished_.front()->finished, options_.retention) <= now)
      take_oldest(dropped);
  }

  JobOptions const options_;
  std::uint64_t const forks_ = Env::forks();
  typename Env::Mutex mutex_;
  List pending_ ATH_GUARDED_BY(mutex_);   ///< in the order of submission
  List finished_ ATH_GUARDED_BY(mutex_);  ///< in the order of finishing
  Index index_ ATH_GUARDED_BY(mutex_);    ///< each job of both lists by its key
};

}  // namespace serving

template <ServingTraits T>
Result<Jobs<T>> Jobs<T>::create(JobOptions const& options) {
  if (auto valid = serving::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  return Jobs(std::make_shared<serving::JobTable<T>>(options));
}

template <ServingTraits T>
Jobs<T>::~Jobs() {
  if (table_ != nullptr && table_->check_process()) table_->cancel_all();
}

template <ServingTraits T>
Result<bool> Jobs<T>::submit(std::string key, Model<T> const& model, Request request,
                             CallOptions const& options) {
  return table_->check_process().and_then(
      [&] { return table_->submit(std::move(key), model, std::move(request), options); });
}

template <ServingTraits T>
Result<JobStatus> Jobs<T>::status(std::string_view key) const {
  return table_->check_process().and_then([&] { return table_->status(key); });
}

template <ServingTraits T>
Result<JobStatus> Jobs<T>::wait(std::string_view key, Duration time) const {
  return table_->check_process().and_then([&] { return table_->wait(key, time); });
}

template <ServingTraits T>
Result<JobState> Jobs<T>::cancel(std::string_view key) {
  return table_->check_process().and_then([&] { return table_->cancel(key); });
}

template <ServingTraits T>
Result<void> Jobs<T>::forget(std::string_view key) {
  return table_->check_process().and_then([&] { return table_->forget(key); });
}

template <ServingTraits T>
std::size_t Jobs<T>::size() const {
  return table_->check_process() ? table_->size() : 0;
}

}  // namespace athanor::inline v1
